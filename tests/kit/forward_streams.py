"""Feeds a Forward decoder in pieces and puts what comes out in a form that does not depend on the cuts."""

from collections.abc import Iterable
from typing import Final

import msgspec

from collector.wire.blocks import Blocks
from collector.wire.forward import BrokenStream, ForwardDecoder
from collector.wire.forward_message import ForwardInflation, ForwardMessage

MESSAGE_LIMIT_BYTES: Final = 64 << 20
"""Limit of one message where a test does not say another."""


class Decoded(msgspec.Struct, frozen=True):
    """A message with its payload joined."""

    encoding: str
    payload: bytes
    tag: bytes = b""
    chunk_id: bytes = b""
    ack: bytes = b""
    claimed: int = -1


def decoded(message: ForwardMessage, *, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> Decoded:
    """Inflate, copy and release a message."""
    if message.compressed:
        inflation = ForwardInflation(message, limit_bytes=limit_bytes, ratio_limit=1_000)
        inflation.run()
        inflation.end()
    payload = b"".join(message.payload)
    plain = Decoded(message.encoding, payload, message.tag, message.chunk_id, message.ack, message.claimed)
    message.release()
    return plain


def decode_pieces(
    pieces: Iterable[bytes], *, blocks: Blocks | None = None, limit_bytes: int = MESSAGE_LIMIT_BYTES
) -> tuple[list[Decoded], str]:
    """Decode a connection's bytes; return its messages and the code of what broke it (empty: nothing).

    Neighbouring Message-mode objects that nobody wants acknowledged are put together, as the decoder may or may not.
    """
    decoder = ForwardDecoder(blocks or Blocks(), limit_bytes=limit_bytes)
    messages: list[Decoded] = []
    code = ""
    for piece in pieces:
        try:
            found = _received(decoder, piece)
        except BrokenStream as error:
            found, code = error.messages, error.code
        for message in found:
            _join(messages, decoded(message, limit_bytes=limit_bytes))
        if code:
            break
    decoder.close()
    return messages, code


def _received(decoder: ForwardDecoder, piece: bytes) -> list[ForwardMessage]:
    found: list[ForwardMessage] = []
    view = memoryview(piece)
    while view:
        room = decoder.writable()
        count = min(len(room), len(view))
        room[:count] = view[:count]
        view = view[count:]
        try:
            found += decoder.received(count)
            while decoder.behind:
                found += decoder.received(0)
        except BrokenStream as error:
            error.messages = found + error.messages
            raise
    return found


def _join(messages: list[Decoded], message: Decoded) -> None:
    last = messages[-1] if messages else None
    if last is not None and last.encoding == message.encoding == "forward-message" and not last.ack + message.ack:
        payload, claimed = last.payload + message.payload, last.claimed + message.claimed
        messages[-1] = Decoded("forward-message", payload, claimed=claimed)
    else:
        messages.append(message)
