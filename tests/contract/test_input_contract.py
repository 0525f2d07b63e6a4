"""The contract of inputs: acknowledged implies durable, in order, whatever the journal, the sender or a neighbour does.

An input joins by a generator of numbered messages and a client that resends (here: Forward, each of its modes).
"""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from collector.inputs.in_hand import SHARE_PARTS
from collector.journal.entry import Entry, Receipt
from tests.kit.forward_inputs import (
    ENTRY,
    TIMEOUT_S,
    acked,
    connect,
    durable_numbers,
    listening,
    packed,
    port_of,
    reset,
    until,
)
from tests.kit.forward_sender import MODES, ForwardSender, Mode, Options, encode_message, tcp
from tests.kit.journal_moods import Mood, MoodyJournal


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "mood", [Mood.ACCEPTS, Mood.FAILS_NOW_AND_THEN, Mood.MIXES], ids=lambda mood: mood.name.lower()
)
async def test_what_is_acked_is_in_the_journal(mode: Mode, mood: Mood) -> None:
    """A client that resends gets every record in; nothing is acknowledged that is not durable."""
    journal = MoodyJournal(mood)
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        options = Options(mode=mode, records_per_message=7, reconnect_delay_s=0, name=mode)
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), options)

        await sender.send(150)

    assert set(range(150)) == sender.acked == set(durable_numbers(journal, mode))
    assert (mood is Mood.ACCEPTS) == (forward.counts.refused == 0)


async def test_a_journal_that_refuses_acknowledges_nothing() -> None:
    """Each refused message ends its connection; the client comes again, and is never told what is not true."""
    journal = MoodyJournal(Mood.REFUSES)
    async with listening(journal) as forward:
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), Options(reconnect_delay_s=0))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sender.send(10), 0.2)

        await until(lambda: not forward.connections)
    assert (set(), []) == (sender.acked, journal.durable)
    assert sender.connections > 1


async def test_an_ack_leaves_when_its_message_is_durable() -> None:
    """Nothing comes back before the sync; then each acknowledgement, whole, in order, across modes."""
    journal = MoodyJournal()
    journal.hold()
    messages = [
        encode_message(range(1) if mode == "message" else range(5), Options(mode=mode, name=mode)) for mode in MODES
    ]
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(b"".join(message.encoded for message in messages))
        await until(lambda: journal.pending_count == len(messages))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)

        for message in messages:
            journal.sync(1)
            reply = await asyncio.wait_for(reader.read(511), TIMEOUT_S)

            assert acked(message.chunk_id) == reply
        writer.close()


async def test_nothing_is_acked_behind_a_refused_message() -> None:
    """A client reads an acknowledgement as the last word on what it sent before, so none follows a refusal."""
    journal = MoodyJournal()
    taken: list[tuple[Entry, Callable[[], None]]] = []
    journal.submit = lambda *pair: taken.append(pair)  # type: ignore[method-assign]
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two") + packed("three"))
        await until(lambda: len(taken) == 3)
        for (entry, _), receipt in zip(taken, (Receipt.DURABLE, Receipt.RETRY, Receipt.DURABLE), strict=True):
            entry.receipt = receipt
        for _, on_receipt in taken:
            on_receipt()

        assert await reader.read() == acked("one")
        writer.close()


async def test_one_connection_leaves_room_for_others() -> None:
    """It may have an eighth of what is left in the journal's hands: who floods waits before the journal presses all."""
    journal = MoodyJournal()
    journal.room = 32 << 10
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        _, writer = await connect(forward)
        writer.write(b"".join(packed(f"{number:03d}") for number in range(30)))
        await until(lambda: any(not connection._reading for connection in forward.connections))
        pending = journal.pending_count
        journal.release()
        await until(lambda: len(journal.durable) == 30)
        writer.close()

    assert pending == 4


async def test_acks_keep_their_order_when_receipts_do_not() -> None:
    """A later message that is durable first waits for the earlier one."""
    journal = MoodyJournal()
    taken: list[tuple[Entry, Callable[[], None]]] = []

    def make_durable(entry: Entry, on_receipt: Callable[[], None]) -> None:
        entry.receipt = Receipt.DURABLE
        on_receipt()

    journal.submit = lambda *pair: taken.append(pair)  # type: ignore[method-assign]
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two"))
        await until(lambda: len(taken) == 2)
        make_durable(*taken[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        make_durable(*taken[0])

        assert acked("one") + acked("two") == await asyncio.wait_for(
            reader.readexactly(len(acked("one") + acked("two"))), TIMEOUT_S
        )
        writer.close()


async def test_no_chunk_no_reply() -> None:
    """A message without a chunk id is kept and never answered."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(b"\x92\xa1t\x91" + ENTRY)
        writer.write_eof()

        assert await asyncio.wait_for(reader.read(), TIMEOUT_S) == b""
        writer.close()
    assert [entry.payload for entry in journal.durable] == [ENTRY]


async def test_acks_go_out_after_a_half_close() -> None:
    """A peer that has finished sending still gets every acknowledgement, then the connection ends."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two"))
        writer.write_eof()
        await until(lambda: journal.pending_count == 2)
        journal.release()

        assert acked("one") + acked("two") == await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()


