"""A message that is sent again is kept once: in the real journal, across reconnects, restarts and deleted segments."""

import asyncio
from pathlib import Path

import pytest

from collector.journal.arrivals import SenderConnection
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.recogniser import ENCODING
from collector.journal.resend_index import index_files, read_indexes
from collector.journal.segments import segment_files
from tests.kit.journals import ORIGIN, Gate, frames_in, messages_of, open_journal, read_all
from tests.kit.recognisers import Intake, crash, intake

CLIENT = ORIGIN.peer.encode()


def _client() -> SenderConnection:
    return SenderConnection(CLIENT)


async def test_a_resend_is_acknowledged_and_not_kept_again(tmp_path: Path) -> None:
    """Its receipt says DURABLE, what it repeats stands in the journal once, and a record tells that it came."""
    async with intake(tmp_path) as running:
        first, second = _client(), _client()
        await running.send(first, b"one")
        first.end()

        assert await running.send(second, b"one") is Receipt.DURABLE
        assert running.stored() == [b"one"]
        assert running.recogniser.recognised == 1
        frames = frames_in(read_all(running.directory, running.journal.durable))
        record = frames[-1].messages[0]
        assert (messages_of(frames[-1])[0].encoding, record.length) == (ENCODING, 0)
        assert record.sending is not None
        assert record.sending.first == (1, 1)


async def test_a_resend_is_acknowledged_only_when_its_record_is_durable(tmp_path: Path) -> None:
    """The journal tells every acknowledgement we gave; where the record is not kept, the resend is not acknowledged."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second = _client(), _client()
        await running.send(first, b"one")
        first.end()
        gate.shut()
        again = running.send(second, b"one")
        await gate.wait_entered()

        assert not again.done()
        gate.errors.append(OSError(5, "Input/output error"))
        gate.open.set()
        assert await again is Receipt.RETRY


@pytest.mark.parametrize("change", ["bytes", "chunk id", "client", "tag"])
async def test_what_differs_is_kept(tmp_path: Path, change: str) -> None:
    """A resend has the same client, tag, chunk id and bytes."""
    async with intake(tmp_path) as running:
        first = _client()
        await running.send(first, b"one", b"id")
        first.end()
        second = SenderConnection(b"192.0.2.99") if change == "client" else _client()
        entry = Entry(
            ORIGIN,
            "forward",
            (b"two" if change == "bytes" else b"one",),
            tag=b"other" if change == "tag" else b"",
            chunk_id=b"other" if change == "chunk id" else b"id",
            connection=second,
        )
        done = asyncio.Event()
        running.recogniser.submit(entry, done.set)
        await done.wait()

        assert entry.receipt is Receipt.DURABLE
        assert len(running.stored()) == 2


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
async def test_a_resend_is_known_after_a_restart(tmp_path: Path, how: str, segment_bytes: int) -> None:
    """Killed or stopped, in an open segment or a sealed one: the sender could not read our acknowledgement."""
    folder = tmp_path / "data"
    async with intake(folder, segment_bytes=segment_bytes) as running:
        sent = [running.send(connection := _client(), content) for content in (b"one", b"two", b"three")]
        await asyncio.gather(*sent)
        await asyncio.gather(*[running.send(connection, content) for content in (b"four", b"five")])
        if how == "kill":
            folder = await crash(running, folder)
    async with intake(folder, segment_bytes=segment_bytes) as running:
        again = [b"one", b"two", b"three", b"four", b"five"]
        for content in again:
            await running.send(_client(), content)
        assert running.stored() == again
        # A second time, each stored message having absorbed one on a connection that is still open.
        for content in again:
            await running.send(_client(), content)
        assert len(running.stored()) == 2 * len(again)


async def test_what_was_absorbed_before_a_restart_is_not_absorbed_twice(tmp_path: Path) -> None:
    """After the resend something else came on its connection: its acknowledgement was read, an equal one is new."""
    folder = tmp_path / "data"
    async with intake(folder) as running:
        first, second = _client(), _client()
        await running.send(first, b"one")
        first.end()
        await running.send(second, b"one")
        await running.send(second, b"two")
        folder = await crash(running, folder)
    async with intake(folder) as running:
        await running.send(_client(), b"one")

        assert running.stored() == [b"one", b"two", b"one"]


async def test_the_index_outlives_its_segment(tmp_path: Path) -> None:
    """A message whose segment every output has passed, and which is deleted, is still known after a restart."""
    folder = tmp_path / "data"
    async with intake(folder, segment_bytes=1) as running:
        first, other = _client(), _client()
        await running.send(first, b"one")
        first.end()
        for content in (b"two", b"three"):
            await running.send(other, content)
        write_cursor(running.directory, "store", running.journal.durable.position)
        running.journal.reclaim(wait=True)
        assert b"one" not in running.stored()
    async with intake(folder, segment_bytes=1) as running:
        await running.send(_client(), b"one")

        assert b"one" not in running.stored()
        assert len(index_files(running.directory)) >= 2


async def test_a_damaged_index_costs_a_second_copy_and_nothing_else(tmp_path: Path) -> None:
    """Every byte of it may be flipped, the file may be empty: the intake starts and takes messages."""
    folder = tmp_path / "data"
    async with intake(folder) as running:
        first = _client()
        await running.send(first, b"one")
        first.end()
    (index,) = index_files(folder / "journal")
    whole = index.read_bytes()
    for at in range(len(whole) + 1):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :] if at < len(whole) else b"")
        running = Intake(folder, open_journal(folder))
        assert await running.send(_client(), b"one") is Receipt.DURABLE
        await running.close()
        for path in index_files(folder / "journal"):
            path.unlink()


async def test_no_flipped_byte_of_an_index_passes(tmp_path: Path) -> None:
    """What it says is believed whole or not at all: other keys could let a message that is new be swallowed."""
    async with intake(tmp_path) as running:
        first = _client()
        await running.send(first, b"one")
        first.end()
    (index,) = index_files(running.directory)
    whole = index.read_bytes()
    for at in range(len(whole)):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = read_indexes(running.directory)
        # Six bytes of the head mean nothing, and an older version is read.
        assert (not found.snapshots) == (found.damaged == [index.name])
        assert found.snapshots == [] or at in range(8, 16)


async def test_a_resend_waits_for_the_first_sending_and_shares_its_fate(tmp_path: Path) -> None:
    """While the first is being synced the second is not answered; when that sync fails both are to be sent again."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second, third = _client(), _client(), _client()
        gate.shut()
        one = running.send(first, b"one")
        await gate.wait_entered()
        first.end()
        again = running.send(second, b"one")
        gate.errors.append(OSError(5, "Input/output error"))
        gate.open.set()

        assert (await one, await again) == (Receipt.RETRY, Receipt.RETRY)
        second.end()
        assert await running.send(third, b"one") is Receipt.DURABLE
        assert running.stored() == [b"one"]


