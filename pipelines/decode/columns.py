"""Messages decoded by one call each: the shapes that the chunk path knows, and what it needs of their records.

Two shapes. *Flat*: exactly the four keys that Docker's driver sends when told to add nothing. *Keyed*: any map with a
line in it, such as Docker's with labels or Fluent Bit's with a `kubernetes` map; there all that stands beside the line
is the key of the stream, compared as the bytes that came. Whatever fits neither is the reference path's.
"""

import sys
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, overload

import msgspec

from parsers.timestamps import renders
from pipelines.decode.forward import GROUP_MARKS, decode_record
from pipelines.normalize.container import LINE_KEYS, TIME_KEY

LINE_KEY_SET: Final = frozenset(LINE_KEYS)


class DockerRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What Docker's `fluentd` driver sends when it is told to add nothing."""

    container_id: str
    container_name: str
    source: Literal["stdout", "stderr"]
    log: str


class _Options(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Options that say nothing about the record; with any other (`metadata`) the message is the reference path's."""

    chunk: msgspec.Raw = msgspec.Raw()
    size: msgspec.Raw = msgspec.Raw()
    compressed: msgspec.Raw = msgspec.Raw()
    fluent_signal: msgspec.Raw = msgspec.Raw()


class _FlatMessage(msgspec.Struct, gc=False, array_like=True, forbid_unknown_fields=True):
    tag: str
    time: msgspec.Raw
    record: DockerRecord
    options: _Options | None = None


class _KeyedMessage(msgspec.Struct, gc=False, array_like=True, forbid_unknown_fields=True):
    tag: str
    time: msgspec.Raw
    record: dict[str, msgspec.Raw]
    options: _Options | None = None


class _Identities(Sequence[tuple[str, str, str]]):
    """What tells the streams of flat records apart, made anew at each pass: kept, they would cost more than made."""

    def __init__(self, records: Sequence[DockerRecord]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return map(_identity, self._records)

    @overload
    def __getitem__(self, at: int) -> tuple[str, str, str]: ...
    @overload
    def __getitem__(self, at: slice) -> "_Identities": ...
    def __getitem__(self, at: int | slice) -> "tuple[str, str, str] | _Identities":
        return _Identities(self._records[at]) if isinstance(at, slice) else _identity(self._records[at])


class Decoded(msgspec.Struct):
    """A message's records as columns. `keys` tell streams apart; `record_of` gives back what a key stands for.

    `tags` is None where the tag stands in the message table.
    """

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: list[str]
    keys: Sequence[Hashable]
    tags: Sequence[str] | None
    record_of: Callable[[Any], dict[str, Any]]


_flat_entries = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, DockerRecord]]).decode
_keyed_entries = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, dict[str, msgspec.Raw]]]).decode
_flat_messages = msgspec.msgpack.Decoder(list[_FlatMessage]).decode
_keyed_messages = msgspec.msgpack.Decoder(list[_KeyedMessage]).decode
_objects = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_text = msgspec.msgpack.Decoder(str).decode
_texts = msgspec.msgpack.Decoder(list[str]).decode
_identity: Callable[[DockerRecord], tuple[str, str, str]] = attrgetter("container_id", "container_name", "source")
_line = attrgetter("log")
_message = attrgetter("tag", "time", "record")


def are_objects(payload: memoryview, lengths: Sequence[int]) -> bool:
    """Tell whether the payload is one object of each of these lengths: decoded at once, a lie could shift the rest."""
    try:
        return list(map(len, _objects(_counted(len(lengths), payload)))) == lengths
    except _NOT_OF_THE_SHAPE:
        return False


def decode_columns(encoding: str, payload: memoryview, count: int) -> Decoded | None:
    """Decode `count` entries or Message-mode objects, or return None where they are not all of one known shape."""
    counted = _counted(count, payload)
    tags: Sequence[str] | None = None
    try:
        if encoding == "forward":
            stamps, records = zip(*_flat_entries(counted), strict=True)
        else:
            tags, stamps, records = zip(*map(_message, _flat_messages(counted)), strict=True)
    except _NOT_OF_THE_SHAPE:
        return _decode_keyed(encoding, counted)
    times = unpack_times(stamps)
    if times is None:
        return None
    return Decoded(*times, list(map(_line, records)), _Identities(records), tags, _flat_record)


