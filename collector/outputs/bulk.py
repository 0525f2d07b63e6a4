"""`_bulk` bodies for Elasticsearch: pure, a whole body at a time.

No step of Python per document: a body is one split and one join. No document can add, remove or alter an action line:
a document holds no raw newline, and ids are letters and digits that we made (P5).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, repeat
from typing import Final

import msgspec

from pipelines.batch import DOCUMENT_HEAD, Documents
from pipelines.frame import Position

ACTION_BYTES: Final = len(b'{"create":{"_id":""}}\n') + len(DOCUMENT_HEAD) + 64
"""What an action line, the document's head and `event.ingested` add to a document, rounded up."""

_ALL_STORED: Final = b'{"create":{"status":201}}'


class Slice(msgspec.Struct):
    """Documents of one batch: their ids, and what follows DOCUMENT_HEAD in each, without the newline."""

    position: Position
    ids: Sequence[bytes]
    tails: Sequence[bytes]

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.ids)

    def part(self, indexes: Sequence[int]) -> "Slice":
        """Return these documents only."""
        return Slice(self.position, [self.ids[at] for at in indexes], [self.tails[at] for at in indexes])

    def document(self, index: int) -> bytes:
        """Return a document as the pipeline made it."""
        return DOCUMENT_HEAD + self.tails[index]


def slices(position: Position, documents: Documents, *, limit_bytes: int) -> Iterator[Slice]:
    """Cut documents into slices whose body stays below `limit_bytes`; one larger document is a slice of its own."""
    tails = documents.ndjson[len(DOCUMENT_HEAD) : -1].split(b"\n" + DOCUMENT_HEAD)
    ends = list(accumulate(map(len, tails)))
    start = base = 0
    while start < len(tails):
        # Each further document costs its action line as well, so look for the cut among the sums of both.
        fits = bisect_right(range(len(tails)), limit_bytes, lo=start, key=lambda at: _size(ends, base, start, at))
        end = max(fits, start + 1)
        yield Slice(position, documents.ids[start:end], tails[start:end])
        base, start = ends[end - 1], end


def _size(ends: list[int], base: int, start: int, at: int) -> int:
    return ends[at] - base + (at - start + 1) * ACTION_BYTES


def size_of(part: Slice) -> int:
    """Return about how many bytes a slice takes in a body."""
    return sum(map(len, part.tails)) + len(part) * ACTION_BYTES


def body_of(parts: Sequence[Slice], ingested: str) -> bytes:
    """Return the body that creates these documents, each with `event.ingested`, an RFC 3339 time."""
    ids = [identifier for part in parts for identifier in part.ids]
    pieces: list[bytes] = [b'\n{"create":{"_id":"'] * (4 * len(ids))
    pieces[1::4] = ids
    pieces[2::4] = repeat(b'"}}\n%b"ingested":"%b",' % (DOCUMENT_HEAD, ingested.encode()), len(ids))
    pieces[3::4] = [tail for part in parts for tail in part.tails]
    pieces[0] = pieces[0][1:]
    pieces.append(b"\n")
    return b"".join(pieces)


def all_stored(count: int) -> bytes:
    """Return the answer that says every one of `count` documents was stored, and nothing else."""
    return b'{"errors":false,"items":[%b]}' % b",".join([_ALL_STORED] * count)
