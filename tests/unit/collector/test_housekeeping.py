"""What the intake says once a second, and what it says only once."""

import json
from pathlib import Path
from typing import cast

import pytest

from collector.housekeeping import Housekeeping
from collector.journal.resend_index import FOLDER, index_files
from collector.role import Context
from collector.testing.journals import open_journal
from collector.testing.recognisers import Intake


def _told(capsys: pytest.CaptureFixture[str], event: str) -> int:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return sum(line["event"] == event for line in lines)


async def test_an_index_that_was_not_written_was_told_every_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the next was written, hours later; each failure is a fact of its own, told once."""
    running = Intake(tmp_path, open_journal(tmp_path))
    house = Housekeeping(cast(Context, None), running.journal, running.recogniser, [])
    (running.directory / FOLDER).write_bytes(b"")
    await running.close()

    house.close()
    house.close()

    assert running.recogniser.index_failures == _told(capsys, "resend_index_not_written") == 1


async def test_indexes_that_were_damaged_were_told_to_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resends may be kept twice after such a start, and the operator has to know why."""
    running = Intake(tmp_path, open_journal(tmp_path))
    await running.close()
    (index,) = index_files(running.directory)
    index.write_bytes(b"")

    running = Intake(tmp_path, open_journal(tmp_path))
    Housekeeping(cast(Context, None), running.journal, running.recogniser, [])
    await running.close()

    assert running.recogniser.damaged == [index.name]
    assert _told(capsys, "resend_indexes_not_read") == 1
