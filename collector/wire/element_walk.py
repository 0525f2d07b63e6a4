"""Finds where MessagePack objects end while their bytes still arrive, in linear time and without building them.

The C skipper keeps its place between calls, so no byte is looked at twice however small the pieces are. It gives up
on nesting deeper than its stack, which a hostile sender controls; a plain count of what is still open, which needs no
stack, takes over then.
"""

from typing import Final

import msgpack

from collector.wire.errors import WireError

FEED_BYTES: Final = 64 << 10
"""Bytes given to the skipper at once: its copy of them stays in the processor's cache."""

SKIPPER_LIMIT_BYTES: Final = (1 << 31) - 1

# First byte -> (bytes of the length field, bytes per unit, children per unit, fixed extra bytes).
_SIZED: Final = {
    **{0xC4 + power: (1 << power, 1, 0, 0) for power in range(3)},
    **{0xC7 + power: (1 << power, 1, 0, 1) for power in range(3)},
    **{0xD9 + power: (1 << power, 1, 0, 0) for power in range(3)},
    0xDC: (2, 0, 1, 0),
    0xDD: (4, 0, 1, 0),
    0xDE: (2, 0, 2, 0),
    0xDF: (4, 0, 2, 0),
}
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 1),
    **dict.fromkeys((0xCC, 0xD0), 2),
    **dict.fromkeys((0xCD, 0xD1), 3),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 5),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 9),
    **{0xD4 + power: 2 + (1 << power) for power in range(5)},
}


def skipper() -> msgpack.Unpacker:
    """Return an Unpacker fit for `skip` over untrusted bytes."""
    return msgpack.Unpacker(max_buffer_size=SKIPPER_LIMIT_BYTES)


class ElementWalk:
    """Walks over `count` objects that begin at offset `start` of a message.

    `ends` holds the offsets behind those that are whole. Offsets count from the message's first byte, so the message
    may move in memory between two calls.
    """

    __slots__ = ("_at", "_count", "_deep", "_fed", "_open", "_skipper", "_start", "ends")

    def __init__(self, start: int, count: int) -> None:
        self.ends: list[int] = []
        self._start = start
        self._count = count
        self._fed = start
        self._skipper = skipper()
        self._deep = False
        self._at = start
        self._open = 1

    def advance(self, message: memoryview) -> bool:
        """Walk on over `message`, which holds all that has arrived of it; return whether all objects are whole.

        Raises WireError at bytes that are no MessagePack.
        """
        while len(self.ends) < self._count:
            end = self._skip(message) if not self._deep else self._count_out(message)
            if end is None:
                return False
            self.ends.append(end)
        return True

    def _skip(self, message: memoryview) -> int | None:
        unpacker = self._skipper
        while True:
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                if self._fed >= len(message):
                    return None
                piece = message[self._fed : self._fed + FEED_BYTES]
                unpacker.feed(piece)
                self._fed += len(piece)
            except msgpack.StackError:
                self._deep = True
                self._at = self.ends[-1] if self.ends else self._start
                return self._count_out(message)
            except (ValueError, msgpack.UnpackException) as error:
                raise WireError("not_msgpack", "the bytes are not MessagePack") from error
            else:
                return self._start + int(unpacker.tell())

    def _count_out(self, message: memoryview) -> int | None:
        size = len(message)
        at, still_open = self._at, self._open
        while still_open:
            if at >= size:
                break
            first = message[at]
            behind, children = at + 1, 0
            if first in _SIZED:
                width, unit, per_unit, extra = _SIZED[first]
                if at + 1 + width > size:
                    break
                length = int.from_bytes(message[at + 1 : at + 1 + width], "big")
                behind, children = at + 1 + width + unit * length + extra, per_unit * length
            elif first in _FIXED:
                behind = at + _FIXED[first]
            elif 0x80 <= first <= 0x8F:
                children = 2 * (first & 0x0F)
            elif 0x90 <= first <= 0x9F:
                children = first & 0x0F
            elif 0xA0 <= first <= 0xBF:
                behind = at + 1 + (first & 0x1F)
            elif first == 0xC1:
                raise WireError("not_msgpack", "the bytes are not MessagePack")
            if behind > size:
                break
            at, still_open = behind, still_open - 1 + children
        self._at, self._open = at, still_open
        if still_open:
            return None
        self._open = 1
        return at
