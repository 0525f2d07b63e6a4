"""Rows of the books as documents: each once, when it does not change any more, and never about themselves."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector import internal, producer
from collector.balance import teller
from collector.balance.book import Book, Row, Settled
from collector.balance.files import ClosedRow, closed_path, closed_rows
from collector.balance.keeper import Books
from collector.balance.teller import ENCODING, payload_of, tell_balance, wants_tick
from collector.config import Config
from collector.config_outputs import LocalOutputConfig
from collector.control import Message
from collector.internal import TICK_ENCODING, TICK_ORIGIN, InternalServer
from collector.role import Context
from pipelines import reference
from pipelines.accounts import BOOKS_INPUT, BOOKS_PEER
from pipelines.batch import Account, Accounts, Counts
from pipelines.frame import Origin, Position
from pipelines.settings import Settings
from pipelines.state import HOUR_NS, State
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.memory_journal import MemoryJournal
from tests.kit.paths import Paths

EPOCH = 1_700_000_000
HOUR = EPOCH // 3600
START = Position(0, EPOCH, 0)
OWN = Account(HOUR, "docker", "192.0.2.7")
SCHEMA = Schema(Path(__file__).parents[3] / "data")


class Channel:
    """Takes what a role reports."""

    def send(self, message: Message) -> None:
        """Forget it."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(teller, "INTERVAL_S", 0.01)
    monkeypatch.setattr(producer, "RETRY_S", 0.01)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[MemoryJournal]:
    """What stands behind the intake's internal socket."""
    kept = MemoryJournal()
    server = InternalServer(kept, tmp_path / "run" / "intake.sock")
    await server.start()
    yield kept
    await server.close()


def written(data_dir: Path, hours: range) -> None:
    """Let the store settle a frame of two lines in each of these hours; all but the last are closed."""
    (data_dir / "journal").mkdir(exist_ok=True)
    books = Books(data_dir)
    book = books.open("store", START._replace(sequence=hours.start - HOUR))
    for hour in hours:
        at = book.position
        rows = {OWN._replace(hour=hour): Counts(messages=1, records=2, documents=2)}
        book.settle(Settled(at, at._replace(sequence=at.sequence + 1), hour * HOUR_NS, Accounts(rows), 2))
    books.write(data_dir / "journal", "store", books.take("store"))


async def told(data_dir: Path, journal: MemoryJournal, count: int) -> list[dict[str, Any]]:
    """Let a worker tell its books until so many rows stand in the journal; return them all."""
    config = Config(data_dir=str(data_dir), outputs={"store": LocalOutputConfig()})
    grown = asyncio.Event()
    journal.on_durable(lambda _: grown.set())
    task = asyncio.create_task(tell_balance(Context("worker", config, Channel())))

    def rows() -> list[dict[str, Any]]:
        entries = [entry for entry in journal.entries if entry.encoding == ENCODING]
        return [msgspec.json.decode(b"".join(map(bytes, entry.payload))) for entry in entries]

    async with asyncio.timeout(20):
        while len(rows()) < count or not any(entry.encoding == TICK_ENCODING for entry in journal.entries):
            await grown.wait()
            grown.clear()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return rows()


async def test_each_row_is_told_once_whatever_ends_a_worker(tmp_path: Path, journal: MemoryJournal) -> None:
    """The next goes on behind the last that is durable; a book that begins anew counts from one again."""
    written(tmp_path, range(HOUR, HOUR + 3))
    await told(tmp_path, journal, 2)
    written(tmp_path, range(HOUR + 3, HOUR + 4))
    again = await told(tmp_path, journal, 3)
    (tmp_path / "balance" / "store.json").unlink()
    written(tmp_path, range(HOUR + 5, HOUR + 7))
    anew = await told(tmp_path, journal, 4)

    assert [HOUR, HOUR + 1, HOUR + 2] == [row["hour"] for row in again]
    assert HOUR + 5 == anew[-1]["hour"]


def test_an_hour_is_over_when_the_clock_says_so_and_no_frame_does() -> None:
    """Then a tick is asked for; where only ticks came there is nothing to close, and the collector stays silent."""
    book = Book(START)
    clock = Account(HOUR, TICK_ORIGIN.input, TICK_ORIGIN.peer)
    book.hour = HOUR
    book.restore([(clock, Row(records=1, control=1))])
    assert not wants_tick([book], HOUR + 1, 0)

    book.restore([(OWN, Row(records=1, documents=1))])
    assert not wants_tick([book], HOUR, 0)
    assert wants_tick([book], HOUR + 1, 0)


