"""The body of one request, read into blocks that are bounded for each peer and for all, as other inputs' messages."""

from typing import Final

from collector.wire.blocks import BLOCK_BYTES, Block, PeerBlocks

FIRST_BYTES: Final = 64 << 10
"""Memory for the beginning of a body whose length its sender does not say."""


class TooLargeError(Exception):
    """The body is larger than the limit."""


class NoRoomError(Exception):
    """What is being received takes all the memory it may, of this peer or of all."""


class Body:
    """Fills blocks piece by piece; `payload` is what came so far, without a copy.

    `expected_bytes` is what the sender says of its length, None where it does not.
    """

    def __init__(self, blocks: PeerBlocks, *, expected_bytes: int | None, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._pool = blocks
        self._limit_bytes = limit_bytes
        self._next_bytes = FIRST_BYTES if expected_bytes is None else min(max(expected_bytes, 1), BLOCK_BYTES)
        self._blocks: list[Block] = []
        self._filled_bytes = 0
        self._is_receiving = True

    @property
    def payload(self) -> list[memoryview]:
        """The bytes, in order."""
        views = [block.view for block in self._blocks]
        return [*views[:-1], views[-1][: self._filled_bytes]] if views else []

    def take(self, piece: bytes) -> None:
        """Add what came; raise TooLargeError or NoRoomError, after which only `release` may be called."""
        self.size_bytes += len(piece)
        if self.size_bytes > self._limit_bytes:
            raise TooLargeError
        rest = memoryview(piece)
        while rest:
            if not self._blocks or self._filled_bytes == len(self._blocks[-1].view):
                self._grow()
            room = self._blocks[-1].view[self._filled_bytes :]
            taken = min(len(room), len(rest))
            room[:taken] = rest[:taken]
            self._filled_bytes += taken
            rest = rest[taken:]

    def _grow(self) -> None:
        block = self._pool.take_sized(self._next_bytes)
        if block is None:
            raise NoRoomError
        self._blocks.append(block)
        self._filled_bytes = 0
        self._next_bytes = BLOCK_BYTES

    def received(self) -> None:
        """Count its memory as received: from now on it counts as what the journal has in flight."""
        if self._is_receiving:
            self._is_receiving = False
            for block in self._blocks:
                self._pool.received(block)

    def hand_over(self) -> "Body":
        """Return its memory as another's to release, once nobody reads the payload any more; this one has none then."""
        self.received()
        other = Body(self._pool, expected_bytes=None, limit_bytes=self._limit_bytes)
        other._blocks, self._blocks, other._is_receiving = self._blocks, [], False
        return other

    def release(self) -> None:
        """Let go of the memory; nobody reads the payload any more."""
        self.received()
        blocks, self._blocks = self._blocks, []
        for block in blocks:
            block.release()
