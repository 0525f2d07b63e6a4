"""Many peers and much at once, against a real collector: bounded memory, nobody starves, everything arrives once."""

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.fault.books import SERVED_S, check_all_once, until
from tests.kit.running import RunningCollector
from tests.kit.waiting_sender import WaitingSender, from_address

pytestmark = pytest.mark.timeout(600)

CONNECTIONS: Final = 10_000
"""The built-in limit of an input."""

IDLE_CONNECTION_BYTES: Final = 8 << 10
"""What an idle connection may cost the intake at most."""

SLACK_BYTES: Final = 4 << 20
"""What the intake may have grown by since, when memory of those that went is used again."""

UNDER_LOAD_BYTES: Final = (64 << 20) + (256 << 20) + (160 << 20)
"""What the intake may take under any load: bytes in flight, unfinished messages, and itself."""

FILES: Final = 20_000
ROOT: Final = Path(__file__).parents[2]
QUIET: Final = 20
QUIET_ACKS: Final = 25
"""Acknowledgements that each quiet peer must get while somebody floods."""

StartCollector = Callable[..., RunningCollector]


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Allow this process, and those that it starts, as many sockets as the tests hold; skips where that is not ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), max(hard, FILES)))
    except ValueError:
        pytest.skip(f"needs {FILES} open files, and may not have more than {hard}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_idle(port: int, count: int, *, address: str) -> list[socket.socket]:
    """Open connections from one address; blocking."""
    return [socket.create_connection(("127.0.0.1", port), 10, source_address=(address, 0)) for _ in range(count)]


def closed_by_peer(connections: list[socket.socket]) -> list[int]:
    """Return which of them the other end has closed."""
    closed = []
    for index, each in enumerate(connections):
        each.setblocking(False)
        try:
            if each.recv(1) == b"":
                closed.append(index)
        except BlockingIOError:
            continue
        except ConnectionError:
            closed.append(index)
    return closed


def connections_open(collector: RunningCollector) -> float:
    """How many the TCP input holds."""
    return collector.metric("tidewaiter_intake_connections_open", input="docker")


@pytest.mark.usefixtures("_many_files")
async def test_ten_thousand_idle_connections(start_collector: StartCollector) -> None:
    """The intake holds them in little memory, refuses one more, serves on, and gives all back when they go."""
    collector = start_collector()
    port, pid = collector.forward_port, collector.pid_of("intake")
    async with WaitingSender("good", from_address("127.0.0.9", port)).running() as good:
        await good.progress(20)
        before_bytes, alone = collector.resident_bytes("intake"), good.acked
        held: list[socket.socket] = []
        for address, count in (("127.0.0.2", 3_333), ("127.0.0.3", 3_333), ("127.0.0.4", 3_333)):
            held += await asyncio.to_thread(open_idle, port, count, address=address)
        await until(lambda: connections_open(collector) == CONNECTIONS, "10,000 connections")
        held_bytes = collector.resident_bytes("intake")
        (one_more,) = await asyncio.to_thread(open_idle, port, 1, address="127.0.0.5")
        assert await asyncio.to_thread(one_more.recv, 1) == b""
        await good.progress(20)
        assert closed_by_peer(held) == []
        for each in (*held, one_more):
            each.close()
        await until(lambda: connections_open(collector) == 1, "all gone")
        await good.progress(20)
        after_bytes = collector.resident_bytes("intake")
        again = await asyncio.to_thread(open_idle, port, 3_333, address="127.0.0.2")
        await until(lambda: connections_open(collector) == 3_334, "the second wave")
        again_bytes = collector.resident_bytes("intake")
        for each in again:
            each.close()
    refused = collector.metric("tidewaiter_intake_connections_refused_total", input="docker")

    per_connection = (held_bytes - before_bytes) / (CONNECTIONS - 1)
    sys.stdout.write(
        f"{CONNECTIONS} connections: RSS {before_bytes >> 20} MiB, held {held_bytes >> 20} MiB ({per_connection:.0f} B "
        f"each), gone {after_bytes >> 20} MiB, 3,333 again {again_bytes >> 20} MiB; acks alone {good.times(0, alone)}, "
        f"beside them {good.times(alone)}\n"
    )
    assert per_connection < IDLE_CONNECTION_BYTES
    assert again_bytes < held_bytes + SLACK_BYTES
    assert (refused, good.connections, collector.pid_of("intake")) == (1, 1, pid)
    await check_all_once(collector, {"good": good.acked})


@pytest.mark.usefixtures("_many_files")
async def test_near_the_limit_those_go_that_were_silent_longest(start_collector: StartCollector) -> None:
    """A twentieth of the places is freed, of the oldest; who sends is never among them."""
    collector = start_collector(connection_limit=1_000, idle_timeout="1s")
    port = collector.forward_port
    async with WaitingSender("good", from_address("127.0.0.9", port)).running() as good:
        await good.progress(1)
        old = await asyncio.to_thread(open_idle, port, 100, address="127.0.0.2")
        await until(lambda: connections_open(collector) == 101, "the old ones, and a look at them")
        young = await asyncio.to_thread(open_idle, port, 899, address="127.0.0.3")
        await until(lambda: collector.metric("tidewaiter_intake_input_idle_total") >= 50, "places are freed")
        await until(lambda: connections_open(collector) <= 950, "they are gone")
        gone = closed_by_peer(old), closed_by_peer(young)
        await good.progress(20)
        for each in (*old, *young):
            each.close()

    sys.stdout.write(f"of 1,000 connections {len(gone[0])} old and {len(gone[1])} young ones went; {good.times()}\n")
    assert (len(gone[0]), gone[1], good.connections) == (50, [], 1)


@pytest.mark.usefixtures("_many_files")
async def test_a_flood_from_one_peer_starves_nobody(start_collector: StartCollector) -> None:
    """Tiny messages, large chunks, two thousand connections: all of everybody arrives once, in bounded memory."""
    collector = start_collector()
    port = collector.forward_port
    counts: dict[str, int] = {}
    async with contextlib.AsyncExitStack() as stack:
        quiet = [WaitingSender(f"q{number}", from_address(f"127.0.1.{number + 1}", port)) for number in range(QUIET)]
        for each in quiet:
            await stack.enter_async_context(each.running())
        await asyncio.gather(*(each.progress(QUIET_ACKS) for each in quiet))
        report = [f"alone {_spread(quiet, [0] * QUIET)}"]
        for shape in ("tiny", "large", "many"):
            flood = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.fault.flooder", shape, str(port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            assert flood.stdin is not None
            assert flood.stdout is not None
            assert await asyncio.wait_for(flood.stdout.readline(), SERVED_S) == b"flooding\n"
            since = [each.acked for each in quiet]
            async with asyncio.timeout(SERVED_S):
                await asyncio.gather(*(each.progress(QUIET_ACKS) for each in quiet))
            report.append(f"beside {shape} {_spread(quiet, since)}")
            flood.stdin.close()
            counts |= json.loads(await asyncio.wait_for(flood.stdout.read(), SERVED_S))
            assert await flood.wait() == 0
    peak_bytes = collector.resident_bytes("intake", peak=True)
    for each in quiet:
        counts[each.name] = each.acked

    sys.stdout.write("; ".join(report) + f"; {sum(counts.values())} records, intake at most {peak_bytes >> 20} MiB\n")
    await check_all_once(collector, counts)
    assert [each.connections for each in quiet] == [1] * QUIET
    assert peak_bytes < UNDER_LOAD_BYTES


def _spread(senders: list[WaitingSender], since: list[int]) -> str:
    waits = sorted(wait for each, start in zip(senders, since, strict=True) for wait in each.waits_s[start:])
    p50, p99 = (waits[len(waits) * part // 100] * 1000 for part in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
