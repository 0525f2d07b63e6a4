"""Peers that take turns, vanish, half-close and wait, in every mix: nothing is lost, nobody forgotten, nothing kept."""

import asyncio
import contextlib
import gzip
import random
import ssl
from collections.abc import Callable
from typing import Any, cast

import msgpack
import pytest
import trustme

from collector.config_secrets import TlsConfig
from collector.inputs.forward import ForwardInput
from collector.inputs.forward_connection import ForwardConnection
from collector.inputs.in_hand import ACKS_LIMIT_BYTES
from collector.journal.entry import Entry
from collector.wire.forward import MESSAGES_AT_ONCE
from collector.wire.inflation import QUICK_BYTES
from tests.kit.forward_handshakes import over_tls
from tests.kit.forward_inputs import TIMEOUT_S, acked, connect, listening, packed, port_of, reset, until
from tests.kit.journal_moods import MoodyJournal

SEED = 20261128
ROUNDS = 12
SESSIONS = 24
ROOM_BYTES = 300_000
ENDINGS = ("reset", "half-close", "half-close", "close", "wait", "reset at once", "never read")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CrampedJournal(MoodyJournal):
    """One with little room, which syncs a few entries at a time, whenever it likes."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._moments = chance
        self.hold()

    @property
    def room_bytes(self) -> int:
        """What is left."""
        return max(ROOM_BYTES - sum(entry.payload_bytes for entry, _ in self._pending), 0)

    async def keep_syncing(self) -> None:
        """Sync at random moments, and press senders now and then."""
        while True:
            self.press(pressed=self._moments.random() < 0.2)
            for _ in range(self._moments.randrange(6)):
                await asyncio.sleep(0)
            self.sync(min(self._moments.randrange(40), self.pending_count))


class Session:
    """One connection of a peer with numbered messages: how much it sends, how it behaves, and what it was told."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.name = f"s{number}"
        self.chance = chance
        self.address = f"127.0.0.{chance.randrange(2, 6)}"
        self.ending = chance.choice(ENDINGS)
        self.count = chance.choice([1, 3, 40, 200, MESSAGES_AT_ONCE])
        self.written = 0
        self.told: list[str] = []

    def message(self, number: int) -> bytes:
        """Return a message; now and then a long one, or one that takes a while to inflate."""
        padding = self.chance.choice([0, 10, 20_000, 2 * QUICK_BYTES] if number % 10 == 0 else [0, 10, 20_000])
        entry = bytes(msgpack.packb([0, {"log": f"{self.name} {number}", "pad": "." * padding}]))
        options = {"chunk": f"{self.name}/{number}"}
        if padding > QUICK_BYTES:
            entry, options["compressed"] = gzip.compress(entry), "gzip"
        return b"\x93\xa1t" + bytes(msgpack.packb(entry)) + bytes(msgpack.packb(options))

    async def play(self, open_: Callable[[str], Any]) -> None:
        """Send, and end as this one does; a reset may come at any moment."""
        reader, writer = await open_(self.address)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await self._send(writer)
                await self._end(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        last = b"\x93\xa1t" if self.chance.random() < 0.3 else b""
        stream = b"".join(map(self.message, range(self.count))) + last
        while stream:
            cut = self.chance.choice([len(stream), self.chance.randrange(1, len(stream) + 1), 1_000])
            writer.write(stream[:cut])
            stream = stream[cut:]
            if self.ending != "never read" or self.chance.random() < 0.5:
                await asyncio.wait_for(writer.drain(), TIMEOUT_S)
        self.written = self.count

    async def _end(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.ending == "reset at once":
            return
        if self.ending == "reset":
            self._read(await reader.read(1000))
            reset(writer)
        elif self.ending == "half-close" and writer.can_write_eof():
            writer.write_eof()
            self._read(await reader.read())
        elif self.ending == "wait":
            unpacker = msgpack.Unpacker()
            while len(self.told) < self.count and (piece := await reader.read(500)):
                unpacker.feed(piece)
                self.told += [reply["ack"] for reply in unpacker]
        elif self.ending == "never read":
            await asyncio.sleep(0)

    def _read(self, replies: bytes) -> None:
        unpacker = msgpack.Unpacker()
        unpacker.feed(replies)
        self.told += [reply["ack"] for reply in unpacker]


def opener(forward: ForwardInput, context: ssl.SSLContext | None) -> Callable[[str], Any]:
    """Return how to connect from an address."""
    extra: dict[str, Any] = {} if context is None else {"ssl": context, "server_hostname": "collector.example"}

    async def open_(address: str) -> Streams:
        return await asyncio.open_connection("127.0.0.1", port_of(forward), local_addr=(address, 0), **extra)

    return open_


def check_left(forward: ForwardInput) -> None:
    """Nobody is remembered, nothing is held."""
    assert (set(), 0, 0) == (forward.connections, forward._admission._peers.connections, len(forward._admission._peers))
    assert forward.blocks.receiving_bytes == 0
    assert (forward.counts.failures, forward.counts.broken) == (0, {})


def check_session(session: Session, journal: MoodyJournal) -> None:
    """What was told is durable, in order, each message once; what arrived whole and was waited for, all of it."""
    prefix = f"{session.name}/".encode()
    kept = [entry.chunk_id.decode() for entry in journal.durable if entry.chunk_id.startswith(prefix)]
    sent = [f"{session.name}/{number}" for number in range(session.count)]
    assert kept == sent[: len(kept)]
    assert session.told == kept[: len(session.told)]
    if session.ending == "wait":
        assert session.told == sent


@pytest.mark.timeout(120)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_whatever_peers_do_while_they_wait_for_their_turn(
    *, tls: bool, files: TlsConfig, authority: trustme.CA
) -> None:
    """Resets, half-closes, readers that never read, pressure, little room: acked is durable, all is given back."""
    chance = random.Random(SEED)
    context = ssl.create_default_context() if tls else None
    if context is not None:
        authority.configure_trust(context)
    journal = CrampedJournal(chance)
    options: dict[str, Any] = {"tls": files} if tls else {}
    async with listening(journal, **options) as forward, asyncio.timeout(100):
        syncing = asyncio.create_task(journal.keep_syncing())
        for turn in range(ROUNDS):
            sessions = [Session(turn * SESSIONS + number, chance) for number in range(SESSIONS)]
            await asyncio.gather(*(each.play(opener(forward, context)) for each in sessions))
            await until(lambda: not forward.connections)

            check_left(forward)
            for session in sessions:
                check_session(session, journal)
            journal.durable.clear()
        syncing.cancel()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_drain_while_peers_wait_for_their_turn(*, tls: bool, files: TlsConfig, authority: trustme.CA) -> None:
    """At any moment: what was told is durable, every connection ends, and the drain does not wait for its limit."""
    chance = random.Random(SEED)
    context = ssl.create_default_context() if tls else None
    if context is not None:
        authority.configure_trust(context)
    options: dict[str, Any] = {"tls": files} if tls else {}
    for turn in range(6):
        journal = CrampedJournal(chance)
        async with listening(journal, **options) as forward, asyncio.timeout(TIMEOUT_S):
            syncing = asyncio.create_task(journal.keep_syncing())
            sessions = [Session(turn * SESSIONS + number, chance) for number in range(SESSIONS)]
            for session in sessions:
                session.ending = "half-close" if session.ending == "wait" else session.ending
            playing = [asyncio.create_task(each.play(opener(forward, context))) for each in sessions]
            await until(lambda: forward.counts.messages > chance.randrange(300))
            await forward.drain(timeout_s=2 * TIMEOUT_S)
            await asyncio.gather(*playing, return_exceptions=True)
            await until(lambda: not forward.connections)
            syncing.cancel()

            check_left(forward)
        for session in sessions:
            check_session(session, journal)


async def test_as_many_messages_as_are_taken_at_once_and_no_more() -> None:
    """With nothing behind them the connection asked for its turn for ever, and was never read again."""
    async with listening(MoodyJournal()) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        names = [f"{number:03d}" for number in range(MESSAGES_AT_ONCE + 1)]
        writer.write(b"".join(map(packed, names[:-1])))
        assert await reader.readexactly(MESSAGES_AT_ONCE * len(acked("000"))) == b"".join(map(acked, names[:-1]))
        writer.write(packed(names[-1]))

        assert await reader.read(100) == acked(names[-1])
        writer.close()


async def test_a_half_closed_peer_that_waits_takes_no_memory_of_others() -> None:
    """Each held a block that it had only heard the end with: with 256 of them nobody could send long messages."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        peers = [await connect(forward) for _ in range(20)]
        for _, writer in peers:
            writer.write(packed("x") + b"\x93")
            writer.write_eof()
        await until(lambda: all(each._peer_finished for each in forward.connections) and journal.pending_count == 20)

        assert forward.blocks.receiving_bytes == 0
        assert (len(forward.connections), forward.counts.unfinished) == (20, 20)
        journal.release()
        for reader, writer in peers:
            assert await reader.read() == acked("x")
            writer.close()


@pytest.mark.parametrize("half_closed", [False, True])
async def test_who_never_reads_its_acknowledgements_is_closed_in_time(*, half_closed: bool) -> None:
    """It held its place for ever, also when it had half-closed: that connection could not end before it had read."""
    now_s = 0.0
    journal = MoodyJournal()
    async with listening(journal, clock=lambda: now_s, message_limit=1 << 20) as forward, asyncio.timeout(TIMEOUT_S):
        _, writer = await connect(forward)
        cast(asyncio.Transport, writer.transport).pause_reading()
        flood = packed("x" * 400) * 1000
        while not any(each._write_paused for each in forward.connections):
            writer.write(flood)
            await asyncio.sleep(0)
        if half_closed:
            writer.write_eof()

        for _ in range(2):
            now_s += 59.0 if now_s == 0.0 else 5.0
            assert forward.counts.stalled == 0
            forward.tick()

        await until(lambda: not forward.connections)
        assert forward.counts.stalled == 1
        writer.transport.abort()


async def test_who_does_not_read_has_few_acknowledgements_due() -> None:
    """Nobody can tell before: thousands in flight were all answered at once, into memory."""
    journal = MoodyJournal()
    journal.hold()
    names = [f"{number:0500d}" for number in range(1_000)]
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(b"".join(map(packed, names)))
        await until(lambda: any(each._hand.has_its_share for each in forward.connections))
        pending = journal.pending_count
        journal.release()

        answers = b"".join(map(acked, names))
        assert await reader.readexactly(len(answers)) == answers
        writer.close()
    assert pending * len(acked(names[0])) < ACKS_LIMIT_BYTES + len(acked(names[0]))


async def test_a_fault_of_ours_ends_one_connection_and_leaves_nothing() -> None:
    """Whole messages behind the one that failed kept its place taken for ever, as did one in a receipt's wake."""
    journal = MoodyJournal()
    journal.room = 0
    submit = journal.submit

    def fail_at(entry: Entry, on_receipt: Callable[[], None]) -> None:
        if entry.chunk_id == b"bad":
            raise MemoryError
        submit(entry, on_receipt)

    journal.submit = fail_at  # type: ignore[method-assign]
    for stream in (packed("bad") + packed("behind"), packed("x") + packed("bad") + packed("behind")):
        async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect(forward)
            other_reader, other = await connect(forward)
            writer.write(stream)
            with contextlib.suppress(ConnectionError):
                while await reader.read(100):
                    pass
            other.write(packed("neighbour"))
            assert acked("neighbour") == await other_reader.read(100)
            for each in (writer, other):
                each.close()
            await until(lambda: not forward.connections)

            assert (forward.counts.failures, len(forward._admission._peers)) == (1, 0)


async def test_a_stop_at_the_moment_a_tls_handshake_is_done_gives_its_place_back_once(
    files: TlsConfig, authority: trustme.CA
) -> None:
    """Twice made the count of connections negative: the drain then waited for its limit."""
    context = ssl.create_default_context()
    authority.configure_trust(context)

    tripped: list[ForwardConnection] = []

    class Tripwire(set[ForwardConnection]):
        def add(self, connection: ForwardConnection) -> None:
            super().add(connection)
            tripped.append(connection)
            if forward._server is not None:
                forward._server.close()

    async with listening(MoodyJournal(), tls=files) as forward, asyncio.timeout(TIMEOUT_S):
        forward.connections = Tripwire()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            _, writer = await over_tls("127.0.0.1", port_of(forward), context)()
            writer.close()
        await until(lambda: bool(tripped) and not forward.connections)

        assert (forward._admission._peers.connections, len(forward._admission._peers)) == (0, 0)
        await forward.drain(timeout_s=2 * TIMEOUT_S)
