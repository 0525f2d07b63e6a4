"""Kill -9 of any process at any moment: no acknowledged record is missing, no process stays behind (P1).

The moments are seeded. A sender resends what was not acknowledged; that is recognised, so no record is stored twice.
"""

import asyncio
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest

from tests.kit.load import RECOVERY_S, Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261123"))
KILLS: Final = {"intake": 8, "worker": 6, "everything": 5, "supervisor": 3, "during start": 3}
"""25 in all: which process dies, how often."""

ORPHAN_LIMIT_S: Final = 2.0
LONGEST_DELAY_S: Final = 0.25
LONGEST_START_S: Final = 0.8
"""Kills during start fall anywhere between the first instruction and ready."""

StartCollector = Callable[..., RunningCollector]


@pytest.fixture
def chance() -> random.Random:
    """What chooses targets and moments; TIDEWAITER_TEST_SEED chooses other ones."""
    return random.Random(SEED)


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
