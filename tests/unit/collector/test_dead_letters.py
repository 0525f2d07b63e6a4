"""Dead letters: kept with their bytes, once each whatever happens, bounded."""

import asyncio
import base64
import os
import resource
from pathlib import Path

import pytest

from collector.dead_letters import (
    PIPELINE,
    DeadLetterFile,
    DeadLettersFullError,
    Letter,
    read_letters,
)
from collector.errors import DataDirError
from collector.outputs.dead_letters import DeadLettersOutput, letters_of
from collector.testing.batches import EPOCH, ListedSource, batch_of
from pipelines.batch import Batch, DeadLetter
from pipelines.frame import Position


def refused(sequence: int, payload: bytes = b"\xc1\x00") -> Batch:
    """A batch with one refused record."""
    position = Position(0, EPOCH, sequence, 0)
    return batch_of(sequence, [], dead=[DeadLetter(position, "decode", "bad_entry", "no entry", "docker/x", payload)])


def kept(data_dir: Path) -> list[Letter]:
    """The pipeline's letters."""
    return list(read_letters(data_dir, PIPELINE))


async def test_what_the_pipeline_refused_is_kept_with_its_bytes(tmp_path: Path) -> None:
    """The built-in output writes each letter and settles every batch."""
    source = ListedSource([batch_of(0, ["fine"]), refused(1), batch_of(2, [])])
    output = DeadLettersOutput(tmp_path)
    output.resume(None)
    running = asyncio.create_task(output.run(source))
    await source.wait_settled(2)
    source.stop()
    await running
    (letter,) = kept(tmp_path)

    assert (letter.payload_bytes, letter.code, letter.origin) == (b"\xc1\x00", "bad_entry", "docker/x")
    assert letter.position == Position(0, EPOCH, 1, 0)
    assert [position.sequence for position in source.settled] == [0, 1, 2]


def test_a_letter_at_or_beyond_the_cursor_is_cut_at_the_start(tmp_path: Path) -> None:
    """Its record will be met again, so a crash doubles nothing."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    file.open(Position(0, EPOCH, 1))

    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]


def test_letters_in_the_order_of_their_refusals_are_cut_by_their_positions(tmp_path: Path) -> None:
    """Requests finish in any order: what stands behind a later record's letter is not lost with it."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in (4, 1, 5, 0, 2):
        file.append(letters_of(refused(sequence)))
    file.open(Position(0, EPOCH, 2))

    assert [letter.position.sequence for letter in kept(tmp_path)] == [1, 0]
    assert [file.path] == list(file.path.parent.iterdir())


def test_without_a_cursor_letters_of_frames_that_the_journal_has_are_cut(tmp_path: Path) -> None:
    """They will be met again; those of frames that are gone will not, and stay."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    file.open(None)
    assert [letter.position.sequence for letter in kept(tmp_path)] == [0, 1, 2]

    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / f"00-{EPOCH}-{1:011}.segment").touch()
    file.open(None)
    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """On a full disk no half letter stays, so the next try begins at a line's start."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    before = file.path.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, unlimited[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append(letters_of(refused(1, b"x" * 300)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    assert before == file.path.read_bytes()


def test_a_letter_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor passes its record when `append` returns: by then it is on disk, and so is a new file's name."""
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, sync)
    file.append(letters_of(refused(0)))
    file.append(letters_of(refused(1)))

    assert synced == ["pipeline.ndjson", "dead-letters", "pipeline.ndjson"]


async def test_a_batch_whose_letters_cannot_be_written_is_not_settled(tmp_path: Path) -> None:
    """The output ends with the error and is started again by the worker, from the cursor."""
    source = ListedSource([batch_of(0, ["fine"]), refused(1), refused(2)])
    output = DeadLettersOutput(tmp_path)
    output.resume(None)
    (tmp_path / "dead-letters" / "pipeline.ndjson").mkdir()

    with pytest.raises(IsADirectoryError):
        await output.run(source)
    assert [position.sequence for position in source.settled] == [0]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_letter_is_cut(tmp_path: Path, cut: int) -> None:
    """What a crash left of a line is no letter; those before it stay."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    file.append(letters_of(refused(1)))
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-cut])

    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]
    file.open(Position(0, EPOCH, 5))
    assert file.path.read_bytes() == content[: content.index(b"\n") + 1]


def test_a_full_file_is_an_error_and_deletes_nothing(tmp_path: Path) -> None:
    """The output waits for an operator; the letters that are there stay."""
    file = DeadLetterFile(tmp_path, PIPELINE, limit_bytes=400)
    file.open(None)
    file.append(letters_of(refused(0)))
    with pytest.raises(DeadLettersFullError, match="move it away"):
        file.append(letters_of(refused(1, b"x" * 300)))

    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("damage", [b"garbage\n", b'{"id":"\xff"}\n'])
def test_damage_within_the_file_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    """Reading does not pass over it, whatever the bytes are, and the output goes on."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    file.path.write_bytes(damage + file.path.read_bytes())
    file.open(None)

    with pytest.raises(DataDirError, match=":1: damaged"):
        kept(tmp_path)


def test_the_same_refusal_gets_the_same_id_again() -> None:
    """An id is made of the position, so a repeat after a crash can be recognised."""
    first, second = letters_of(refused(1)), letters_of(refused(1))

    assert first[0].id == second[0].id
    assert base64.b64decode(first[0].payload) == b"\xc1\x00"