def test_an_output_that_is_down_asks_for_no_ticks() -> None:
    """It comes by itself to what was appended meanwhile: a tick, or what another output has read already."""
    down, well = Book(START), Book(START)
    down.hour, well.hour = HOUR, HOUR + 1
    down.restore([(OWN, Row(records=1, documents=1))])
    well.restore([(OWN._replace(hour=HOUR + 1), Row(records=1, documents=1))])

    assert wants_tick([down], HOUR + 9, 0)
    assert not wants_tick([down], HOUR + 9, HOUR + 1)
    assert not wants_tick([down, well], HOUR + 1, 0)
    assert wants_tick([down, well], HOUR + 9, HOUR + 1)


async def scans(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a worker look for closed rows three times; return how often it read the file for that."""
    looked, scanned = 0, 0
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    read, scan = teller._read, closed_rows

    def reading(data_dir: Path, outputs: Sequence[str]) -> Mapping[str, Book]:
        nonlocal looked
        looked += 1
        if looked == 4:
            loop.call_soon_threadsafe(done.set)
        return read(data_dir, outputs)

    def scanning(data_dir: Path, consumer: str) -> Iterator[ClosedRow]:
        nonlocal scanned
        scanned += 1
        return scan(data_dir, consumer)

    monkeypatch.setattr(teller, "_read", reading)
    monkeypatch.setattr(teller, "closed_rows", scanning)
    monkeypatch.setattr(internal, "TICK_INTERVAL_S", 0.0)
    config = Config(data_dir=str(data_dir), outputs={"store": LocalOutputConfig()})
    task = asyncio.create_task(tell_balance(Context("worker", config, Channel())))
    await asyncio.wait_for(done.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return scanned


async def test_an_output_that_is_down_is_ticked_for_once(
    tmp_path: Path, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not whenever its rows are looked for."""
    written(tmp_path, range(HOUR, HOUR + 1))
    await scans(tmp_path, monkeypatch)

    assert [entry.encoding for entry in journal.entries] == [TICK_ENCODING]


async def test_a_row_that_is_lost_is_looked_for_once(
    tmp_path: Path, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told."""
    written(tmp_path, range(HOUR, HOUR + 3))
    path = closed_path(tmp_path, "store")
    first, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)

    assert await scans(tmp_path, monkeypatch) == 1
    assert [entry.encoding for entry in journal.entries] == [ENCODING, TICK_ENCODING]


def test_a_row_is_a_document_that_is_in_no_book() -> None:
    """With the figures of `tidewaiter balance`, at the hour it is about, and in a data stream of its own."""
    row = Row(messages=1, bytes=9, claimed=4, records=4, documents=2, joined=1, dead=1, refused=1, claimed_more=0)
    paths = Paths(Settings(version="1"), SCHEMA)
    origin = Origin(BOOKS_INPUT, "internal", BOOKS_PEER)
    payload = payload_of("elastic", ClosedRow(1, OWN, row))
    (made,) = paths.check(frame_of((ENCODING, [(payload, b"", -1)]), origins=(origin,)))

    assert made["data_stream"]["dataset"] == "tidewaiter.balance"
    assert made["@timestamp"] == "2023-11-14T22:00:00.000000000Z"
    assert made["message"] == "Output elastic has 1 of 4 records of docker/192.0.2.7"
    assert (made["event"]["kind"], made["event"]["outcome"]) == ("metric", "success")
    figures = made["tidewaiter"]["balance"]
    assert [figures[name] for name in ("received", "delivered", "joined", "dead", "in_flight")] == [4, 1, 1, 2, 0]
    (batch,) = paths.batches
    assert (batch.accounts.rows, batch.accounts.uncounted, batch.tally.documents) == ({}, 1, 1)


def test_what_is_no_row_is_a_dead_letter() -> None:
    """No sender can say it: the encoding is the internal socket's."""
    origin = Origin(BOOKS_INPUT, "internal", BOOKS_PEER)
    frame = frame_of((ENCODING, [(json.dumps({"hour": "x"}).encode(), b"", -1)]), origins=(origin,))
    (batch,) = reference.process(frame, Settings(version="1"), State())

    assert [letter.code for letter in batch.dead_letters] == ["bad_balance"]
