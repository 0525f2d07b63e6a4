"""Finds where MessagePack objects end, without building them and without recursion.

The C decoder skips faster but gives up on deep nesting, which a hostile sender controls; this walk serves those.
"""

from collections.abc import Iterator
from typing import Final

import msgpack

FIRST_FEED_BYTES: Final = 4 << 10
FEED_BYTES: Final = 1 << 20

_HEADS: Final = {
    **dict.fromkeys((*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3), (1, 0, 0, 0, 0)),
    **{0x80 + pairs: (1, 2 * pairs, 0, 0, 0) for pairs in range(16)},
    **{0x90 + elements: (1, elements, 0, 0, 0) for elements in range(16)},
    **{0xA0 + length: (1 + length, 0, 0, 0, 0) for length in range(32)},
    **{0xC4 + power: (1, 0, 1 << power, 1, 0) for power in range(3)},
    **{0xC7 + power: (2, 0, 1 << power, 1, 0) for power in range(3)},
    **dict.fromkeys((0xCC, 0xD0), (2, 0, 0, 0, 0)),
    **dict.fromkeys((0xCD, 0xD1), (3, 0, 0, 0, 0)),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), (5, 0, 0, 0, 0)),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), (9, 0, 0, 0, 0)),
    **{0xD4 + power: (2 + (1 << power), 0, 0, 0, 0) for power in range(5)},
    **{0xD9 + power: (1, 0, 1 << power, 1, 0) for power in range(3)},
    **{0xDC + power: (1, 0, 2 << power, 0, 1) for power in range(2)},
    **{0xDE + power: (1, 0, 2 << power, 0, 2) for power in range(2)},
}
"""First byte -> bytes of head and content beside the length field, objects within, bytes of the length field, and for
each unit of that length the bytes and objects it adds (MessagePack specification, "Formats")."""


class NeverUsedError(ValueError):
    """0xC1, the one byte that MessagePack never uses."""


def object_head(encoded: memoryview, at: int) -> tuple[int, int]:
    """Return the offset behind a scalar, or behind the head of a container, and how many objects that holds.

    (0, 0) where the end of `encoded` cuts the length. Raises NeverUsedError.
    """
    found = _HEADS.get(encoded[at])
    if found is None:
        raise NeverUsedError("a byte that MessagePack never uses")
    size, objects_within, width, unit_bytes, unit_objects = found
    if not width:
        return at + size, objects_within
    if at + 1 + width > len(encoded):
        return 0, 0
    length = int.from_bytes(encoded[at + 1 : at + 1 + width], "big")
    return at + size + width + unit_bytes * length, unit_objects * length


class BrokenPayloadError(ValueError):
    """The object that begins at `start` is not MessagePack, or the bytes end in the middle of it."""

    def __init__(self, reason: str, start: int) -> None:
        self.start = start
        super().__init__(f"{reason}, in the object at byte {start}")


def end_of_object(payload: memoryview, start: int) -> int:
    """Return the offset behind the object that begins at `start`; raise BrokenPayloadError."""
    pending, at = 1, start
    while pending and at < len(payload):
        try:
            behind, children = object_head(payload, at)
        except NeverUsedError as error:
            raise BrokenPayloadError(str(error), start) from error
        if not behind:
            break
        at, pending = behind, pending - 1 + children
    if pending or at > len(payload):
        raise BrokenPayloadError("the payload ends too early", start)
    return at


def objects(payload: memoryview) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each object; raise BrokenPayloadError where they end and bytes remain."""
    start = 0
    while start < len(payload):
        for end in _skipped(payload, start):
            yield start, end
            start = end
        if start < len(payload):
            end = end_of_object(payload, start)
            yield start, end
            start = end


def _skipped(payload: memoryview, start: int) -> Iterator[int]:
    """Yield the ends of objects as far as the C decoder knows them.

    It is fed in pieces, so a large payload is not copied whole, nor a large piece where it soon gives up.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    fed, feed_bytes = start, FIRST_FEED_BYTES
    while fed < len(payload):
        unpacker.feed(payload[fed : fed + feed_bytes])
        fed, feed_bytes = fed + feed_bytes, min(2 * feed_bytes, FEED_BYTES)
        try:
            while True:
                unpacker.skip()
                yield start + unpacker.tell()
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.UnpackException):
            return
