"""Lines of a case become frames of a journal, as intake and watchers would write them; the clock is the case's own.

The same lines as one frame, and one frame a line: what fires must not depend on how lines travel together. While
something waits for more, journal time goes on by frames without lines (`pause`), as the intake's ticks let it.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import msgpack
import orjson

from pipelines.detect import carried
from pipelines.detect.cases import Case, Container, Line
from pipelines.frame import INTERNAL, Frame, JournalIdentity, Message, Origin, Run
from pipelines.state import STEP_NS

SECOND_NS: Final = 1_000_000_000

JOURNAL: Final = JournalIdentity(0, "rules-test")
ORIGINS: Final = {
    "forward": Origin("forward", "tcp", "192.0.2.7"),
    "file": Origin("forward", "tcp", "192.0.2.7"),
    "docker_events": Origin("engine", INTERNAL, "unix:///var/run/docker.sock"),
    "kubernetes_audit": Origin("audit", "tcp", "192.0.2.8"),
    "http": Origin("http", "tcp", "192.0.2.9"),
}
"""Who sends lines of an input."""

RULES_ORIGIN: Final = Origin("tidewaiter", INTERNAL, "rules")

FILE_TAG: Final = "host.log"
"""The tag of lines of a host's log file, where a case has none."""

ID_SHOWN: Final = 12
"""Characters of a container's id that Docker's tag has."""

_ENCODINGS: Final = {
    "forward": "forward", "file": "forward", "kubernetes_audit": "kubernetes-audit", "http": "json",
}  # fmt: skip

Part = tuple[str, bytes, int]
"""Bytes of one record, as its input writes them: with their encoding, and the journal time in nanoseconds."""


class Journal:
    """Writes a case's frames, one behind the other."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._start_ns = int(case.start.timestamp()) * SECOND_NS
        self._sequence = 0
        self._now_ns = self._start_ns
        container = case.container or Container()
        tag = case.tag or (FILE_TAG if case.input == "file" else docker_tag(container))
        self._tag = tag.encode() if case.input in ("forward", "file") else b""

    def rules(self, message: bytes) -> Frame:
        """Return a rule set as a frame; it holds from the next one on."""
        return self._frame([(carried.ENCODING, message, self._start_ns)], RULES_ORIGIN)

    def together(self, lines: Sequence[Line]) -> Frame:
        """Return all lines as one frame."""
        return self._frame([self._part(line) for line in lines])

    def alone(self, line: Line) -> Frame:
        """Return one line as a frame."""
        return self._frame([self._part(line)])

    def has_pause_before(self, line: Line) -> bool:
        """Whether a second can pass before a line comes."""
        return self._now_ns + STEP_NS < self._start_ns + line.offset_s * SECOND_NS

    def pause(self) -> Frame:
        """Let a second of journal time pass."""
        self._now_ns += STEP_NS
        return self._frame([])

    def _part(self, line: Line) -> Part:
        now_ns = self._start_ns + line.offset_s * SECOND_NS
        if self._case.input in ("forward", "file"):
            return "forward", self._entry(line.content, now_ns), now_ns
        if self._case.input == "docker_events":
            return *engine_record(line.content, now_ns), now_ns
        return _ENCODINGS[self._case.input], posted(line.content), now_ns

    def _entry(self, content: str | dict[str, Any], now_ns: int) -> bytes:
        if isinstance(content, dict):
            fields = orjson.loads(orjson.dumps(content))
            if self._case.container is not None:
                fields = {**container_fields(self._case.container), **fields}
        elif self._case.input == "file":
            fields = {"log": content}
        else:
            fields = {**container_fields(self._case.container or Container()), "log": content}
        second, nanosecond = divmod(now_ns, SECOND_NS)
        stamp = msgpack.ExtType(0, second.to_bytes(4, "big") + nanosecond.to_bytes(4, "big"))
        return bytes(msgpack.packb([stamp, fields], unicode_errors="surrogateescape"))

    def _frame(self, parts: Sequence[Part], origin: Origin | None = None) -> Frame:
        self._sequence += 1
        self._now_ns = max([self._now_ns + 1, *(now_ns for _, _, now_ns in parts)])
        messages, runs, payloads = [], [], []
        for encoding, group in groupby(parts, key=lambda part: part[0]):
            records = [record for _, record, _ in group]
            payload = (b"" if encoding == "forward" else b"\n").join(records)
            messages.append(Message(0, len(payload), self._tag, claimed=len(records)))
            runs.append(Run(encoding, 1))
            payloads.append(payload)
        return Frame(
            journal=JOURNAL,
            partition=0,
            epoch=1,
            sequence=self._sequence,
            journal_time=self._now_ns,
            origins=(origin or ORIGINS[self._case.input],),
            messages=tuple(messages),
            runs=tuple(runs),
            payload=memoryview(b"".join(payloads)),
        )


def docker_tag(container: Container) -> str:
    """Return the tag that Docker's driver makes, with the image if there is one."""
    short = container.id[:ID_SHOWN]
    return f"{container.image}/{container.name}/{short}" if container.image else short


def container_fields(container: Container) -> dict[str, Any]:
    """Return what Docker's driver says beside each line."""
    fields: dict[str, Any] = {
        "container_id": container.id,
        "container_name": f"/{container.name}",
        "source": container.stream,
        **container.labels,
    }
    if container.namespace:
        fields["kubernetes"] = {"pod_name": container.name, "namespace_name": container.namespace}
    return fields


def engine_record(content: str | dict[str, Any], now_ns: int) -> tuple[str, bytes]:
    """Return what the watcher of an Engine makes of a line, with its encoding.

    A line is an event as `docker events --format json` prints it; one without a time happens now. What the watcher adds
    can stand in the line as well: `{"event": …, "exec": …}` with what the Engine answered of the exec; and
    `{"container": …}`, `{"engine": …, "host": …}` with what it answered of a container, and of itself.
    """
    try:
        said = orjson.loads(content) if isinstance(content, str) else orjson.loads(orjson.dumps(content))
    except orjson.JSONDecodeError:
        return "docker-event", posted(content)
    if not isinstance(said, dict):
        return "docker-event", posted(content)
    engine = {"engine": ORIGINS["docker_events"].input}
    if "container" in said or "host" in said:
        kind = "container" if "container" in said else "engine"
        return "docker-inspect", orjson.dumps({"kind": kind, "cause": "start", **said, **engine})
    record = {"kind": "event", **said} if "event" in said or "kind" in said else {"kind": "event", "event": said}
    event = record.get("event")
    if isinstance(event, dict) and not event.keys() & {"time", "timeNano"}:
        event["timeNano"] = now_ns
    return "docker-event", orjson.dumps({**record, **engine})


def posted(content: str | dict[str, Any]) -> bytes:
    """Return a posted record as one line; a newline in JSON stands between its parts only."""
    if isinstance(content, dict):
        return orjson.dumps(content)
    return content.replace("\n", " ").encode("utf-8", "surrogateescape")
