"""Fluent Forward entries, decoded one by one: the reference that the chunk path is held against.

See the Forward protocol v1 (entries `[time, record]`, `[[time, metadata], record]`) and Fluent Bit's variants.
"""

import base64
import math
from typing import Any, Final, NamedTuple

import msgpack
import msgspec

from parsers.flattened import key_text
from parsers.timestamps import LAST_SECOND, rfc3339

EVENT_TIME: Final = 0
"""Type of Fluentd's EventTime extension: seconds and nanoseconds as unsigned 32-bit integers."""

EVENT_TIME_BYTES: Final = 8

GROUP_MARKS: Final = frozenset({0xFFFFFFFF, 0xFFFFFFFE})
"""Seconds of Fluent Bit's two fake records around an OTLP group; they exist only with metadata, nanoseconds 0."""


class EntryError(ValueError):
    """An entry that is no event; `code` is bounded, the text is for people."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class Extension(NamedTuple):
    """A MessagePack extension, which stands in a document as its text: the time that an EventTime is, else base64."""

    code: int
    data: bytes

    def __str__(self) -> str:
        if self.code == EVENT_TIME and len(self.data) == EVENT_TIME_BYTES:
            second, nanosecond = _event_time(self.data)
            if nanosecond < 1_000_000_000:
                return rfc3339(second * 1_000_000_000 + nanosecond)
        return f"extension {self.code}: base64:{base64.b64encode(self.data).decode()}"


class Record(msgspec.Struct):
    """One decoded entry. `time` is (second, nanosecond), None when the sender does not know it.

    `claimed_time` holds a time that no calendar has, as text. Text may hold surrogates for bytes that are no UTF-8.
    `pieces` says of how many records a line was put together, 0 for one that came whole; `tags` what that was like.
    """

    time: tuple[int, int] | None
    fields: dict[str, Any]
    metadata: dict[str, Any] = {}
    claimed_time: str | None = None
    group_mark: bool = False
    tag: bytes = b""
    pieces: int = 0
    tags: tuple[str, ...] = ()


def decode_entry(entry: bytes | memoryview) -> Record:
    """Decode `[time, record]`; raise EntryError."""
    elements = _unpack(entry)
    if not isinstance(elements, list) or len(elements) != 2:
        raise EntryError("bad_entry", "an entry is a list of time and record")
    return _record(elements[0], elements[1])


def decode_message(message: bytes | memoryview) -> Record:
    """Decode a whole Message-mode object `[tag, time, record, option?]`; raise EntryError."""
    elements = _unpack(message)
    if not isinstance(elements, list) or not 3 <= len(elements) <= 4 or not isinstance(elements[0], str | bytes):
        raise EntryError("bad_entry", "a message is a list of tag, time, record and options")
    record = _record(elements[1], elements[2])
    tag = elements[0]
    record.tag = tag.encode("utf-8", "surrogateescape") if isinstance(tag, str) else tag
    option = elements[3] if len(elements) == 4 else None
    if isinstance(option, dict) and isinstance(option.get("metadata"), dict):
        record.metadata = option["metadata"]
    return record


def decode_record(values: bytes, count: int) -> list[Any]:
    """Decode `count` values that stand back to back, as `decode_entry` decodes those of a record."""
    decoded: list[Any] = _unpack(b"\xdd" + count.to_bytes(4, "big") + values)
    return decoded


def _unpack(encoded: bytes | memoryview) -> Any:
    try:
        return msgpack.unpackb(
            encoded,
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            object_pairs_hook=_pairs,
            ext_hook=Extension,
            max_str_len=len(encoded),
            max_bin_len=len(encoded),
            max_array_len=len(encoded),
            max_map_len=len(encoded),
            max_ext_len=len(encoded),
        )
    except (ValueError, msgpack.UnpackException, OverflowError) as error:
        deep = isinstance(error, msgpack.StackError)
        code, reason = ("too_deep", "nested too deep") if deep else ("bad_entry", "not MessagePack")
        raise EntryError(code, reason) from error


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Make a map whose keys are text; of equal keys the last wins."""
    return {key if isinstance(key, str) else key_text(key): value for key, value in pairs}


def _record(stamp: Any, fields: Any) -> Record:
    metadata: dict[str, Any] = {}
    nested = isinstance(stamp, list)
    if nested:
        if len(stamp) != 2 or not isinstance(stamp[1], dict):
            raise EntryError("bad_time", "nested time is a list of time and metadata")
        stamp, metadata = stamp
    if not isinstance(fields, dict):
        raise EntryError("bad_record", "a record is a map")
    time, claimed = _time(stamp)
    mark = nested and isinstance(stamp, Extension) and time is not None and time[0] in GROUP_MARKS
    return Record(time, fields, metadata, claimed, mark and time is not None and time[1] == 0)


def _time(stamp: Any) -> tuple[tuple[int, int] | None, str | None]:
    """Return (second, nanosecond) or None, and the claim when it is out of range."""
    if stamp is None:
        return None, None
    if isinstance(stamp, Extension):
        if stamp.code != EVENT_TIME or len(stamp.data) != EVENT_TIME_BYTES:
            raise EntryError("bad_time", "an extension that is no EventTime")
        second, nanosecond = _event_time(stamp.data)
    elif isinstance(stamp, msgpack.Timestamp):
        second, nanosecond = stamp.seconds, stamp.nanoseconds
    elif isinstance(stamp, float):
        if not math.isfinite(stamp):
            return None, str(stamp)
        second = math.floor(stamp)
        nanosecond = int((stamp - second) * 1_000_000_000)
    elif isinstance(stamp, int) and not isinstance(stamp, bool):
        second, nanosecond = stamp, 0
    else:
        raise EntryError("bad_time", f"a time cannot be of type {type(stamp).__name__}")
    if not second and not nanosecond:
        return None, None
    if not 0 <= second <= LAST_SECOND or nanosecond >= 1_000_000_000:
        return None, f"{second}.{nanosecond:09d}"
    return (second, nanosecond), None


def _event_time(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
