"""The chunk path: the same batches as the reference path, byte for byte, at a fraction of its cost.

A message whose entries all have Docker's flat shape is decoded by one call, its times are unpacked by one call, its
lines are escaped by one call, and the documents are one join of pieces that are constant for the frame, constant for
the (container, stream), or made for all records at once. Nothing is spliced but what `parsers.canonical` encoded, ids
and digits rendered from integers. All else goes record by record through `pipelines.reference`.

Measured by `make bench`; held equal to the reference by `tests/property/test_paths_agree.py`.
"""

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from parsers.canonical import encode, encode_texts
from parsers.timestamps import rfc3339, second_text
from pipelines import reference
from pipelines.batch import Batch, DataStream, Documents
from pipelines.books import RECORDS_LIMIT, Refused, close_batch, with_lookahead
from pipelines.decode.forward import GROUP_MARKS, Event
from pipelines.frame import Frame, Message, Origin, document_ids, event_sequences
from pipelines.normalize.container import normalise
from pipelines.settings import Settings

TAILS_KEPT: Final = 10_000
"""Bound of the cache of encoded tails, one per (origin, tag, container, stream); about 1 KB each."""

WHOLE_MESSAGE_LIMIT: Final = 8 << 20
"""Bytes of a message that may be decoded by one call; a larger one goes through the reference, slice by slice."""

TailKey = tuple[str, str, str]


class DockerRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What Docker's `fluentd` driver sends when it is told to add nothing."""

    container_id: str
    container_name: str
    source: str
    log: str


class _Options(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    chunk: str = ""


_decode_entries = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, DockerRecord]]).decode
_decode_messages = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw, DockerRecord, _Options]]).decode
_identity = attrgetter("container_id", "container_name", "source")
_line = attrgetter("log")


class Columns(msgspec.Struct):
    """Records of one message, ready to be spliced: the chunk path's counterpart of many `reference.Ready`."""

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: list[str]
    tails: list[bytes]

    def cut(self, start: int, end: int) -> "Columns":
        """Return the records from `start` up to `end`."""
        return Columns(
            self.seconds[start:end], self.nanoseconds[start:end], self.lines[start:end], self.tails[start:end]
        )


Piece = Columns | reference.Settled