async def test_messages_of_a_peer_that_has_gone_are_kept() -> None:
    """What had arrived whole becomes durable even if nobody is there to be told."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward:
        _, writer = await connect(forward)
        writer.write(packed("one"))
        await until(lambda: journal.pending_count == 1)
        reset(writer)
        await until(lambda: all(connection._transport is None for connection in forward.connections))
        journal.release()
        await until(lambda: not forward.connections)

    assert [entry.payload for entry in journal.durable] == [ENTRY]


async def test_a_peer_that_sends_much_in_little_and_goes_loses_nothing() -> None:
    """Two hundred whole messages in one write: they are taken in parts, and the rest too when the peer is gone."""
    journal = MoodyJournal()
    names = [f"{number:03d}" for number in range(200)]
    submit, parts = journal.submit, list[int]()

    def lose_the_peer(entry: Entry, on_receipt: Callable[[], None]) -> None:
        if not journal.pending_count:
            (connection,) = forward.connections
            assert connection._transport is not None
            connection._transport.abort()
            asyncio.get_running_loop().call_soon(lambda: parts.append(journal.pending_count))
        submit(entry, on_receipt)

    journal.hold()
    journal.submit = lose_the_peer  # type: ignore[method-assign]
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        _, writer = await connect(forward)
        writer.write(b"".join(map(packed, names)))
        await until(lambda: journal.pending_count == len(names))
        journal.release()
        await until(lambda: not forward.connections)
        writer.close()

    assert 0 < parts[0] < len(names)
    assert [entry.chunk_id.decode() for entry in journal.durable] == names


async def test_many_in_flight_are_held_back_at_the_limit() -> None:
    """A sender that does not wait has to, once too much of it is unacknowledged; nothing is lost by it."""
    journal = MoodyJournal()
    journal.room = 20_000 * SHARE_PARTS
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        options = Options(in_flight=10_000, line_bytes=1000, records_per_message=1)
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), options)
        sending = asyncio.create_task(sender.send(3000))
        await until(lambda: any(not connection._reading for connection in forward.connections))
        pending = journal.pending_count
        journal.release()
        await sending

    assert pending < 20
    assert list(range(3000)) == durable_numbers(journal, "sender")


async def test_pressure_of_the_journal_stops_reading() -> None:
    """While the journal asks to wait nothing is read; then everything is."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        await until(lambda: len(forward.connections) == 1)
        journal.press(pressed=True)
        writer.write(packed("one"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.appended.wait(), 0.05)
        journal.press(pressed=False)

        assert acked("one") == await reader.read(511)
        writer.close()


async def test_a_peer_that_never_reads_is_not_read_from() -> None:
    """Acknowledgements that nobody fetches stop the reading, and a neighbour goes on."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        _, writer = await connect(forward)
        flood = packed("x" * 400) * 1000

        async def pour() -> None:
            while True:
                writer.write(flood)
                await writer.drain()

        pouring = asyncio.create_task(pour())
        await until(lambda: any(connection._write_paused for connection in forward.connections))
        (slow,) = forward.connections
        pouring.cancel()
        await until(lambda: not (slow._hand.waiting or slow._decoder.behind or slow._waits_for_turn))
        assert not slow._reading

        await ForwardSender(tcp("127.0.0.1", port_of(forward))).send(10)
        writer.transport.abort()


async def test_a_drain_answers_what_is_in_hand() -> None:
    """Draining reads no more, waits for receipts, sends the acknowledgements, and closes."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two")[:-2])
        await until(lambda: journal.pending_count == 1)
        draining = asyncio.create_task(forward.drain())
        await until(lambda: forward._server is None)
        journal.release()
        await draining

        assert acked("one") == await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await connect(forward)
        writer.close()


async def test_a_drain_ends_in_time() -> None:
    """A journal that never answers does not hold up the stop."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("one"))
        await until(lambda: journal.pending_count == 1)

        await forward.drain(timeout_s=0.05)

        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
