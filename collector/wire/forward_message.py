"""What the Forward decoder hands on: a message as its sender delimited it, perhaps still compressed."""

from collections.abc import Sequence
from typing import Final

import msgspec

from collector.wire.blocks import Block
from collector.wire.forward_compression import InflateError, inflate

RATIO_FREE_BYTES: Final = 1 << 20
"""To so much anything may inflate, whatever its size: it costs nobody."""


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


def inflated(message: ForwardMessage, *, limit_bytes: int, ratio_limit: int) -> ForwardMessage:
    """Return a compressed message with its payload inflated, any other as it is.

    What cannot be inflated within `limit_bytes`, or is no small one and would grow more than `ratio_limit` times,
    becomes `forward-broken`, with its bytes as they came.
    """
    if not message.compressed:
        return message
    try:
        compressed = memoryview(message.payload[0])
        limit_bytes = min(limit_bytes, max(ratio_limit * len(compressed), RATIO_FREE_BYTES))
        buffers = inflate(compressed, message.compressed, limit_bytes=limit_bytes)
    except InflateError:
        message.encoding = "forward-broken"
    else:
        message.release()
        message.payload = buffers
    message.compressed = ""
    return message
