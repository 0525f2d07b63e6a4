"""Inflates CompressedPackedForward payloads: gzip members or zstd frames back to back, counted while they inflate."""

from collections.abc import Iterator, Sequence
from typing import Final

import zstandard
from isal import igzip_lib

MEMBER_LIMIT: Final = 1 << 16
"""Gzip members or zstd frames in one payload. fluentd writes one per append; a message of nothing but empty members
would otherwise keep the intake busy for seconds."""

ZSTD_WINDOW_LIMIT_BYTES: Final = 8 << 20
"""RFC 8878 3.1.1.1.2 recommends that decoders support this much and let nobody ask for more."""

GZIP_READ_BYTES: Final = 64 << 10
FIRST_READ_BYTES: Final = 1 << 10
"""Reads grow from this size, since what lies behind the end of a member is copied by the library."""

INFLATED_BYTES: Final = 256 << 10
"""What one call of a library inflates to at most: while it joins what it made, no other thread gets on (measured: 57 ms
for 64 MiB at once, 0.3 for this)."""

ZSTD_READ_BYTES: Final = 64
"""Of a frame whose blocks cannot be told. zstd has no limit on what one call gives: so much inflates to 2 MiB (blocks
of one repeated byte, 128 KiB from four); one block to 128 KiB."""

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
ZSTD_RLE: Final = 1


class InflateError(ValueError):
    """The payload is broken, or inflates beyond the limit; the text is for people."""


class BeyondLimitError(InflateError):
    """It inflates beyond the limit."""


def inflate(payload: memoryview, compression: str, *, limit_bytes: int) -> Sequence[bytes]:
    """Return the inflated bytes in buffers; raise InflateError. An empty payload inflates to nothing.

    It may be called in any thread, and lets the others get on.
    """
    if compression == "gzip":
        return _inflate_gzip(payload, limit_bytes)
    if compression == "zstd":
        return _inflate_zstd(payload, limit_bytes)
    raise InflateError("unknown compression")


def _inflate_gzip(payload: memoryview, limit_bytes: int) -> list[bytes]:
    buffers: list[bytes] = []
    at, left = 0, limit_bytes
    for _ in range(MEMBER_LIMIT):
        if at == len(payload):
            return buffers
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        read_bytes = FIRST_READ_BYTES
        while not member.eof:
            read = payload[at : at + read_bytes] if member.needs_input else b""
            if member.needs_input and not read:
                raise InflateError("the gzip data is cut short")
            try:
                inflated = member.decompress(read, min(left + 1, INFLATED_BYTES))
            except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub forgets its base class
                raise InflateError("the gzip data is broken") from error
            at += len(read)
            left -= len(inflated)
            if left < 0:
                raise BeyondLimitError("the payload inflates beyond the limit")
            if inflated:
                buffers.append(inflated)
            read_bytes = min(2 * read_bytes, GZIP_READ_BYTES)
        at -= len(member.unused_data)
    if at == len(payload):
        return buffers
    raise InflateError("too many gzip members")


def _inflate_zstd(payload: memoryview, limit_bytes: int) -> list[bytes]:
    buffers: list[bytes] = []
    at, left = 0, limit_bytes
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT_BYTES)
    for _ in range(MEMBER_LIMIT):
        if at == len(payload):
            return buffers
        frame, ends = decompressor.decompressobj(), _zstd_blocks(payload, at)
        while not frame.eof:
            read = payload[at : next(ends)]
            if not read:
                raise InflateError("the zstd data is cut short")
            try:
                inflated = frame.decompress(read)
            except zstandard.ZstdError as error:
                raise InflateError("the zstd data is broken") from error
            at += len(read)
            left -= len(inflated)
            if left < 0:
                raise BeyondLimitError("the payload inflates beyond the limit")
            if inflated:
                buffers.append(inflated)
        at -= len(frame.unused_data)
    if at == len(payload):
        return buffers
    raise InflateError("too many zstd frames")


def _zstd_blocks(payload: memoryview, at: int) -> Iterator[int]:
    """Yield where the blocks of the frame at `at` end (RFC 8878 3.1.1), then some place behind, for ever.

    Only where to cut: whether it is a frame at all, and a whole one, the library says.
    """
    if bytes(payload[at : at + len(ZSTD_MAGIC)]) == ZSTD_MAGIC and at + len(ZSTD_MAGIC) < len(payload):
        descriptor = payload[at + len(ZSTD_MAGIC)]
        is_single = descriptor >> 5 & 1
        at += (
            len(ZSTD_MAGIC) + 1 + (not is_single) + (0, 1, 2, 4)[descriptor & 3] + (is_single, 2, 4, 8)[descriptor >> 6]
        )
        is_last = False
        while not is_last and at + 3 <= len(payload):
            head = int.from_bytes(payload[at : at + 3], "little")
            is_last = bool(head & 1)
            at += 3 + (1 if head >> 1 & 3 == ZSTD_RLE else head >> 3)
            yield at
    while True:
        at += ZSTD_READ_BYTES
        yield at
