"""Resends under faults: failed syncs, kills, lost indexes; each test named after what went wrong once."""

import asyncio
import shutil
from pathlib import Path

import pytest

from collector.journal.arrivals import SenderConnection
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.resend_index import index_files
from collector.journal.segments import segment_files
from tests.kit.journals import ORIGIN, Gate, frames_in, read_all
from tests.kit.recognisers import intake


def _client() -> SenderConnection:
    return SenderConnection(ORIGIN.peer.encode())


async def test_messages_behind_a_resend_whose_first_sending_failed_were_stored_twice(tmp_path: Path) -> None:
    """They were in the group behind that of the first sending, kept, and came again behind a message that was new."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second, third = _client(), _client(), _client()
        gate.shut()
        sent = [running.send(first, b"one")]
        await gate.wait_entered()
        first.end()
        sent += [running.send(second, content) for content in (b"one", b"two", b"three")]
        assert running.recogniser.room_bytes < running.journal.room_bytes
        gate.errors.append(OSError(5, "Input/output error"))
        gate.open.set()

        assert [await answer for answer in sent] == [Receipt.RETRY] * 4
        second.end()
        again = [running.send(third, content) for content in (b"one", b"two", b"three")]
        assert [await answer for answer in again] == [Receipt.DURABLE] * 3
        assert running.stored() == [b"one", b"two", b"three"]
        assert running.recogniser.room_bytes == running.journal.room_bytes


async def test_messages_behind_a_resend_that_waited_stood_before_it(tmp_path: Path) -> None:
    """A connection's messages stand in the journal in the order they came; those without a chunk id as well."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second = _client(), _client()
        gate.shut()
        sent = [running.send(first, b"one")]
        await gate.wait_entered()
        first.end()
        sent.append(running.send(second, b"one"))
        plain = Entry(ORIGIN, "forward", (b"plain",), connection=second)
        running.recogniser.submit(plain, lambda: None)
        sent.append(running.send(second, b"two"))
        gate.open.set()

        assert [await answer for answer in sent] == [Receipt.DURABLE] * 3
        assert plain.receipt is Receipt.DURABLE
        assert running.stored() == [b"one", b"plain", b"two"]
        frames = frames_in(read_all(running.directory, running.journal.durable))
        sendings = [each.sending for frame in frames for each in frame.messages if each.sending is not None]
        assert sorted((each.connection, each.ordinal) for each in sendings) == [(1, 1), (2, 1), (2, 2)]


async def test_an_equal_message_that_was_new_was_swallowed_while_the_first_sending_was_synced(tmp_path: Path) -> None:
    """Two connections that live send the same at a time: a stored message absorbs one of them, not both."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first = _client()
        gate.shut()
        sent = [running.send(first, b"one")]
        await gate.wait_entered()
        first.end()
        sent += [running.send(_client(), b"one") for _ in range(2)]
        gate.open.set()

        assert [await answer for answer in sent] == [Receipt.DURABLE] * 3
        assert running.stored() == [b"one", b"one"]


async def test_a_resend_on_its_way_into_the_next_segment_at_a_kill_was_stored_twice(tmp_path: Path) -> None:
    """The index of the sealed segment said already that it had come, and it had not."""
    folder, gate = tmp_path / "data", Gate()
    async with intake(folder, segment_bytes=1, sync=gate) as running:
        first, second = _client(), _client()
        await running.send(first, b"one")
        first.end()
        gate.shut()
        other = running.send(_client(), b"other")  # goes into a segment of its own
        await gate.wait_entered()
        again = running.send(second, b"one")
        gate.open.set()
        await other
        gate.shut()
        killed = folder.with_name("killed")
        await asyncio.to_thread(running.recogniser._thread.submit(int).result)
        await asyncio.to_thread(shutil.copytree, folder, killed)
        gate.open.set()
        await again
    for segment in segment_files(killed / "journal")[2:]:
        (killed / "journal" / segment).unlink()  # what the resend was to stand in
    async with intake(killed) as running:
        await running.send(_client(), b"one")

        assert running.stored() == [b"one", b"other"]


@pytest.mark.parametrize("how", ["missing", "damaged"])
@pytest.mark.parametrize("which", range(5))
async def test_a_new_message_was_swallowed_because_an_index_was_lost(tmp_path: Path, which: int, how: str) -> None:
    """It held that the message had been absorbed, and its segment was deleted: the older ones count no more."""
    folder = tmp_path / "data"
    async with intake(folder, segment_bytes=1) as running:
        first, second = _client(), _client()
        await running.send(first, b"one")
        first.end()
        await running.send(_client(), b"between")
        await running.send(second, b"one")
        await running.send(second, b"two")
        await running.send(_client(), b"last")
        write_cursor(running.directory, "store", running.journal.durable.position)
        running.journal.reclaim(wait=True)
    lost = index_files(folder / "journal")[which]
    lost.write_bytes(lost.read_bytes()[:-1])
    if how == "missing":
        lost.unlink()
    for _ in range(2):
        async with intake(folder):
            pass  # what counts no more does not come back with another start
    async with intake(folder) as running:
        await running.send(_client(), b"one")

        assert running.stored().count(b"one") == 1


async def test_indexes_that_were_written_while_old_ones_were_deleted_stopped_the_intake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread put them among those that were gone through; the loop does both now."""
    monkeypatch.setattr("collector.journal.recogniser.REMEMBERED_S", -1)
    async with intake(tmp_path, segment_bytes=1) as running:
        for number in range(20):
            await running.send(_client(), b"%d" % number)
            running.recogniser.sweep()
        await asyncio.to_thread(running.recogniser._thread.submit(int).result)
        before = list(running.recogniser._written)
        running.recogniser.sweep()

        assert len(index_files(running.directory)) == 1
        assert len(before) >= 1
    assert running.recogniser.index_failures == 0
