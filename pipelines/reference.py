"""The reference path: a frame becomes batches one record at a time, clear and slow. The chunk path must equal it.

It is also what serves whatever the chunk path does not know, record by record.
"""

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from parsers.canonical import encode
from parsers.timestamps import rfc3339
from pipelines.batch import Batch, DataStream, Documents, Outcomes
from pipelines.books import RECORDS_LIMIT, Control, Pieces, Refused, close_batch, with_lookahead
from pipelines.decode.forward import EntryError, Record, decode_entry, decode_message
from pipelines.decode.msgpack_walk import BrokenPayloadError, objects
from pipelines.frame import Frame, Ids, Message, Origin, document_ids, event_sequences
from pipelines.join import Whole, due, ending_mark, joined_record, mark_of, take
from pipelines.normalize.audit import audit_document
from pipelines.normalize.container import normalise
from pipelines.normalize.parsed import Document, document_of, plain_document
from pipelines.parse import near_second, parse_line
from pipelines.settings import Settings
from pipelines.state import State

MESSAGE_RECORDS_LIMIT = 1 << 23
"""Records of one message; what stands behind them is one dead letter. A record with a time and a key has nine bytes at
least, so a message of the default limit never holds as many, and a frame's index (`INDEX_LIMIT`) is never used up."""

REFUSED_ENCODINGS = {
    "forward-broken": ("broken_payload", "the payload could not be decompressed"),
    "forward-metrics": ("not_logs", "a Fluent Bit metrics or traces payload holds no log records"),
}
"""Encodings that carry no records: the whole message is one dead letter."""


CONTROL_ENCODINGS = ("resend", "tick")
"""Encodings of messages that are settled by being read: a stored one that came again, and journal time going on."""


class Joined(msgspec.Struct):
    """A line's document, by the frame and the index of its first piece. `waited` of its `pieces` were parked before."""

    frame: Frame
    index: int
    document: Document
    pieces: int
    waited: int


class Piece(msgspec.Struct):
    """A record that is a piece of a line: parked, or gone with its line; `lines` are those that go out with it."""

    parked: bool
    lines: list[Joined]


Settled = Refused | Control | Document | Piece
"""What becomes of a record, in the order of the frame."""


def process(frame: Frame, settings: Settings, state: State) -> Iterator[Batch]:
    """Make the batches of a frame: one, or slices of RECORDS_LIMIT records."""
    waited = waited_enough(frame, settings, state)
    settled = _settle_all(frame, settings, state)
    slices = iter(lambda: list(itertools.islice(settled, RECORDS_LIMIT)), [])
    first = 0
    for items, last in with_lookahead(slices):
        yield assemble(frame, items, first, waited, last=last, lines=state.take_outcomes() if last else None)
        first += len(items)
        waited = []
    if not first:
        yield assemble(frame, [], 0, waited, last=True, lines=state.take_outcomes())


def waited_enough(frame: Frame, settings: Settings, state: State) -> list[Joined]:
    """Return the lines that go out before the first record of the frame, for they waited long enough."""
    state.advance(frame.journal_time)
    return [_join(whole, settings, state) for whole in due(state)]


def _settle_all(frame: Frame, settings: Settings, state: State) -> Iterator[Settled]:
    index = 0
    for message, encoding, payload in messages(frame):
        for item in settle(frame, message, encoding, payload, settings=settings, state=state, first=index):
            yield item
            index += 1


def messages(frame: Frame) -> Iterator[tuple[Message, str, memoryview]]:
    """Yield each message of a frame with its encoding and its slice of the payload."""
    table = iter(frame.messages)
    start = 0
    for run in frame.runs:
        for message in itertools.islice(table, run.messages):
            yield message, run.encoding, frame.payload[start : start + message.length]
            start += message.length


def settle(
    frame: Frame,
    message: Message,
    encoding: str,
    payload: memoryview,
    *,
    settings: Settings,
    state: State,
    first: int,
) -> Iterator[Settled]:
    """Decode and normalise the records of one message; `first` is the index of its first record."""
    if encoding in ("forward", "forward-message"):
        try:
            for number, (start, end) in enumerate(objects(payload)):
                if number == MESSAGE_RECORDS_LIMIT:
                    why = ("too_many_records", f"more than {MESSAGE_RECORDS_LIMIT} records in one message")
                    yield refuse(frame, message, payload[start:], why)
                    return
                entry, index = payload[start:end], first + number
                yield settle_entry(frame, message, entry, encoding, settings=settings, state=state, index=index)
        except BrokenPayloadError as error:
            yield refuse(frame, message, payload[error.start :], ("bad_payload", str(error)))
    elif encoding in CONTROL_ENCODINGS:
        yield Control()
    elif encoding == "audit":
        yield _audit(frame, message, payload, settings)
    else:
        unknown = ("unknown_encoding", f"no decoder for {encoding!r}")
        yield refuse(frame, message, payload, REFUSED_ENCODINGS.get(encoding, unknown))


