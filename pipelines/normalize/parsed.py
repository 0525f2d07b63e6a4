"""What a parser found becomes part of a line's document: its fields, its time, its data stream, what is related.

A line's own time is the document's `@timestamp` unless it is more than a day from the time that the sender gave it
(else from receipt): then it stands under `tidewaiter.claimed.time`, and the document is tagged.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec

from parsers.canonical import encode
from parsers.flattened import flattened
from parsers.format import formats
from parsers.table import Finding, Parsed, unique
from parsers.timestamps import rfc3339
from pipelines.batch import DataStream
from pipelines.normalize.container import Line
from pipelines.normalize.daemons import put_under
from pipelines.normalize.meeting import put_together
from pipelines.normalize.original import original_of
from pipelines.parse import Step, text_to_parse
from pipelines.settings import Settings

TIME_FAR_OFF: Final = "_time_far_off"
PARSE_FAILURE: Final = "_parse_failure"

FAR_S: Final = 86400
"""A line's own time that is further from that of its sender is not believed."""


class Encoded(NamedTuple):
    """A document's parts in canonical encoding: the members of `event`, the message, and its tail's members."""

    event: bytes
    message: bytes
    tail: bytes


class Document(msgspec.Struct):
    """A document that lacks only its head: id, sequence and `event.created`.

    `derived` are those of a report's findings. Where it is `encoded`, event, message and tail stand there alone.
    """

    stream: DataStream
    event: dict[str, Any]
    time: tuple[int, int] | None
    message: str
    tail: dict[str, Any]
    derived: tuple["Document", ...] = ()
    encoded: Encoded | None = None

    @property
    def parts(self) -> Encoded:
        """Its parts as bytes."""
        return self.encoded or Encoded(encode(self.event)[1:-1], encode(self.message), encode(self.tail)[1:-1])

    def as_bytes(self) -> "Document":
        """Return the same, encoded: thousands of large documents as dictionaries are slow to make, and to go through.

        Measured with Kubernetes audit events, 1,600 in a frame: 71 us each, encoded one by one 54.
        """
        return Document(self.stream, {}, self.time, "", {}, self.derived, self.parts)


def event_of(stream: DataStream, dataset: str | None) -> dict[str, Any]:
    """Return what `event` begins with behind its id, for a parser's dataset or for plain lines."""
    module = dataset.partition(".")[0] if dataset else "tidewaiter"
    return {"kind": "event", "module": module, "dataset": stream.dataset}


def is_far(time: tuple[int, int], sent_s: int) -> bool:
    """Tell whether a line's own time is too far from that of its sender."""
    return not -FAR_S <= time[0] - sent_s <= FAR_S


def plain_document(line: Line, settings: Settings, *, failed: bool = False) -> Document:
    """Make the document of a line that no parser took; `failed`: one was asked for."""
    stream = settings.container_stream
    tail = failed_tail(line.tail) if failed else line.tail
    if line.said:
        said = with_daemon(Parsed(None, line.message, {}, {}), line)
        hosts = unique([said.related.get("hosts", []), tail["related"]["hosts"]])
        tail = put_together(said.fields, tail | {"related": {**tail["related"], "hosts": hosts}})
    return Document(stream, event_of(stream, None), line.time, line.message, tail)


def with_daemon(parsed: Parsed, line: Line) -> Parsed:
    """Return what a parser found with what a logging daemon said beside the line."""
    if not line.said:
        return parsed
    host = line.said.get("log", {}).get("syslog", {}).get("hostname")
    hosts = unique([parsed.related.get("hosts", []), host])
    related = {**parsed.related, "hosts": hosts} if hosts else parsed.related
    return msgspec.structs.replace(parsed, fields=put_under(line.said, parsed.fields), related=related)


def parsed_document(line: Line, parsed: Parsed, journal_time: int, settings: Settings) -> Document:
    """Make the document of a line that a parser took."""
    stream = settings.stream_of(parsed.dataset)
    tail, time = dict(line.tail), line.time
    sent_s = line.time[0] if line.time else journal_time // 1_000_000_000
    if parsed.time and is_far(parsed.time, sent_s):
        tail = far_tail(tail, parsed.time)
    elif parsed.time:
        time = parsed.time
    own, found = tail["tidewaiter"], _without_silent(parsed.own, settings.silent_facts)
    if line.merged:
        own = {name: value for name, value in own.items() if name != "fields"}
    hosts = unique([parsed.related.get("hosts", []), tail["related"]["hosts"]])
    tail["related"] = {**parsed.related, "hosts": hosts}
    tail["tidewaiter"] = ({"app": flattened(parsed.rest)} if parsed.rest else {}) | found | own
    tail["data_stream"] = {**tail["data_stream"], "dataset": stream.dataset}
    derived = tuple(_found(each, parsed, Document(stream, {}, time, "", tail)) for each in parsed.findings)
    if parsed.report:
        tail["tidewaiter"] = {"report": parsed.report, **own}
    message = line.message if parsed.message == text_to_parse(line.message) else parsed.message
    event = event_of(stream, parsed.dataset) | parsed.event
    return Document(stream, event, time, message, put_together(parsed.fields, tail), derived)


def _without_silent(own: dict[str, Any], silent: Collection[str]) -> dict[str, Any]:
    """Return the members of `tidewaiter` that a parser found without the facts that documents are not to have."""
    facts = own.get("facts")
    if not facts or not silent:
        return own
    told = [name for name in facts if name not in silent]
    rest = {name: value for name, value in own.items() if name != "facts"}
    return {name: told if name == "facts" else value for name, value in own.items()} if told else rest


def _found(finding: Finding, report: Parsed, made: Document) -> Document:
    """Make the document of one of a report's findings, of what the report's has."""
    tail = made.tail | {"tidewaiter": {"finding": finding.own, **made.tail["tidewaiter"]}}
    event = event_of(made.stream, report.dataset) | finding.event
    return Document(made.stream, event, made.time, finding.message, put_together(finding.fields, tail))


def document_of(line: Line, step: Step, journal_time: int, settings: Settings) -> Document:
    """Make a line's document after its parser's turn."""
    if step.parsed is None:
        made = plain_document(line, settings, failed=step.failed)
    else:
        made = parsed_document(line, step.parsed, journal_time, settings)
    original = (
        None if line.merged or _may_hold_secrets(step) else original_of(settings.original, line.message, made.message)
    )
    if original is not None:
        made.event["original"] = original
    return made


def _may_hold_secrets(step: Step) -> bool:
    """Tell whether a line may hold secrets that its document leaves out, as audit events and scanners' reports do."""
    return step.parsed is not None and step.parser in formats() and formats()[step.parser].is_finished_by_code


def failed_tail(tail: dict[str, Any]) -> dict[str, Any]:
    """Return the tail of a line that does not fit the parser that was asked for."""
    return tail | _tagged(tail, PARSE_FAILURE)


def far_tail(tail: dict[str, Any], time: tuple[int, int]) -> dict[str, Any]:
    """Return the tail of a line whose own time is too far from that of its sender."""
    second, nanosecond = time
    own = tail["tidewaiter"]
    claimed = {**own.get("claimed", {}), "time": rfc3339(second * 1_000_000_000 + nanosecond)}
    return tail | _tagged(tail, TIME_FAR_OFF) | {"tidewaiter": {**own, "claimed": claimed}}


def _tagged(tail: dict[str, Any], tag: str) -> dict[str, Any]:
    return {"tags": [*tail.get("tags", []), tag]}
