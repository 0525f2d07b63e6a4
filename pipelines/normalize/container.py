"""The document of a container's line, in two parts: what varies by record, and the tail that a stream shares.

Canonical order: `event`, `@timestamp`, `message`, the fields that a parser found, then the tail, of which `related` and
`tidewaiter` come first: a parser's go into these too (`pipelines.normalize.parsed`). What varies is what the chunk path
splices; the tail is made here for both paths, and what the operator says is put behind it (`pipelines.enrich`).
"""

from typing import Any, Final

import msgspec

from parsers.canonical import encode
from parsers.flattened import flattened, plain, text_of
from parsers.json_keys import is_logged
from parsers.timestamps import renders
from pipelines.batch import DataStream
from pipelines.decode.forward import Record
from pipelines.frame import Frame, Origin, proven_name
from pipelines.normalize.daemons import Daemon, daemon_of
from pipelines.normalize.identity import (
    IDENTITY_CONFLICT,
    container_of,
    driver_labels,
    image_of,
    is_contained,
    kubernetes_of,
    take_text,
)
from pipelines.parse import Stream
from pipelines.settings import ECS_VERSION, Settings

LINE_KEYS: Final = ("log", "message", "MESSAGE")
"""Where senders put the line: Docker and Fluent Bit's tail, Fluentd and many loggers, journald."""

STREAM_KEYS: Final = ("source", "stream")
"""Where senders put the stream: Docker's driver, Fluent Bit's container parsers."""

PARTIAL_KEYS: Final = {
    "partial_message": "message",
    "partial_id": "id",
    "partial_ordinal": "ordinal",
    "partial_last": "last",
}

TIME_KEY: Final = "time"
"""Where Fluent Bit's parsers keep the runtime's text of the time; left out where `@timestamp` says the same."""

PARSER_LABEL: Final = "tidewaiter_parser"
"""The label `tidewaiter.parser`, by which a container says what it writes, as labels stand in documents."""

MULTILINE_LABEL: Final = "tidewaiter_multiline"
"""The label `tidewaiter.multiline`, by which it says that its lines do not belong together."""

WHOSE_CHARACTERS: Final = 256
"""So much of a tag tells streams apart; a parser's choice is all that two longer ones may share."""

NO_DAEMON: Final = Daemon()

TIME_OUT_OF_RANGE: Final = "_time_out_of_range"
INVALID_UTF8: Final = "_invalid_utf8"


class Line(msgspec.Struct):
    """A line ready for its parser and its document: text, time (second, nanosecond; None: unknown) and the tail.

    `stream` says whose line it is, None where the record has no line: then its text is what the record holds. `merged`:
    its sender parsed a logger's object and sent its keys (Fluent Bit's parser filter); the text is that object again.
    `said` are fields that a logging daemon gives beside the line, `head` is what its parser reads in front of it.
    """

    message: str
    time: tuple[int, int] | None
    tail: dict[str, Any]
    stream: Stream | None
    merged: bool = False
    said: dict[str, Any] = {}
    head: str = ""


def normalise(record: Record, *, frame: Frame, origin: Origin, tag: bytes, settings: Settings) -> Line:
    """Make the document's parts of a decoded record. Its fields are used up."""
    fields = record.fields
    tags: list[str] = [*record.tags]
    daemon = daemon_of(fields, tag) or NO_DAEMON
    has_line = not fields.keys().isdisjoint(LINE_KEYS)
    merged = not has_line and is_logged(fields)
    message, damaged = _line(fields)
    if damaged:
        tags.append(INVALID_UTF8)
    own: dict[str, Any] = {}
    stated = fields.get(TIME_KEY)
    if record.time and isinstance(stated, str) and renders(stated, *record.time):
        del fields[TIME_KEY]
    if record.claimed_time is not None:
        tags.append(TIME_OUT_OF_RANGE)
        own["claimed"] = {"time": record.claimed_time}
    about = {"pieces": record.pieces} if record.pieces else {}
    tail = _tail(
        fields, own=own, about=about, tags=tags, tag=text_of(tag)[0], origin=origin, settings=settings, daemon=daemon
    )
    if merged:
        message = encode(plain(fields)).decode()
    if record.metadata:
        own["metadata"] = flattened(record.metadata)
    tail.update(fixed_tail(frame, settings, settings.container_stream))
    stream = stream_of(tail, origin) if has_line or merged else None
    return Line(message, record.time, tail, stream, merged, daemon.fields, daemon.head)


