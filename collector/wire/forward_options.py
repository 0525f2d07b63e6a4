"""The options map at the end of a Forward message: what it asks for and what it claims."""

from typing import Any, Final

import msgpack
import msgspec

from collector.wire.errors import WireError

CHUNK_ID_LIMIT_BYTES: Final = 503
"""A longer chunk id is refused: Fluent Bit reads an acknowledgement once into a buffer of 511 bytes, of which eight are
not the id."""

CLAIM_LIMIT: Final = (1 << 32) - 1
"""A `size` above this claims nothing."""

_EMPTY: Final = (0x80, 0xC0)


class Options(msgspec.Struct, frozen=True):
    """`ack` is the whole reply to send, empty when none is asked for. `compressed` is empty for plain payloads.

    `size` is the number of entries claimed, -1 when nothing is claimed; `signal` is 0 for logs.
    """

    chunk_id: bytes = b""
    ack: bytes = b""
    size: int = -1
    compressed: str = ""
    signal: int = 0


NO_OPTIONS: Final = Options()


def is_empty(first: int) -> bool:
    """Tell by its first byte whether an options element is the empty map or nil."""
    return first in _EMPTY


def decode_options(encoded: memoryview) -> Options:
    """Decode a whole options element: a map, or nil; raise WireError for anything else."""
    first = encoded[0]
    if first in _EMPTY:
        return NO_OPTIONS
    if not (0x80 <= first <= 0x8F or first in (0xDE, 0xDF)):
        raise WireError("options", "the options are neither a map nor nil")
    chunk_id: str | None = None
    size, compressed, signal = -1, "", 0
    for key, setting in _pairs(encoded):
        if key == "chunk":
            chunk_id = setting if isinstance(setting, str) else None
        elif key == "size":
            size = setting if type(setting) is int and 0 <= setting <= CLAIM_LIMIT else -1
        elif key == "compressed":
            compressed = _compression(setting)
        elif key == "fluent_signal":
            signal = setting if type(setting) is int else 0
    if chunk_id is None:
        return Options(size=size, compressed=compressed, signal=signal)
    identifier = chunk_id.encode("utf-8", "surrogateescape")
    if len(identifier) > CHUNK_ID_LIMIT_BYTES:
        length = len(identifier)
        raise WireError("chunk_id", f"a chunk id of {length} bytes: its acknowledgement would not fit one read")
    ack = acknowledgement(identifier)
    return Options(chunk_id=identifier, ack=ack, size=size, compressed=compressed, signal=signal)


def _pairs(encoded: memoryview) -> list[tuple[Any, Any]]:
    """Return the map's pairs as they stand: keys may repeat, and may be of types that no dict takes."""
    try:
        pairs: list[tuple[Any, Any]] = msgpack.unpackb(
            encoded,
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            object_pairs_hook=list,
        )
    except (ValueError, OverflowError, msgpack.UnpackException) as error:
        raise WireError("options", "the options cannot be read") from error
    return pairs


def _compression(setting: object) -> str:
    if isinstance(setting, bytes):
        setting = setting.decode("utf-8", "replace")
    if setting is None or setting == "text":
        return ""
    return setting if isinstance(setting, str) and setting in ("gzip", "zstd") else "unknown"


def acknowledgement(chunk_id: bytes) -> bytes:
    """Return the whole reply that acknowledges a chunk id of at most CHUNK_ID_LIMIT_BYTES."""
    length = len(chunk_id)
    if length < 32:
        head = bytes((0xA0 | length,))
    else:
        head = bytes((0xD9, length)) if length < 256 else b"\xda" + length.to_bytes(2, "big")
    return b"\x81\xa3ack" + head + chunk_id
