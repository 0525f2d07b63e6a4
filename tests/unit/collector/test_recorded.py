"""The configuration in the journal is the one that holds: once each, also across restarts and a full journal."""

import asyncio
from typing import cast

import pytest

from collector import recorded
from collector.config import Config
from collector.config_documents import DocumentsConfig
from collector.journal.entry import Receipt
from collector.journal.writer import Journal
from collector.recorded import PRODUCER, RecordedConfiguration
from collector.roles import INTAKE, config_for
from pipelines.configuration import ENCODING, new_configurations, recorded_in, take_message
from tests.kit.memory_journal import MemoryJournal

FIRST = config_for(INTAKE, Config(data_dir="/data", name="collector"))
SAME_DOCUMENTS = config_for(INTAKE, Config(data_dir="/data", name="collector", outputs={}))
OTHER = config_for(INTAKE, Config(data_dir="/data", name="collector", documents=DocumentsConfig(original="always")))


def held(journal: MemoryJournal) -> list[str]:
    """Return the hash of each configuration that the journal has, in order."""
    found = new_configurations()
    hashes = []
    for entry in journal.entries:
        assert ENCODING == entry.encoding
        take_message(memoryview(b"".join(bytes(each) for each in entry.payload)), found)
        said = recorded_in(found)
        assert said is not None
        hashes.append(said.hash)
    return hashes


def of(journal: MemoryJournal, config: Config) -> RecordedConfiguration:
    """Return what keeps a configuration in this journal."""
    return RecordedConfiguration(cast(Journal, journal), config)


async def test_it_is_appended_once_and_again_only_when_another_held() -> None:
    """A restart under the same configuration adds nothing; a file that was edited meanwhile does."""
    journal = MemoryJournal()

    await of(journal, FIRST).begin()
    await of(journal, FIRST).begin()
    await of(journal, OTHER).begin()
    await of(journal, FIRST).begin()

    assert [FIRST.hash, OTHER.hash, FIRST.hash] == held(journal)


async def test_a_change_stands_in_the_journal_when_it_holds() -> None:
    """Each reload is one frame."""
    journal = MemoryJournal()
    keeping = of(journal, FIRST)
    await keeping.begin()

    assert "" == await keeping.change(OTHER)
    assert [FIRST.hash, OTHER.hash] == held(journal)


async def test_a_journal_that_takes_nothing_keeps_documents_as_they_are() -> None:
    """What changes them is refused with the reason; an output can be removed all the same, and is recorded later."""
    journal = MemoryJournal()
    keeping = of(journal, FIRST)
    await keeping.begin()

    journal.receipts = [Receipt.RETRY, Receipt.RETRY]
    refused = await keeping.change(OTHER)
    taken = await keeping.change(SAME_DOCUMENTS)

    assert refused.startswith("the journal takes nothing now")
    assert recorded.MAY_HOLD not in refused
    assert "" == taken
    assert [FIRST.hash] == held(journal)


async def test_what_was_not_kept_is_appended_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never what was refused."""
    monkeypatch.setattr(recorded, "RETRY_S", 0.001)
    journal = MemoryJournal()
    journal.receipts = [Receipt.RETRY]
    keeping = of(journal, FIRST)
    await keeping.begin()
    journal.receipts = [Receipt.RETRY]
    assert await keeping.change(OTHER)
    grown = asyncio.Event()
    journal.on_durable(lambda _end: grown.set())

    task = asyncio.create_task(keeping.keep())
    await asyncio.wait_for(grown.wait(), 5)
    task.cancel()

    assert [FIRST.hash] == held(journal)


async def test_one_whose_outcome_came_too_late_is_followed_by_the_one_that_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that hung: the refused configuration stands in the journal, and right behind it the one that holds.

    The refusal says that it may be so.
    """
    monkeypatch.setattr(recorded, "APPEND_LIMIT_S", 0.01)
    monkeypatch.setattr(recorded, "RETRY_S", 0.001)
    journal = MemoryJournal()
    keeping = of(journal, FIRST)
    await keeping.begin()
    append = journal.append

    def hang(entry: object) -> asyncio.Future[Receipt]:
        append(entry)  # type: ignore[arg-type]
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(journal, "append", hang)
    assert recorded.MAY_HOLD in await keeping.change(OTHER)
    monkeypatch.setattr(journal, "append", append)
    grown = asyncio.Event()
    journal.on_durable(lambda _end: grown.set())
    task = asyncio.create_task(keeping.keep())
    await asyncio.wait_for(grown.wait(), 5)
    task.cancel()

    assert [FIRST.hash, OTHER.hash, FIRST.hash] == held(journal)
    last = journal.last_produced(PRODUCER)
    assert last is not None
    assert 3 == last.sequence
