"""Peers that hold on, trickle, never read, vanish, or send bombs, against a real collector: others do not notice."""

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import msgpack
import pytest
import zstandard

from collector.inputs.sockets import KEEPALIVE_IDLE_S
from collector.wire.forward_compression import MEMBER_LIMIT
from tests.fault.books import SERVED_S, check_all_once, until
from tests.kit.cutting_proxy import CuttingProxy
from tests.kit.forward_inputs import packed
from tests.kit.forward_sender import Connect, Options, encode_message
from tests.kit.running import RunningCollector
from tests.kit.waiting_sender import WaitingSender, from_address

pytestmark = pytest.mark.timeout(600)

TRICKLERS: Final = 300
NEVER_READ: Final = 3
RECEIVE_BYTES: Final = 4 << 10
TRICKLE_PAUSE_S: Final = 0.2
SLOW_BYTES: Final = 40_000
SLOW_PIECE_BYTES: Final = 1_000
ACKS: Final = 20
GROWTH_BYTES: Final = 96 << 20
"""What the intake may grow by meanwhile: one message of 64 MiB, inflated, and some."""

WORKER_GROWTH_BYTES: Final = 256 << 20
"""What the worker may: the same, read, decoded and written as a dead letter."""

KEEPALIVE_TIMER: Final = "02"
"""In /proc/net/tcp: the kernel is going to ask whether the peer is still there."""

StartCollector = Callable[..., RunningCollector]


def stalled(collector: RunningCollector) -> float:
    """How many connections were closed for standing still."""
    return collector.metric("tidewaiter_intake_input_stalled_total", input="docker")


async def is_over(reader: asyncio.StreamReader) -> None:
    """Return when the other end has closed."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


async def test_who_trickles_or_never_reads_is_closed_and_who_is_slow_is_served(start_collector: StartCollector) -> None:
    """Three hundred with a byte now and then and three that never read an ack go; a slow writer comes to its end."""
    collector = start_collector(stall_timeout="2s")
    port = collector.forward_port
    async with WaitingSender("good", from_address("127.0.0.9", port)).running() as good, asyncio.timeout(SERVED_S):
        await good.progress(ACKS)
        before_bytes, alone = collector.resident_bytes("intake"), good.acked
        async with asyncio.TaskGroup() as tasks:
            for _ in range(TRICKLERS):
                tasks.create_task(trickle(from_address("127.0.0.2", port)))
            for _ in range(NEVER_READ):
                tasks.create_task(never_read("127.0.0.3", port))
            tasks.create_task(write_slowly(from_address("127.0.0.4", port)))
        await until(lambda: stalled(collector) >= TRICKLERS + NEVER_READ, "all are closed")
        peak_bytes = collector.resident_bytes("intake", peak=True)
        await good.progress(ACKS)
    sys.stdout.write(
        f"{TRICKLERS} tricklers and {NEVER_READ} that never read: closed; intake {before_bytes >> 20} MiB, at most "
        f"{peak_bytes >> 20} MiB; acks alone {good.times(0, alone)}, beside them {good.times(alone)}\n"
    )
    assert stalled(collector) == TRICKLERS + NEVER_READ
    assert peak_bytes - before_bytes < GROWTH_BYTES
    assert good.connections == 1


async def trickle(connect: Connect) -> None:
    """Send a byte of a message now and then, until the other end has had enough."""
    reader, writer = await connect()
    closed = asyncio.create_task(is_over(reader))
    for piece in itertools.chain((b"\x93", b"\xa1", b"t", b"\xda", b"\xff", b"\xff"), itertools.repeat(b"x")):
        writer.write(piece)
        if (await asyncio.wait({closed}, timeout=TRICKLE_PAUSE_S))[0]:
            break
    writer.transport.abort()


async def write_slowly(connect: Connect) -> None:
    """Send a long message slowly, though not as slowly as that; raise EOFError when it is not acknowledged."""
    reader, writer = await connect()
    message = encode_message(range(1), Options(name="slow", records_per_message=1, line_bytes=SLOW_BYTES)).encoded
    answer = asyncio.create_task(reader.readexactly(1))
    for start in range(0, len(message), SLOW_PIECE_BYTES):
        writer.write(message[start : start + SLOW_PIECE_BYTES])
        await asyncio.wait({answer}, timeout=TRICKLE_PAUSE_S)
    await answer
    writer.close()


async def never_read(address: str, port: int) -> None:
    """Send messages and read no acknowledgement, until the other end has had enough."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", port))
    _, writer = await asyncio.open_connection(sock=connection)
    cast(asyncio.Transport, writer.transport).pause_reading()
    flood = packed("x" * 500) * 200
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(flood)
            await writer.drain()


