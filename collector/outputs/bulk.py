"""`_bulk` bodies for Elasticsearch: pure, a batch at a time.

No step of Python per document: each batch's part is one join of its buffers with the action lines' between. No document
can add, remove or alter an action line: a document holds no raw newline but its last byte, and ids are letters and
digits that we made (P5).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, groupby
from math import ceil
from typing import Final

import msgspec

from parsers.timestamps import rfc3339
from pipelines.batch import DOCUMENT_HEAD, ENVELOPE, Documents
from pipelines.frame import Ids, Position

ACTION_HEAD: Final = b'{"create":{"_id":"'
ACTION_END: Final = b'"}}'

INGESTED: Final = DOCUMENT_HEAD + b'"ingested":"%b",'
INGESTED_BYTES: Final = len(b'"ingested":"2026-11-23T00:00:00.000000000Z",')
"""`event.ingested` stands first in each document of a body and has one width, so it can be replaced in place."""

FRESH_NS: Final = 1_000_000_000
"""`event.ingested` may be so old when a body is sent first."""

ACTION_BYTES: Final = len(ACTION_HEAD) + len(ACTION_END) + 1 + INGESTED_BYTES
"""What an action line and `event.ingested` add to a document, beside its id."""

_ALL_STORED: Final = b'{"create":{"status":201}}'


class Slice(msgspec.Struct):
    """Documents of one batch, as `pipelines.batch.Documents` cuts them into buffers.

    `size_bytes` is what they take in a body.
    """

    position: Position
    ids: Ids
    buffers: Sequence[bytes]
    stride: int
    size_bytes: int

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.ids)

    def rendered(self, ingested: str) -> bytes:
        """Return the lines that create these documents, each with `event.ingested`, an RFC 3339 time of nine digits."""
        made = [*self.buffers]
        between = ACTION_END + b"\n" + INGESTED % ingested.encode()
        heads = made[len(ENVELOPE) :: self.stride]
        opened = {head: between + head[len(DOCUMENT_HEAD) :] for head in set(heads)}
        made[:: self.stride] = [ACTION_HEAD + self.ids.prefix] * len(self)
        made[1 :: self.stride] = self.ids.suffixes
        made[len(ENVELOPE) :: self.stride] = map(opened.__getitem__, heads)
        return b"".join(made)


class Body:
    """A request's body in parts, and what its documents are of: `shares` counts them by batch, in their order.

    Only its bytes are kept, and what has to go again is cut from them: the buffers that they are made of are a dozen
    objects a document, which would keep the next batches from memory that the processor still has at hand (measured:
    0.2 us per event while a body gathered, and as much while it was on its way).
    """

    def __init__(self, ingested: str, parts: Sequence[bytes] = (), shares: Iterable[tuple[Position, int]] = ()) -> None:
        self.ingested = ingested
        self.parts = [*parts]
        self.shares = [*shares]
        self.size_bytes = sum(map(len, self.parts))

    def add(self, part: Slice) -> None:
        """Put a batch's documents behind those that are there; while the body is not on its way."""
        content = part.rendered(self.ingested)
        self.parts.append(content)
        self.shares.append((part.position, len(part)))
        self.size_bytes += len(content)

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._ends[-1] if self.shares else 0

    @property
    def content(self) -> bytes:
        """All parts in one; made anew each time."""
        return b"".join(self.parts)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(count for _, count in self.shares))

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.content.split(b"\n")

    def position(self, index: int) -> Position:
        """Return the position of a document's batch."""
        return self.shares[bisect_right(self._ends, index)][0]

    def identifier(self, index: int) -> str:
        """Return a document's id."""
        return self._lines[2 * index][len(ACTION_HEAD) : -len(ACTION_END)].decode()

    def document(self, index: int) -> bytes:
        """Return a document as the pipeline made it, without its newline."""
        line = self._lines[2 * index + 1]
        return DOCUMENT_HEAD + line[len(DOCUMENT_HEAD) + INGESTED_BYTES :]

    def only(self, indexes: Sequence[int]) -> "Body":
        """Return a body of these documents, which are named in ascending order."""
        lines = self._lines
        chosen = [line for index in indexes for line in (lines[2 * index], lines[2 * index + 1])]
        return Body(self.ingested, [b"\n".join([*chosen, b""])], shares_of(map(self.position, indexes)))

    def replaced(self, documents: Mapping[int, bytes]) -> "Body":
        """Return a body of these documents, named in ascending order, each as given here: without `event.ingested`."""
        head = INGESTED % self.ingested.encode()
        lines = [
            line
            for index, document in documents.items()
            for line in (self._lines[2 * index], head + document[len(DOCUMENT_HEAD) :])
        ]
        return Body(self.ingested, [b"\n".join([*lines, b""])], shares_of(map(self.position, documents)))

    def halves(self) -> tuple["Body", "Body"]:
        """Return two bodies of about as many documents; there must be two at least."""
        middle = len(self) // 2
        return self.only(range(middle)), self.only(range(middle, len(self)))

    def sent_at(self, now_ns: int) -> "Body":
        """Return the same documents with an `event.ingested` that is not long ago: they may have waited their turn."""
        fresh = self.ingested >= rfc3339(now_ns - FRESH_NS)
        return self if fresh else self.stamped(rfc3339(now_ns))

    def stamped(self, ingested: str) -> "Body":
        """Return the same documents with another `event.ingested`."""
        old, new = INGESTED % self.ingested.encode(), INGESTED % ingested.encode()
        return Body(ingested, [part.replace(b"\n" + old, b"\n" + new) for part in self.parts], self.shares)


def shares_of(positions: Iterable[Position]) -> list[tuple[Position, int]]:
    """Count documents by batch, given the position of each one's batch in ascending order."""
    return [(position, sum(1 for _ in same)) for position, same in groupby(positions)]


def slices(position: Position, documents: Documents, *, limit_bytes: int) -> Iterator[Slice]:
    """Cut documents into slices whose body stays below `limit_bytes`; one larger document is a slice of its own."""
    count, stride = len(documents.ids), documents.stride
    size = documents.size_bytes + count * ACTION_BYTES + documents.ids.size_bytes
    if size <= limit_bytes:
        if count:
            yield Slice(position, documents.ids, documents.buffers, stride, size)
        return
    # Equal parts, and those that are too large again in equal parts: a look at each document would cost more than
    # the body itself.
    length = ceil(count / ceil(size / limit_bytes))
    for start in range(0, count, length):
        end = min(start + length, count)
        buffers = documents.buffers[start * stride : end * stride]
        part = Documents(documents.stream, documents.ids[start:end], buffers, stride=stride, size_bytes=_size(buffers))
        if end - start > 1:
            yield from slices(position, part, limit_bytes=limit_bytes)
        else:
            yield Slice(position, part.ids, buffers, stride, part.size_bytes + ACTION_BYTES + part.ids.size_bytes)


def _size(buffers: Sequence[bytes]) -> int:
    return sum(map(len, buffers))


def all_stored(count: int) -> bytes:
    """Return the answer that says every one of `count` documents was stored, and nothing else."""
    return b'{"errors":false,"items":[%b]}' % b",".join([_ALL_STORED] * count)
