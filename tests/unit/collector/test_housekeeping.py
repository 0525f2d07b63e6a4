"""The intake's duties stand apart: one that fails keeps no other from being done."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import cast

import pytest

from collector import housekeeping
from collector.config import Config
from collector.housekeeping import Housekeeping
from collector.journal.recogniser import Recogniser
from collector.role import Context
from collector.testing.journals import entry_of, open_journal
from tests.unit.collector.test_intake import FakeContext

TIMEOUT_S = 10


async def test_a_damaged_cursor_stops_deletion_and_not_the_anchors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is cut off is proven by anchors: they were not written as long as nothing could be reclaimed."""
    monkeypatch.setattr(housekeeping, "INTERVAL_S", 0.001)
    journal = open_journal(tmp_path)
    (tmp_path / "journal" / "cursors").mkdir()
    (tmp_path / "journal" / "cursors" / "store.json").write_text("{}")
    recogniser = Recogniser(journal, tmp_path / "journal")
    house = Housekeeping(cast(Context, FakeContext(Config(), tmp_path)), journal, recogniser, [])
    before = journal.anchored
    await journal.append(entry_of(b"1"))

    keeping = asyncio.create_task(house.keep())
    async with asyncio.timeout(TIMEOUT_S):
        while journal.anchored == before:  # noqa: ASYNC110 - the writer's thread tells nobody
            await asyncio.sleep(0.001)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {each["event"] for each in told if each["level"] == "error"} == {"journal_not_reclaimed"}
    await journal.close()
    recogniser.close()
