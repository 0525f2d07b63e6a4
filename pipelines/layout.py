"""How documents of the chunk path lie in memory: columns of what varies, laid side by side by a few calls.

A document is nine buffers and two for the output. Nothing in them was escaped or rendered but by `parsers.canonical`,
from integers, or by `parsers.splice`:

| buffers | hold |
| --- | --- |
| 2 | ENVELOPE |
| 3 | `{"event":{"created":…,"sequence":`, its digits, `,"id":"` with what the ids share |
| 1 | the rest of the id |
| 1 | `",` the rest of `event`, `},"@timestamp":"` and the second |
| 1 | the nanosecond and `Z","message":` |
| 1 | the message |
| 1 | what a parser found, and `,"related":{` |
| 1 | all that is constant for the stream, and the newline |
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from parsers.canonical import encode, encode_texts
from parsers.timestamps import rfc3339, second_text
from pipelines.batch import ENVELOPE, Documents
from pipelines.books import RECORDS_LIMIT
from pipelines.frame import Frame, document_ids, event_sequences
from pipelines.normalize.parsed import Document
from pipelines.reference import Settled
from pipelines.settings import Settings

STRIDE: Final = 11
NO_FIELDS: Final = b',"related":{'
"""What stands between message and tail where no parser found anything."""


class Part(msgspec.Struct):
    """Records of one message that go to one data stream, as columns. `offsets` are their places among its records."""

    dataset: str | None
    offsets: Sequence[int]
    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    messages: list[str]
    events: list[bytes]
    fields: list[bytes]
    tails: list[bytes]

    def picked(self, dataset: str | None, offsets: list[int]) -> "Part":
        """Return those at these offsets, which are also their places, as the part of a dataset."""
        return Part(
            dataset,
            offsets,
            [self.seconds[at] for at in offsets],
            [self.nanoseconds[at] for at in offsets],
            [self.messages[at] for at in offsets],
            [self.events[at] for at in offsets],
            [self.fields[at] for at in offsets],
            [self.tails[at] for at in offsets],
        )

    def cut(self, start: int, end: int) -> "Part":
        """Return those with offsets from `start` up to `end`, which then count from `start`."""
        first, last = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        return Part(
            self.dataset,
            [offset - start for offset in self.offsets[first:last]],
            self.seconds[first:last],
            self.nanoseconds[first:last],
            self.messages[first:last],
            self.events[first:last],
            self.fields[first:last],
            self.tails[first:last],
        )


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
    event = encode(document.event)[1:-1]
    tail = b",%b\n" % encode(document.tail)[1:]
    return Part(dataset, [0], [second], [nanosecond], [document.message], [event], [b""], [tail])


def slices(spans: Iterator[Span]) -> Iterator[tuple[list[Span], int]]:
    """Group spans into slices of RECORDS_LIMIT records, cutting lines where a slice ends."""
    held: list[Span] = []
    count = 0
    for span in spans:
        size = span.size if isinstance(span, Lines) else 1
        start = 0
        while isinstance(span, Lines) and size - start > RECORDS_LIMIT - count:
            cut = start + RECORDS_LIMIT - count
            yield [*held, span.cut(start, cut)], RECORDS_LIMIT
            held, count, start = [], 0, cut
        held.append(span.cut(start, size) if start and isinstance(span, Lines) else span)
        count += size - start
        if count == RECORDS_LIMIT:
            yield held, count
            held, count = [], 0
    if held:
        yield held, count


def render(frame: Frame, parts: list[tuple[int, Part]], records: range, settings: Settings) -> Documents:
    """Lay out the documents of one data stream: parts, each with the place of its message in the batch.

    Slice assignment lays the buffers of each document side by side without a step of Python per document.
    """
    ids = document_ids(frame, records.start, len(records))
    shared, digits = event_sequences(frame, records.start, len(records))
    part = _joined(parts)
    count = len(part.offsets)
    if count != len(records):
        ids, digits = ids.picked(part.offsets), [digits[at] for at in part.offsets]
    created = rfc3339(frame.journal_time).encode()
    start = [*ENVELOPE, b'{"event":{"created":"%b","sequence":%b' % (created, shared), b"", b',"id":"%b' % ids.prefix]
    stamps = _Stamps()
    messages = encode_texts(part.messages)
    buffers: list[bytes] = [*start, *[b""] * (STRIDE - len(start))] * count
    buffers[3::STRIDE] = digits
    buffers[5::STRIDE] = ids.suffixes
    buffers[6::STRIDE] = map(stamps.__getitem__, zip(part.events, part.seconds, strict=True))
    buffers[7::STRIDE] = map(b'%09dZ","message":'.__mod__, part.nanoseconds)
    buffers[8::STRIDE] = messages
    buffers[9::STRIDE] = part.fields
    buffers[10::STRIDE] = part.tails
    fixed = sum(map(len, buffers[:6])) + len(buffers[7])
    varying = (buffers[6::STRIDE], messages, part.fields, part.tails)
    size = count * fixed + sum(sum(map(len, column)) for column in varying)
    stream = settings.stream_of(part.dataset)
    return Documents(stream, ids, buffers, stride=STRIDE, size_bytes=size)


class _Stamps(dict[tuple[bytes, int], bytes]):
    """The end of `event` and the second, by both."""

    def __missing__(self, key: tuple[bytes, int]) -> bytes:
        event, second = key
        stamp = self[key] = b'",%b},"@timestamp":"%b' % (event, second_text[second])
        return stamp


def _joined(parts: list[tuple[int, Part]]) -> Part:
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1]
    flat = itertools.chain.from_iterable
    return Part(
        parts[0][1].dataset,
        [place + offset for place, part in parts for offset in part.offsets],
        list(flat(part.seconds for _, part in parts)),
        list(flat(part.nanoseconds for _, part in parts)),
        list(flat(part.messages for _, part in parts)),
        list(flat(part.events for _, part in parts)),
        list(flat(part.fields for _, part in parts)),
        list(flat(part.tails for _, part in parts)),
    )
