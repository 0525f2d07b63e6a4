"""`tidewaiter balance` as an operator reads it, on books and a journal made by hand."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.balance.book import Settled
from collector.balance.files import book_path, closed_path
from collector.balance.keeper import Books
from collector.cli import cli
from collector.errors import TidewaiterError
from pipelines.batch import Account, Accounts, Counts
from pipelines.frame import Position
from pipelines.state import HOUR_NS
from tests.kit.journals import ORIGIN, entry_of, open_journal

NAMES = ("store", "dead-letters")


def tidewaiter(data_dir: Path, *arguments: str) -> Result:
    """Run the command on the data folder."""
    return CliRunner().invoke(cli, ["balance", *arguments, "--data-dir", str(data_dir)], catch_exceptions=False)


def rows(data_dir: Path) -> list[dict[str, object]]:
    """Return its rows."""
    return [json.loads(line) for line in tidewaiter(data_dir, "--json").stdout.splitlines()]


class Worker:
    """Reads a journal of two frames with seven records each, of which it claims nothing more."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.books = Books(data_dir)
        self.now_ns = time.time_ns()
        self.start = Position(0, 0, 0)

    async def fill(self) -> None:
        """Write the journal."""
        journal = open_journal(self._data_dir, lambda: self.now_ns)
        for _ in range(2):
            await journal.append(entry_of(b"x", claimed=7))
        self.start = journal.durable.position._replace(sequence=0)
        await journal.close()

    def settle(self, name: str, sequence: int, counts: Counts, *, ns: int | None = None) -> None:
        """Settle a frame for a consumer, and write its book."""
        at = self.start._replace(sequence=sequence)
        book = self.books.open(name, None)
        ns = ns or self.now_ns
        account = Account(ns // HOUR_NS, ORIGIN.input, ORIGIN.peer)
        book.settle(Settled(at, at._replace(sequence=sequence + 1), ns, Accounts({account: counts}), counts.documents))
        self.books.write(self._data_dir / "journal", name, self.books.take(name))


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """One whose store and dead letters have read the first frame."""
    made = Worker(tmp_path)
    asyncio.run(made.fill())
    for name in NAMES:
        made.settle(name, 0, Counts(messages=1, bytes=1, claimed=7, records=7, documents=5, dead=1, joined=1))
    return made


def test_what_was_not_read_is_in_flight_as_claimed(tmp_path: Path, worker: Worker) -> None:
    """Received is what came of all records, and the sum says so."""
    (row,) = rows(tmp_path)
    parts = ("delivered", "joined", "control", "dead", "dropped", "damaged", "skipped", "in_flight")

    assert [14, 5, 1, 0, 1, 0, 0, 0, 7] == [row[name] for name in ("received", *parts)]
    assert (row["messages"], row["claimed"], row["balanced"]) == (2, 14, True)


def test_what_another_has_read_is_known_exactly(tmp_path: Path, worker: Worker) -> None:
    """The second message held eight records, and not seven."""
    more = Counts(messages=1, bytes=1, claimed=7, records=8, documents=8, claimed_fewer=1)
    worker.settle("dead-letters", 1, more)

    (row,) = rows(tmp_path)
    assert (row["received"], row["in_flight"], row["balanced"]) == (15, 8, True)
    worker.settle("store", 1, more)
    (row,) = rows(tmp_path)
    assert (row["received"], row["in_flight"], row["claimed_fewer"], row["balanced"]) == (15, 0, 1, True)


def test_an_output_that_lost_a_record_is_named(tmp_path: Path, worker: Worker) -> None:
    """Exit code 1, and a sentence with hour, source and output."""
    worker.settle("dead-letters", 1, Counts(messages=1, bytes=1, claimed=7, records=7, documents=7))
    worker.settle("store", 1, Counts(messages=1, bytes=1, claimed=7, records=6, documents=6))
    ended = tidewaiter(tmp_path)

    assert ended.exit_code == 1
    (said,) = (line for line in ended.stdout.splitlines() if line.startswith("does not balance: "))
    assert said.endswith("docker/192.0.2.7, output store: dead-letters has read 1 records more")


def test_an_hour_that_is_over_is_shown_from_its_closed_row(tmp_path: Path, worker: Worker) -> None:
    """And a row that is gone from the file is missed."""
    for name in NAMES:
        worker.settle(name, 1, Counts(messages=1, records=7, documents=7), ns=worker.now_ns + HOUR_NS)
    assert [len(closed_path(tmp_path, name).read_bytes().splitlines()) for name in NAMES] == [1, 1]
    assert [row["delivered"] for row in rows(tmp_path)] == [5, 7]

    closed_path(tmp_path, "store").unlink()
    ended = tidewaiter(tmp_path)
    assert ended.exit_code == 1
    assert "output store: 1 rows of its book are damaged or gone" in ended.stderr


def test_people_see_a_table_and_a_verdict(tmp_path: Path, worker: Worker) -> None:
    """With the columns that say something, totals, and what is counted beside records."""
    lines = tidewaiter(tmp_path).stdout.splitlines()

    assert lines[0].split() == ["hour", "source", "output", "received", "delivered", "joined", "dead", "in", "flight"]
    assert lines[1].split()[2:] == ["docker/192.0.2.7", "store", "14", "5", "1", "1", "7"]
    assert lines[2].split() == ["all", "store", "14", "5", "1", "1", "7"]
    assert lines[-2:] == ["output store: 2 messages, 2 B; 5 documents", "Every record is accounted for."]


@pytest.mark.parametrize(("content", "said"), [(None, "there are no books in"), (b"{", "store.json: damaged")])
def test_without_books_there_is_nothing_to_show(tmp_path: Path, content: bytes | None, said: str) -> None:
    """A sentence says so; a damaged book is named."""
    if content is not None:
        book_path(tmp_path, "store").parent.mkdir()
        book_path(tmp_path, "store").write_bytes(content)
    with pytest.raises(TidewaiterError, match=said):
        tidewaiter(tmp_path)