class ChunkPath:
    """Makes batches; keeps the encoded tails of the containers it saw, which no output depends on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stream = settings.container_stream
        self._tails: dict[tuple[Origin, bytes], dict[TailKey, bytes]] = {}
        self._tails_of: object = None
        self._tails_kept = 0

    def process(self, frame: Frame) -> Iterator[Batch]:
        """Make the batches of a frame: one, or slices of RECORDS_LIMIT records."""
        writer = (frame.journal, frame.epoch)
        if writer != self._tails_of or self._tails_kept > TAILS_KEPT:
            self._tails.clear()
            self._tails_of, self._tails_kept = writer, 0
        first = 0
        for (pieces, count), last in with_lookahead(_slices(self._pieces(frame))):
            yield self._assemble(frame, pieces, range(first, first + count), last=last)
            first += count
        if not first:
            yield close_batch(frame, (), [], records=range(0), last=True)

    def _pieces(self, frame: Frame) -> Iterator[Piece]:
        for message, encoding, payload in reference.messages(frame):
            columns = self._columns(frame, message, encoding, payload)
            if columns is not None:
                yield columns
            else:
                yield from reference.settle(frame, message, encoding, payload, self._settings)

    def _columns(self, frame: Frame, message: Message, encoding: str, payload: memoryview) -> Columns | None:
        """Decode a message by one call, or return None where it is not of the flat shape through and through."""
        count = message.claimed
        if not 0 < count <= len(payload) or len(payload) > WHOLE_MESSAGE_LIMIT:
            return None
        counted = b"".join((b"\xdd", count.to_bytes(4, "big"), payload))
        tags: Sequence[str] | None = None
        try:
            if encoding == "forward":
                stamps, records = zip(*_decode_entries(counted), strict=True)
            elif encoding == "forward-message":
                tags, stamps, records, _ = zip(*_decode_messages(counted), strict=True)
            else:
                return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        times = unpack_times(stamps)
        if times is None:
            return None
        origin = frame.origins[message.origin]
        if tags is None or len(set(tags)) == 1:
            tails = self._tails_for(frame, origin, (tags[0].encode() if tags else b"") or message.tag, records)
        else:
            tails = [
                self._tails_for(frame, origin, tag.encode() or message.tag, [record])[0]
                for tag, record in zip(tags, records, strict=True)
            ]
        return Columns(*times, list(map(_line, records)), tails)

    def _tails_for(self, frame: Frame, origin: Origin, tag: bytes, records: Sequence[DockerRecord]) -> list[bytes]:
        known = self._tails.setdefault((origin, tag), {})
        try:
            return list(map(known.__getitem__, map(_identity, records)))
        except KeyError:
            for key in set(map(_identity, records)).difference(known):
                known[key] = self._tail(frame, origin, tag, key)
                self._tails_kept += 1
        return list(map(known.__getitem__, map(_identity, records)))

    def _tail(self, frame: Frame, origin: Origin, tag: bytes, key: TailKey) -> bytes:
        """Encode what all documents of this container, stream and origin end with, by the reference's own function."""
        container_id, container_name, source = key
        record = {"container_id": container_id, "container_name": container_name, "source": source, "log": ""}
        line = normalise(Event((1, 0), record), frame=frame, origin=origin, tag=tag, settings=self._settings)
        return _encoded_tail(line.tail)

    def _assemble(self, frame: Frame, pieces: list[Piece], records: range, *, last: bool) -> Batch:
        """Join the columns of all messages into one, keeping each record's index; see to the rest one by one."""
        now = divmod(frame.journal_time, 1_000_000_000)
        gathered: list[Columns] = []
        indexes: list[range] = []
        others: list[tuple[int, reference.Settled]] = []
        index = records.start
        for piece in pieces:
            if isinstance(piece, reference.Ready) and piece.stream == self._stream:
                second, nanosecond = piece.time or now
                columns = Columns([second], [nanosecond], [piece.message], [_encoded_tail(piece.tail)])
            elif isinstance(piece, Columns):
                columns = piece
            else:
                others.append((index, piece))
                index += 1
                continue
            gathered.append(columns)
            indexes.append(range(index, index + len(columns.lines)))
            index += len(columns.lines)
        documents = [self._render(frame, _joined(gathered), indexes, records)] if indexes else []
        documents += _rendered_singly(frame, others)
        refused = [(at, item) for at, item in others if isinstance(item, Refused)]
        return close_batch(frame, tuple(documents), refused, records=records, last=last)

    def _render(self, frame: Frame, columns: Columns, indexes: list[range], records: range) -> Documents:
        """Join all documents of the batch by one call.

        Slice assignment lays the pieces of each document side by side without a step of Python per document.
        """
        ids = document_ids(frame, records.start, len(records))
        shared, digits = event_sequences(frame, records.start, len(records))
        count = len(columns.lines)
        if count != len(records):
            offsets = [index - records.start for index in itertools.chain.from_iterable(indexes)]
            ids, digits = [ids[at] for at in offsets], [digits[at] for at in offsets]
        created = rfc3339(frame.journal_time).encode()
        event = encode(reference.container_event(self._settings))[1:]
        stamps = {second: b'",%b,"@timestamp":"%b' % (event, second_text[second]) for second in set(columns.seconds)}
        width = len(b'%09dZ","message":' % 0)
        nanoseconds = (b'%09dZ","message":' * count) % tuple(columns.nanoseconds)
        parts: list[bytes] = [b'{"event":{"created":"%b","sequence":%b' % (created, shared)] * (8 * count)
        parts[1::8] = digits
        parts[2::8] = itertools.repeat(b',"id":"', count)
        parts[3::8] = ids
        parts[4::8] = map(stamps.__getitem__, columns.seconds)
        parts[5::8] = [nanoseconds[at : at + width] for at in range(0, width * count, width)]
        parts[6::8] = encode_texts(columns.lines)
        parts[7::8] = columns.tails
        return Documents(self._stream, b"".join(parts), ids)


