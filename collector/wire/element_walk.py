"""Finds where MessagePack objects end while their bytes still arrive, in linear time and without building them.

The C skipper keeps its place between calls, so no byte is looked at twice however small the pieces are. It gives up
on nesting deeper than its stack, which a hostile sender controls; a plain count of what is still open, which needs no
stack, takes over then. That one is slow, so it does a bounded part per call: others are served in between.
"""

from typing import Final

import msgpack

from collector.wire.errors import WireError
from pipelines.decode.msgpack_walk import NeverUsedError, object_head

FEED_BYTES: Final = 64 << 10
"""Bytes given to the skipper at once: its copy of them stays in the processor's cache."""

HEADS_PER_CALL: Final = 8 << 10
"""Objects that are counted one by one per call: about a millisecond."""

SKIPPER_BYTES: Final = 4 << 10
"""The skipper's memory before it is fed; it would take a MiB, and every unfinished message has one."""

SKIPPER_LIMIT_BYTES: Final = (1 << 31) - 1


def skipper() -> msgpack.Unpacker:
    """Return an Unpacker fit for `skip` over untrusted bytes."""
    return msgpack.Unpacker(read_size=SKIPPER_BYTES, max_buffer_size=SKIPPER_LIMIT_BYTES)


class ElementWalk:
    """Walks over `count` objects that begin at offset `start` of a message.

    `ends` holds the offsets behind those that are whole. Offsets count from the message's first byte, so the message
    may move in memory between two calls. `behind` says that a call stopped early, with bytes left to walk over.
    """

    __slots__ = ("_at", "_count", "_deep", "_fed", "_open", "_skipper", "_start", "behind", "ends")

    def __init__(self, start: int, count: int) -> None:
        self.ends: list[int] = []
        self.behind = False
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
        at, still_open = self._at, self._open
        counted, self.behind = 0, False
        while still_open and at < len(message):
            if counted == HEADS_PER_CALL:
                self.behind = True
                break
            counted += 1
            try:
                behind, children = object_head(message, at)
            except NeverUsedError as error:
                raise WireError("not_msgpack", "the bytes are not MessagePack") from error
            if not behind or behind > len(message):
                break
            at, still_open = behind, still_open - 1 + children
        self._at, self._open = at, still_open
        if still_open:
            return None
        self._open = 1
        return at
