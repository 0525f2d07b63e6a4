"""The reference path: a frame becomes batches one record at a time, clear and slow. The chunk path must equal it.

It is also what serves whatever the chunk path does not know, record by record.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from parsers.canonical import encode
from parsers.timestamps import rfc3339
from pipelines.batch import Batch, DataStream, Documents
from pipelines.books import RECORDS_LIMIT, Control, Refused, close_batch, with_lookahead
from pipelines.decode.forward import EntryError, decode_entry, decode_message
from pipelines.decode.msgpack_walk import BrokenPayloadError, objects
from pipelines.frame import Frame, Message, document_ids, event_sequences
from pipelines.normalize.audit import audit_document
from pipelines.normalize.container import normalise
from pipelines.settings import Settings

MESSAGE_RECORDS_LIMIT = 1 << 23
"""Records of one message; what stands behind them is one dead letter. A record with a time and a key has nine bytes at
least, so a message of the default limit never holds as many, and a frame's index (`INDEX_LIMIT`) is never used up."""

REFUSED_ENCODINGS = {
    "forward-broken": ("broken_payload", "the payload could not be decompressed"),
    "forward-metrics": ("not_logs", "a Fluent Bit metrics or traces payload holds no log records"),
}
"""Encodings that carry no records: the whole message is one dead letter."""


class Ready(msgspec.Struct):
    """A record's document for a stream, lacking only its head (`event.created`, id, sequence)."""

    stream: DataStream
    event: dict[str, Any]
    time: tuple[int, int] | None
    message: str
    tail: dict[str, Any]


Settled = Refused | Control | Ready
"""What becomes of a record, in the order of the frame."""


def process(frame: Frame, settings: Settings) -> Iterator[Batch]:
    """Make the batches of a frame: one, or slices of RECORDS_LIMIT records."""
    settled = (item for parts in messages(frame) for item in settle(frame, *parts, settings))
    slices = iter(lambda: list(itertools.islice(settled, RECORDS_LIMIT)), [])
    first = 0
    for items, last in with_lookahead(slices):
        yield assemble(frame, items, first, last=last)
        first += len(items)
    if not first:
        yield close_batch(frame, (), [], records=range(0), last=True)


def messages(frame: Frame) -> Iterator[tuple[Message, str, memoryview]]:
    """Yield each message of a frame with its encoding and its slice of the payload."""
    table = iter(frame.messages)
    start = 0
    for run in frame.runs:
        for message in itertools.islice(table, run.messages):
            yield message, run.encoding, frame.payload[start : start + message.length]
            start += message.length


def settle(frame: Frame, message: Message, encoding: str, payload: memoryview, settings: Settings) -> Iterator[Settled]:
    """Decode and normalise the records of one message."""
    if encoding in ("forward", "forward-message"):
        try:
            for number, (start, end) in enumerate(objects(payload)):
                if number == MESSAGE_RECORDS_LIMIT:
                    why = ("too_many_records", f"more than {MESSAGE_RECORDS_LIMIT} records in one message")
                    yield refuse(frame, message, payload[start:], why)
                    return
                yield settle_entry(frame, message, payload[start:end], encoding=encoding, settings=settings)
        except BrokenPayloadError as error:
            yield refuse(frame, message, payload[error.start :], ("bad_payload", str(error)))
    elif encoding == "resend":
        yield Control()
    elif encoding == "audit":
        yield _audit(frame, message, payload, settings)
    else:
        unknown = ("unknown_encoding", f"no decoder for {encoding!r}")
        yield refuse(frame, message, payload, REFUSED_ENCODINGS.get(encoding, unknown))


def settle_entry(frame: Frame, message: Message, entry: memoryview, *, encoding: str, settings: Settings) -> Settled:
    """Decode and normalise one Forward entry or Message-mode object."""
    try:
        record = decode_entry(entry) if encoding == "forward" else decode_message(entry)
    except EntryError as error:
        return refuse(frame, message, entry, (error.code, str(error)))
    if record.group_mark:
        return Control()
    origin, tag = frame.origins[message.origin], record.tag or message.tag
    line = normalise(record, frame=frame, origin=origin, tag=tag, settings=settings)
    return Ready(settings.container_stream, container_event(settings), line.time, line.message, line.tail)


def container_event(settings: Settings) -> dict[str, Any]:
    """Return what `event` holds in every document of a container's line."""
    return {"kind": "event", "module": "tidewaiter", "dataset": settings.container_stream.dataset}


def refuse(frame: Frame, message: Message, payload: memoryview, why: tuple[str, str]) -> Refused:
    """Make a dead letter of these bytes; `why` is its code and reason."""
    origin = frame.origins[message.origin]
    return Refused(*why, bytes(payload), f"{origin.input}/{origin.peer}")


def _audit(frame: Frame, message: Message, payload: memoryview, settings: Settings) -> Settled:
    try:
        event, time, text, tail = audit_document(payload, frame, frame.origins[message.origin], settings)
    except (msgspec.DecodeError, ValueError) as error:
        return refuse(frame, message, payload, ("bad_audit_record", str(error)))
    return Ready(settings.audit_stream, event, time, text, tail)


def encode_document(frame: Frame, item: Ready, *, identifier: bytes, sequence: int) -> bytes:
    """Encode one document in canonical order, with its newline."""
    second, nanosecond = item.time or divmod(frame.journal_time, 1_000_000_000)
    document = {
        "event": {
            "created": rfc3339(frame.journal_time),
            "sequence": sequence,
            "id": identifier.decode(),
            **item.event,
        },
        "@timestamp": rfc3339(second * 1_000_000_000 + nanosecond),
        "message": item.message,
        **item.tail,
    }
    return encode(document) + b"\n"


def assemble(frame: Frame, settled: Sequence[Settled], first: int, *, last: bool) -> Batch:
    """Number the records from `first` on, encode their documents and close the books (P2)."""
    identifiers = document_ids(frame, first, len(settled))
    prefix, digits = event_sequences(frame, first, len(settled))
    encoded: dict[DataStream, tuple[list[bytes], list[int]]] = {}
    refused: list[tuple[int, Refused]] = []
    for index, item in enumerate(settled):
        if isinstance(item, Ready):
            lines, places = encoded.setdefault(item.stream, ([], []))
            sequence = int(prefix + digits[index])
            lines.append(encode_document(frame, item, identifier=identifiers[index], sequence=sequence))
            places.append(index)
        elif isinstance(item, Refused):
            refused.append((first + index, item))
    documents = tuple(
        Documents.of_lines(stream, lines, identifiers.picked(places)) for stream, (lines, places) in encoded.items()
    )
    return close_batch(frame, documents, refused, records=range(first, first + len(settled)), last=last)
