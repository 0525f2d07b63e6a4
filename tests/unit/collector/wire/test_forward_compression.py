"""Tests for inflating payloads: members, limits, and everything that can be wrong with them."""

import gzip
import hashlib

import pytest
import zstandard

from collector.wire.forward_compression import INFLATED_BYTES, MEMBER_LIMIT, InflateError, inflate

TEXT = b"a line of a log " * 500
ZSTD_BLOCK_BYTES = 128 << 10
SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


def inflated(payload: bytes, compression: str, limit_bytes: int = 1 << 26) -> bytes:
    """Inflate and join."""
    return b"".join(inflate(memoryview(payload), compression, limit_bytes=limit_bytes))


def compress(compression: str, plain: bytes) -> bytes:
    """Compress as a sender does."""
    return gzip.compress(plain) if compression == "gzip" else zstandard.compress(plain)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("members", [1, 2, 300])
def test_all_members_are_inflated(compression: str, members: int) -> None:
    """Members and frames back to back are one payload."""
    payload = b"".join(compress(compression, TEXT + b"%d" % number) for number in range(members))

    assert b"".join(TEXT + b"%d" % number for number in range(members)) == inflated(payload, compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_large_payload_that_hardly_shrinks(compression: str) -> None:
    """Payloads larger than the pieces they are read in."""
    plain = hashlib.shake_256(b"noise").digest(3_000_000)

    assert plain == inflated(compress(compression, plain), compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_limit_counts_inflated_bytes(compression: str) -> None:
    """Exactly the limit passes; one byte more is refused."""
    payload = compress(compression, TEXT[:4000]) + compress(compression, TEXT[:4000])

    assert len(inflated(payload, compression, 8000)) == 8000
    with pytest.raises(InflateError, match="beyond the limit"):
        inflated(payload, compression, 7999)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_refused_at_the_limit(compression: str) -> None:
    """What inflates a thousandfold is stopped on the way."""
    bomb = compress(compression, bytes(256 << 20))

    with pytest.raises(InflateError, match="beyond the limit"):
        inflated(bomb, compression, 1 << 20)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_inflates_bit_by_bit(compression: str) -> None:
    """No call makes so much at once that other threads would have to wait for it to be joined."""
    buffers = inflate(memoryview(compress(compression, bytes(20 << 20))), compression, limit_bytes=1 << 30)

    assert sum(map(len, buffers)) == 20 << 20
    assert max(map(len, buffers)) <= INFLATED_BYTES


@pytest.mark.parametrize("single", [False, True], ids=["streamed", "single segment"])
@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksummed"])
@pytest.mark.parametrize("size", [0, 1, 300, 70_000, 1_000_000])
def test_zstd_frames_of_every_form(size: int, *, checksum: bool, single: bool) -> None:
    """RFC 8878 3.1.1: heads of all lengths, blocks of all types, each frame behind another."""
    compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=single)
    plain = hashlib.shake_256(b"noise").digest(size // 2) + bytes(size // 2) + TEXT[: size % 7]
    stream = compressor.compressobj()
    frame = compressor.compress(plain) if single else stream.compress(plain) + stream.flush()
    buffers = inflate(memoryview(frame * 2), "zstd", limit_bytes=1 << 30)

    assert b"".join(buffers) == plain * 2
    assert max(map(len, buffers), default=0) <= ZSTD_BLOCK_BYTES


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_cut_short_anywhere(compression: str) -> None:
    """A payload that ends too early is broken, wherever it ends."""
    payload = compress(compression, TEXT)

    for cut in range(1, len(payload)):
        with pytest.raises(InflateError):
            inflated(payload[:cut], compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("garbage", [b"x", b"\x00", b"trailing garbage" * 10])
def test_garbage_behind_the_last_member(compression: str, garbage: bytes) -> None:
    """Trailing bytes make the payload broken."""
    with pytest.raises(InflateError):
        inflated(compress(compression, TEXT) + garbage, compression)


def test_a_wrong_checksum() -> None:
    """The checksum of a gzip member counts."""
    payload = bytearray(gzip.compress(TEXT))
    payload[-8] ^= 1

    with pytest.raises(InflateError, match="broken"):
        inflated(bytes(payload), "gzip")


@pytest.mark.parametrize(("compression", "what"), [("gzip", "members"), ("zstd", "frames")])
def test_too_many_empty_members(compression: str, what: str) -> None:
    """A payload of nothing but empty members costs bounded time."""
    with pytest.raises(InflateError, match=what):
        inflated(compress(compression, b"") * (MEMBER_LIMIT + 1), compression)


def test_a_skippable_zstd_frame() -> None:
    """RFC 8878 3.1.2: frames that carry no content are read over."""
    assert inflated(compress("zstd", TEXT) + SKIPPABLE_FRAME + compress("zstd", TEXT), "zstd") == TEXT * 2


def test_a_zstd_window_beyond_the_limit() -> None:
    """A frame that wants 128 MiB of memory to be read is broken."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    payload = stream.compress(TEXT) + stream.flush()

    with pytest.raises(InflateError):
        inflated(payload, "zstd")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_nothing_inflates_to_nothing(compression: str) -> None:
    """An empty payload has no records."""
    assert inflated(b"", compression) == b""
