"""Checkpoint files: what is written is read, damage is told by name, and only what nobody needs is deleted."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal import checkpoints as module
from collector.journal.checkpoints import (
    Checkpoint,
    checkpoint_bytes,
    checkpoints,
    delete_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    replay_start,
    replayed_from,
    write_checkpoint,
)
from collector.journal.cursors import write_cursor
from collector.journal.segments import first_position, segment_bytes, segment_files
from pipelines.frame import Position
from tests.kit.journals import entry_of, open_journal

POSITIONS = [Position(0, 7, 5), Position(0, 7, 60), Position(0, 8, 0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three checkpoints."""
    for position in POSITIONS:
        write_checkpoint(tmp_path, Checkpoint(position, "print", b"state of %d" % position.sequence))
    return tmp_path


def file_of(folder: Path, position: Position) -> Path:
    """The file of a checkpoint."""
    (found,) = (folder / "checkpoints").glob(f"*-{position.epoch:010d}-{position.sequence:011d}.checkpoint")
    return found


def found_before(folder: Path, until: Position) -> tuple[Position | None, list[str]]:
    """Return the newest that can be used, and what was passed over."""
    passed: list[str] = []
    return newest_checkpoint(folder, until, take=lambda _: None, passed_over=passed.append), passed


def test_what_is_written_is_read(folder: Path) -> None:
    """Named by position, in order, readable by us only."""
    assert checkpoints(folder) == POSITIONS
    assert read_checkpoint(folder, POSITIONS[1]) == Checkpoint(POSITIONS[1], "print", b"state of 60")
    assert {path.stat().st_mode & 0o777 for path in (folder / "checkpoints").iterdir()} == {0o600}
    assert checkpoint_bytes(folder, POSITIONS[0]) == file_of(folder, POSITIONS[0]).stat().st_size
    assert checkpoint_bytes(folder, Position(0, 1, 1)) == 0


def test_every_flipped_bit_is_told_by_name(folder: Path) -> None:
    """And the checkpoint before is taken instead."""
    path = file_of(folder, POSITIONS[1])
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        position, passed = found_before(folder, POSITIONS[1])

        assert position == POSITIONS[0]
        assert [path.name in each for each in passed] == [True]


@pytest.mark.parametrize("length", [0, 1, 23, 24, 30])
def test_a_cut_checkpoint_is_damaged(folder: Path, length: int) -> None:
    """Wherever it ends."""
    os.truncate(file_of(folder, POSITIONS[0]), length)

    with pytest.raises(DataDirError, match="damaged"):
        read_checkpoint(folder, POSITIONS[0])


def test_a_newer_version_and_a_foreign_name_are_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is checked like the rest; a file under another's name is none."""
    monkeypatch.setattr(module, "VERSION", 2)
    write_checkpoint(folder, Checkpoint(POSITIONS[2], "", b""))
    monkeypatch.undo()
    file_of(folder, POSITIONS[1]).write_bytes(file_of(folder, POSITIONS[0]).read_bytes())
    position, passed = found_before(folder, Position(0, 9, 0))

    assert position == POSITIONS[0]
    assert ["newer" in passed[0], "another position" in passed[1]] == [True, True]


def test_the_newest_at_or_before_a_position_is_found(folder: Path) -> None:
    """One whose state cannot be read counts as none; half-written files are none."""
    (folder / "checkpoints" / ".00-0000000007-00000000009.checkpoint.new").write_bytes(b"half")
    for until, expected in (
        (Position(0, 7, 4), None),
        (POSITIONS[0], POSITIONS[0]),
        (Position(0, 7, 59), POSITIONS[0]),
        (Position(0, 9, 0), POSITIONS[2]),
    ):
        assert found_before(folder, until) == (expected, [])

    def refuse(checkpoint: Checkpoint) -> None:
        if checkpoint.position != POSITIONS[0]:
            raise DataDirError("cannot be decoded")

    assert newest_checkpoint(folder, POSITIONS[2], take=refuse, passed_over=lambda _: None) == POSITIONS[0]


def test_only_what_no_cursor_needs_is_deleted(folder: Path) -> None:
    """The newest sound one before the oldest cursor stays, and all behind it."""
    assert (delete_checkpoints(folder, Position(0, 7, 59)), checkpoints(folder)) == (0, POSITIONS)
    os.truncate(file_of(folder, POSITIONS[1]), 9)
    assert (delete_checkpoints(folder, Position(0, 7, 99)), checkpoints(folder)) == (0, POSITIONS)
    assert (delete_checkpoints(folder, Position(0, 8, 0)), checkpoints(folder)) == (2, POSITIONS[2:])


