"""A data folder put back to an earlier state, as from a snapshot of its disk: no position is given twice."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.load import RECOVERY_S, Load, stored_lines
from tests.kit.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)


def _snapshot(collector: RunningCollector, target: Path) -> None:
    """Copy the data folder while nothing moves in it, as a snapshot of the file system does."""
    running = list(collector.processes())
    for pid in running:
        os.kill(pid, signal.SIGSTOP)
    try:
        shutil.copytree(collector.data_dir, target, ignore=shutil.ignore_patterns("run"))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGCONT)


def _verified(collector: RunningCollector, *options: str) -> tuple[int, Any]:
    """Run `tidewaiter verify` on the data folder; return its exit code and report."""
    command = collector.command("verify", str(collector.data_dir), "--json", *options)
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout)


async def test_a_restored_folder_gives_no_position_twice_and_cannot_hide(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """More was acknowledged since: that is gone, and an anchor from the log betrays it, before and after going on.

    What senders see: what was acknowledged in the life that was undone they do not send again, it is lost with the
    folder; what was not acknowledged they do. The collector starts, and takes records under positions of its own.
    """
    collector.start()
    collector.wait_ready()

    async with Load(collector).running() as load:
        await load.progress()
        await asyncio.to_thread(_snapshot, collector, tmp_path / "snapshot")
        await load.progress()
    first_life = dict(await asyncio.to_thread(stored_lines, collector, load))
    assert collector.stop() == 0
    whole = _verified(collector, "--anchor", str(collector.log_file))
    shutil.rmtree(collector.data_dir)
    (tmp_path / "snapshot").rename(collector.data_dir)
    alone = _verified(collector)
    restored = _verified(collector, "--anchor", str(collector.log_file))
    collector.start()
    collector.wait_ready()
    kept = dict(await asyncio.to_thread(_lines, collector))
    async with Load(collector, names="again").running() as again:
        await again.progress()
    await asyncio.to_thread(
        wait_until,
        lambda: len(dict(_lines(collector)).keys() - first_life.keys()) >= again.acked,
        timeout_s=RECOVERY_S,
        what="as many new documents as acks",
        poll_s=0.3,
    )
    second_life = dict(await asyncio.to_thread(_lines, collector))
    assert collector.stop() == 0
    gone_on = _verified(collector, "--anchor", str(collector.log_file))

    assert whole[0] == alone[0] == 0
    assert [(code, report["findings"][0]["kind"]) for code, report in (restored, gone_on)] == [(1, "cut")] * 2
    assert [name for name, line in second_life.items() if first_life.get(name, line) != line] == []
    assert kept.items() < first_life.items()
    assert len(second_life.keys() - first_life.keys()) >= again.acked > 0
    told = f"{len(first_life)} records in the first life, {len(kept)} after it was put back, "
    sys.stdout.write(f"{told}{len(second_life)} in the second, no id twice; {restored[1]['findings'][0]['reason']}\n")


def _lines(collector: RunningCollector) -> list[tuple[str, str]]:
    return [(row["id"], row["message"]) for row in collector.query("SELECT id, message FROM logs")]