def _decode_keyed(encoding: str, counted: bytes) -> Decoded | None:
    tags: Sequence[str] | None = None
    try:
        if encoding == "forward":
            stamps, records = zip(*_keyed_entries(counted), strict=True)
        else:
            tags, stamps, records = zip(*map(_message, _keyed_messages(counted)), strict=True)
        lines = _texts(_counted(len(records), b"".join([record.pop(_line_key(record)) for record in records])))
    except _NOT_OF_THE_SHAPE:
        return None
    times = unpack_times(stamps)
    if times is None:
        return None
    if any(TIME_KEY in record for record in records):
        _drop_stated_times(records, *times)
    # MessagePack values end by themselves, so the joined values and the names say exactly what the record held.
    keys = [(tuple(record), b"".join(record.values())) for record in records]
    return Decoded(*times, lines, keys, tags, _keyed_record)


def _drop_stated_times(
    records: Sequence[dict[str, msgspec.Raw]], seconds: Sequence[int], nanoseconds: Sequence[int]
) -> None:
    """Take out what `@timestamp` says as well, as the reference does; else every record had a key of its own."""
    for record, second, nanosecond in zip(records, seconds, nanoseconds, strict=True):
        stated = record.get(TIME_KEY)
        if stated is not None and _is_rendering(stated, second, nanosecond):
            del record[TIME_KEY]


def _is_rendering(stated: msgspec.Raw, second: int, nanosecond: int) -> bool:
    try:
        return renders(_text(stated), second, nanosecond)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _line_key(record: dict[str, msgspec.Raw]) -> str:
    for key in LINE_KEYS:
        if key in record:
            return key
    raise KeyError("no line")


_NOT_OF_THE_SHAPE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError)


def _counted(count: int, objects: memoryview | bytes) -> bytes:
    """Put an array head before objects that stand back to back, so one call decodes them all."""
    return b"".join((b"\xdd", count.to_bytes(4, "big"), objects))


def _flat_record(key: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(("container_id", "container_name", "source", "log"), (*key, ""), strict=True))


def _keyed_record(key: tuple[tuple[str, ...], bytes]) -> dict[str, Any]:
    names, values = key
    return {**dict(zip(names, decode_record(values, len(names)), strict=True)), LINE_KEYS[0]: ""}


def key_bytes(key: Any) -> int:
    """Return how long a key of either shape is: what senders make it."""
    return sum(len(part) if isinstance(part, str | bytes) else sum(map(len, part)) for part in key)


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
    if any(joined[at::size] != mark * count for at, mark in form.marks):
        return None
    seconds = _words(joined, form.typecode, form.seconds_at, size)
    nanoseconds = _words(joined, "I", form.nanoseconds_at, size) if form.nanoseconds_at else [0] * count
    distinct = set(seconds)
    if min(distinct) <= 0 or max(distinct) >= min(GROUP_MARKS) or max(nanoseconds) >= 1_000_000_000:
        return None
    return seconds, nanoseconds


def _words(joined: bytes, typecode: str, at: int, step: int) -> list[int]:
    """Read the big-endian 32-bit words at every step, byte by byte of all words: a third of what `struct` costs."""
    words = array(typecode)
    content = bytearray(len(joined) // step * words.itemsize)
    for place in range(words.itemsize):
        content[place::4] = joined[at + place :: step]
    words.frombytes(content)
    if sys.byteorder == "little":
        words.byteswap()
    return words.tolist()


class _Form(NamedTuple):
    """What must stand at each place of a stamp, and where its words are (`nanoseconds_at` 0: it has none)."""

    marks: tuple[tuple[int, bytes], ...]
    typecode: str
    seconds_at: int
    nanoseconds_at: int


_FORMS: Final = {
    (b"\xd7", 10): _Form(((0, b"\xd7"), (1, b"\x00")), "I", 2, 6),
    (b"\x92", 12): _Form(((0, b"\x92"), (1, b"\xd7"), (2, b"\x00"), (11, b"\x80")), "I", 3, 7),
    (b"\xce", 5): _Form(((0, b"\xce"),), "I", 1, 0),
    (b"\xd2", 5): _Form(((0, b"\xd2"),), "i", 1, 0),
}
"""(first byte, size) of a stamp -> its form."""