def stream_of(tail: dict[str, Any], origin: Origin) -> Stream:
    """Return whose line it is, from what its document says of that."""
    container, own = tail.get("container", {}), tail["tidewaiter"]
    whose = container.get("id") or own.get("tag", "")
    return Stream(
        key=(origin.input, origin.peer, whose[:WHOSE_CHARACTERS], own.get("container", {}).get("stream", "")),
        label=container.get("labels", {}).get(PARSER_LABEL, ""),
        image=container.get("image", {}).get("name", ""),
        name=container.get("name", ""),
        namespace=tail.get("orchestrator", {}).get("namespace", ""),
        multiline=container.get("labels", {}).get(MULTILINE_LABEL, ""),
        contained=is_contained(tail),
    )


def _line(fields: dict[str, Any]) -> tuple[str, bool]:
    for key in LINE_KEYS:
        if key in fields:
            return text_of(fields.pop(key))
    return encode(plain(fields)).decode(), False


def _tail(
    fields: dict[str, Any],
    *,
    own: dict[str, Any],
    about: dict[str, Any],
    tags: list[str],
    tag: str,
    origin: Origin,
    settings: Settings,
    daemon: Daemon,
) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    from_driver = "container_id" in fields and "source" in fields and daemon.engine_tag is None
    stream = next((take_text(fields, key) for key in STREAM_KEYS if fields.get(key) in ("stdout", "stderr")), None)
    container = _container(fields, tag, daemon, claims)
    orchestrator, kubernetes, node = kubernetes_of(fields, container)
    if stream:
        about["stream"] = stream
    partial = {field: take_text(fields, key) for key, field in PARTIAL_KEYS.items() if isinstance(fields.get(key), str)}
    if partial:
        about["partial"] = partial
    if from_driver and container:
        marks = driver_labels(fields)
        if marks:
            container["labels"] = marks
    if claims:
        tags.append(IDENTITY_CONFLICT)
        own["claimed"] = {**own.get("claimed", {}), **claims}
    if about:
        own["container"] = about
    sender = settings.hosts.get(origin.peer) or proven_name(origin.auth, "certificate") or origin.peer
    own["origin"] = {"input": origin.input, "transport": origin.transport, "peer": origin.peer}
    if origin.auth:
        own["origin"]["auth"] = origin.auth
    own["origin"]["host"] = sender
    if tag:
        own["tag"] = tag
    if fields:
        own["fields"] = flattened(fields)
    host = settings.hosts.get(origin.peer) or node or sender
    tail: dict[str, Any] = {"related": {"hosts": [host]}, "tidewaiter": own}
    if container:
        tail["container"] = container
    tail["host"] = {"name": host}
    if orchestrator:
        tail["orchestrator"] = orchestrator
        tail["kubernetes"] = kubernetes
    if tags:
        tail["tags"] = tags
    return tail


def _container(fields: dict[str, Any], tag: str, daemon: Daemon, claims: dict[str, Any]) -> dict[str, Any]:
    """Return the container of a record; where a daemon wrote down what it said, the Engine's tag is the daemon's."""
    if daemon.engine_tag is None:
        return container_of(fields, tag, claims)
    container = container_of(fields, daemon.engine_tag, claims)
    if daemon.image and container:
        container.setdefault("image", image_of(daemon.image))
    return container


def fixed_tail(frame: Frame, settings: Settings, stream: DataStream) -> dict[str, Any]:
    """Return what every document of a journal and data stream carries at its end."""
    journal = f"{frame.journal.id:06x}"
    return {
        "ecs": {"version": ECS_VERSION},
        "data_stream": {"type": stream.type, "dataset": stream.dataset, "namespace": stream.namespace},
        "agent": {
            "type": "tidewaiter",
            "version": settings.version,
            "name": frame.journal.name,
            "id": journal,
            "ephemeral_id": f"{journal}-{frame.epoch}",
        },
        "observer": {"hostname": frame.journal.name},
    }
