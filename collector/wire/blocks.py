"""Blocks of memory that sockets are read into and that messages are handed on in, without a copy.

A block belongs to one decoder while it is read into. When whole messages fill a good part of it, it changes owner: the
messages hold it until the journal has written them, then it returns to the pool. Allocating and zeroing a fresh MiB for
each read instead costs about a tenth of the intake's time.
"""

from typing import Final

BLOCK_BYTES: Final = 1 << 20
"""Size of a pooled block: one PackedForward message of a busy Fluent Bit or fluentd fits."""

SPARE_BLOCKS: Final = 32
"""How many free blocks are kept for the next reader."""

GENEROUS_BLOCKS: Final = 64
"""While no more blocks than this are being read into, a decoder keeps a whole block for the head of a message; beyond
it moves what it has to memory of the size it needs."""

RECEIVE_LIMIT_BYTES: Final = 256 << 20
"""Memory that all unfinished messages of all connections may take together; who needs more is disconnected."""

SMALLEST_BLOCK_BYTES: Final = 4 << 10


class Block:
    """Writable memory with a count of holders; the last one to release it returns it to its pool."""

    __slots__ = ("_blocks", "holders", "view")

    def __init__(self, blocks: "Blocks", size_bytes: int) -> None:
        self.view = memoryview(bytearray(size_bytes))
        self.holders = 1
        self._blocks = blocks

    def release(self) -> None:
        """Give up one hold; nothing of the block may be touched by that holder afterwards."""
        self.holders -= 1
        if not self.holders:
            self._blocks.recycle(self)


class Blocks:
    """The pool of one process. Not for use by more than one thread."""

    def __init__(self, *, receive_limit_bytes: int = RECEIVE_LIMIT_BYTES) -> None:
        self._spare: list[Block] = []
        self._receive_limit_bytes = receive_limit_bytes
        self.receiving_bytes = 0

    @property
    def free_bytes(self) -> int:
        """What unfinished messages may still take."""
        return self._receive_limit_bytes - self.receiving_bytes

    @property
    def generous(self) -> bool:
        """Whether a decoder may keep a whole block for little."""
        return self.receiving_bytes <= GENEROUS_BLOCKS * BLOCK_BYTES

    @property
    def exhausted(self) -> bool:
        """Whether unfinished messages take more than they may."""
        return self.free_bytes < 0

    def offered(self) -> memoryview:
        """Return the memory of the block that `take` returns next, to be read into if there is anything to read."""
        if not self._spare:
            self._spare.append(Block(self, BLOCK_BYTES))
        return self._spare[-1].view

    def take(self) -> Block:
        """Return a pooled block to be read into."""
        self.receiving_bytes += BLOCK_BYTES
        if self._spare:
            block = self._spare.pop()
            block.holders = 1
            return block
        return Block(self, BLOCK_BYTES)

    def take_sized(self, size_bytes: int) -> Block | None:
        """Return a block of at least `size_bytes` to be read into, or None when the receive limit is reached."""
        size_bytes = max(size_bytes, SMALLEST_BLOCK_BYTES)
        if size_bytes == BLOCK_BYTES:
            return self.take()
        if size_bytes > self.free_bytes:
            return None
        self.receiving_bytes += size_bytes
        return Block(self, size_bytes)

    def received(self, block: Block) -> None:
        """Count `block` as no longer read into; its holders keep it."""
        self.receiving_bytes -= len(block.view)

    def recycle(self, block: Block) -> None:
        """Take back a block that nobody holds."""
        if len(block.view) == BLOCK_BYTES and len(self._spare) < SPARE_BLOCKS:
            self._spare.append(block)


class PeerBlocks:
    """The pool as one peer's connections see it: unfinished, they take no more than they leave for everybody else."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.receiving_bytes = 0

    @property
    def generous(self) -> bool:
        """As of the pool."""
        return self._blocks.generous

    @property
    def exhausted(self) -> bool:
        """Whether unfinished messages take more than they may, of this peer or of all."""
        return self._blocks.exhausted or self.receiving_bytes > self._blocks.free_bytes

    def offered(self) -> memoryview:
        """As of the pool."""
        return self._blocks.offered()

    def take(self) -> Block:
        """Return a pooled block to be read into."""
        self.receiving_bytes += BLOCK_BYTES
        return self._blocks.take()

    def take_sized(self, size_bytes: int) -> Block | None:
        """Return a block of at least `size_bytes` to be read into, or None when a limit is reached."""
        if self.receiving_bytes + 2 * size_bytes > self._blocks.free_bytes:
            return None
        block = self._blocks.take_sized(size_bytes)
        if block is not None:
            self.receiving_bytes += len(block.view)
        return block

    def received(self, block: Block) -> None:
        """Count `block` as no longer read into."""
        self.receiving_bytes -= len(block.view)
        self._blocks.received(block)
