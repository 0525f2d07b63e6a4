"""Tests for what is told of a journal and of those who follow it."""

from pathlib import Path

import pytest

from collector.errors import UnreachableError
from collector.journal.cursors import write_cursor
from collector.journal.survey import ConsumerFacts, survey
from pipelines.frame import Position
from tests.kit.journals import entry_of, frame_offsets, open_journal


async def test_consumers_are_behind_by_what_they_have_not_settled(tmp_path: Path) -> None:
    """Records as they are claimed, bytes of whole frames, and when the first of them was written."""
    journal = open_journal(tmp_path)
    directory = tmp_path / "journal"
    positions = []
    for number in range(3):
        positions.append(journal.durable.position)
        await journal.append(entry_of(b"x" * 100, claimed=10 + number))
    end = journal.durable.position
    write_cursor(directory, "all", end)
    write_cursor(directory, "none", Position(0, 0, 0))
    write_cursor(directory, "partly", positions[1]._replace(record=4))

    found = survey(directory)
    await journal.close()

    (segment,) = found.segments
    behind = {each.name: each for each in found.consumers}
    assert found.end == end
    assert (segment.frames, segment.records, segment.gaps) == (3, 33, 0)
    assert segment.bytes == (directory / segment.name).stat().st_size
    assert behind["all"] == ConsumerFacts("all", end)
    assert (behind["none"].frames, behind["none"].records, behind["none"].oldest_ns) == (3, 33, segment.first_ns)
    assert (behind["partly"].frames, behind["partly"].records) == (2, 11 - 4 + 12)
    assert segment.first_ns < behind["partly"].oldest_ns < segment.last_ns
    assert 0 < behind["partly"].bytes < behind["none"].bytes < segment.bytes


async def test_damage_is_counted_and_read_past(tmp_path: Path) -> None:
    """A damaged header in the middle is a gap; what is torn behind the last frame of a running journal is none."""
    journal = open_journal(tmp_path)
    for number in range(3):
        await journal.append(entry_of(b"%d" % number * 100))
    (path,) = (tmp_path / "journal").glob("*.segment")
    content = bytearray(path.read_bytes())
    content[frame_offsets(bytes(content))[1] + 30] ^= 1
    path.write_bytes(content + b"\x89TWF half a frame")

    (segment,) = survey(tmp_path / "journal").segments
    await journal.close()

    assert (segment.frames, segment.gaps) == (2, 1)


async def test_what_was_never_acknowledged_does_not_count(tmp_path: Path) -> None:
    """A group whose sync failed stands in the file; the next segment says that the journal ends before it."""
    failed: list[bytes] = []

    def sync(_: int) -> None:
        if armed:
            armed.clear()
            failed.append(file.read_bytes())
            raise OSError(5, "Input/output error")

    armed: list[bool] = []
    journal = open_journal(tmp_path, sync=sync)
    await journal.append(entry_of(b"kept"))
    file = tmp_path / "journal" / journal.durable.segment
    armed.append(True)
    await journal.append(entry_of(b"failed"))
    file.write_bytes(failed[0])  # as if the disk had not let us cut it off
    await journal.append(entry_of(b"kept as well"))

    found = survey(tmp_path / "journal")
    end = journal.durable.position
    await journal.close()

    assert [segment.frames for segment in found.segments] == [1, 1]
    assert found.end == end


def test_a_folder_without_a_journal(tmp_path: Path) -> None:
    """It says so."""
    with pytest.raises(UnreachableError, match="there is no journal"):
        survey(tmp_path / "journal")
