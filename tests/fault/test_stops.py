"""SIGTERM, SIGINT and kill -9 at seeded moments, also while it starts or drains: exit codes, nothing left, all kept."""

import asyncio
import os
import random
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.fault.books import SERVED_S, check_all_once
from tests.kit.forward_sender import ForwardSender, Options, tcp, unix
from tests.kit.running import ROLES, RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261128"))
LONGEST_START_S: Final = 1.0
"""Signals fall anywhere between the first instruction and ready."""

STARTS: Final = 4
NOT_YET: Final = {signal.SIGTERM: {-signal.SIGTERM}, signal.SIGINT: {-signal.SIGINT, 130, 1}}
"""What it ends with when it is stopped before it looks after signals: Python itself ends then, nothing was begun."""

UNWATCHED: Final = tuple(role for role in ROLES if role != "watcher")
"""The roles of a collector that watches no Engine; how a watcher stops: `tests/e2e/test_docker_watcher.py`."""

GONE_S: Final = 3.0
EXIT_KILLED: Final = 1

StartCollector = Callable[..., RunningCollector]


@pytest.fixture
def chance() -> random.Random:
    """What chooses moments; TIDEWAITER_TEST_SEED chooses other ones."""
    return random.Random(SEED)


class Load:
    """Two senders that never stop and resend what was not acknowledged, over TCP and the Unix socket."""

    def __init__(self, collector: RunningCollector) -> None:
        self._stopping = False
        self.senders = [
            ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name="packed", records_per_message=5)),
            ForwardSender(unix(str(collector.forward_socket)), Options(name="single", mode="message")),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Send while the block runs, then until everything is acknowledged."""

        async def pour(sender: ForwardSender) -> None:
            while not self._stopping:
                await sender.send(20)

        async with asyncio.TaskGroup() as tasks:
            for sender in self.senders:
                tasks.create_task(pour(sender))
            try:
                yield self
            finally:
                self._stopping = True

    def counts(self) -> dict[str, int]:
        """How many records of each were acknowledged."""
        return {each.options.name: len(each.acked) for each in self.senders}

    async def progress(self, count: int = 40) -> None:
        """Wait for more acknowledgements of each."""
        goals = [len(each.acked) + count for each in self.senders]

        def reached() -> bool:
            return all(len(each.acked) >= goal for each, goal in zip(self.senders, goals, strict=True))

        await asyncio.to_thread(wait_until, reached, timeout_s=SERVED_S, what="acknowledgements")


def sockets_in(collector: RunningCollector) -> list[Path]:
    """The socket files that are left."""
    places = (collector.forward_socket, *collector.data_dir.glob("run/*"))
    return [path for path in places if path.exists() and stat.S_ISSOCK(path.lstat().st_mode)]


async def ended(collector: RunningCollector) -> int:
    """Wait for the end; return the exit code. No process may stay behind."""
    code = await asyncio.to_thread(collector.wait)
    await asyncio.to_thread(collector.wait_gone, timeout_s=GONE_S)
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_while_it_starts(
    start_collector: StartCollector, chance: random.Random, number: signal.Signals
) -> None:
    """At any moment after spawn: exit code 0, or the signal's where nothing was begun; no process, no socket left."""
    collector = start_collector()
    codes = []
    async with Load(collector).running() as load:
        await load.progress()
        assert await asyncio.to_thread(collector.stop) == 0
        for _ in range(STARTS):
            collector.start()
            await asyncio.sleep(chance.uniform(0, LONGEST_START_S))  # the moment is the test's subject
            collector.signal(number)
            codes.append(await ended(collector))
            assert sockets_in(collector) == []
        collector.start()
        await load.progress()

    sys.stdout.write(f"{number.name} at {STARTS} moments of the start: exit codes {codes} (seed {SEED})\n")
    assert set(codes) <= {0} | NOT_YET[number]
    await check_all_once(collector, load.counts())
    assert await asyncio.to_thread(collector.stop) == 0


async def test_signals_while_it_drains(start_collector: StartCollector, chance: random.Random) -> None:
    """A second one ends it at once, whatever it was doing; what was acknowledged is there after the next start."""
    collector = start_collector()
    codes = []
    async with Load(collector).running() as load:
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)) * 2:
            await load.progress()
            collector.signal(first)
            await asyncio.sleep(chance.uniform(0, 0.3))  # the moment is the test's subject
            collector.signal(second)
            codes.append(await ended(collector))
            collector.start()
        await load.progress()

    sys.stdout.write(f"a second signal while it drains: exit codes {codes} (seed {SEED})\n")
    assert set(codes) <= {0, EXIT_KILLED}
    await check_all_once(collector, load.counts())
    assert await asyncio.to_thread(collector.stop) == 0
    assert sockets_in(collector) == []


async def test_sigterm_to_a_role(start_collector: StartCollector) -> None:
    """A role that somebody stops from outside drains, and is started again; nothing is lost, nothing doubled."""
    collector = start_collector()
    async with Load(collector).running() as load:
        for role in UNWATCHED:
            await load.progress()
            before = collector.pid_of(role)
            assert before is not None
            os.kill(before, signal.SIGTERM)
            await asyncio.to_thread(
                wait_until,
                lambda: collector.pid_of(role) not in (before, None),  # noqa: B023 - within the turn
                timeout_s=SERVED_S,
                what=f"another {role}",
            )
            await asyncio.to_thread(collector.wait_ready)
        await load.progress()

    await check_all_once(collector, load.counts())
    assert await asyncio.to_thread(collector.stop) == 0
    assert sockets_in(collector) == []


async def test_kill_while_it_starts(start_collector: StartCollector, chance: random.Random) -> None:
    """Kill -9 of each process at random moments of the start: a role comes again; after the supervisor all are gone."""
    collector = start_collector()
    killed = []
    async with Load(collector).running() as load:
        await load.progress()
        for victim in (*ROLES, "supervisor"):
            collector.kill_all()
            await asyncio.to_thread(collector.wait_gone, timeout_s=GONE_S)
            collector.start()
            await asyncio.sleep(chance.uniform(0, LONGEST_START_S))  # the moment is the test's subject
            if collector.kill(victim):
                killed.append(victim)
            if victim == "supervisor":
                await asyncio.to_thread(collector.wait_gone, timeout_s=GONE_S)
                collector.start()
            await asyncio.to_thread(collector.wait_ready)
            await load.progress()

    sys.stdout.write(f"killed while starting: {', '.join(killed)} (seed {SEED})\n")
    await check_all_once(collector, load.counts())
    assert await asyncio.to_thread(collector.stop) == 0
    assert sockets_in(collector) == []


def test_a_stale_lock_file_is_no_obstacle(start_collector: StartCollector) -> None:
    """Who holds the lock counts, not what the file says: a living stranger's pid, or nonsense."""
    collector = start_collector()
    assert collector.stop() == 0

    for left in (f"{os.getpid()}\n", "no pid\n"):
        (collector.data_dir / "lock").write_text(left)
        collector.start()
        collector.wait_ready()
        assert (collector.data_dir / "lock").read_text() == f"{collector.pid}\n"
        assert collector.stop() == 0
