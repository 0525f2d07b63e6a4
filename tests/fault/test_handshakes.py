"""Peers that cannot prove who they are, at full rate, against a real collector: told, counted, no harm to others."""

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgpack
import pytest
import trustme

from collector.inputs.refusals import CAUSES_LIMIT, FAILURES_LIMIT
from tests.fault.books import check_all_once, until
from tests.kit.forward_handshakes import RefusedError, ping, with_handshake
from tests.kit.forward_sender import Connect
from tests.kit.running import RunningCollector
from tests.kit.waiting_sender import WaitingSender

pytestmark = pytest.mark.timeout(600)

KEY: Final = b"k3y"
GOOD: Final = 3
GOOD_ACKS: Final = 30
ATTACKERS: Final = 20
TRIES: Final = 25
"""Of each attacker: more than it is listened to."""

Attack = Callable[[RunningCollector, str, int, ssl.SSLContext], Awaitable[None]]


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs the server's certificate."""
    return trustme.CA()


@pytest.fixture
def collector(tmp_path: Path, authority: trustme.CA) -> Iterator[RunningCollector]:
    """A collector whose input demands TLS and a shared key."""
    certificate = authority.issue_cert("collector.example")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    (tmp_path / "shared-key").write_bytes(KEY + b"\n")
    tls = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    options = {"tls": tls, "shared_key": {"file": str(tmp_path / "shared-key")}}
    running = RunningCollector(tmp_path / "c", input_options=options)
    running.start()
    running.wait_ready()
    yield running
    running.kill_all()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's TLS context."""
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


def over_tls(port: int, address: str, context: ssl.SSLContext) -> Connect:
    """Return how to connect by TLS from a loopback address."""
    names = {"server_hostname": "collector.example", "local_addr": (address, 0)}
    return lambda: asyncio.open_connection("127.0.0.1", port, ssl=context, **names)  # type: ignore[arg-type]


async def wrong_key(collector: RunningCollector, address: str, number: int, context: ssl.SSLContext) -> None:
    """A guess."""
    connect = over_tls(collector.forward_port, address, context)
    with pytest.raises((RefusedError, OSError)):
        await with_handshake(connect, key=b"guess-%d" % number, client="bank.example")()


async def replayed(collector: RunningCollector, address: str, number: int, context: ssl.SSLContext) -> None:
    """What somebody who knows the key once said, under another nonce."""
    recorded = ping(KEY, nonce=b"n" * 16, auth=b"", salt=b"s" * 16, client="bank.example", user="", password="")
    await say(over_tls(collector.forward_port, address, context), recorded)


async def no_tls(collector: RunningCollector, address: str, number: int, context: ssl.SSLContext) -> None:
    """Plain Forward, a browser, a hello of nonsense."""
    garbage = (b"\x93\xa1t\x00\x80", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(512))[number % 3]
    await say(
        lambda: asyncio.open_connection("127.0.0.1", collector.forward_port, local_addr=(address, 0)), garbage * 3
    )


async def no_ping(collector: RunningCollector, address: str, number: int, context: ssl.SSLContext) -> None:
    """A message instead of PING, or an endless one."""
    garbage = (msgpack.packb(["t", 0, {"log": "forged"}]), b"\x96\xa4PING\xda\xff\xff" + b"x" * 9_000)[number % 2]
    await say(over_tls(collector.forward_port, address, context), garbage)


async def say(connect: Connect, words: bytes) -> None:
    """Say something and read until the other end closes."""
    with contextlib.suppress(OSError):
        reader, writer = await connect()
        try:
            writer.write(words)
            while await reader.read(4096):
                pass
        finally:
            writer.transport.abort()


async def attack(collector: RunningCollector, context: ssl.SSLContext) -> None:
    """Every attacker tries as fast as it can, in a way of its own."""
    ways: tuple[Attack, ...] = (wrong_key, replayed, no_tls, no_ping)

    async def keep_trying(number: int) -> None:
        for turn in range(TRIES):
            await ways[number % len(ways)](collector, f"127.0.2.{number + 1}", turn, context)

    await asyncio.gather(*map(keep_trying, range(ATTACKERS)))


async def test_failed_handshakes_at_full_rate(collector: RunningCollector, context: ssl.SSLContext) -> None:
    """Wrong keys, replays, no TLS, no PING: each in an audit record or refused unheard, and others served."""
    port = collector.forward_port
    good = [
        WaitingSender(f"good{number}", with_handshake(over_tls(port, f"127.0.3.{number + 1}", context), key=KEY))
        for number in range(GOOD)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for each in good:
            await stack.enter_async_context(each.running())
        await asyncio.gather(*(each.progress(GOOD_ACKS) for each in good))
        alone = [each.acked for each in good]
        await attack(collector, context)
        during = [each.acked for each in good]
        await asyncio.gather(*(each.progress(GOOD_ACKS) for each in good))
        await until(lambda: unproven(collector) + unheard(collector) >= ATTACKERS * TRIES, "the counts")
        failed, refused = unproven(collector), unheard(collector)
    await check_all_once(collector, {each.name: each.acked for each in good})
    assert await asyncio.to_thread(collector.stop) == 0
    collector.start()
    await asyncio.to_thread(collector.wait_ready)
    found = "data_stream.dataset:tidewaiter.audit AND event.action:handshake"
    await until(lambda: told(collector.search(found)) >= failed, "the records of all failures")
    records = await asyncio.to_thread(collector.search, found)

    sys.stdout.write(
        f"{ATTACKERS * TRIES} bad handshakes: {failed:.0f} failed, told by {len(records)} records, {refused:.0f} "
        f"refused unheard; acks of a good peer alone {good[0].times(0, alone[0])}, "
        f"beside them {good[0].times(alone[0], during[0])}\n"
    )
    assert told(records) == failed
    assert failed >= ATTACKERS * FAILURES_LIMIT
    assert failed + refused == ATTACKERS * TRIES
    assert len({record["tidewaiter"]["fields"]["peer"] for record in records}) == ATTACKERS
    assert len(records) <= (CAUSES_LIMIT + 1) * ATTACKERS
    assert [each.connections for each in good] == [1] * GOOD
    assert "forged" not in json.dumps(await asyncio.to_thread(collector.search, "*"))


def unproven(collector: RunningCollector) -> float:
    """How many handshakes have failed."""
    return collector.metric("tidewaiter_intake_input_unproven_total", input="docker")


def unheard(collector: RunningCollector) -> float:
    """How many connections were refused at once."""
    return collector.metric("tidewaiter_intake_connections_refused_total", input="docker")


def told(records: list[dict[str, object]]) -> int:
    """How many attempts these records tell of."""
    return sum(record["tidewaiter"]["fields"]["attempts"] for record in records)  # type: ignore[index]
