"""What the worker keeps for its outputs."""

from pathlib import Path

import pytest

from collector.batches import START
from collector.errors import DataDirError
from collector.journal.checkpoints import FOLDER as CHECKPOINTS_FOLDER
from collector.journal.checkpoints import Checkpoint, checkpoints
from collector.journal.cursors import FOLDER, read_cursor, write_cursor
from collector.worker import Checkpoints, Cursors, start_of
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


async def test_checkpoints_that_cannot_be_written_wait_and_stop_nothing(tmp_path: Path) -> None:
    """Health names why, the newest two are kept for another try, and what no cursor needs is deleted then."""
    in_the_way = tmp_path / CHECKPOINTS_FOLDER
    in_the_way.write_bytes(b"")
    told = Told()
    kept = Checkpoints(tmp_path, {"store"}, told)
    for sequence in range(1, 5):
        kept.keep(Checkpoint(Position(0, 1, sequence), "", b"state"))

    assert not await kept.save()
    assert told.health == {"checkpoints": "cannot be written: Not a directory"}

    in_the_way.unlink()
    assert await kept.save()
    assert checkpoints(tmp_path) == [Position(0, 1, 3), Position(0, 1, 4)]
    assert told.health == {"checkpoints": ""}

    write_cursor(tmp_path, "store", Position(0, 1, 9))
    kept.keep(Checkpoint(Position(0, 1, 7), "", b"state"))
    assert await kept.save()
    assert checkpoints(tmp_path) == [Position(0, 1, 7)]


async def test_a_damaged_cursor_keeps_every_checkpoint(tmp_path: Path) -> None:
    """What it needs is not known; checkpoints are written on all the same."""
    told = Told()
    kept = Checkpoints(tmp_path, {"store"}, told)
    write_cursor(tmp_path, "store", Position(0, 1, 9))
    (tmp_path / FOLDER / "store.json").write_bytes(b"damaged")
    for sequence in (1, 2):
        kept.keep(Checkpoint(Position(0, 1, sequence), "", b"state"))
        assert await kept.save()

    assert checkpoints(tmp_path) == [Position(0, 1, 1), Position(0, 1, 2)]
    assert told.health == {"checkpoints": ""}