def bombs() -> dict[str, tuple[bytes, int]]:
    """By name: what is sent, and how many dead letters it makes; with none, its connection is closed."""
    zeros = bytes(100 << 20)
    gzip_bomb = gzip.compress(zeros, 9, mtime=0)
    window = zstandard.ZstdCompressionParameters(window_log=27, compression_level=3)
    wide = zstandard.ZstdCompressor(compression_params=window)
    empty_gzip, empty_zstd = gzip.compress(b"", mtime=0), zstandard.compress(b"")

    def compressed(name: str, payload: bytes, kind: str) -> bytes:
        return bytes(msgpack.packb(["t", payload, {"chunk": name, "compressed": kind}]))

    deep = b"\x91" * 200_000 + b"\x01"
    entry = b"\x92\x00\x81\xa3log" + deep
    return {
        "gzip": (compressed("gzip", gzip_bomb, "gzip"), 1),
        "gzip in gzip": (compressed("gzip in gzip", gzip.compress(gzip_bomb, mtime=0), "gzip"), 2),
        "gzip members": (compressed("gzip members", empty_gzip * (MEMBER_LIMIT + 1), "gzip"), 1),
        "zstd": (compressed("zstd", zstandard.compress(zeros), "zstd"), 1),
        "zstd window": (compressed("zstd window", wide.compress(zeros), "zstd"), 1),
        "zstd frames": (compressed("zstd frames", empty_zstd * (MEMBER_LIMIT + 1), "zstd"), 1),
        "nested record": (b"\x94\xa1t\x00\x81\xa3log" + deep + msgpack.packb({"chunk": "nested record"}), 1),
        "nested entry": (msgpack.packb(["t", entry, {"chunk": "nested entry"}]), 1),
        "oversize": (b"\x92\xa1t\xc6\xff\xff\xff\xff" + bytes(1_000), 0),
        "endless entries": (b"\x92\xa1t\xdd\xff\xff\xff\xff" + b"\x92\x00\x80" * 1_000, 0),
        "endless message": (b"\xdd\xff\xff\xff\xff" + bytes(1_000), 0),
        "endless tag": (b"\x92\xdb\xff\xff\xff\xff" + b"x" * 100_000, 0),
    }


async def answer_to(port: int, stream: bytes) -> bytes:
    """Send something from an address of its own; return what comes back until an ack has, or the end."""
    reader, writer = await from_address("127.0.0.5", port)()
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(stream)
            return await asyncio.wait_for(reader.read(1_000), SERVED_S)
        return b""
    finally:
        writer.transport.abort()


async def test_bombs(start_collector: StartCollector) -> None:
    """Each is acknowledged and a dead letter, or ends its connection; intake and worker live on in bounded memory."""
    collector = start_collector()
    port = collector.forward_port
    pids = {role: collector.pid_of(role) for role in ("intake", "worker")}
    sent = await asyncio.to_thread(bombs)
    async with WaitingSender("good", from_address("127.0.0.9", port)).running() as good:
        await good.progress(ACKS)
        before = {role: collector.resident_bytes(role) for role in pids}
        alone = good.acked
        answers = {name: await answer_to(port, stream) for name, (stream, _) in sent.items()}
        await good.progress(ACKS)
        expected = sum(count for _, count in sent.values())
        await until(lambda: len(dead_letters(collector.data_dir)) == expected, "the dead letters")
        peaks = {role: collector.resident_bytes(role, peak=True) for role in pids}

    letters = dead_letters(collector.data_dir)
    sys.stdout.write(
        f"{len(answers)} bombs: {len(letters)} dead letters; "
        + ", ".join(f"{role} {before[role] >> 20} MiB, at most {peaks[role] >> 20} MiB" for role in pids)
        + f"; acks alone {good.times(0, alone)}, beside them {good.times(alone)}\n"
    )
    assert {name: bool(answer) for name, answer in answers.items()} == {
        name: letters > 0 for name, (_, letters) in sent.items()
    }
    assert {role: collector.pid_of(role) for role in pids} == pids
    assert peaks["intake"] - before["intake"] < GROWTH_BYTES
    assert peaks["worker"] - before["worker"] < WORKER_GROWTH_BYTES
    assert good.connections == 1
    await check_all_once(collector, {"good": good.acked})


def dead_letters(data_dir: Path) -> list[dict[str, Any]]:
    """What the pipeline refused."""
    path = data_dir / "dead-letters" / "pipeline.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_peers_that_vanish(start_collector: StartCollector) -> None:
    """Within a message they are closed in time; between messages the kernel is told to ask whether they are there."""
    collector = start_collector(stall_timeout="2s")
    port = collector.forward_port
    async with (
        CuttingProxy("127.0.0.1", port, source="127.0.0.7") as within,
        CuttingProxy("127.0.0.1", port, source="127.0.0.8") as between,
        WaitingSender("good", from_address("127.0.0.9", port)).running() as good,
    ):
        streams = []
        for proxy, message in ((within, packed("a")[:-2]), (between, packed("b"))):
            for _ in range(10):
                streams.append(await asyncio.open_connection("127.0.0.1", proxy.port))
                streams[-1][1].write(message)
        await until(lambda: collector.metric("tidewaiter_intake_connections_open", input="docker") == 21, "all there")
        await until(lambda: collector.metric("tidewaiter_intake_acks_total", input="docker") >= 10, "acks")
        assert (within.cut("half-open"), between.cut("half-open")) == (10, 10)
        timers = keepalive_timers("127.0.0.8", port)
        await until(lambda: stalled(collector) == 10, "those within a message are closed")
        await good.progress(ACKS)
        for _, writer in streams:
            writer.transport.abort()

    sys.stdout.write(
        f"10 closed within a message; of 10 between messages the kernel asks in {timers} s; {good.times()}\n"
    )
    assert len(timers) == 10
    assert max(timers) <= KEEPALIVE_IDLE_S


def keepalive_timers(peer: str, port: int) -> list[float]:
    """In how many seconds the kernel asks, of each connection from a peer to our port that it watches."""
    local = f"{struct.unpack('<I', socket.inet_aton('127.0.0.1'))[0]:08X}:{port:04X}"
    remote = f"{struct.unpack('<I', socket.inet_aton(peer))[0]:08X}:"
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        timer, _, when = fields[5].partition(":")
        if fields[1] == local and fields[2].startswith(remote) and timer == KEEPALIVE_TIMER:
            found.append(int(when, 16) / 100)
    return found
