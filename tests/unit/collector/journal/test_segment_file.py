"""A compressed segment reads like the plain one, and damage to it is damage to a block."""

import io
import os
import random
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from collector.journal.segment_file import (
    BLOCK_BYTES,
    SUFFIX,
    CompressedFile,
    compress,
    is_compressed,
    open_segment_file,
    path_of,
    remove_copies,
    stored_bytes,
)

NAME = "00-1800000000-00000000000.segment"
SEED = 20261128


def content_of(length: int) -> bytes:
    """Bytes that compress, and differ everywhere."""
    lines = b"".join(b"%d a line of a container\n" % number for number in range(length // 20 + 1))
    return lines[:length]


def compressed(folder: Path, length: int) -> bytes:
    """Put a compressed segment of this length there; return its content."""
    content = content_of(length)
    (folder / NAME).write_bytes(content)
    compress(folder, NAME)
    return content


def read_whole(folder: Path) -> bytes:
    """Read the segment to its end."""
    with closing(open_segment_file(folder, NAME)) as file:
        return file.read(1 << 30, 0)


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7])
def test_any_part_reads_as_it_was(tmp_path: Path, length: int) -> None:
    """At and across the edges of blocks, and up to the end and no further."""
    content = compressed(tmp_path, length)
    chance = random.Random(SEED)
    edges = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, length - 1, length, length + 1]

    with closing(open_segment_file(tmp_path, NAME)) as file:
        assert file.size == length
        for at in (each for each in edges if each >= 0):
            for wanted in (0, 1, 17, BLOCK_BYTES, 2 * BLOCK_BYTES + 3, chance.randrange(length + 1)):
                assert file.read(wanted, at) == content[at : at + wanted]


def test_any_zstd_tool_gives_the_segment_back(tmp_path: Path) -> None:
    """An archive can be read without this program."""
    content = compressed(tmp_path, 2 * BLOCK_BYTES + 5)

    stored = (tmp_path / (NAME + SUFFIX)).read_bytes()

    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored), read_across_frames=True) as reader:
        assert reader.read() == content


def test_the_plain_file_is_gone_and_who_reads_it_reads_on(tmp_path: Path) -> None:
    """Compression frees disk at once, and disturbs no follower."""
    content = content_of(3 * BLOCK_BYTES)
    (tmp_path / NAME).write_bytes(content)

    with closing(open_segment_file(tmp_path, NAME)) as reading:
        freed_bytes = compress(tmp_path, NAME)
        assert reading.read(len(content), 0) == content

    assert os.listdir(tmp_path) == [NAME + SUFFIX]
    assert freed_bytes == len(content) - stored_bytes(tmp_path, NAME) > 0
    assert (is_compressed(tmp_path, NAME), path_of(tmp_path, NAME).suffix) == (True, SUFFIX)


def test_a_damaged_block_reads_as_zeros_and_no_other_does(tmp_path: Path) -> None:
    """Whoever checks what is read finds damage there; nothing is guessed, and nothing behind it is lost."""
    content = compressed(tmp_path, 3 * BLOCK_BYTES)
    path = tmp_path / (NAME + SUFFIX)
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)

    expected = content[:BLOCK_BYTES] + bytes(BLOCK_BYTES) + content[2 * BLOCK_BYTES :]

    assert read_whole(tmp_path) == expected


def test_a_flip_anywhere_changes_no_byte_but_to_zero(tmp_path: Path) -> None:
    """In a block it costs that block; in one of the tables it costs nothing, and is told."""
    content = compressed(tmp_path, 2 * BLOCK_BYTES)
    path = tmp_path / (NAME + SUFFIX)
    stored = path.read_bytes()
    table_bytes = (17 + 3 * 8 - 1) & ~7  # more or less: tells tables from blocks below by what reads back
    chance = random.Random(SEED)
    flaws = 0
    for offset in {*range(2 * table_bytes), *(chance.randrange(len(stored)) for _ in range(300))}:
        changed = bytearray(stored)
        changed[offset] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with closing(CompressedFile(path)) as file:
            blocks = [file.read(BLOCK_BYTES, at) for at in (0, BLOCK_BYTES)]
            flaws += bool(file.flaw)
            assert file.size == len(content)
            if file.flaw:
                assert b"".join(blocks) == content
        for number, block in enumerate(blocks):
            assert block in (content[number * BLOCK_BYTES :][:BLOCK_BYTES], bytes(BLOCK_BYTES))
    assert flaws > 30


@pytest.mark.parametrize("left", [0, 1, 16, 40, 0.5, -1, -9])
def test_a_file_cut_short_never_reads_as_another(tmp_path: Path, left: float) -> None:
    """Both tables say how long the file is: what is shorter has no bytes, and says why."""
    compressed(tmp_path, 2 * BLOCK_BYTES)
    path = tmp_path / (NAME + SUFFIX)
    stored = path.read_bytes()
    path.write_bytes(stored[: round(len(stored) * left) if left == 0.5 else int(left)])

    with closing(CompressedFile(path)) as file:
        assert (file.size, file.read(100, 0)) == (0, b"")
        assert file.flaw


def test_a_crash_between_the_two_files_keeps_the_plain_one(tmp_path: Path) -> None:
    """As long as the plain file is there it is the one that is read; a start removes the copy."""
    compressed(tmp_path, 1000)
    plain = content_of(1000)
    (tmp_path / NAME).write_bytes(plain)
    (tmp_path / (NAME + SUFFIX)).write_bytes(b"half-known")

    assert read_whole(tmp_path) == plain
    remove_copies(tmp_path)
    assert os.listdir(tmp_path) == [NAME]


def test_the_plain_file_goes_when_the_compressed_one_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the power goes, one of the two is whole: content, then name, then the end of the plain file."""
    (tmp_path / NAME).write_bytes(content_of(1000))
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, (tmp_path / NAME).exists()))

    monkeypatch.setattr(os, "fsync", sync)
    compress(tmp_path, NAME)

    assert synced == [(f".{NAME}{SUFFIX}.new", True), (tmp_path.name, True)]
    assert os.listdir(tmp_path) == [NAME + SUFFIX]


def test_a_disk_that_is_full_keeps_the_plain_file(tmp_path: Path) -> None:
    """Compression that cannot be finished leaves nothing behind, and says why."""
    (tmp_path / NAME).write_bytes(content_of(1000))
    (tmp_path / f".{NAME}{SUFFIX}.new").mkdir()

    with pytest.raises(OSError, match="directory"):
        compress(tmp_path, NAME)

    assert read_whole(tmp_path) == content_of(1000)
