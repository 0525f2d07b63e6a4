"""The heads of Forward messages, read by hand, and runs of Message-mode objects.

Offsets are absolute within the memory given; nothing here raises on hostile bytes.
"""

from typing import Final

import msgpack
import msgspec

from collector.wire.element_walk import skipper
from collector.wire.forward_options import is_empty

FIRST_FEED_BYTES: Final = 4 << 10
FEED_LIMIT_BYTES: Final = 64 << 10

TAG_LIMIT_BYTES: Final = 16 << 10
OPTIONS_LIMIT_BYTES: Final = 256 << 10

MESSAGE, FORWARD, PACKED, IMPOSSIBLE = range(4)


WITH_OPTIONS: Final = 0x94
"""First byte of a Message-mode object that has options: an array of four."""


class _ChunkOnly(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    chunk: str


class _WholeMessage(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    tag: str
    time: msgspec.Raw
    record: msgspec.Raw
    options: _ChunkOnly


_decode_whole = msgspec.msgpack.Decoder(_WholeMessage).decode


def _mode(first: int) -> int:
    if first <= 0x7F or first >= 0xE0 or first == 0xC0 or 0xCA <= first <= 0xD3 or 0xD4 <= first <= 0xD8:
        return MESSAGE
    if first in (0xC7, 0xC8, 0xC9):
        return MESSAGE
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        return FORWARD
    return PACKED if 0xA0 <= first <= 0xBF or first in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB) else IMPOSSIBLE


MODES: Final = bytes(map(_mode, range(256)))


def whole_message(window: memoryview) -> bytes | None:
    """Return the chunk id of a Message-mode object that is all of `window` and has no other option.

    That is what arrives from a sender that waits for each acknowledgement. Where None is returned the general path
    looks at the message, whatever it is.
    """
    if window[0] != WITH_OPTIONS:
        return None
    try:
        message = _decode_whole(window)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    within = len(message.tag) * 4 <= TAG_LIMIT_BYTES  # no character takes more bytes
    return message.options.chunk.encode() if within and MODES[memoryview(message.time)[0]] == MESSAGE else None


def array_head(window: memoryview, at: int) -> tuple[int, int] | None:
    """Return the count of the array at `at` and the offset behind its head; None while that is incomplete."""
    first = window[at]
    if first <= 0x9F:
        return first & 0x0F, at + 1
    behind = at + (3 if first == 0xDC else 5)
    return (int.from_bytes(window[at + 1 : behind], "big"), behind) if behind <= len(window) else None


def raw_head(window: memoryview, at: int) -> tuple[int, int] | None:
    """Return where the content of the str or bin at `at` begins and ends, None for other types.

    (0, 0) while its head is incomplete.
    """
    first = window[at]
    if 0xA0 <= first <= 0xBF:
        return at + 1, at + 1 + (first & 0x1F)
    if first in (0xD9, 0xC4):
        behind = at + 2
    elif first in (0xDA, 0xC5):
        behind = at + 3
    elif first in (0xDB, 0xC6):
        behind = at + 5
    else:
        return None
    if behind > len(window):
        return 0, 0
    return behind, behind + int.from_bytes(window[at + 1 : behind], "big")


def run_of_messages(view: memoryview, begin: int, end: int, limit_bytes: int) -> tuple[int, int]:
    """Walk Message-mode objects without options from `begin`; return where the last whole one ends, and their number.

    Stops before anything else, so whatever is special or broken meets the general path. Flat for speed: one object
    costs about a microsecond, the general path about eight (`tests/bench`).
    """
    count, fed, feed_bytes = 0, begin, FIRST_FEED_BYTES
    unpacker = skipper()
    skip, tell = unpacker.skip, unpacker.tell
    at, left, elements = begin, 0, 0
    while True:
        try:
            while True:
                if not left:
                    if at + 2 >= end:
                        return at, count
                    first, tag = view[at], view[at + 1]
                    time_at = at + 2 + (tag & 0x1F) if 0xA0 <= tag <= 0xBF else at + 3 + view[at + 2]
                    if not (
                        (first == 0x93 or first == 0x94)
                        and (0xA0 <= tag <= 0xBF or tag == 0xD9)
                        and time_at < end
                        and MODES[view[time_at]] == MESSAGE
                    ):
                        return at, count
                    unpacker.read_array_header()
                    left = elements = first & 0x0F
                if elements == 4:
                    while left > 1:
                        skip()
                        left -= 1
                    options_at = begin + tell()
                    if options_at >= end or not is_empty(view[options_at]):
                        return at, count
                while left:
                    skip()
                    left -= 1
                behind = begin + tell()
                if behind - at > limit_bytes:
                    return at, count
                at, count = behind, count + 1
        except msgpack.OutOfData:
            if fed == end:
                return at, count
            piece_end = min(fed + feed_bytes, end)
            unpacker.feed(view[fed:piece_end])
            fed, feed_bytes = piece_end, min(2 * feed_bytes, FEED_LIMIT_BYTES)
        except (ValueError, msgpack.UnpackException):
            return at, count