async def test_messages_behind_one_whose_sync_failed_are_not_stored_twice(tmp_path: Path) -> None:
    """Were they kept, they would come again behind the failed one, which is new to us, and pass for new as well."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second = _client(), _client()
        gate.shut()
        sent = [running.send(first, b"one")]
        await gate.wait_entered()
        sent.append(running.send(first, b"two"))
        other = running.send(_client(), b"of another")
        gate.errors.append(OSError(5, "Input/output error"))
        gate.open.set()
        answers = [await answer for answer in (*sent, other)]
        first.end()

        assert answers == [Receipt.RETRY, Receipt.RETRY, Receipt.DURABLE]
        assert await running.send(first, b"three") is Receipt.RETRY
        for content in (b"one", b"two", b"three"):
            assert await running.send(second, content) is Receipt.DURABLE
        assert running.stored() == [b"of another", b"one", b"two", b"three"]


async def test_a_resend_of_what_becomes_durable_meanwhile_is_not_kept(tmp_path: Path) -> None:
    """The first sending is still being synced when its connection is gone and the message comes again."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running:
        first, second = _client(), _client()
        gate.shut()
        one = running.send(first, b"one")
        await gate.wait_entered()
        first.end()
        again = running.send(second, b"one")
        gate.open.set()

        assert (await one, await again) == (Receipt.DURABLE, Receipt.DURABLE)
        assert running.stored() == [b"one"]


async def test_without_a_chunk_id_every_message_is_kept(tmp_path: Path) -> None:
    """Who does not ask for acknowledgements cannot repeat recognisably: at least once, as documented."""
    async with intake(tmp_path) as running:
        for _ in range(2):
            connection = _client()
            entry = Entry(ORIGIN, "forward", (b"one",), connection=connection)
            done = asyncio.Event()
            running.recogniser.submit(entry, done.set)
            await done.wait()
            connection.end()

        assert running.stored() == [b"one", b"one"]


async def test_old_indexes_are_deleted_but_for_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for an hour takes disk for an hour; the newest says where the next start goes on."""
    async with intake(tmp_path, segment_bytes=1) as running:
        for number in range(5):
            await running.send(_client(), b"%d" % number)
    async with intake(tmp_path) as running:
        assert len(index_files(running.directory)) >= 4
        monkeypatch.setattr("collector.journal.recogniser.REMEMBERED_S", -1)
        running.recogniser.sweep()

        assert [path.stem for path in index_files(running.directory)] == [
            segment_files(running.directory)[-2].removesuffix(".segment")
        ]
