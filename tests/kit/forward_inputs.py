"""A Forward input under test: listening on a free port before a journal with moods, and what is sent to it."""

import asyncio
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack

from collector.config import ForwardInputConfig
from collector.inputs.forward import ForwardInput
from collector.wire.blocks import Blocks
from tests.kit.journal_moods import MoodyJournal

TIMEOUT_S = 45.0
ENTRY = b"\x92\x00\x81\xa3log\xa2hi"


@asynccontextmanager
async def listening(
    journal: MoodyJournal,
    *,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> AsyncIterator[ForwardInput]:
    """Run an input on a free port; `options` are those of its configuration that matter to the test."""
    usual: dict[str, Any] = {"listen": "127.0.0.1:0", "message_limit": 1 << 20, "connection_limit": 1_000}
    forward = ForwardInput(
        name="docker",
        options=ForwardInputConfig(**(usual | options)),
        journal=journal,
        blocks=Blocks(),
        collector="web",
        clock=clock,
    )
    journal.on_pressure(forward.press)
    await forward.start()
    try:
        yield forward
    finally:
        await forward.drain(timeout_s=0)


def port_of(forward: ForwardInput) -> int:
    """Return the port that was chosen."""
    return int(forward.address.rpartition(":")[2])


async def connect(forward: ForwardInput) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection."""
    return await asyncio.open_connection("127.0.0.1", port_of(forward))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, which an input's own state shows and no event tells."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


def durable_numbers(journal: MoodyJournal, name: str) -> list[int]:
    """Return the numbers of a sender's records in the journal, in order."""
    payloads = b"".join(entry.payload for entry in journal.durable)
    return [int(number) for number in re.findall(rb"\b%s (\d+)" % name.encode(), payloads)]


def acked(chunk: str) -> bytes:
    """Return the acknowledgement of a chunk id."""
    return bytes(b"\x81\xa3ack" + msgpack.packb(chunk))


def packed(chunk: str) -> bytes:
    """Return a message that wants to be acknowledged."""
    return bytes(b"\x93\xa1t" + msgpack.packb(ENTRY) + msgpack.packb({"chunk": chunk}))


def reset(writer: asyncio.StreamWriter) -> None:
    """Vanish, as a killed peer does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
