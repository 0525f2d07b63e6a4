"""What the Forward decoder hands on: a message as its sender delimited it, perhaps still compressed."""

import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from collector.wire.blocks import Block
from collector.wire.forward_compression import BeyondLimitError, InflateError, inflate

RATIO_FREE_BYTES: Final = 1 << 20
"""To so much anything may inflate, whatever its size: it costs nobody."""

QUICK_BYTES: Final = 64 << 10
"""To so much a message is inflated where it is met: measured 0.1 ms, as much as the way to another thread and back."""

QUICK_COMPRESSED_BYTES: Final = 8 << 10
"""A larger one hardly inflates to so little, and may have many members: it is not tried."""


class ForwardMessage(msgspec.Struct):
    """One message, or consecutive Message-mode objects that nobody wants acknowledged.

    `encoding` is `forward`, `forward-message`, `forward-metrics` or `forward-broken`. `ack` is the whole reply to send
    once the message is durable, empty when none is asked for. `payload` may lie in `block`: call `release()` when the
    bytes are no longer needed. `wire_bytes` is the size it came in.
    """

    encoding: str
    payload: Sequence[bytes | memoryview]
    tag: bytes
    chunk_id: bytes
    ack: bytes
    claimed: int
    wire_bytes: int
    compressed: str = ""
    block: Block | None = None

    def release(self) -> None:
        """Let go of the block; once, and only when nobody reads the payload any more."""
        block, self.block, self.payload = self.block, None, ()
        if block is not None:
            block.release()


class Inflation:
    """What becomes of a compressed message. Made and ended by the thread that has the message.

    What cannot be inflated within `limit_bytes`, or is no small one and would grow more than `ratio_limit` times,
    becomes `forward-broken`, with its bytes as they came. `made_bytes` is what was inflated, at most.
    """

    def __init__(self, message: ForwardMessage, *, limit_bytes: int, ratio_limit: int) -> None:
        self.message = message
        self._compressed = memoryview(message.payload[0])
        self._limit_bytes = min(limit_bytes, max(ratio_limit * len(self._compressed), RATIO_FREE_BYTES))
        self._buffers: Sequence[bytes] | None = None
        self.made_bytes = 0

    def is_quick(self) -> bool:
        """Do it if it takes no time; return whether it is done."""
        if len(self._compressed) > QUICK_COMPRESSED_BYTES:
            return False
        try:
            self._inflate(min(self._limit_bytes, QUICK_BYTES))
        except BeyondLimitError:
            return self._limit_bytes <= QUICK_BYTES
        except InflateError:
            pass
        return True

    def run(self) -> int:
        """Do it, in any thread; return how many bytes were made, at most."""
        with contextlib.suppress(InflateError):
            self._inflate(self._limit_bytes)
        return self.made_bytes

    def _inflate(self, limit_bytes: int) -> None:
        self.made_bytes += limit_bytes
        self._buffers = inflate(self._compressed, self.message.compressed, limit_bytes=limit_bytes)
        self.made_bytes += sum(map(len, self._buffers)) - limit_bytes

    def end(self) -> ForwardMessage:
        """Return the message as it is to be kept."""
        message, buffers = self.message, self._buffers
        if buffers is None:
            message.encoding = "forward-broken"
        else:
            message.release()
            message.payload = buffers
        message.compressed = ""
        return message