def settle_entry(
    frame: Frame,
    message: Message,
    entry: memoryview,
    encoding: str,
    *,
    settings: Settings,
    state: State,
    index: int,
) -> Settled:
    """Decode and normalise one Forward entry or Message-mode object, which is the record of this index."""
    try:
        record = decode_entry(entry) if encoding == "forward" else decode_message(entry)
    except EntryError as error:
        return refuse(frame, message, entry, (error.code, str(error)))
    if record.group_mark:
        return Control()
    origin = frame.origins[message.origin]
    record.tag = record.tag or message.tag
    mark = mark_of(record.fields, record.tag) or ending_mark(state, origin, record.fields, record.tag)
    if mark is None:
        return _document(record, frame, origin, settings, state)
    taken = take(state, frame, index, origin, mark, (record, encoding, entry))
    return Piece(taken.parked, [_join(whole, settings, state) for whole in taken.whole])


def _join(whole: Whole, settings: Settings, state: State) -> Joined:
    line = whole.line
    document = _document(joined_record(line), line.frame, line.origin, settings, state)
    return Joined(line.frame, line.position.record, document, line.pieces, whole.waited)


def _document(record: Record, frame: Frame, origin: Origin, settings: Settings, state: State) -> Document:
    line = normalise(record, frame=frame, origin=origin, tag=record.tag, settings=settings)
    if line.stream is None:
        return plain_document(line, settings)
    near_s = near_second(frame.journal_time)
    if state.seen is not None:
        state.seen[line.stream.key] = line.stream
    step = parse_line(line.stream, line.message, near_s, rules=settings.parsers, choices=state.choices)
    step.count_in(state.outcomes)
    return document_of(line, step, frame.journal_time, settings)


def refuse(frame: Frame, message: Message, payload: memoryview, why: tuple[str, str]) -> Refused:
    """Make a dead letter of these bytes; `why` is its code and reason."""
    origin = frame.origins[message.origin]
    return Refused(*why, bytes(payload), f"{origin.input}/{origin.peer}")


def _audit(frame: Frame, message: Message, payload: memoryview, settings: Settings) -> Settled:
    try:
        event, time, text, tail = audit_document(payload, frame, frame.origins[message.origin], settings)
    except (msgspec.DecodeError, ValueError) as error:
        return refuse(frame, message, payload, ("bad_audit_record", str(error)))
    return Document(settings.audit_stream, event, time, text, tail)


def encode_document(frame: Frame, item: Document, *, identifier: bytes, sequence: int) -> bytes:
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


def assemble(
    frame: Frame,
    settled: Sequence[Settled],
    first: int,
    waited: list[Joined],
    *,
    last: bool,
    lines: Outcomes | None = None,
) -> Batch:
    """Number the records from `first` on, encode their documents and those that waited, and close the books (P2)."""
    identifiers = document_ids(frame, first, len(settled))
    prefix, digits = event_sequences(frame, first, len(settled))
    encoded: dict[DataStream, tuple[list[bytes], list[int]]] = {}
    refused: list[tuple[int, Refused]] = []
    for index, item in enumerate(settled):
        if isinstance(item, Document):
            texts, places = encoded.setdefault(item.stream, ([], []))
            sequence = int(prefix + digits[index])
            texts.append(encode_document(frame, item, identifier=identifiers[index], sequence=sequence))
            places.append(index)
        elif isinstance(item, Refused):
            refused.append((first + index, item))
    documents = tuple(
        Documents.of_lines(stream, texts, identifiers.picked(places)) for stream, (texts, places) in encoded.items()
    )
    pieces = [item for item in settled if isinstance(item, Piece)]
    joined, counts = joined_documents(waited, pieces)
    records = range(first, first + len(settled))
    return close_batch(frame, documents + joined, refused, records=records, last=last, pieces=counts, lines=lines)


def joined_documents(waited: list[Joined], pieces: list[Piece]) -> tuple[tuple[Documents, ...], Pieces]:
    """Encode the documents of lines that came in pieces, and count these."""
    lines = [*waited, *(line for piece in pieces for line in piece.lines)]
    made: dict[DataStream, tuple[list[bytes], list[bytes]]] = {}
    for line in lines:
        encoded, names = made.setdefault(line.document.stream, ([], []))
        (identifier,) = document_ids(line.frame, line.index, 1)
        shared, (digits,) = event_sequences(line.frame, line.index, 1)
        encoded.append(encode_document(line.frame, line.document, identifier=identifier, sequence=int(shared + digits)))
        names.append(identifier)
    documents = tuple(Documents.of_lines(stream, encoded, Ids(b"", names)) for stream, (encoded, names) in made.items())
    return documents, Pieces(
        joined=sum(line.pieces - 1 for line in lines),
        parked=sum(piece.parked for piece in pieces),
        taken_up=sum(line.waited for line in lines),
    )
