"""The control channel: messages as lines, its end as a sign of death."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from collector.control import UNREAD_LIMIT_BYTES, Channel, Configure, Message, Report, Reports, Stop
from collector.samples import Family, Sample

REPORT = Report(
    "intake", {"journal": "", "input docker": "in use"}, [Family("a", [Sample("a_total", {"b": "c"}, 1.0)])]
)
MESSAGES: list[Message] = [
    Configure({"data_dir": "/data", "name": "line\nbreak"}),
    Stop(),
    REPORT,
    Reports([REPORT], {"intake": "starting"}, {"worker: output a": "down"}),
]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel and the raw other end."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    yield channel, theirs
    await channel.close()
    theirs.close()


async def test_every_message_arrives_as_it_was_sent() -> None:
    """Both directions, in order, line breaks in texts and all; the end is None."""
    one, other = socket.socketpair()
    sender, receiver = await Channel.over(one), await Channel.over(other)

    for message in MESSAGES:
        sender.send(message)
    received = [await receiver.receive() for _ in MESSAGES]
    await sender.close()

    assert MESSAGES == received
    assert await receiver.receive() is None
    await receiver.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"type":"unheard"}\n', b'{"type":"report"}\n', b'{"type":"stop"}'])
async def test_what_is_no_message_ends_the_channel(ends: tuple[Channel, socket.socket], line: bytes) -> None:
    """A line that is no message, or cut short, is treated like the other end's death."""
    channel, theirs = ends
    theirs.sendall(line)
    theirs.shutdown(socket.SHUT_WR)

    assert await channel.receive() is None


async def test_reports_are_left_out_while_nobody_reads(ends: tuple[Channel, socket.socket]) -> None:
    """A console that hangs costs the supervisor a bounded amount of memory; the word to stop is still kept for it."""
    channel, theirs = ends
    big = Reports([], {"a": "x" * 100_000})
    for _ in range(100):
        channel.send(big)
    channel.send(Stop())

    theirs.setblocking(False)
    received = bytearray()
    async with asyncio.timeout(5):
        while not received.endswith(b'{"type":"stop"}\n'):
            received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)

    assert len(received) < 2 * UNREAD_LIMIT_BYTES
