"""The collector's own records reach the journal exactly once, whatever happens on the way."""

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from collector import audit
from collector.audit import FOLDER, AuditTrail, OwnRecords, leave_record
from collector.internal import InternalClient, InternalClosed, InternalServer
from collector.journal.entry import Receipt
from collector.journal.writer import Journal
from pipelines.frame import Producer
from tests.kit.journals import Gate, frames_in, open_journal, payloads_in, read_all

TIMEOUT_S = 45.0


def actions_in(folder: Path, journal: Journal) -> list[str]:
    """What stands in the journal, in order."""
    return [json.loads(each)["action"] for each in payloads_in(read_all(folder / "journal", journal.durable))]


async def journal_failed(journal: Journal) -> None:
    """Return once a group could not be written."""
    while not journal.appended.failures:  # noqa: ASYNC110 - the journal tells it by its receipts, to others
        await asyncio.sleep(0)


async def test_a_record_waits_for_the_intake_and_is_there_once(tmp_path: Path) -> None:
    """No intake yet, then one whose disk fails: the record is tried again under one sequence."""
    gate = Gate()
    trail = AuditTrail(tmp_path)

    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(trail.record("start", {"version": "0"}))
        await asyncio.sleep(0)
        journal = open_journal(tmp_path, sync=gate)
        gate.errors = [OSError(errno.EIO, "Input/output error")]
        server = InternalServer(journal, tmp_path / "run" / "intake.sock")
        await server.start()
        await journal_failed(journal)
        journal.reclaim()
        await recording
        await trail.record("stop", {})
        await server.close()

    frames = frames_in(read_all(tmp_path / "journal", journal.durable))
    assert [frame.producer.sequence for frame in frames if frame.producer] == [1, 2]
    assert actions_in(tmp_path, journal) == ["start", "stop"]
    await journal.close()


async def test_a_record_whose_receipt_was_lost_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The intake kept it and died before it said so: the same sequence again is acknowledged, and not kept."""
    journal = open_journal(tmp_path)
    server = InternalServer(journal, tmp_path / "run" / "intake.sock")
    await server.start()
    append, lost = InternalClient.append, [True]

    async def losing(client: InternalClient, producer: Producer, encoding: str, payload: bytes) -> Receipt:
        receipt = await append(client, producer, encoding, payload)
        if lost:
            lost.clear()
            raise InternalClosed("the other end is gone")
        return receipt

    monkeypatch.setattr(InternalClient, "append", losing)
    async with asyncio.timeout(TIMEOUT_S):
        await AuditTrail(tmp_path).record("start", {})

    assert actions_in(tmp_path, journal) == ["start"]
    await server.close()
    await journal.close()


async def test_what_commands_left_is_taken_once_though_it_could_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the append and the removal, the next start finds the file, and its record in the journal."""
    journal = open_journal(tmp_path)
    server = InternalServer(journal, tmp_path / "run" / "intake.sock")
    await server.start()
    leave_record(tmp_path, "forget", {"consumer": "old"})
    leave_record(tmp_path, "verify", {})
    monkeypatch.setattr(Path, "unlink", _killed)
    await AuditTrail(tmp_path).take_left()
    monkeypatch.undo()
    assert actions_in(tmp_path, journal) == ["forget"]

    async with asyncio.timeout(TIMEOUT_S):
        await AuditTrail(tmp_path).take_left()
        await AuditTrail(tmp_path).take_left()

    assert actions_in(tmp_path, journal) == ["forget", "verify"]
    assert os.listdir(tmp_path / FOLDER) == []
    await server.close()
    await journal.close()


def _killed(_: Path) -> None:
    raise OSError("killed")


async def test_a_file_that_cannot_be_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that a command of another user left half-owned: told once, and taken when it can be."""
    journal = open_journal(tmp_path)
    server = InternalServer(journal, tmp_path / "run" / "intake.sock")
    await server.start()
    leave_record(tmp_path, "forget", {"consumer": "old"})
    leave_record(tmp_path, "verify", {})
    first = min((tmp_path / FOLDER).iterdir())
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: _denied(path) if path == first else read(path))
    trail = AuditTrail(tmp_path)
    async with asyncio.timeout(TIMEOUT_S):
        await trail.take_left()
        await trail.take_left()
        assert actions_in(tmp_path, journal) == ["verify"]
        monkeypatch.undo()
        await trail.take_left()

    assert actions_in(tmp_path, journal) == ["verify", "forget"]
    assert capsys.readouterr().err.count("audit_record_not_taken") == 1
    await server.close()
    await journal.close()


def _denied(path: Path) -> bytes:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize("good", [0, 1])
async def test_records_of_the_intake_wait_while_the_journal_takes_nothing(tmp_path: Path, good: int) -> None:
    """Each is tried again in its turn: a later one that was kept would hide an earlier."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.errors = [*[None] * good, OSError(errno.EIO, "Input/output error")]
    records = OwnRecords(journal)
    for number in range(3):
        records.append(f"handshake-{number}", {}, outcome="failure")
    async with asyncio.timeout(TIMEOUT_S):
        await journal_failed(journal)
        journal.reclaim()
        while len(actions_in(tmp_path, journal)) < 3:
            records.flush()
            await asyncio.sleep(0)

    assert actions_in(tmp_path, journal) == ["handshake-0", "handshake-1", "handshake-2"]
    await journal.close()

    again = open_journal(tmp_path)
    OwnRecords(again).append("handshake-3", {}, outcome="failure")
    await again.close()
    assert actions_in(tmp_path, again)[-1] == "handshake-3"


async def test_records_that_wait_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One too many is told by the log."""
    monkeypatch.setattr(audit, "WAITING_LIMIT", 2)
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    records = OwnRecords(journal)
    gate.shut()
    for number in range(3):
        records.append(f"handshake-{number}", {"peer": "192.0.2.7"}, outcome="failure")
    gate.open.set()
    await journal.close()

    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (told["event"], told["action"], told["peer"]) == ("audit_record_dropped", "handshake-2", "192.0.2.7")


async def test_a_stop_waits_for_the_records_of_the_intake(tmp_path: Path) -> None:
    """They are appended one after another; of several only the first was kept."""
    journal = open_journal(tmp_path)
    records = OwnRecords(journal)
    names = [f"handshake-{number}" for number in range(20)]
    for name in names:
        records.append(name, {}, outcome="failure")

    await records.finish()
    await journal.close()

    assert actions_in(tmp_path, journal) == names


async def test_a_stop_does_not_wait_for_a_journal_that_takes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that it refuses are told by the log, each."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    records = OwnRecords(journal)
    gate.errors = [OSError(errno.EIO, "Input/output error")]
    for number in range(2):
        records.append(f"handshake-{number}", {}, outcome="failure")

    await records.finish()
    await journal.close()

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    dropped = [json.loads(each["payload"])["action"] for each in told if each["event"] == "audit_record_dropped"]
    assert dropped == ["handshake-0", "handshake-1"]
