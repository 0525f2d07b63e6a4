"""What the Forward decoder hands on: a message as its sender delimited it, perhaps still compressed."""

from collections.abc import Sequence

import msgspec

from collector.wire.blocks import Block
from collector.wire.inflation import Inflation


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


class ForwardInflation(Inflation):
    """What becomes of a compressed message; what cannot be inflated becomes `forward-broken`, as it came."""

    def __init__(self, message: ForwardMessage, *, limit_bytes: int, ratio_limit: int) -> None:
        super().__init__(
            memoryview(message.payload[0]), message.compressed, limit_bytes=limit_bytes, ratio_limit=ratio_limit
        )
        self.message = message

    def end(self) -> ForwardMessage:
        """Return the message as it is to be kept."""
        message, buffers = self.message, self.buffers
        if buffers is None:
            message.encoding = "forward-broken"
        else:
            message.release()
            message.payload = buffers
        message.compressed = ""
        return message
