"""What the intake does once a second, whatever fails beside it; what it says then, and what it says only once."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import cast

import pytest

from collector import housekeeping, telemetry
from collector.config import Config, ForwardInputConfig
from collector.housekeeping import Housekeeping
from collector.inputs.forward import ForwardInput
from collector.inputs.refusals import FAILURES_LIMIT
from collector.journal.cursors import write_cursor
from collector.journal.recogniser import Recogniser
from collector.journal.resend_index import FOLDER, index_files
from collector.role import Context
from collector.wire.blocks import Blocks
from tests.kit.journals import entry_of, open_journal, payloads_in, read_all
from tests.kit.recognisers import Intake
from tests.unit.collector.test_intake import FakeContext

TIMEOUT_S = 45.0


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


async def test_a_full_journal_names_who_holds_it_and_who_fills_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In readiness as long as it lasts, in the log at its beginning and its end."""
    options = {"limit_bytes": 64 << 10, "in_flight_limit_bytes": 4 << 10, "segment_bytes": 8 << 10}
    journal = open_journal(tmp_path, consumers=frozenset({"elastic"}), **options)
    context = FakeContext(Config(), tmp_path)
    forward = ForwardInput(name="docker", options=ForwardInputConfig(), journal=journal, blocks=Blocks(), collector="c")
    recogniser = Recogniser(journal, tmp_path / "journal")
    house = Housekeeping(cast(Context, context), journal, recogniser, [forward])
    assert forward.admit("192.0.2.7")
    forward.peer("192.0.2.7").spend(1000, 1)
    while not journal.full:
        await journal.append(entry_of(bytes(2000)))

    for _ in range(5):
        house.tell_journal()
    reason = context.health["journal"]
    write_cursor(tmp_path / "journal", "elastic", journal.durable.position)
    journal.reclaim(wait=True)
    house.tell_journal()

    used = journal_bytes_text(reason)
    assert reason == (
        f"full: {used} of 64 KiB; {used} of it wait for output elastic; "
        "100% of what came of late is from 192.0.2.7 by input docker; senders wait"
    )
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    full, has_room = (each for each in told if each["event"].startswith("journal_"))
    assert (full["event"], full["wait_for"], full["limit_bytes"]) == ("journal_full", ["elastic"], 64 << 10)
    assert full["used_bytes"] == full["waiting_bytes"] > has_room["used_bytes"]
    assert (has_room["event"], context.health["journal"]) == ("journal_has_room", "")
    await journal.close()
    recogniser.close()


def journal_bytes_text(reason: str) -> str:
    """The figure in use, which depends on how the frames came out."""
    return reason.removeprefix("full: ").partition(" of ")[0]


async def test_refused_connections_are_counted_by_reason(tmp_path: Path) -> None:
    """What is to be done about them differs; every reason has its sample from the start."""
    running = Intake(tmp_path, open_journal(tmp_path))
    options = ForwardInputConfig(connection_limit=1)
    forward = ForwardInput(name="refusing", options=options, journal=running.recogniser, blocks=Blocks(), collector="c")
    house = Housekeeping(cast(Context, None), running.journal, running.recogniser, [forward])
    assert [forward.admit("192.0.2.7"), forward.admit("192.0.2.8")] == [True, False]

    house.close()
    await running.close()

    (metric,) = telemetry.INPUT_CONNECTIONS_REFUSED.collect()
    samples = [each for each in metric.samples if each.labels["input"] == "refusing"]
    totals = {each.labels["reason"]: each.value for each in samples if each.name.endswith("_total")}
    assert totals == {"limit": 1, "files": 0, "peer": 0, "handshakes": 0}


async def test_a_peer_that_is_not_listened_to_has_a_record_of_it(tmp_path: Path) -> None:
    """Beside those of its failures; who it was, and for how long."""
    running = Intake(tmp_path, open_journal(tmp_path))
    forward = ForwardInput(
        name="docker", options=ForwardInputConfig(), journal=running.recogniser, blocks=Blocks(), collector="c"
    )
    house = Housekeeping(cast(Context, None), running.journal, running.recogniser, [forward])
    for _ in range(FAILURES_LIMIT):
        forward.unproven("192.0.2.7", "wrong key", "web-1")

    await house.finish()
    await running.close()

    payloads = payloads_in(read_all(tmp_path / "journal", running.journal.durable))
    records = {record["action"]: record for record in map(json.loads, payloads)}
    assert records["block"]["details"] == {"input": "docker", "peer": "192.0.2.7", "failures": 10, "seconds": 60}
    assert records["handshake"]["details"]["attempts"] == FAILURES_LIMIT


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
