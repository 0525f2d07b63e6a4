"""Who holds the journal, and how much of it."""

from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal.cursors import write_cursor
from collector.journal.holders import Holders
from collector.journal.segments import first_position, segment_files
from pipelines.frame import Position
from tests.kit.journals import entry_of, open_journal

SEGMENT_BYTES = 4 << 10


async def test_the_consumers_furthest_behind_hold_their_segment_and_what_follows(tmp_path: Path) -> None:
    """One that has delivered nothing yet holds all; whoever stands in the same segment holds as much."""
    directory = tmp_path / "journal"
    journal = open_journal(tmp_path, segment_bytes=SEGMENT_BYTES, consumers=frozenset({"elastic", "store"}))
    for number in range(12):
        await journal.append(entry_of(b"%04d" % number + bytes(1000)))
    names = segment_files(directory)
    sizes = [(directory / name).stat().st_size for name in names]
    assert (
        journal.holders()
        == Holders(("elastic", "store"), sum(sizes))
        == Holders(("elastic", "store"), journal.room.disk_bytes)
    )

    write_cursor(directory, "store", journal.durable.position)
    assert journal.holders() == Holders(("elastic",), sum(sizes))
    second = first_position(names[1])
    write_cursor(directory, "elastic", second._replace(record=3))
    write_cursor(directory, "gone", second._replace(sequence=second.sequence + 1))

    assert journal.holders() == Holders(("elastic", "gone"), sum(sizes[1:]))
    await journal.close()


async def test_of_a_damaged_cursor_nothing_is_guessed(tmp_path: Path) -> None:
    """What it holds is not known."""
    journal = open_journal(tmp_path)
    write_cursor(tmp_path / "journal", "store", Position(0, 1, 2, 3))
    (tmp_path / "journal" / "cursors" / "store.json").write_text("{}")

    with pytest.raises(DataDirError, match="damaged"):
        journal.holders()
    await journal.close()
