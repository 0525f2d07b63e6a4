"""The internal socket with a journal in memory: producers append, subscribers hear of what is durable."""

import asyncio
import struct
from pathlib import Path

import pytest

from collector import internal
from collector.internal import CONNECTION_LIMIT, MESSAGE_LIMIT_BYTES, InternalClient, InternalClosed, InternalServer
from collector.journal.entry import Receipt
from pipelines.frame import Origin, Producer
from tests.kit.memory_journal import MemoryJournal

TIMEOUT_S = 45.0


def left_behind(path: Path) -> None:
    """Leave a file where the socket will be, as a killed intake does."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")


def mode_of(path: Path) -> int | None:
    """The permissions of a file, None when there is none."""
    return path.stat().st_mode & 0o777 if path.exists() else None


async def test_an_append_is_answered_with_its_receipt(
    server: InternalServer, journal: MemoryJournal, path: Path
) -> None:
    """The entry carries the producer's triple and an origin that only our own processes have."""
    producer = Producer("supervisor", 1, b"cursor")

    async with InternalClient(path) as client:
        before = await client.last_produced("supervisor")
        receipt = await client.append(producer, "audit", b"{}")
        after = await client.last_produced("supervisor")

    (entry,) = journal.entries
    assert (None, Receipt.DURABLE, producer) == (before, receipt, after)
    assert (Origin("tidewaiter", "internal", "supervisor"), "audit", producer) == (
        entry.origin,
        entry.encoding,
        entry.producer,
    )
    assert b"{}" == b"".join(entry.payload)


@pytest.mark.parametrize("receipt", [Receipt.RETRY, Receipt.REJECTED])
async def test_other_receipts_reach_the_producer(
    server: InternalServer, journal: MemoryJournal, path: Path, receipt: Receipt
) -> None:
    """What the journal did not take is said to be so."""
    journal.receipts = [receipt]

    async with InternalClient(path) as client:
        answer = await client.append(Producer("supervisor", 1), "audit", b"{}")

    assert receipt == answer


@pytest.mark.usefixtures("server")
async def test_messages_of_others_come_under_their_names(journal: MemoryJournal, path: Path) -> None:
    """All at once, in order, a receipt of each; the transport stays internal, whoever they are of."""
    journal.receipts = [Receipt.DURABLE, Receipt.REJECTED]
    messages = [(Producer("watcher-engine", number, b"c"), b"%d" % number) for number in (1, 2, 3)]

    async with InternalClient(path) as client:
        receipts = await client.append_all(messages, "docker-inspect", input_name="engine", peer="unix:///d.sock")

    assert [Receipt.DURABLE, Receipt.REJECTED, Receipt.DURABLE] == receipts
    assert [(Producer("watcher-engine", 1, b"c"), b"1"), (Producer("watcher-engine", 3, b"c"), b"3")] == [
        (entry.producer, b"".join(entry.payload)) for entry in journal.entries
    ]
    assert {(Origin("engine", "internal", "unix:///d.sock"), "docker-inspect")} == {
        (entry.origin, entry.encoding) for entry in journal.entries
    }


