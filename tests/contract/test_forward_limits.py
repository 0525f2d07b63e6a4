"""What a Forward input does at its limits: who is let in, who must go, and that the others never notice."""

import asyncio
import contextlib
import gzip

import msgpack

from collector.inputs.forward import LOOK_INTERVAL_S, ForwardInput
from collector.inputs.forward_connection import SLOWEST_BYTES_PER_S
from tests.kit.forward_inputs import ENTRY, TIMEOUT_S, acked, connect, listening, packed, port_of, until
from tests.kit.journal_moods import MoodyJournal

STALL_S = 60.0
IDLE_S = 600.0


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the present time."""
        return self.now_s

    def pass_(self, seconds: float, forward: ForwardInput) -> None:
        """Let time pass, and the input take note of that."""
        self.now_s += seconds
        forward.tick()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Tell whether the other end closes now."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), TIMEOUT_S) == b""
    return True


async def test_one_peer_may_not_take_all_connections() -> None:
    """Beyond its own limit a peer is disconnected; another address still comes in, and then it again when one ends."""
    async with listening(MoodyJournal(), connection_limit_per_peer=2) as forward, asyncio.timeout(TIMEOUT_S):
        held = [await connect(forward) for _ in range(2)]
        await until(lambda: forward.counts.connections == 2)
        reader, writer = await connect(forward)
        assert await is_closed(reader)
        writer.close()
        other = await asyncio.open_connection("127.0.0.1", port_of(forward), local_addr=("127.0.0.2", 0))
        await until(lambda: forward.counts.connections == 3)
        held[0][1].close()
        await until(lambda: forward.counts.connections == 2)
        held.append(await connect(forward))
        await until(lambda: forward.counts.connections == 3)

        assert forward.counts.connections_refused["peer"] == 1
        for _, writer in (*held, other):
            writer.close()


async def test_near_its_limit_the_input_lets_go_of_who_was_silent_longest() -> None:
    """A twentieth of the places is freed of connections that were idle for long; who sends stays."""
    clock = Clock()
    async with listening(MoodyJournal(), clock=clock, connection_limit=40) as forward, asyncio.timeout(TIMEOUT_S):
        silent = [await connect(forward) for _ in range(20)]
        await until(lambda: forward.counts.connections == 20)
        clock.pass_(IDLE_S, forward)
        assert forward.counts.idle == 0

        lively = [await connect(forward) for _ in range(19)]
        await until(lambda: forward.counts.connections == 39)
        clock.pass_(LOOK_INTERVAL_S, forward)
        await until(lambda: forward.counts.connections == 38)

        assert forward.counts.idle == 1
        for _, writer in (*silent, *lively):
            writer.close()


async def test_a_message_that_comes_to_a_halt_ends_its_connection() -> None:
    """Half a message and then nothing: a peer that is stuck or gone. Silence between messages is no fault."""
    clock, journal = Clock(), MoodyJournal()
    async with listening(journal, clock=clock) as forward, asyncio.timeout(TIMEOUT_S):
        silent_reader, silent = await connect(forward)
        silent.write(packed("a"))
        assert await silent_reader.readexactly(len(acked("a"))) == acked("a")
        reader, stuck = await connect(forward)
        stuck.write(packed("b")[:-3])
        await until(lambda: forward.counts.bytes == 2 * len(packed("a")) - 3)

        clock.pass_(STALL_S - 1, forward)
        assert forward.counts.stalled == 0
        clock.pass_(LOOK_INTERVAL_S, forward)

        assert await is_closed(reader)
        assert (forward.counts.stalled, forward.counts.connections) == (1, 1)
        for writer in (silent, stuck):
            writer.close()


async def test_a_message_that_trickles_ends_its_connection() -> None:
    """A byte now and then keeps a connection alive, but not for ever; who is slow and sends on is not cut."""
    clock = Clock()
    async with listening(MoodyJournal(), clock=clock) as forward, asyncio.timeout(TIMEOUT_S):
        reader, slowloris = await connect(forward)
        _, slow = await connect(forward)
        message = msgpack.packb(["t", ENTRY * 30_000])
        sent, piece = 0, int(SLOWEST_BYTES_PER_S * LOOK_INTERVAL_S * 2)
        while not forward.counts.stalled:
            before = forward.counts.bytes
            slowloris.write(message[sent : sent + 1])
            slow.write(message[sent * piece : (sent + 1) * piece])
            sent += 1
            await until(lambda: forward.counts.bytes > before + piece)  # noqa: B023 - within the turn
            clock.pass_(LOOK_INTERVAL_S, forward)

        assert await is_closed(reader)
        assert STALL_S <= clock.now_s < STALL_S + 3 * LOOK_INTERVAL_S
        assert forward.counts.connections == 1
        for writer in (slowloris, slow):
            writer.close()


async def test_time_in_which_senders_had_to_wait_is_not_held_against_them() -> None:
    """While the journal is full nothing is read: half a message is then nobody's fault."""
    clock, journal = Clock(), MoodyJournal()
    async with listening(journal, clock=clock) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("a")[:5])
        await until(lambda: forward.counts.bytes == 5)
        forward.press(True)
        clock.pass_(10 * STALL_S, forward)
        forward.press(False)
        clock.pass_(LOOK_INTERVAL_S, forward)
        writer.write(packed("a")[5:])

        assert await reader.readexactly(len(acked("a"))) == acked("a")
        writer.close()


async def test_what_inflates_too_far_is_kept_as_it_came() -> None:
    """A gzip bomb costs its compressed size: acknowledged, a dead letter later; a repetitive log is no bomb."""
    journal = MoodyJournal()
    plain = ENTRY * 300_000
    bomb = gzip.compress(plain)
    assert len(plain) > 500 * len(bomb)
    for limit, encoding, kept in ((100, "forward-broken", bomb), (10_000, "forward", plain)):
        async with (
            listening(journal, message_limit=64 << 20, inflation_limit=limit) as forward,
            asyncio.timeout(TIMEOUT_S),
        ):
            reader, writer = await connect(forward)
            writer.write(msgpack.packb(["t", bomb, {"compressed": "gzip", "chunk": "c"}]))
            assert await reader.readexactly(len(acked("c"))) == acked("c")
            writer.close()
        entry = journal.durable[-1]
        assert (entry.encoding, entry.payload) == (encoding, kept)