def test_checkpoints_are_thinned_while_a_consumer_is_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own and the newest stay; between them no gap is much wider than the others."""
    monkeypatch.setattr(module, "CHECKPOINTS_LIMIT", 12)
    monkeypatch.setattr(module, "NEWEST_KEPT", 4)
    for sequence in range(10, 4_010, 10):
        write_checkpoint(tmp_path, Checkpoint(Position(0, 7, sequence), "", b""))
        delete_checkpoints(tmp_path, Position(0, 7, 25))
    left = [position.sequence for position in checkpoints(tmp_path)]
    gaps = [then - first for first, then in pairwise(left[:-4])]

    assert (len(left), left[0], left[-4:]) == (12, 20, [3970, 3980, 3990, 4000])
    assert max(gaps) <= 4_000 / (12 - 4) * 3


def test_checkpoints_of_several_starts_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one start ended, its successor does not say; those close together go first."""
    monkeypatch.setattr(module, "CHECKPOINTS_LIMIT", 5)
    monkeypatch.setattr(module, "NEWEST_KEPT", 1)
    positions = [Position(0, 7, 5), Position(0, 7, 900), Position(0, 8, 0), Position(0, 8, 10), Position(0, 8, 800)]
    for position in [*positions, Position(0, 9, 1)]:
        write_checkpoint(tmp_path, Checkpoint(position, "", b""))

    assert delete_checkpoints(tmp_path, Position(0, 7, 6)) == 1
    assert Position(0, 8, 0) not in checkpoints(tmp_path)


def test_a_crash_before_the_rename_leaves_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was being written is no checkpoint, and the next write goes over it."""

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    newer = Checkpoint(Position(0, 9, 9), "", b"newer")
    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(folder, newer)
    monkeypatch.undo()

    assert found_before(folder, newer.position) == (POSITIONS[2], [])
    write_checkpoint(folder, newer)
    assert found_before(folder, newer.position) == (newer.position, [])


async def test_without_a_checkpoint_some_segments_before_the_cursor_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole segments, REPLAY_BYTES or more before the one with the cursor, and none beyond that.

    Before, that one counted as well: behind a segment of its full size nothing was read again.
    """
    journal = open_journal(tmp_path, segment_bytes=600)
    for _ in range(12):
        await journal.append(entry_of(bytes(200)))
    directory, end = tmp_path / "journal", journal.durable.position
    await journal.close()
    starts = [first_position(name) for name in segment_files(directory)]
    sizes = [segment_bytes(directory, name) for name in segment_files(directory)]
    monkeypatch.setattr(module, "REPLAY_BYTES", max(sizes) + 1)

    assert len(starts) > 4
    assert replay_start(directory, end) == starts[-3]
    assert replay_start(directory, starts[3]) == starts[1]
    assert replay_start(directory, starts[3]._replace(sequence=starts[3].sequence + 1)) == starts[1]
    assert replay_start(directory, starts[1]) == starts[0]
    assert replay_start(directory, Position(0, 0, 0)) == Position(0, 0, 0)
    monkeypatch.setattr(module, "REPLAY_BYTES", 1)
    assert replay_start(directory, end) == starts[-2]
    write_checkpoint(directory, Checkpoint(starts[1], "", b""))
    assert replayed_from(directory, end) == starts[1]


async def test_what_consumers_read_before_their_cursors_is_kept(tmp_path: Path) -> None:
    """Segments stay from the newest sound checkpoint before the oldest cursor on; without one REPLAY_BYTES of them."""
    journal = open_journal(tmp_path, segment_bytes=600, replayed=True)
    for _ in range(12):
        await journal.append(entry_of(bytes(200)))
    directory = tmp_path / "journal"
    names = segment_files(directory)
    write_cursor(directory, "store", journal.durable.position)

    assert journal.reclaim(wait=True) == 0
    write_checkpoint(directory, Checkpoint(first_position(names[2]), "", b""))
    write_checkpoint(directory, Checkpoint(first_position(names[3]), "", b""))
    os.truncate(file_of(directory, first_position(names[3])), 30)
    assert journal.reclaim(wait=True) == 2
    assert segment_files(directory) == names[2:]
    await journal.close()
