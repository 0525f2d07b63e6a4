"""Files of lookups in the journal: at a start, after each change, and never what is no table."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.config import LookupConfig
from collector.internal import InternalServer
from collector.journal.writer import Journal
from collector.lookups import LOOK_S, PRODUCER, LookupFiles, keep_lookups
from collector.producer import JournalProducer
from tests.kit.journals import Gate, frames_in, open_journal, payloads_in, read_all

TIMEOUT_S = 45.0


class Enough(Exception):
    """Ends what never ends."""


def socket_of(folder: Path) -> Path:
    """Where an intake listens."""
    return folder / "run" / "intake.sock"


@asynccontextmanager
async def serving(folder: Path, **options: object) -> AsyncIterator[Journal]:
    """Serve a journal as the intake does."""
    journal = open_journal(folder, **options)
    server = InternalServer(journal, socket_of(folder))
    await server.start()
    try:
        yield journal
    finally:
        await server.close()
        await journal.close()


class Told:
    """Keeps what was appended and what is wrong."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.health: dict[str, str] = {}

    async def append(self, payload: bytes) -> None:
        """Take a message."""
        self.messages.append(json.loads(payload))

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""
        self.health[component] = ""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""
        self.health[component] = reason

    @property
    def rows(self) -> list[Any]:
        """The rows of all tables so far, in their order."""
        return [message["rows"] for message in self.messages if message["kind"] == "table"]


class Files:
    """One lookup over a file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.told = Told()
        self.path = folder / "teams.csv"
        self.lookups = {"teams": LookupConfig(str(self.path), "container.name", {"team": "labels.team"})}
        self.files = LookupFiles(self.lookups, self.told.append, self.told)
        self._written = 0

    def write(self, text: str) -> None:
        """Change the file, at a time of its own."""
        self.path.write_text(text)
        self._written += 1
        os.utime(self.path, (self._written, self._written))

    async def settle(self) -> None:
        """Let the file be looked at until it is taken."""
        await self.files.look()
        await self.files.look()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A file with a row."""
    made = Files(tmp_path)
    made.write("service,team\nshop,payments\n")
    return made


async def test_at_a_start_all_tables_are_appended(files: Files) -> None:
    """First which there are, so that others are forgotten."""
    await files.files.start()

    assert files.told.messages[0] == {"kind": "names", "names": ["teams"]}
    assert files.told.rows == [{"shop": ["payments"]}]
    assert files.told.health == {"lookup teams": ""}


async def test_a_changed_file_is_appended_once_it_is_at_rest(files: Files) -> None:
    """One that changed since the last look may be half written."""
    await files.files.start()
    files.write("service,team\nshop,fin")
    await files.files.look()
    files.write("service,team\nshop,finance\n")
    await files.files.look()

    assert len(files.told.rows) == 1

    await files.files.look()
    await files.settle()

    assert files.told.rows[1:] == [{"shop": ["finance"]}]


async def test_a_file_that_says_the_same_is_not_appended(files: Files) -> None:
    """Only its time changed."""
    await files.files.start()
    files.write("service,team\nshop,payments\n")
    await files.settle()

    assert len(files.told.rows) == 1


async def test_a_file_that_is_no_table_changes_nothing_and_is_told(files: Files) -> None:
    """Until it is one again."""
    await files.files.start()
    files.write("service,team\nshop\n")
    await files.settle()

    assert len(files.told.rows) == 1
    assert files.told.health["lookup teams"] == (
        f"{files.path}, line 2: has 1 cells, and there are 2 columns; the table before holds"
    )

    files.write("service,team\nshop,finance\n")
    await files.settle()

    assert files.told.rows[1:] == [{"shop": ["finance"]}]
    assert files.told.health == {"lookup teams": ""}


async def test_a_file_that_comes_later_is_taken_then(files: Files) -> None:
    """And one that goes away is told, and its table holds."""
    files.path.unlink()
    await files.files.start()

    assert files.told.health["lookup teams"] == f"{files.path}: cannot be read: No such file or directory"

    files.write("service,team\nshop,payments\n")
    await files.settle()

    assert files.told.rows == [{"shop": ["payments"]}]

    files.path.unlink()
    await files.settle()

    assert files.told.health["lookup teams"].endswith("No such file or directory; the table before holds")
    assert len(files.told.rows) == 1


async def test_a_table_waits_for_the_intake_and_is_there_once(files: Files, tmp_path: Path) -> None:
    """No intake yet, then a journal that takes nothing for a moment, then it does."""
    gate = Gate()

    async def end(_seconds: float) -> None:
        raise Enough

    async with asyncio.timeout(TIMEOUT_S):
        keeping = asyncio.create_task(keep_lookups(files.lookups, socket_of(tmp_path), Told(), pause=end))
        await asyncio.sleep(0)
        async with serving(tmp_path, sync=gate) as journal:
            gate.errors = [OSError(errno.EIO, "Input/output error")]
            while not journal.appended.failures:  # noqa: ASYNC110 - the journal tells it by its receipts, to others
                await asyncio.sleep(0)
            journal.reclaim()
            with pytest.raises(Enough):
                await keeping
            found = read_all(tmp_path / "journal", journal.durable)

    assert ["names", "table"] == [json.loads(payload)["kind"] for payload in payloads_in(found)]
    assert {("lookup", "lookups")} == {
        (run.encoding, frame.origins[0].peer) for frame in frames_in(found) for run in frame.runs
    }


@pytest.mark.parametrize(("former", "expected"), [(False, []), (True, [{}, {"kind": "names", "names": []}])])
async def test_without_lookups_only_tables_of_before_are_forgotten(
    tmp_path: Path, former: bool, expected: list[Any]
) -> None:
    """Nobody who has none pays a frame for them."""
    async with asyncio.timeout(TIMEOUT_S), serving(tmp_path) as journal:
        if former:
            async with JournalProducer(socket_of(tmp_path), PRODUCER, encoding="lookup") as producer:
                await producer.begin()
                await producer.append(b"{}")
        await keep_lookups({}, socket_of(tmp_path), Told())
        found = read_all(tmp_path / "journal", journal.durable)

    assert [json.loads(payload) for payload in payloads_in(found)] == expected


async def test_files_are_looked_at_again_and_again(files: Files, tmp_path: Path) -> None:
    """A look after each pause."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            files.write("service,team\nshop,finance\n")
        if len(pauses) == 4:
            raise Enough

    async with asyncio.timeout(TIMEOUT_S), serving(tmp_path) as journal:
        with pytest.raises(Enough):
            await keep_lookups(files.lookups, socket_of(tmp_path), files.told, pause=pause)
        found = read_all(tmp_path / "journal", journal.durable)

    assert [json.loads(payload).get("rows") for payload in payloads_in(found)] == [
        None,
        {"shop": ["payments"]},
        {"shop": ["finance"]},
    ]
    assert pauses == [LOOK_S] * 4
