"""What the worker keeps for its outputs."""

import asyncio
import threading
from pathlib import Path

import pytest

from collector.balance.files import Snapshot
from collector.balance.keeper import Books
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
    books = Books(tmp_path)
    cursors = Cursors(tmp_path, told, books)
    for name, sequence in (("store", 1), ("elastic", 2)):
        books.open(name, Position(0, 1, sequence))
        cursors.move(name)

    await cursors.save()

    assert read_cursor(tmp_path, "elastic") == Position(0, 1, 2)
    assert told.health == {"cursors": "that of output store cannot be written: Is a directory"}

    in_the_way.rmdir()
    await cursors.save()

    assert read_cursor(tmp_path, "store") == Position(0, 1, 1)
    assert told.health == {"cursors": ""}


class SlowBooks(Books):
    """Lets the first write wait in its thread for `go_on`; says when it began, and how many were at once at most."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.at_once = self.most = 0

    def write(self, journal: Path, consumer: str, taken: Snapshot) -> None:
        """Write as ever, only later."""
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.began.set()
        self.go_on.wait(10)
        super().write(journal, consumer, taken)
        self.at_once -= 1


async def test_a_stop_amid_a_write_of_cursors_drops_none_and_tells_of_none(tmp_path: Path) -> None:
    """Before, those behind it were not written, and its file was written twice at once: one write found it gone."""
    told = Told()
    books = SlowBooks(tmp_path)
    cursors = Cursors(tmp_path, told, books)
    names = ("archive", "elastic", "store")
    for name in names:
        books.open(name, Position(0, 1, 0)).position = Position(0, 1, 2)
        cursors.move(name)
    keeping = asyncio.create_task(cursors.keep())
    assert await asyncio.to_thread(books.began.wait, 10)

    books.open("archive", None).position = Position(0, 1, 3)
    cursors.move("archive")
    cursors.stop()
    asyncio.get_running_loop().call_later(0, books.go_on.set)
    await keeping
    await cursors.save()

    assert [read_cursor(tmp_path, name) for name in names] == [Position(0, 1, at) for at in (3, 2, 2)]
    assert (1, {"cursors": ""}) == (books.most, told.health)


async def test_cursors_behind_one_in_hand_stay_moved_where_the_worker_ends(tmp_path: Path) -> None:
    """Whoever saves next writes them; before, a cancelled save had forgotten them."""
    books = SlowBooks(tmp_path)
    cursors = Cursors(tmp_path, Told(), books)
    for name in ("elastic", "store"):
        books.open(name, Position(0, 1, 2))
        cursors.move(name)
    saving = asyncio.create_task(cursors.save())
    assert await asyncio.to_thread(books.began.wait, 10)

    saving.cancel()
    await asyncio.wait([saving])
    books.go_on.set()
    await cursors.save()

    assert read_cursor(tmp_path, "store") == Position(0, 1, 2)


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
