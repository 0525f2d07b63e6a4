"""The chunk path: the same batches as the reference path, byte for byte, at a fraction of its cost.

A message whose records have one known shape (`pipelines.decode.columns`) is decoded by one call, its times are unpacked
by one call, its lines are escaped by one call, and the documents are one join of buffers that are constant for the
frame, constant for the (container, stream), or made for all records at once. Nothing is spliced but what
`parsers.canonical` encoded, ids and digits rendered from integers. All else goes record by record through
`pipelines.reference`.

Measured by `make bench`; held equal to the reference by `tests/property/test_paths_agree.py`.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from parsers.canonical import encode, encode_texts
from parsers.timestamps import rfc3339, second_text
from pipelines import reference
from pipelines.batch import ENVELOPE, Batch, DataStream, Documents
from pipelines.books import RECORDS_LIMIT, Refused, close_batch, with_lookahead
from pipelines.decode.columns import Decoded, are_objects, decode_columns, key_bytes
from pipelines.decode.forward import EntryError, Record
from pipelines.decode.msgpack_walk import objects
from pipelines.frame import Frame, Message, Origin, document_ids, event_sequences
from pipelines.join import PIECE_BYTES, UNMARKED, mark_of, may_go_on
from pipelines.normalize.container import normalise
from pipelines.settings import Settings
from pipelines.state import State

TAILS_KEPT_BYTES: Final = 16 << 20
"""Bound of the cache of encoded tails, one per (origin, tag, container, stream); about 1.5 KB each."""

TAIL_BYTES: Final = 256
"""What a tail costs beside its own bytes and those of its key."""

FEW_STREAMS: Final = 64
"""So many new tails a message may always bring; more must serve four records each, or making them gains nothing."""

ENCODINGS: Final = ("forward", "forward-message")

ONE_BY_ONE: Final = "forward-message"
"""The encoding in which a record may be a message of its own; its tag stands in the record."""

WHOLE_MESSAGE_LIMIT: Final = 8 << 20
"""Bytes of a message that may be decoded by one call; a larger one goes through the reference, slice by slice."""


class Columns(msgspec.Struct):
    """Records of one message, ready to be spliced: the chunk path's counterpart of many `reference.Ready`.

    `pieces` are the places of those that are pieces of lines, which have to be cut out first.
    """

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: list[str]
    tails: list[bytes]
    pieces: Sequence[int] = ()

    def cut(self, start: int, end: int) -> "Columns":
        """Return the records from `start` up to `end`."""
        return Columns(
            self.seconds[start:end], self.nanoseconds[start:end], self.lines[start:end], self.tails[start:end]
        )


Span = Columns | reference.Settled


class ChunkPath:
    """Makes batches; keeps the encoded tails of the containers it saw, which no output depends on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stream = settings.container_stream
        self._tails: dict[tuple[Origin, bytes, bool], dict[Any, bytes]] = {}
        self._writer: object = None
        self._kept_bytes = 0

    def process(self, frame: Frame, state: State) -> Iterator[Batch]:
        """Make the batches of a frame: one, or slices of RECORDS_LIMIT records."""
        writer = (frame.journal, frame.epoch)
        if writer != self._writer or self._kept_bytes > TAILS_KEPT_BYTES:
            self._tails.clear()
            self._writer, self._kept_bytes = writer, 0
        waited = reference.waited_enough(frame, self._settings, state)
        first = 0
        for (spans, count), last in with_lookahead(_slices(self._spans(frame, state))):
            yield self._assemble(frame, spans, range(first, first + count), waited, last=last)
            first += count
            waited = []
        if not first:
            yield reference.assemble(frame, [], 0, waited, last=True)

    def _spans(self, frame: Frame, state: State) -> Iterator[Span]:
        index = 0
        for group, encoding, payload in _groups(frame):
            columns = self._columns(frame, group, encoding, payload, state)
            parts: Iterable[tuple[Sequence[Message], memoryview, Columns | None]] = [(group, payload, columns)]
            if columns is None and len(group) > 1:
                # One after the other: what becomes of a message may depend on those before it.
                parts = (
                    ([message], own, self._columns(frame, [message], encoding, own, state))
                    for message, own in _parted(group, payload)
                )
            for part, own, made in parts:
                for span in self._settled(frame, part, encoding, own, made, state=state, first=index):
                    yield span
                    index += len(span.lines) if isinstance(span, Columns) else 1

    def _settled(
        self,
        frame: Frame,
        group: Sequence[Message],
        encoding: str,
        payload: memoryview,
        columns: Columns | None,
        *,
        state: State,
        first: int,
    ) -> Iterator[Span]:
        """Yield what was decoded by one call, and one by one what was not, or is a piece of a line."""
        if columns is None:
            yield from reference.settle(
                frame, group[0], encoding, payload, settings=self._settings, state=state, first=first
            )
            return
        start = 0
        entries = _entries(group, payload) if columns.pieces else []
        for at in columns.pieces:
            if start < at:
                yield columns.cut(start, at)
            message, entry = entries[at]
            yield reference.settle_entry(
                frame, message, entry, encoding, settings=self._settings, state=state, index=first + at
            )
            start = at + 1
        if start < len(columns.lines):
            yield columns.cut(start, len(columns.lines)) if start else columns

    def _columns(
        self, frame: Frame, group: Sequence[Message], encoding: str, payload: memoryview, state: State
    ) -> Columns | None:
        """Decode neighbouring messages by one call, or return None where that cannot be done."""
        message, count = group[0], sum(each.claimed for each in group)
        if encoding not in ENCODINGS or not 0 < count <= len(payload) <= WHOLE_MESSAGE_LIMIT:
            return None
        if may_go_on(state, frame.origins[message.origin]):
            return None
        if len(group) > 1 and not are_objects(payload, [each.length for each in group]):
            return None
        decoded = decode_columns(encoding, payload, count)
        if decoded is None or (len(payload) > PIECE_BYTES and _has_cut_lines(decoded)):
            return None
        try:
            tails, pieces = self._tails_of(frame, message, decoded)
        except EntryError:
            return None
        return Columns(decoded.seconds, decoded.nanoseconds, decoded.lines, tails, pieces) if tails else None

    def _tails_of(self, frame: Frame, message: Message, decoded: Decoded) -> tuple[list[bytes], list[int]]:
        """Return each record's tail, and the places of pieces; nothing where nearly every record needs its own tail."""
        origin, tags = frame.origins[message.origin], decoded.tags
        place = (origin, message.tag, tags is None)
        known = self._tails.get(place, {})
        keys: Sequence[Any] = decoded.keys if tags is None else list(zip(tags, decoded.keys, strict=True))
        try:
            return list(map(known.__getitem__, keys)), []
        except KeyError:
            missing = set(keys).difference(known)
            if len(missing) > max(FEW_STREAMS, len(keys) // 4):
                return [], []
            self._tails[place] = known
            pieces = set()
            for key in missing:
                tag, stream = ("", key) if tags is None else key
                fields = decoded.record_of(stream)
                mark = mark_of(fields, tag.encode() or message.tag)
                if mark is not None and mark.line == UNMARKED:
                    return [], []
                if mark is not None:
                    pieces.add(key)
                    continue
                tail = self._tail(frame, origin, tag.encode() or message.tag, fields)
                known[key] = tail
                self._kept_bytes += TAIL_BYTES + len(message.tag) + len(tag) + key_bytes(stream) + len(tail)
        found = [known.get(key, b"") for key in keys]
        return found, [at for at, key in enumerate(keys) if key in pieces] if pieces else []

    def _tail(self, frame: Frame, origin: Origin, tag: bytes, fields: dict[str, Any]) -> bytes:
        """Encode what all documents of a stream end with, by the reference's own function."""
        line = normalise(Record((1, 0), fields), frame=frame, origin=origin, tag=tag, settings=self._settings)
        return _encoded_tail(line.tail)

    def _assemble(
        self, frame: Frame, spans: list[Span], records: range, waited: list[reference.Joined], *, last: bool
    ) -> Batch:
        """Join the columns of all messages into one, keeping each record's index; see to the rest one by one."""
        now = divmod(frame.journal_time, 1_000_000_000)
        gathered: list[Columns] = []
        indexes: list[range] = []
        others: list[tuple[int, reference.Settled]] = []
        index = records.start
        for span in spans:
            if isinstance(span, reference.Ready) and span.stream == self._stream:
                second, nanosecond = span.time or now
                columns = Columns([second], [nanosecond], [span.message], [_encoded_tail(span.tail)])
            elif isinstance(span, Columns):
                columns = span
            else:
                others.append((index, span))
                index += 1
                continue
            gathered.append(columns)
            indexes.append(range(index, index + len(columns.lines)))
            index += len(columns.lines)
        documents = [self._render(frame, _joined(gathered), indexes, records)] if indexes else []
        documents += _rendered_singly(frame, others)
        refused = [(at, item) for at, item in others if isinstance(item, Refused)]
        pieces = [item for _, item in others if isinstance(item, reference.Piece)]
        joined, counts = reference.joined_documents(waited, pieces)
        return close_batch(frame, (*documents, *joined), refused, records=records, last=last, pieces=counts)

    def _render(self, frame: Frame, columns: Columns, indexes: list[range], records: range) -> Documents:
        """Lay out all documents of the batch by a few calls.

        Slice assignment lays the buffers of each document side by side without a step of Python per document.
        """
        ids = document_ids(frame, records.start, len(records))
        shared, digits = event_sequences(frame, records.start, len(records))
        count = len(columns.lines)
        if count != len(records):
            offsets = [index - records.start for index in itertools.chain.from_iterable(indexes)]
            ids, digits = ids.picked(offsets), [digits[at] for at in offsets]
        created = rfc3339(frame.journal_time).encode()
        event = encode(reference.container_event(self._settings))[1:]
        stamps = {second: b'",%b,"@timestamp":"%b' % (event, second_text[second]) for second in set(columns.seconds)}
        lines = encode_texts(columns.lines)
        start = [
            *ENVELOPE,
            b'{"event":{"created":"%b","sequence":%b' % (created, shared),
            b"",
            b',"id":"%b' % ids.prefix,
        ]
        parts: list[bytes] = [*start, *[b""] * 5] * count
        parts[3::10] = digits
        parts[5::10] = ids.suffixes
        parts[6::10] = map(stamps.__getitem__, columns.seconds)
        parts[7::10] = map(b'%09dZ","message":'.__mod__, columns.nanoseconds)
        parts[8::10] = lines
        parts[9::10] = columns.tails
        fixed = sum(map(len, parts[:8]))
        size = count * fixed + sum(map(len, lines)) + sum(map(len, columns.tails))
        return Documents(self._stream, ids, parts, stride=10, size_bytes=size)


def _groups(frame: Frame) -> Iterator[tuple[list[Message], str, memoryview]]:
    """Yield a frame's messages with encoding and payload; neighbours of one record and one origin together.

    Docker's driver sends each line as a message: what a decode costs beside its records would be paid for each line.
    """
    end, messages = 0, iter(frame.messages)
    for run in frame.runs:
        for (_, _, claimed), alike in itertools.groupby(itertools.islice(messages, run.messages), key=_kind):
            together = run.encoding == ONE_BY_ONE and claimed == 1
            for group in _bounded(list(alike)) if together else ([message] for message in alike):
                start, end = end, end + sum(map(_length, group))
                yield group, run.encoding, frame.payload[start:end]


_kind = attrgetter("origin", "tag", "claimed")
_length = attrgetter("length")


def _bounded(group: list[Message]) -> Iterator[list[Message]]:
    """Halve a group until it may be decoded by one call."""
    if len(group) == 1 or sum(map(_length, group)) <= WHOLE_MESSAGE_LIMIT:
        yield group
        return
    middle = len(group) // 2
    yield from _bounded(group[:middle])
    yield from _bounded(group[middle:])


def _parted(group: Sequence[Message], payload: memoryview) -> Iterator[tuple[Message, memoryview]]:
    end = 0
    for message in group:
        start, end = end, end + message.length
        yield message, payload[start:end]


def _entries(group: Sequence[Message], payload: memoryview) -> list[tuple[Message, memoryview]]:
    """Return each record's message and bytes: of messages of one record each, or of one message."""
    if len(group) > 1:
        return list(_parted(group, payload))
    return [(group[0], payload[start:end]) for start, end in objects(payload)]


def _slices(spans: Iterator[Span]) -> Iterator[tuple[list[Span], int]]:
    """Group spans into slices of RECORDS_LIMIT records, cutting columns where a slice ends."""
    held: list[Span] = []
    count = 0
    for span in spans:
        size = len(span.lines) if isinstance(span, Columns) else 1
        start = 0
        while isinstance(span, Columns) and size - start > RECORDS_LIMIT - count:
            cut = start + RECORDS_LIMIT - count
            yield [*held, span.cut(start, cut)], RECORDS_LIMIT
            held, count, start = [], 0, cut
        held.append(span.cut(start, size) if start and isinstance(span, Columns) else span)
        count += size - start
        if count == RECORDS_LIMIT:
            yield held, count
            held, count = [], 0
    if held:
        yield held, count


def _has_cut_lines(decoded: Decoded) -> bool:
    """Tell whether a line is as long as a piece that is not marked, so that the next of its stream may belong to it."""
    lines = decoded.lines
    if max(map(len, lines)) < PIECE_BYTES // 4:
        return False
    return any(len(line) <= PIECE_BYTES == len(line.encode()) and line[-1] != "\n" for line in lines)


def _joined(gathered: list[Columns]) -> Columns:
    if len(gathered) == 1:
        return gathered[0]
    flat = itertools.chain.from_iterable
    return Columns(
        list(flat(columns.seconds for columns in gathered)),
        list(flat(columns.nanoseconds for columns in gathered)),
        list(flat(columns.lines for columns in gathered)),
        list(flat(columns.tails for columns in gathered)),
    )


def _encoded_tail(tail: dict[str, object]) -> bytes:
    return b",%b\n" % encode(tail)[1:]


def _rendered_singly(frame: Frame, others: list[tuple[int, reference.Settled]]) -> list[Documents]:
    """Encode the documents of other data streams, few as they are, by the reference's encoder."""
    made: dict[DataStream, tuple[list[bytes], list[int]]] = {}
    for index, item in others:
        if isinstance(item, reference.Ready):
            lines, places = made.setdefault(item.stream, ([], []))
            (identifier,) = document_ids(frame, index, 1)
            shared, (digits,) = event_sequences(frame, index, 1)
            lines.append(reference.encode_document(frame, item, identifier=identifier, sequence=int(shared + digits)))
            places.append(index)
    ids = document_ids(frame, 0, others[-1][0] + 1) if made else None
    return [Documents.of_lines(stream, lines, ids.picked(places)) for stream, (lines, places) in made.items() if ids]
