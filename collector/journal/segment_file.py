r"""The file of a segment: plain while it is written to, later compressed as a whole, its bytes the same for who reads.

`NAME.segment.zst` holds zstd frames of BLOCK_BYTES each, checksummed, in zstd's seekable format: any zstd tool turns it
back into `NAME.segment`, byte for byte, and a block in the middle is found without the ones before it. The table that
says where the frames are stands at the end, as that format wants it, and once more in front, so that a flipped bit in
one of them costs nothing:

    at  bytes
    0   4     0x184D2A5E (a frame that decompressors skip), little-endian like all of it
    4   4     length of what follows
    8   8n    n entries: compressed length, decompressed length; the first is that of the copy in front: 8n + 17, 0
    8n  4     n
    +4  1     zero
    +5  4     0x8F92EAB1

A block that cannot be decompressed reads as zeros: damage like any other, for whoever checks what is read.
"""

import contextlib
import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import zstandard

from collector.durable_files import sync_directory, write_all_at

SUFFIX: Final = ".zst"
BLOCK_BYTES: Final = 256 << 10
"""What one flipped bit costs at most, and what has to be decompressed for one byte. Measured on the bench's messages: a
sixth of the size is left, with 1 MiB 7 % less, with 64 KiB a quarter more."""

LEVEL: Final = 1
"""Measured on the same: 700 MB/s a core; level 3 needs half as long again and gains nothing."""

_skippable = struct.Struct("<II")
_entry = struct.Struct("<II")
_foot = struct.Struct("<IBI")
_SKIPPABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_AROUND_BYTES: Final = _skippable.size + _foot.size
ENTRIES_LIMIT: Final = 1 << 20
"""More blocks are damage: 256 GiB."""


class SegmentFile(Protocol):
    """What a segment is read from. `read` gives fewer bytes than asked for at the end alone; it raises OSError."""

    @property
    def size(self) -> int:
        """Present length of the segment."""

    @property
    def stored_bytes(self) -> int:
        """Present length of the file."""

    def read(self, length: int, at: int) -> bytes:
        """Return bytes as they were written."""

    def close(self) -> None:
        """Let go of the file."""


class PlainFile:
    """A segment as it is written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Present length of the file."""
        return os.fstat(self._descriptor).st_size

    @property
    def stored_bytes(self) -> int:
        """The same."""
        return self.size

    def read(self, length: int, at: int) -> bytes:
        """Return bytes of the file."""
        return os.pread(self._descriptor, length, at)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class CompressedFile:
    """A segment that was compressed. One of which neither table can be read has no bytes.

    `flaw` says what is wrong with its tables, empty when nothing is.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._offsets, self.size, self.flaw = _read_table(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._decompressor = zstandard.ZstdDecompressor()
        self._number = -1
        self._block = b""

    @property
    def stored_bytes(self) -> int:
        """Length of the file."""
        return os.fstat(self._descriptor).st_size

    def read(self, length: int, at: int) -> bytes:
        """Return bytes of the segment."""
        end = min(at + length, self.size)
        if end - at <= 0:
            return b""
        first, last = at // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        whole = b"".join(self._block_of(number) for number in range(first, last + 1))
        return whole[at - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _block_of(self, number: int) -> bytes:
        if number != self._number:
            self._block = self._decompressed(number)
            self._number = number
        return self._block

    def _decompressed(self, number: int) -> bytes:
        offset, end = self._offsets[number : number + 2]
        length = min(BLOCK_BYTES, self.size - number * BLOCK_BYTES)
        content = os.pread(self._descriptor, end - offset, offset)
        try:
            block = self._decompressor.decompress(content, max_output_size=length)
        except zstandard.ZstdError:
            return bytes(length)
        return block if len(block) == length else bytes(length)


def open_segment_file(directory: Path, name: str) -> SegmentFile:
    """Open a segment, compressed or not; raise FileNotFoundError, OSError."""
    try:
        return PlainFile(directory / name)
    except FileNotFoundError:
        return CompressedFile(directory / (name + SUFFIX))


def path_of(directory: Path, name: str) -> Path:
    """Return where a segment's bytes are on disk at the moment."""
    plain = directory / name
    compressed = directory / (name + SUFFIX)
    return plain if plain.exists() or not compressed.exists() else compressed


