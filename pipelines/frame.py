"""What flows from the journal into the pipeline: frames, their messages and runs, and the positions that name records.

A frame is what the journal holds and a worker takes up at once (design section 4). The types are plain data: the bytes
of a frame on disk are `collector.journal.format`'s business.
"""

from typing import Final, NamedTuple

import msgspec

INDEX_BITS: Final = 25
"""A record's index within its frame takes 25 bits: a 64 MiB message holds fewer than 2**25 entries of two bytes."""

ALPHABET: Final = b"0123456789abcdefghijklmnopqrstuv"
"""The base32hex alphabet (RFC 4648 section 7) in lower case: ids sort as text the way their positions sort."""


class Position(NamedTuple):
    """Where a record lies in the journal; tuples compare in journal order within a partition."""

    partition: int
    epoch: int
    sequence: int
    record: int = 0


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Where messages came from and what their connection proved, never what their content claims.

    `input` is the input's configured name; `transport` is `tcp`, `unix` or `internal`; `peer` is the address as text
    without the port (`192.0.2.7`, `2001:db8::7`), `unix:uid=0` for a Unix socket, or an internal producer's name;
    `auth` names what was proven (empty: nothing).
    """

    input: str
    transport: str
    peer: str
    auth: str = ""


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a frame's table: a message as its sender delimited it.

    `origin` indexes the frame's origins. `length` is its number of payload bytes; messages follow one another in the
    payload in table order. `tag` is the Forward tag's bytes where the tag is not part of the payload. `chunk` is the
    client's chunk id, `digest` the keyed hash of the bytes as they came (both empty when no acknowledgement was asked
    for). `claimed` is the number of records the sender claims, -1 when it does not say.
    """

    origin: int
    length: int
    tag: bytes = b""
    chunk: bytes = b""
    digest: bytes = b""
    claimed: int = -1


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive messages of one encoding, decoded by one call."""

    encoding: str
    messages: int


class Producer(msgspec.Struct, frozen=True, array_like=True):
    """The triple an internal producer's frame carries: an equal or lower sequence is acknowledged and dropped."""

    name: str
    sequence: int
    cursor: bytes = b""


class JournalIdentity(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote a segment: the journal's random 24-bit id and the collector's name (`observer.*`, `agent.*`)."""

    id: int
    name: str


class Frame(msgspec.Struct, frozen=True):
    """A durable frame. `journal_time` is in nanoseconds since the Unix epoch and never goes back.

    `payload` holds the messages' bytes, run after run; it is never changed.
    """

    journal: JournalIdentity
    partition: int
    epoch: int
    sequence: int
    journal_time: int
    origins: tuple[Origin, ...]
    messages: tuple[Message, ...]
    runs: tuple[Run, ...]
    payload: memoryview
    producer: Producer | None = None

    @property
    def position(self) -> Position:
        """The position of the frame's first record."""
        return Position(self.partition, self.epoch, self.sequence)


def _base32(number: int, characters: int) -> bytes:
    return bytes(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(characters)))


def id_prefix(frame: Frame) -> bytes:
    """The 19 characters that the ids of all documents of a frame share.

    They hold epoch (32 bits), journal id (24), partition (4) and frame sequence (35), so ids sort by time, and two
    collectors, or a journal made anew, never give the same id (P8).
    """
    number = (frame.epoch << 63) | (frame.journal.id << 39) | (frame.partition << 35) | frame.sequence
    return _base32(number, 19)


class _Suffixes(list[bytes]):
    """The last five characters of ids by record index, made once and kept (24 bytes each, as many as one frame had)."""

    def first(self, count: int) -> list[bytes]:
        for index in range(len(self), count):
            self.append(_base32(index, 5))
        return self[:count]


_suffixes = _Suffixes()


def id_suffixes(count: int) -> list[bytes]:
    """The id suffixes of the records 0 to `count` - 1 of any frame."""
    return _suffixes.first(count)


def document_id(frame: Frame, index: int) -> bytes:
    """`_id` and `event.id` of the record at `index`: 24 characters of base32hex."""
    return id_prefix(frame) + _base32(index, 5)


def event_sequence(frame: Frame, index: int) -> int:
    """`event.sequence`: orders the records of one epoch as they lie in the journal."""
    return frame.sequence << INDEX_BITS | index
