"""What the worker keeps for its outputs."""

from pathlib import Path

import pytest

from collector.batches import START
from collector.errors import DataDirError
from collector.journal.cursors import FOLDER, read_cursor
from collector.worker import Cursors, start_of
from pipelines.frame import Position


class Told:
    """Keeps what is wrong."""

    def __init__(self) -> None:
        self.health: dict[str, str] = {}

    def healthy(self, component: str) -> None:
        """Nothing is."""
        self.health[component] = ""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""
        self.health[component] = reason


async def test_a_cursor_that_cannot_be_written_stops_no_output(tmp_path: Path) -> None:
    """The others are written, health names it, and it is tried again: before, the whole worker ended (P7)."""
    in_the_way = tmp_path / FOLDER / "store.json"
    in_the_way.mkdir(parents=True)
    told = Told()
    cursors = Cursors(tmp_path, told)
    cursors.move("store", Position(0, 1, 1))
    cursors.move("elastic", Position(0, 1, 2))

    await cursors.save()

    assert read_cursor(tmp_path, "elastic") == Position(0, 1, 2)
    assert told.health == {"cursors": "that of output store cannot be written: Is a directory"}

    in_the_way.rmdir()
    await cursors.save()

    assert read_cursor(tmp_path, "store") == Position(0, 1, 1)
    assert told.health == {"cursors": ""}


def test_an_output_that_stands_beyond_the_journal_says_so() -> None:
    """Behind a store or cursor of another journal nothing was delivered, and health was well."""
    end = Position(0, 5, 7)

    with pytest.raises(DataDirError, match="of another journal"):
        start_of(Position(0, 6, 0), end)
    assert [end, START, START] == [start_of(end, end), start_of(None, end), start_of(None, None)]
