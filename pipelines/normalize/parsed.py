"""What a parser found becomes part of a line's document: its fields, its time, its data stream, what is related.

A line's own time is the document's `@timestamp` unless it is more than a day from the time that the sender gave it
(else from receipt): then it stands under `tidewaiter.claimed.time`, and the document is tagged.
"""

from typing import Any, Final

import msgspec

from parsers.flattened import flattened
from parsers.table import Parsed, unique
from parsers.timestamps import rfc3339
from pipelines.batch import DataStream
from pipelines.normalize.container import Line
from pipelines.parse import Step, text_to_parse
from pipelines.settings import Settings

TIME_FAR_OFF: Final = "_time_far_off"
PARSE_FAILURE: Final = "_parse_failure"

FAR_S: Final = 86400
"""A line's own time that is further from that of its sender is not believed."""


class Document(msgspec.Struct):
    """A document that lacks only its head: id, sequence and `event.created`."""

    stream: DataStream
    event: dict[str, Any]
    time: tuple[int, int] | None
    message: str
    tail: dict[str, Any]


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
    return Document(stream, event_of(stream, None), line.time, line.message, tail)


def parsed_document(line: Line, parsed: Parsed, journal_time: int, settings: Settings) -> Document:
    """Make the document of a line that a parser took."""
    stream = settings.stream_of(parsed.dataset)
    tail, time = dict(line.tail), line.time
    sent_s = line.time[0] if line.time else journal_time // 1_000_000_000
    if parsed.time and is_far(parsed.time, sent_s):
        tail = far_tail(tail, parsed.time)
    elif parsed.time:
        time = parsed.time
    own = tail["tidewaiter"]
    hosts = unique([parsed.related.get("hosts", []), tail["related"]["hosts"]])
    tail["related"] = {**parsed.related, "hosts": hosts}
    tail["tidewaiter"] = {"app": flattened(parsed.rest), **own} if parsed.rest else own
    tail["data_stream"] = {**tail["data_stream"], "dataset": stream.dataset}
    message = line.message if parsed.message == text_to_parse(line.message) else parsed.message
    return Document(stream, event_of(stream, parsed.dataset) | parsed.event, time, message, parsed.fields | tail)


def document_of(line: Line, step: Step, journal_time: int, settings: Settings) -> Document:
    """Make a line's document after its parser's turn."""
    if step.parsed is None:
        return plain_document(line, settings, failed=step.failed)
    return parsed_document(line, step.parsed, journal_time, settings)


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