def stored_bytes(directory: Path, name: str) -> int:
    """Return what a segment takes on disk; raise FileNotFoundError."""
    return path_of(directory, name).stat().st_size


def is_compressed(directory: Path, name: str) -> bool:
    """Tell whether a segment was compressed."""
    return path_of(directory, name).suffix == SUFFIX


def compress(directory: Path, name: str) -> int:
    """Put a sealed segment's compressed file into its place, durably; return how many bytes are free now.

    Who has the plain file open reads on. Blocking; raises OSError, and then the plain file is still there.
    """
    plain, compressed = directory / name, directory / (name + SUFFIX)
    temporary = directory / f".{compressed.name}.new"
    before_bytes = plain.stat().st_size
    try:
        after_bytes = _write_compressed(plain, temporary)
        temporary.rename(compressed)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(directory)
    plain.unlink()
    return before_bytes - after_bytes


def remove_copies(directory: Path) -> None:
    """Remove what a crash left between the two steps of `compress`: the plain file is the one that counts."""
    for compressed in directory.glob(f"*{SUFFIX}"):
        if compressed.with_suffix("").exists():
            compressed.unlink()


def _write_compressed(plain: Path, temporary: Path) -> int:
    """Write the compressed file, durably; return its length."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        blocks = -(-plain.stat().st_size // BLOCK_BYTES)
        table_bytes = _AROUND_BYTES + (blocks + 1) * _entry.size
        entries, at = [(table_bytes, 0)], table_bytes
        for block in _blocks_of(plain):
            content = compressor.compress(block)
            write_all_at(descriptor, content, at)
            entries.append((len(content), len(block)))
            at += len(content)
        table = _encoded(entries)
        write_all_at(descriptor, table, at)
        write_all_at(descriptor, table, 0)
        os.fsync(descriptor)
        return at + table_bytes
    finally:
        os.close(descriptor)


def _blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _encoded(entries: list[tuple[int, int]]) -> bytes:
    body = b"".join(_entry.pack(*each) for each in entries) + _foot.pack(len(entries), 0, _SEEKABLE_MAGIC)
    return _skippable.pack(_SKIPPABLE_MAGIC, len(body)) + body


def _read_table(descriptor: int) -> tuple[list[int], int, str]:
    """Return where blocks begin, with the end of the last; the segment's length; what is wrong with the tables."""
    file_bytes = os.fstat(descriptor).st_size
    foot = os.pread(descriptor, _foot.size, max(file_bytes - _foot.size, 0))
    head = os.pread(descriptor, _skippable.size, 0)
    candidates = [b"", b""]
    if len(head) == _skippable.size:
        length = min(_skippable.unpack(head)[1], ENTRIES_LIMIT * _entry.size)
        candidates[0] = os.pread(descriptor, _skippable.size + length, 0)
    if len(foot) == _foot.size:
        length = _AROUND_BYTES + min(_foot.unpack(foot)[0], ENTRIES_LIMIT) * _entry.size
        candidates[1] = os.pread(descriptor, length, max(file_bytes - length, 0))
    found = [_decoded(table, file_bytes) for table in candidates]
    flaw = " and ".join(where for where, entries in zip(("in front", "at the end"), found, strict=True) if not entries)
    entries = found[0] or found[1]
    offsets = list(itertools.accumulate(compressed for compressed, _ in entries))
    return offsets, sum(length for _, length in entries), f"the table {flaw} is damaged" if flaw else ""


def _decoded(table: bytes, file_bytes: int) -> list[tuple[int, int]]:
    """Return the entries of a table; none when it is not one that `_encoded` made for a file of this length."""
    body = table[_skippable.size : -_foot.size]
    entries = list(_entry.iter_unpack(body)) if len(body) % _entry.size == 0 else []
    if not entries or _encoded(entries) != table or entries[0] != (len(table), 0):
        return []
    lengths = [length for _, length in entries[1:]]
    whole = all(length == BLOCK_BYTES for length in lengths[:-1]) and all(0 < each <= BLOCK_BYTES for each in lengths)
    return entries if whole and sum(compressed for compressed, _ in entries) + len(table) == file_bytes else []
