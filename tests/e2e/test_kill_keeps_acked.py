"""Kill -9 of any process at any moment: no acknowledged record is missing, no process stays behind (P1).

The moments are seeded. A sender resends what was not acknowledged; that is recognised, so no record is stored twice.
"""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from collector.testing.forward_sender import ForwardSender, Options, number_in, tcp, unix
from collector.testing.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(240)

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261123"))
KILLS: Final = {"intake": 8, "worker": 6, "everything": 5, "supervisor": 3, "during start": 3}
"""25 in all: which process dies, how often."""

PROGRESS_RECORDS: Final = 200
"""Records that must be acknowledged between two kills: each kill hits a collector that works."""

RECOVERY_S: Final = 15.0
ORPHAN_LIMIT_S: Final = 2.0
LONGEST_DELAY_S: Final = 0.25
LONGEST_START_S: Final = 0.8
"""Kills during start fall anywhere between the first instruction and ready."""

StartCollector = Callable[..., RunningCollector]


@pytest.fixture
def chance() -> random.Random:
    """What chooses targets and moments; TIDEWAITER_TEST_SEED chooses other ones."""
    return random.Random(SEED)


class Load:
    """Three senders that never stop: several messages in flight, over TCP and the Unix socket, in three modes."""

    def __init__(self, collector: RunningCollector) -> None:
        over_tcp, over_unix = tcp("127.0.0.1", collector.forward_port), unix(str(collector.forward_socket))
        pace = {"records_per_message": 5, "in_flight": 8, "pause_s": 0.004, "ack_timeout_s": 5.0}
        self.senders = [
            ForwardSender(over_tcp, Options(name="packed", mode="packed", **pace)),  # type: ignore[arg-type]
            ForwardSender(over_tcp, Options(name="single", mode="message", **pace)),  # type: ignore[arg-type]
            ForwardSender(over_unix, Options(name="listed", mode="forward", **pace)),  # type: ignore[arg-type]
        ]
        self._stopping = False

    async def _send(self, sender: ForwardSender) -> None:
        while not self._stopping:
            await sender.send(200)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Send while the block runs, then until everything sent is acknowledged."""
        async with asyncio.TaskGroup() as tasks:
            for sender in self.senders:
                tasks.create_task(self._send(sender))
            try:
                yield self
            finally:
                self._stopping = True

    @property
    def acked(self) -> int:
        """Records acknowledged so far."""
        return sum(len(sender.acked) for sender in self.senders)

    @property
    def resent_messages(self) -> int:
        """Messages sent again, because their connection ended before their ack came."""
        return sum(sender.resent_messages for sender in self.senders)

    async def progress(self) -> None:
        """Wait until more records are acknowledged than now."""
        goal = self.acked + PROGRESS_RECORDS
        await asyncio.to_thread(
            wait_until, lambda: self.acked >= goal, timeout_s=RECOVERY_S, what=f"{PROGRESS_RECORDS} more acks"
        )


def stored_lines(collector: RunningCollector, load: Load) -> list[tuple[str, str]]:
    """Wait until the store holds at least as many documents as were acknowledged; return (id, line) of all."""

    def count() -> int:
        return int(collector.query("SELECT count(*) AS n FROM logs")[0]["n"])

    wait_until(lambda: count() >= load.acked, timeout_s=RECOVERY_S, what="as many documents as acks", poll_s=0.3)
    return [(row["id"], row["message"]) for row in collector.query("SELECT id, message FROM logs")]


def check_the_books(stored: list[tuple[str, str]], load: Load) -> None:
    """Every acknowledged number is stored, once; what is stored was sent; ids are unique."""
    assert [] == [name for name, times in Counter(name for name, _ in stored).items() if times > 1]
    for sender in load.senders:
        found = [number_in(line, sender.options.name) for _, line in stored]
        numbers = Counter(number for number in found if number is not None)
        assert [] == sorted(sender.acked - set(numbers))[:20], f"acknowledged and missing (seed {SEED})"
        assert [] == sorted(set(numbers) - sender.sent)[:20], "stored and never sent"
        assert [] == sorted(number for number, times in numbers.items() if times > 1)[:20], f"stored twice ({SEED})"


async def restart(collector: RunningCollector) -> None:
    """Start again after everything died; whoever still lives by then is an orphan."""
    await asyncio.to_thread(collector.wait_gone, timeout_s=ORPHAN_LIMIT_S)
    collector.start()


async def hit(collector: RunningCollector, target: str, chance: random.Random) -> None:
    """Kill one thing, and bring back what nothing else brings back."""
    await asyncio.sleep(chance.uniform(0, LONGEST_DELAY_S))  # the moment is the test's subject, not a wait
    match target:
        case "everything":
            collector.kill_all()
            await restart(collector)
        case "supervisor":
            collector.kill("supervisor")
            await restart(collector)
        case "during start":
            collector.kill_all()
            await restart(collector)
            await asyncio.sleep(chance.uniform(0, LONGEST_START_S))
            collector.kill_all()
            await restart(collector)
        case role:
            await asyncio.to_thread(
                wait_until, lambda: collector.kill(role), timeout_s=RECOVERY_S, what=f"a living {role}"
            )


async def test_no_acknowledged_record_is_missing_after_25_kills(
    start_collector: StartCollector, chance: random.Random
) -> None:
    """Intake, worker, supervisor or all are killed 25 times under load: every acked record is in the store."""
    collector = start_collector()
    targets = [target for target, times in KILLS.items() for _ in range(times)]
    chance.shuffle(targets)

    async with Load(collector).running() as load:
        for target in targets:
            await load.progress()
            await hit(collector, target, chance)
        await load.progress()
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    sys.stdout.write(f"{load.acked} acknowledged, {load.resent_messages} messages sent again, none stored twice\n")
    await asyncio.to_thread(collector.wait_ready)
    assert 0 == collector.stop()


async def test_a_killed_worker_neither_loses_nor_doubles(
    start_collector: StartCollector, chance: random.Random
) -> None:
    """When only the worker dies no sender notices, and every record is stored exactly once."""
    collector = start_collector()

    async with Load(collector).running() as load:
        for _ in range(5):
            await load.progress()
            await hit(collector, "worker", chance)
    stored = await asyncio.to_thread(stored_lines, collector, load)

    assert 0 == load.resent_messages
    assert load.acked == len(stored)
    check_the_books(stored, load)
    assert 0 == collector.stop()


async def test_sigterm_under_load_loses_nothing(start_collector: StartCollector) -> None:
    """SIGTERM while senders send: exit code 0, no process left; after the next start every acked record is there."""
    collector = start_collector()

    async with Load(collector).running() as load:
        for _ in range(3):
            await load.progress()
            assert 0 == await asyncio.to_thread(collector.stop)
            collector.start()
        await load.progress()
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert 0 == collector.stop()


async def test_no_process_survives_its_supervisor(start_collector: StartCollector, chance: random.Random) -> None:
    """Kill -9 of the supervisor takes every child with it, whether they are idle or still starting."""
    collector = start_collector()
    roles = sorted(collector.processes().values())

    collector.kill("supervisor")
    await asyncio.to_thread(collector.wait_gone, timeout_s=ORPHAN_LIMIT_S)
    for _ in range(4):
        collector.start()
        await asyncio.sleep(chance.uniform(0, LONGEST_START_S))
        collector.kill("supervisor")
        await asyncio.to_thread(collector.wait_gone, timeout_s=ORPHAN_LIMIT_S)

    assert ["console", "intake", "supervisor", "worker"] == roles


async def test_a_second_collector_on_the_same_data_folder_refuses_to_run(start_collector: StartCollector) -> None:
    """The data folder is locked: another `run` names who holds it, ends with exit code 3, and harms nobody."""
    collector = start_collector()

    second = await asyncio.create_subprocess_exec(*collector.command("run"), stderr=asyncio.subprocess.PIPE)
    _, complaint = await asyncio.wait_for(second.communicate(), 10)

    assert 3 == second.returncode
    assert f"{collector.data_dir}: in use by another tidewaiter (pid {collector.pid})" in complaint.decode()
    assert 200 == collector.get("/health/ready")[0]
    with suppress(ProcessLookupError):
        second.kill()
    assert 0 == collector.stop()