async def test_ticks_are_few_however_often_they_are_asked_for(
    server: InternalServer, path: Path, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick is a frame without content, of our own; one that would come too soon is none."""
    async with InternalClient(path) as client, InternalClient(path) as other:
        assert [await client.tick(), await other.tick(), await client.tick()] == [True, False, False]
        monkeypatch.setattr(internal, "TICK_INTERVAL_S", 0.0)
        assert await other.tick()

    assert [(entry.encoding, entry.payload, entry.origin.transport) for entry in journal.entries] == [
        ("tick", (b"",), "internal")
    ] * 2


async def test_a_subscriber_hears_the_end_now_and_whenever_it_moves(
    server: InternalServer, journal: MemoryJournal, path: Path
) -> None:
    """The first end comes at once, the next with the next group."""
    async with InternalClient(path) as client, asyncio.timeout(TIMEOUT_S):
        ends = client.durable_ends()
        first = await anext(ends)
        journal.grow()
        second = await anext(ends)

    assert [0, 1] == [first.position.sequence, second.position.sequence]


async def test_subscribers_that_died_while_nothing_happened_take_no_place(server: InternalServer, path: Path) -> None:
    """A worker that dies again and again on a quiet day is always let in: its dead connections filled the limit."""
    heard = []
    for _ in range(2 * CONNECTION_LIMIT):
        async with InternalClient(path) as client, asyncio.timeout(TIMEOUT_S):
            heard.append(await anext(client.durable_ends()))

    assert [0] * (2 * CONNECTION_LIMIT) == [end.position.sequence for end in heard]


async def test_a_slow_subscriber_is_told_the_newest_end_soon(
    server: InternalServer, journal: MemoryJournal, path: Path
) -> None:
    """After 20,000 groups that nobody read, few ends are in the way of the newest."""
    async with InternalClient(path) as client, asyncio.timeout(TIMEOUT_S):
        ends = client.durable_ends()
        await anext(ends)
        for number in range(20_000):
            journal.grow()
            if number % 10 == 0:
                await asyncio.sleep(0)
        heard = 1
        while (await anext(ends)).position.sequence < 20_000:
            heard += 1

    assert heard < 2500


async def test_a_close_tells_the_last_end_before_it_hangs_up(
    server: InternalServer, journal: MemoryJournal, path: Path
) -> None:
    """A worker that follows hears of the last frame an intake wrote, then InternalClosed."""
    async with InternalClient(path) as client, asyncio.timeout(TIMEOUT_S):
        ends = client.durable_ends()
        await anext(ends)
        journal.grow()
        await server.close()
        last = await anext(ends)
        with pytest.raises(InternalClosed):
            await anext(ends)

    assert 1 == last.position.sequence


async def test_no_server_is_internal_closed(path: Path) -> None:
    """Connecting before the intake listens raises what a lost connection raises."""
    with pytest.raises(InternalClosed):
        await InternalClient(path).__aenter__()


async def test_the_socket_is_for_the_owner_only_and_a_dead_ones_file_is_replaced(
    journal: MemoryJournal, path: Path
) -> None:
    """Mode 0600; what a killed intake left behind is in nobody's way."""
    left_behind(path)
    server = InternalServer(journal, path)

    await server.start()
    mode = mode_of(path)
    await server.close()

    assert (0o600, None) == (mode, mode_of(path))


async def test_a_path_too_long_for_a_socket_works(journal: MemoryJournal, tmp_path: Path) -> None:
    """A data folder deep in the tree is named by its descriptor."""
    path = tmp_path / ("deep" * 20) / ("deeper" * 20) / "run" / "intake.sock"
    left_behind(path)
    server = InternalServer(journal, path)
    await server.start()

    async with InternalClient(path) as client:
        receipt = await client.append(Producer("supervisor", 1), "audit", b"{}")
    await server.close()

    assert Receipt.DURABLE is receipt


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">I", MESSAGE_LIMIT_BYTES + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        struct.pack(">I", 1) + b"\x90",
    ],
    ids=["too long", "not MessagePack", "no message"],
)
async def test_garbage_ends_its_connection_and_no_other(server: InternalServer, path: Path, garbage: bytes) -> None:
    """Who does not speak the protocol is disconnected; others are served on."""
    async with InternalClient(path) as client, asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(garbage)
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        receipt = await client.append(Producer("supervisor", 1), "audit", b"{}")

    assert b"" == rest
    assert Receipt.DURABLE is receipt


async def test_a_message_over_the_limit_is_not_sent(server: InternalServer, path: Path) -> None:
    """A producer that would exceed the limit learns it by an error, not by a lost connection."""
    async with InternalClient(path) as client:
        with pytest.raises(ValueError, match="over the limit"):
            await client.append(Producer("supervisor", 1), "audit", b"x" * (MESSAGE_LIMIT_BYTES + 1))
