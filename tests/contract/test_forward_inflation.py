"""Compressed messages that take a while: nobody else waits, order stays, and nothing is lost or kept by it."""

import asyncio
import contextlib
import gzip
import threading
from collections.abc import AsyncIterator, Callable

import msgpack

from collector.inputs.forward import ForwardInput
from collector.inputs.inflater import Inflater, Payer
from collector.wire.inflation import QUICK_BYTES
from tests.kit.forward_inputs import (
    ENTRY,
    TIMEOUT_S,
    acked,
    connect,
    listening,
    packed,
    reset,
    until,
)
from tests.kit.journal_moods import Mood, MoodyJournal

LARGE = ENTRY * 100_000


def compressed(chunk: str, plain: bytes) -> bytes:
    """A message that inflates to this."""
    return bytes(msgpack.packb(["t", gzip.compress(plain), {"compressed": "gzip", "chunk": chunk}]))


class Failing(Inflater):
    """One that has no memory."""

    def submit(self, peer: Payer, work: Callable[[], int]) -> "asyncio.Future[None]":
        """Fail."""
        return super().submit(peer, self.fail)

    def fail(self) -> int:
        """Fail."""
        raise MemoryError


@contextlib.asynccontextmanager
async def busy(journal: MoodyJournal) -> AsyncIterator[tuple[ForwardInput, threading.Event]]:
    """An input that inflates something for somebody else until it is told to go on."""
    go_on = threading.Event()

    def wait() -> int:
        assert go_on.wait(TIMEOUT_S)
        return 0

    async with listening(journal, message_limit=64 << 20) as forward, asyncio.timeout(TIMEOUT_S):
        forward.admit("192.0.2.66")
        forward.inflater.submit(forward.peer("192.0.2.66"), wait)
        try:
            yield forward, go_on
        finally:
            go_on.set()
            forward.leave("192.0.2.66")


async def sent(forward: ForwardInput, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of which all this has been read."""
    before = forward.counts.bytes
    reader, writer = await connect(forward)
    writer.write(content)
    await until(lambda: forward.counts.bytes == before + len(content))
    return reader, writer


async def test_nobody_else_waits_while_a_message_is_inflated() -> None:
    """What follows on its connection does; all is acknowledged in the order of the connection."""
    journal = MoodyJournal()
    async with busy(journal) as (forward, go_on):
        reader, writer = await sent(forward, compressed("large", LARGE) + packed("behind"))
        other_reader, other = await sent(forward, compressed("small", ENTRY * 10) + packed("quiet"))
        quiet = await other_reader.readexactly(len(acked("small") + acked("quiet")))
        kept_meanwhile = len(journal.durable)
        go_on.set()

        assert quiet == acked("small") + acked("quiet")
        assert kept_meanwhile == 2
        assert await reader.readexactly(len(acked("large") + acked("behind"))) == acked("large") + acked("behind")
        assert journal.durable[2].payload == LARGE
        writer.close()
        other.close()


async def test_what_is_being_inflated_is_kept_when_its_sender_has_gone() -> None:
    """It arrived whole. Its memory is given back."""
    journal = MoodyJournal()
    async with busy(journal) as (forward, go_on):
        _, writer = await sent(forward, compressed("large", LARGE))
        reset(writer)
        await asyncio.sleep(0)
        go_on.set()
        await until(lambda: forward.counts.connections == 1)

        assert [entry.payload for entry in journal.durable] == [LARGE]
        assert forward.blocks.receiving_bytes == 0


async def test_a_message_behind_a_refused_one_is_not_kept() -> None:
    """Its client sends it again, be it inflated or not."""
    journal = MoodyJournal(Mood.REFUSES)
    async with busy(journal) as (forward, go_on):
        journal.hold()
        reader, writer = await sent(forward, packed("refused") + compressed("large", LARGE))
        journal.release()
        go_on.set()

        assert await reader.read() == b""
        await until(lambda: forward.counts.connections == 1)
        assert forward.counts.messages == 1
        writer.close()


async def test_a_fault_while_inflating_ends_that_connection_only() -> None:
    """One bad thing stops one thing: what fails for one is told, and the next is inflated."""
    journal = MoodyJournal()
    async with busy(journal) as (forward, go_on):
        go_on.set()
        forward.inflater, working = Failing(lambda: journal.room_bytes), forward.inflater
        reader, writer = await sent(forward, compressed("large", LARGE))

        assert await reader.read() == b""
        assert forward.counts.failures == 1
        writer.close()
        forward.inflater = working
        other_reader, other = await sent(forward, compressed("other", LARGE))
        assert await other_reader.readexactly(len(acked("other"))) == acked("other")
        other.close()


async def test_what_a_small_message_inflates_to_counts_as_read() -> None:
    """Inflated at once or later, a peer pays for what is made of its bytes."""
    plain, rate = ENTRY * 4_000, 1 << 20
    async with listening(MoodyJournal(), rate_limit_per_peer=rate) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        forward.admit("192.0.2.66")
        forward.peer("192.0.2.66").spend(1, 1)
        began_s = asyncio.get_running_loop().time()
        writer.write(compressed("small", plain))
        await reader.readexactly(len(acked("small")))

        assert len(plain) < QUICK_BYTES
        assert forward.peer("127.0.0.1").paid_until_s >= began_s + len(plain) / rate
        forward.leave("192.0.2.66")
        writer.close()
