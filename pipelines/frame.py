"""What flows from the journal into the pipeline: frames, their messages and runs, and the positions that name records.

A frame is what the journal holds and a worker takes up at once (design section 4). The types are plain data: the bytes
of a frame on disk are `collector.journal.format`'s business.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, overload

import msgspec

INDEX_LIMIT: Final = 1 << 25
"""A record's index within its frame: a 64 MiB message holds fewer than 2**25 entries of two bytes."""

ALPHABET: Final = b"0123456789abcdefghijklmnopqrstuv"
"""The base32hex alphabet (RFC 4648 section 7) in lower case: ids sort as text the way their positions sort."""


INTERNAL: Final = "internal"
"""The transport of what our own processes append."""


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
    `auth` names what was proven (empty: nothing): `certificate:NAME`, `key:NAME` or `shared-key`, `user:NAME`, joined
    by `+` (`auth_text`, `proven_name`); `token:NAME` is a bearer token of that name.
    """

    input: str
    transport: str
    peer: str
    auth: str = ""


def auth_text(proven: Iterable[str]) -> str:
    """Return what `Origin.auth` says; a name cannot say what another part would."""
    return "+".join(part.replace("%", "%25").replace("+", "%2B") for part in proven)


def proven_name(auth: str, kind: str) -> str:
    """Return the name that was proven by a `certificate`, a `key` or as a `user`; empty where none was."""
    for part in auth.split("+"):
        if part.startswith(f"{kind}:"):
            return part.removeprefix(f"{kind}:").replace("%2B", "+").replace("%25", "%")
    return ""


class Sending(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a message with a chunk id was sent: as the `ordinal`-th of a connection, with `ahead` before it not settled.

    Connections are numbered across restarts. `first` is connection and ordinal of the stored message that this one
    repeats; its bytes are not kept again.
    """

    connection: int
    ordinal: int
    ahead: int
    first: tuple[int, int] | None = None


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a frame's table: a message as its sender delimited it.

    `origin` indexes the frame's origins. `length` is its number of payload bytes; messages follow one another in the
    payload in table order. `tag` is the Forward tag's bytes where the tag is not part of the payload. `chunk_id` is the
    client's chunk id, `digest` the keyed hash of the bytes as they came (both empty when no acknowledgement was asked
    for). `claimed` is the number of records the sender claims, -1 when it does not say. `sending` is given where there
    is a chunk id, and the intake looks for resends. `portions` are sequence and offset of the frames that hold what
    comes before these bytes of a long message; who follows the journal gets it whole, and none.
    """

    origin: int
    length: int
    tag: bytes = b""
    chunk_id: bytes = b""
    digest: bytes = b""
    claimed: int = -1
    sending: Sending | None = None
    portions: tuple[tuple[int, int], ...] = ()


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


ID_CHARACTERS: Final = 24
"""Of the id of a document that derives from no other: those, and five for the index."""

INDEXES_KEPT: Final = 1 << 17
"""How many indexes have their texts kept (about 12 MB); rarer, larger frames render theirs anew."""


class _Rendered(list[bytes]):
    """Texts of the indexes 0, 1, 2, …, made once: rendering them costs more than all else in a document's head."""

    def __init__(self, render: Callable[[int], bytes]) -> None:
        super().__init__()
        self._render = render

    def slice(self, first: int, count: int) -> list[bytes]:
        end = first + count
        self.extend(map(self._render, range(len(self), min(end, INDEXES_KEPT))))
        return self[first:end] + list(map(self._render, range(max(first, len(self)), end)))


_id_suffixes = _Rendered(lambda index: _base32(index, 5))
_sequence_digits = _Rendered(lambda index: b"%08d" % index)


class Ids(Sequence[bytes]):
    """Ids of documents: a prefix they share (none where they are of several frames) and a suffix each.

    Both are joined only where somebody looks.
    """

    def __init__(self, prefix: bytes, suffixes: list[bytes]) -> None:
        self.prefix = prefix
        self.suffixes = suffixes

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.suffixes)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> "Ids": ...
    def __getitem__(self, at: int | slice) -> "bytes | Ids":
        """Return one id, or the ids of a slice."""
        if isinstance(at, slice):
            return Ids(self.prefix, self.suffixes[at])
        return self.prefix + self.suffixes[at]

    def __eq__(self, other: object) -> bool:
        """Compare as ids."""
        if not isinstance(other, Ids):
            return NotImplemented
        return (self.prefix, self.suffixes) == (other.prefix, other.suffixes)

    __hash__ = None  # type: ignore[assignment]

    @property
    def size_bytes(self) -> int:
        """The length of all ids."""
        return len(self.prefix) * len(self.suffixes) + sum(map(len, self.suffixes))

    def picked(self, places: Iterable[int]) -> "Ids":
        """Return the ids at these places."""
        return Ids(self.prefix, list(map(self.suffixes.__getitem__, places)))


def document_ids(frame: Frame, first: int, count: int) -> Ids:
    """`_id` and `event.id` of `count` records from index `first` on: 24 characters of base32hex each."""
    return Ids(id_prefix(frame), _id_suffixes.slice(first, count))


def position_of(identifier: bytes) -> Position:
    """Return the position of the record that a document is of, or derives from, by its id."""
    number = int(identifier[:ID_CHARACTERS], 32)
    return Position(number >> 60 & 15, number >> 88, number >> 25 & (1 << 35) - 1, number & INDEX_LIMIT - 1)


DERIVED_CHARACTERS: Final = 3
"""What the id of a document has more that derives from another: up to 32,768 derive from one."""


def derived_ids(identifier: bytes, count: int) -> list[bytes]:
    """Ids of documents that derive from one: they begin with its id and sort between it and the next record's."""
    return [identifier + _base32(number, DERIVED_CHARACTERS) for number in range(count)]


ALERT_CHARACTERS: Final = 13
"""What the id of an alert has more than that of its document, which may derive from another itself: 65 bits of a hash.
Documents differ in length from what derives from them, so no two of one record are alike."""


def alert_id(identifier: bytes, rule: str) -> bytes:
    """Id of the alert that a rule, by its key, raises on a document: it sorts like what else derives from that."""
    number = int.from_bytes(blake2b(rule.encode(), digest_size=9).digest()) >> 7
    return identifier + _base32(number, ALERT_CHARACTERS)


def event_sequences(frame: Frame, first: int, count: int) -> tuple[bytes, list[bytes]]:
    """`event.sequence` of these records as decimal digits: a prefix they share, and eight digits each.

    (frame sequence + 1) * 10**8 + index: orders the records of one epoch as they lie in the journal.
    """
    return b"%d" % (frame.sequence + 1), _sequence_digits.slice(first, count)