def unpack_times(stamps: Sequence[msgspec.Raw]) -> tuple[Sequence[int], Sequence[int]] | None:
    """Unpack the times of a message into seconds and nanoseconds, or return None where they share no common form.

    The forms are EventTime as fixext 8, the same with an empty metadata map, and 32-bit integers. That every stamp has
    the form follows from its first bytes standing at each step: a stamp that begins with a form's first bytes is as
    long as the form, so the next one begins where the step says.
    """
    joined = b"".join(stamps)
    count = len(stamps)
    size, rest = divmod(len(joined), count)
    form = _FORMS.get((joined[:1], size))
    if rest or form is None:
        return None
    marks, unpack = form
    if any(joined[at::size] != mark * count for at, mark in marks):
        return None
    seconds, *fraction = zip(*unpack(joined), strict=True)
    nanoseconds: Sequence[int] = fraction[0] if fraction else [0] * count
    if min(seconds) <= 0 or max(seconds) >= min(GROUP_MARKS) or max(nanoseconds) >= 1_000_000_000:
        return None
    return seconds, nanoseconds


_EVENT_TIME: Final = ((0, b"\xd7"), (1, b"\x00"))
_FORMS: Final[dict[tuple[bytes, int], tuple[tuple[tuple[int, bytes], ...], Callable[[bytes], Iterator[Any]]]]] = {
    (b"\xd7", 10): (_EVENT_TIME, struct.Struct(">2xII").iter_unpack),
    (b"\x92", 12): (
        ((0, b"\x92"), (1, b"\xd7"), (2, b"\x00"), (11, b"\x80")),
        struct.Struct(">3xIIx").iter_unpack,
    ),
    (b"\xce", 5): (((0, b"\xce"),), struct.Struct(">xI").iter_unpack),
    (b"\xd2", 5): (((0, b"\xd2"),), struct.Struct(">xi").iter_unpack),
}
"""(first byte, size) of a stamp -> the bytes that must stand at each place, and what unpacks all stamps."""


def _slices(pieces: Iterator[Piece]) -> Iterator[tuple[list[Piece], int]]:
    """Group pieces into slices of RECORDS_LIMIT records, cutting columns where a slice ends."""
    held: list[Piece] = []
    count = 0
    for piece in pieces:
        size = len(piece.lines) if isinstance(piece, Columns) else 1
        start = 0
        while isinstance(piece, Columns) and size - start > RECORDS_LIMIT - count:
            cut = start + RECORDS_LIMIT - count
            yield [*held, piece.cut(start, cut)], RECORDS_LIMIT
            held, count, start = [], 0, cut
        held.append(piece.cut(start, size) if start and isinstance(piece, Columns) else piece)
        count += size - start
        if count == RECORDS_LIMIT:
            yield held, count
            held, count = [], 0
    if held:
        yield held, count


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
    made: dict[DataStream, tuple[list[bytes], list[bytes]]] = {}
    for index, item in others:
        if isinstance(item, reference.Ready):
            lines, ids = made.setdefault(item.stream, ([], []))
            (identifier,) = document_ids(frame, index, 1)
            shared, (digits,) = event_sequences(frame, index, 1)
            lines.append(reference.encode_document(frame, item, identifier=identifier, sequence=int(shared + digits)))
            ids.append(identifier)
    return [Documents(stream, b"".join(lines), ids) for stream, (lines, ids) in made.items()]
