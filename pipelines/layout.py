"""How documents of the chunk path lie in memory: columns of what varies, laid side by side by a few calls.

A document is six buffers and two for the output. Nothing in them was escaped or rendered but by `parsers.canonical`,
or from integers:

| buffers | hold |
| --- | --- |
| 2 | ENVELOPE |
| 3 | `{"event":{"created":…,"sequence":`, its digits, `,"id":"` with what the ids share |
| 1 | the rest of the id |
| 1 | its middle (`pipelines.middles`): from there to within `tidewaiter`, all that varies by line |
| 1 | all that is constant for the stream, and the newline |
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from parsers.timestamps import rfc3339, second_text
from pipelines.batch import ENVELOPE, Documents
from pipelines.books import RECORDS_LIMIT
from pipelines.frame import Frame, Ids, document_ids, event_sequences
from pipelines.normalize.parsed import Document
from pipelines.settings import Settings
from pipelines.settled import Settled, skipped_behind, weight_of

STRIDE: Final = 8


class Part(msgspec.Struct):
    """Records of one message that go to one data stream: their places among its records, and two columns of bytes."""

    dataset: str | None
    offsets: Sequence[int]
    middles: Sequence[bytes]
    tails: Sequence[bytes]

    def cut(self, start: int, end: int) -> "Part":
        """Return those with offsets from `start` up to `end`, which then count from `start`."""
        first, last = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        offsets = [offset - start for offset in self.offsets[first:last]]
        return Part(self.dataset, offsets, self.middles[first:last], self.tails[first:last])


def merged(parts: list[Part], size: int) -> Part:
    """Put parts of one dataset together, in the order of their records, of which the message has `size`."""
    if len(parts) == 1:
        return parts[0]
    middles, tails = [b""] * size, [b""] * size
    for part in parts:
        for at, middle, tail in zip(part.offsets, part.middles, part.tails, strict=True):
            middles[at], tails[at] = middle, tail
    if sum(len(part.offsets) for part in parts) == size:
        return Part(parts[0].dataset, range(size), middles, tails)
    offsets = sorted(at for part in parts for at in part.offsets)
    return Part(parts[0].dataset, offsets, [middles[at] for at in offsets], [tails[at] for at in offsets])


class Lines(msgspec.Struct):
    """All records of one message, or of neighbours decoded together: `size` of them, in parts by data stream."""

    size: int
    parts: list[Part]

    def cut(self, start: int, end: int) -> "Lines":
        """Return the records from `start` up to `end`."""
        parts = [part.cut(start, end) for part in self.parts]
        return Lines(end - start, [part for part in parts if part.offsets])


Span = Lines | Settled


def singly(document: Document, dataset: str | None, journal_time: int) -> Part:
    """Lay out one document that the reference made."""
    second, nanosecond = document.time or divmod(journal_time, 1_000_000_000)
    event, message, tail = document.parts
    middle = b'",%b},"@timestamp":"%b%09dZ","message":%b' % (event, second_text[second], nanosecond, message)
    return Part(dataset, [0], [middle], [b",%b}\n" % tail])


def slices(spans: Iterator[Span]) -> Iterator[tuple[list[Span], int]]:
    """Group spans into slices of RECORDS_LIMIT records, each with the number of these, cutting lines where one ends.

    What derives from a record counts as much as one.
    """
    held: list[Span] = []
    count = weight = 0
    for span in spans:
        size = span.size if isinstance(span, Lines) else 1
        start = 0
        while isinstance(span, Lines) and size - start > RECORDS_LIMIT - weight:
            cut = start + RECORDS_LIMIT - weight
            yield [*held, span.cut(start, cut)], count + cut - start
            held, count, weight, start = [], 0, 0, cut
        held.append(span.cut(start, size) if start and isinstance(span, Lines) else span)
        count += size - start
        weight += size - start if isinstance(span, Lines) else weight_of(span)
        if weight >= RECORDS_LIMIT or skipped_behind(span):
            yield held, count
            held, count, weight = [], 0, 0
    if held:
        yield held, count


class Heads(msgspec.Struct):
    """What positions say of the documents of one batch, made once for all data streams."""

    ids: Ids
    digits: list[bytes]
    start: list[bytes]


def heads(frame: Frame, records: range) -> Heads:
    """Render the ids, sequences and `event.created` of these records."""
    ids = document_ids(frame, records.start, len(records))
    shared, digits = event_sequences(frame, records.start, len(records))
    created = rfc3339(frame.journal_time).encode()
    start = [*ENVELOPE, b'{"event":{"created":"%b","sequence":%b' % (created, shared), b"", b',"id":"%b' % ids.prefix]
    return Heads(ids, digits, start)


def render(head: Heads, parts: list[tuple[int, Part]], settings: Settings) -> Documents:
    """Lay out the documents of one data stream: parts, each with the place of its message in the batch.

    Slice assignment lays the buffers of each document side by side without a step of Python per document.
    """
    ids, digits, start = head.ids, head.digits, head.start
    offsets, middles, tails = _joined(parts)
    count = len(offsets)
    if count != len(ids):
        ids, digits = ids.picked(offsets), list(map(digits.__getitem__, offsets))
    buffers: list[bytes] = [*start, *[b""] * (STRIDE - len(start))] * count
    buffers[3::STRIDE] = digits
    buffers[5::STRIDE] = ids.suffixes
    buffers[6::STRIDE] = middles
    buffers[7::STRIDE] = tails
    fixed = sum(map(len, buffers[:6]))
    size = count * fixed + sum(map(len, middles)) + sum(map(len, tails))
    stream = settings.stream_of(parts[0][1].dataset)
    return Documents(stream, ids, buffers, stride=STRIDE, size_bytes=size)


def _joined(parts: list[tuple[int, Part]]) -> tuple[Sequence[int], Sequence[bytes], Sequence[bytes]]:
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1].offsets, parts[0][1].middles, parts[0][1].tails
    flat = itertools.chain.from_iterable
    return (
        list(flat(map(place.__add__, part.offsets) for place, part in parts)),
        list(flat(part.middles for _, part in parts)),
        list(flat(part.tails for _, part in parts)),
    )
