"""Finds where MessagePack objects end, without building them and without recursion.

The C decoder skips faster but gives up on deep nesting, which a hostile sender controls; this walk serves those.
"""

from collections.abc import Iterator
from typing import Final

import msgpack

FEED_BYTES: Final = 1 << 20
NEVER_USED: Final = 0xC1


class BrokenPayloadError(ValueError):
    """The object that begins at `start` is not MessagePack, or the bytes end in the middle of it."""

    def __init__(self, reason: str, start: int) -> None:
        self.start = start
        super().__init__(f"{reason}, in the object at byte {start}")


# First byte -> (bytes of the length field, bytes per unit, children per unit, fixed extra bytes).
_SIZED: Final = {
    0xC4: (1, 1, 0, 0),
    0xC5: (2, 1, 0, 0),
    0xC6: (4, 1, 0, 0),
    0xC7: (1, 1, 0, 1),
    0xC8: (2, 1, 0, 1),
    0xC9: (4, 1, 0, 1),
    0xD9: (1, 1, 0, 0),
    0xDA: (2, 1, 0, 0),
    0xDB: (4, 1, 0, 0),
    0xDC: (2, 0, 1, 0),
    0xDD: (4, 0, 1, 0),
    0xDE: (2, 0, 2, 0),
    0xDF: (4, 0, 2, 0),
}
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1), 2),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
    **{0xD4 + power: 1 + (1 << power) for power in range(5)},
}


def end_of_object(payload: memoryview, start: int) -> int:
    """Return the offset behind the object that begins at `start`; raise BrokenPayloadError."""
    pending = 1
    at = start
    size = len(payload)
    while pending:
        if at >= size:
            raise BrokenPayloadError("the payload ends too early", start)
        if payload[at] == NEVER_USED:
            raise BrokenPayloadError("a byte that MessagePack never uses", start)
        pending += _children(payload, at) - 1
        at = _behind_head(payload, at)
    if at > size:
        raise BrokenPayloadError("the payload ends too early", start)
    return at


def _length(payload: memoryview, at: int, width: int) -> int:
    return int.from_bytes(payload[at + 1 : at + 1 + width], "big")


def _children(payload: memoryview, at: int) -> int:
    first = payload[at]
    if 0x80 <= first <= 0x8F:
        return 2 * (first & 0x0F)
    if 0x90 <= first <= 0x9F:
        return first & 0x0F
    if first in _SIZED:
        width, _, children, _ = _SIZED[first]
        return children * _length(payload, at, width)
    return 0


def _behind_head(payload: memoryview, at: int) -> int:
    """Return the offset behind a scalar, or behind the head of a container."""
    first = payload[at]
    if first <= 0x9F or first >= 0xE0:
        return at + 1
    if first <= 0xBF:
        return at + 1 + (first & 0x1F)
    if first in _SIZED:
        width, unit, _, extra = _SIZED[first]
        return at + 1 + width + unit * _length(payload, at, width) + extra
    return at + 1 + _FIXED[first]


def objects(payload: memoryview) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each object; raise BrokenPayloadError where they end and bytes remain.

    The decoder is fed in pieces, so a large payload is not copied whole.
    """
    start = 0
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    for fed in range(0, len(payload), FEED_BYTES):
        unpacker.feed(payload[fed : fed + FEED_BYTES])
        try:
            while True:
                unpacker.skip()
                end = unpacker.tell()
                yield start, end
                start = end
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.UnpackException):
            break
    while start < len(payload):
        end = end_of_object(payload, start)
        yield start, end
        start = end
