"""The clock jumps back and forth by an hour: nothing changes but what is said of the time.

What the journal reads is one function, its `clock`; so a clock of the test is the same seam as the system's. The second
test lets the system's own jump, under all processes of a collector.
"""

import asyncio
import errno
import json
import random
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from collector.journal.seals import ANCHOR_FILE
from pipelines.frame import document_ids
from tests.fault.waiting import until
from tests.kit.clock import FakeClock
from tests.kit.journals import Gate, entry_of, frames_in, gaps_in, open_journal, payloads_in, read_all
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector

SEED = 20261128
STARTS = 12
FRAMES = 12
JUMPS_S = (-3600, -60, -1, 0, 0.5, 1, 60, 3600)
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


async def test_positions_times_and_ids_rise_through_every_jump_restart_and_failure(tmp_path: Path) -> None:
    """Jumps before any start and any append, starts after crashes and stops, failed syncs: all of it only rises."""
    chance = random.Random(SEED)
    clock = FakeClock()
    written = 0
    for _ in range(STARTS):
        clock.advance(chance.choice(JUMPS_S))
        gate = Gate()
        journal = open_journal(tmp_path, clock, sync=gate, segment_bytes=1500)
        for _ in range(FRAMES):
            clock.advance(chance.choice(JUMPS_S))
            if chance.random() < 0.1:
                gate.errors.append(OSError(errno.EIO, "Input/output error"))
                await journal.append(entry_of(b"lost"))
            await journal.append(entry_of(b"%d" % written))
            written += 1
        await journal.close()
    found = read_all(tmp_path / "journal", journal.durable)
    frames = frames_in(found)
    positions = [frame.position for frame in frames]
    times = [frame.journal_time for frame in frames]
    ids = [name for frame in frames for name in document_ids(frame, 0, 1)]

    assert payloads_in(found) == [b"%d" % number for number in range(written)]
    assert gaps_in(found) == []
    assert positions == sorted(set(positions))
    assert times == sorted(set(times))
    assert ids == sorted(set(ids))
    epochs = len({position.epoch for position in positions})
    sys.stdout.write(f"{len(frames)} frames of {epochs} epochs\n")


def _has_jumped(collector: RunningCollector, seconds: float) -> bool:
    """Tell whether the intake's clock was so far from ours when it last noted the end of its journal."""
    anchor = json.loads((collector.data_dir / "evidence" / ANCHOR_FILE).read_bytes())
    return abs(float(anchor["at_ns"]) / 1e9 - time.time() - seconds) < 600


@pytest.mark.timeout(600)
async def test_a_clock_that_jumps_under_a_running_collector_loses_and_reorders_nothing(
    collector: RunningCollector, tmp_path: Path
) -> None:
    """An hour back, two forth, back at a restart: every acked record once, `event.created` rises as ids do."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not there: apt-get install faketime")
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    collector.environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        # The monotonic clock does not jump, nor does what threads wait for by it.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }
    collector.start()
    collector.wait_ready()

    async with Load(collector).running() as load:
        for jump_s in (-3600, 3600):
            await load.progress()
            offset.write_text(f"{jump_s:+}\n")
            await until(partial(_has_jumped, collector, jump_s), "a clock that jumped")
        await load.progress()
        await asyncio.to_thread(collector.kill_all)
        offset.write_text("-3600\n")
        collector.start()
        await load.progress()
    await asyncio.to_thread(collector.wait_ready)
    stored = await asyncio.to_thread(stored_lines, collector, load)
    rows = collector.query("SELECT document FROM logs ORDER BY id")
    created = [json.loads(row["document"])["event"]["created"] for row in rows]

    check_the_books(stored, load)
    assert created == sorted(created)
    assert created[0][:13] < created[-1][:13]
    sys.stdout.write(f"{load.acked} records acknowledged, created from {created[0]} to {created[-1]}\n")
    assert collector.stop() == 0
