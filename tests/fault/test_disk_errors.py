"""EIO at write and sync, in the real processes: what failed is not acknowledged, and nothing else is hurt."""

import asyncio
import sys
from pathlib import Path

import pytest

from collector.journal.segments import first_position, segment_files
from tests.fault.injected import injected
from tests.fault.waiting import until
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

PATIENCE_S = 60.0
FAILURES = 5
WORKER_FAILURES = 3
"""Each is waited for by its output, longer every time."""


def _epochs(collector: RunningCollector) -> set[int]:
    return {first_position(name).epoch for name in segment_files(collector.data_dir / "journal")}


async def _finish(collector: RunningCollector, load: Load, told: str) -> None:
    """Compare what was acknowledged with what is stored, and stop."""
    stored = await asyncio.to_thread(stored_lines, collector, load)
    check_the_books(stored, load)
    sys.stdout.write(f"{told}; {load.acked} acknowledged, {load.resent_messages} messages sent again, none twice\n")
    assert collector.stop() == 0


async def test_a_sync_that_fails_now_and_then_acknowledges_nothing_of_its_group(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """Every seventh fdatasync of the intake fails: those senders resend, in a new epoch, and nothing is lost."""
    collector.start()
    collector.wait_ready()
    intake = collector.pid_of("intake")
    assert intake is not None
    epochs = _epochs(collector)

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        with injected(intake, "fdatasync", "EIO", tmp_path / "strace", when="3+7") as injection:
            await until(lambda: injection.count >= FAILURES, "failed syncs")
        await load.progress()
    failures = injection.count

    assert collector.pid_of("intake") == intake
    assert len(_epochs(collector) - epochs) >= FAILURES
    assert load.resent_messages > 0
    await _finish(collector, load, f"{failures} failed syncs, {len(_epochs(collector))} epochs")


async def test_a_write_that_fails_leaves_nothing_of_its_group(collector: RunningCollector, tmp_path: Path) -> None:
    """Every write to the open segment fails, a few segments in a row: the journal goes on in the next epoch's."""
    collector.start()
    collector.wait_ready()
    intake = collector.pid_of("intake")
    assert intake is not None
    failures = 0

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        for turn in range(3):
            await load.progress()
            journal = collector.data_dir / "journal"
            newest = journal / segment_files(journal)[-1]
            with injected(intake, "writev", "EIO", tmp_path / f"strace-{turn}", path=newest) as injection:
                await load.progress()
            failures += injection.count
    epochs = len(_epochs(collector))

    assert failures >= 3
    assert epochs > 3
    await _finish(collector, load, f"{failures} failed writes, {epochs} epochs")


async def test_a_dead_disk_acknowledges_nothing_and_says_so_until_it_lives_again(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """No sync of the intake succeeds for a while: no ack, readiness names the journal; then it goes on by itself."""
    collector.start()
    collector.wait_ready()
    intake = collector.pid_of("intake")
    assert intake is not None

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        with injected(intake, "fdatasync,fsync", "EIO", tmp_path / "strace") as injection:
            await until(lambda: collector.get("/health/ready")[0] == 503, "readiness that tells of it")
            reason = collector.get("/health/ready")[1]
            acked, failed = load.acked, injection.count
            await until(lambda: injection.count >= failed + 3, "further tries")
            acked_meanwhile = load.acked - acked
        await load.progress()
    await asyncio.to_thread(collector.wait_ready)

    assert acked_meanwhile == 0
    assert "journal" in reason
    assert collector.pid_of("intake") == intake
    await _finish(collector, load, f"{injection.count} failed syncs in a row")


async def test_a_worker_whose_disk_fails_tries_again_and_doubles_nothing(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """Syncs of store, cursors and manifest fail now and then: senders notice nothing, each record is stored once."""
    collector.start()
    collector.wait_ready()
    worker = collector.pid_of("worker")
    assert worker is not None

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        with injected(worker, "fdatasync,fsync", "EIO", tmp_path / "strace", when="2+3") as injection:
            await until(lambda: injection.count >= WORKER_FAILURES, "failed syncs")
        await load.progress()

    assert collector.pid_of("worker") == worker
    assert load.resent_messages == 0
    await _finish(collector, load, f"{injection.count} failed syncs of the worker")
