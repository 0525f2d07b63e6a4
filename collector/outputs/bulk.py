"""`_bulk` bodies for Elasticsearch: pure, a whole body at a time.

No step of Python per document: a body is one join of the documents' pieces with the action lines' between. No document
can add, remove or alter an action line: a document holds no raw newline but its last byte, and ids are letters and
digits that we made (P5).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from pipelines.batch import DOCUMENT_HEAD, Documents
from pipelines.frame import Ids, Position

ACTION_BYTES: Final = len(b'{"create":{"_id":""}}\n"ingested":"2026-11-23T00:00:00.000000000Z",') + 24
"""What an action line with its id of 24 characters and `event.ingested` add to a document."""

_ALL_STORED: Final = b'{"create":{"status":201}}'


class Slice(msgspec.Struct):
    """Documents of one batch, as `pipelines.batch.Documents` cuts them into pieces. `size_bytes` is that of a body."""

    position: Position
    ids: Ids
    pieces: Sequence[bytes]
    stride: int
    size_bytes: int

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.ids)

    def part(self, indexes: Sequence[int]) -> "Slice":
        """Return these documents only."""
        documents = [self.pieces[at * self.stride : (at + 1) * self.stride] for at in indexes]
        pieces = [piece for document in documents for piece in document]
        size = sum(map(len, pieces)) + len(indexes) * ACTION_BYTES
        return Slice(self.position, self.ids.picked(indexes), pieces, self.stride, size)

    def document(self, index: int) -> bytes:
        """Return a document as the pipeline made it, without its newline."""
        return b"".join(self.pieces[index * self.stride : (index + 1) * self.stride])[:-1]


def slices(position: Position, documents: Documents, *, limit_bytes: int) -> Iterator[Slice]:
    """Cut documents into slices whose body stays below `limit_bytes`; one larger document is a slice of its own."""
    count, stride = len(documents.ids), documents.stride
    if not count:
        return
    size = documents.size_bytes + count * ACTION_BYTES
    if size <= limit_bytes:
        yield Slice(position, documents.ids, documents.pieces, stride, size)
        return
    lengths = list(map(len, documents.pieces))
    ends = list(accumulate(sum(lengths[at : at + stride]) + ACTION_BYTES for at in range(0, count * stride, stride)))
    start = base = 0
    while start < count:
        end = max(bisect_right(ends, base + limit_bytes, lo=start), start + 1)
        pieces = documents.pieces[start * stride : end * stride]
        yield Slice(position, documents.ids[start:end], pieces, stride, ends[end - 1] - base)
        base, start = ends[end - 1], end


def body_of(parts: Sequence[Slice], ingested: str) -> bytes:
    """Return the body that creates these documents, each with `event.ingested`, an RFC 3339 time."""
    made: list[bytes] = []
    between = b'"}}\n%b"ingested":"%b",' % (DOCUMENT_HEAD, ingested.encode())
    for part in parts:
        stride = part.stride + 2
        pieces: list[bytes] = [b'{"create":{"_id":"%b' % part.ids.prefix] * (stride * len(part))
        pieces[1::stride] = part.ids.suffixes
        heads = part.pieces[:: part.stride]
        opened = {head: between + head[len(DOCUMENT_HEAD) :] for head in set(heads)}
        pieces[2::stride] = map(opened.__getitem__, heads)
        for place in range(1, part.stride):
            pieces[place + 2 :: stride] = part.pieces[place :: part.stride]
        made += pieces
    return b"".join(made)


def all_stored(count: int) -> bytes:
    """Return the answer that says every one of `count` documents was stored, and nothing else."""
    return b'{"errors":false,"items":[%b]}' % b",".join([_ALL_STORED] * count)
