"""The limit of open files: connections never take those that the journal needs, and a lower limit loses nothing."""

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.journal.segments import first_position, segment_files
from tests.fault.waiting import until
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

FILES = 200
CONNECTIONS = 300
SMALL = "8MiB"
"""A journal of this limit seals its segments at 1 MiB."""

LINE_BYTES = 2000
PATIENCE_S = 60.0


@pytest.fixture
def small_journal(tmp_path: Path) -> Iterator[RunningCollector]:
    """A collector whose segments roll often."""
    collector = RunningCollector(tmp_path / "c", settings={"journal": {"limit": SMALL}})
    settings = json.loads(collector.config_file.read_text())
    for options in settings["inputs"].values():
        options["message_limit"] = "1MiB"
    collector.config_file.write_text(json.dumps(settings))
    yield collector
    collector.kill_all()


async def _answer(collector: RunningCollector, connections: contextlib.AsyncExitStack) -> bool:
    """Open a connection that is never used; tell whether it stays open."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.forward_port)
        connections.callback(writer.close)
        async with asyncio.timeout(0.05):
            return await reader.read(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def _rolled(collector: RunningCollector) -> int:
    """Return the sequence at which the newest segment begins."""
    return first_position(segment_files(collector.data_dir / "journal")[-1]).sequence


async def test_a_flood_of_connections_leaves_the_journal_its_files(small_journal: RunningCollector) -> None:
    """More connections than files: those too many are closed, who was there sends on, and segments still roll."""
    collector = small_journal
    collector.wrapper = ["prlimit", f"--nofile={FILES}:{FILES}"]
    collector.start()
    collector.wait_ready()

    load = Load(collector, line_bytes=LINE_BYTES, patience_s=PATIENCE_S)
    async with contextlib.AsyncExitStack() as connections, load.running():
        await load.progress()
        kept = sum(await asyncio.gather(*(_answer(collector, connections) for _ in range(CONNECTIONS))))
        before = _rolled(collector)
        await until(lambda: _rolled(collector) > before, "a segment that rolls")
        ready = collector.get("/health/ready")
        await load.progress()
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert 0 < kept < CONNECTIONS
    assert ready[0] == 200
    assert load.resent_messages == 0
    assert "too many for the files that the process may open" in collector.log()
    told = f"{FILES} files: {kept} of {CONNECTIONS} connections kept, "
    sys.stdout.write(f"{told}{load.acked} records acknowledged, none sent again\n")
    assert collector.stop() == 0


def _pids(collector: RunningCollector) -> list[int]:
    return [pid for pid, role in sorted(collector.processes().items()) if role in ("intake", "worker")]


def _take_all_files(pid: int) -> tuple[int, int]:
    """Let a process open nothing more; return its limits before."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    least = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, limits[1]))
    return limits


async def test_a_limit_lowered_under_way_loses_nothing_and_is_got_over(small_journal: RunningCollector) -> None:
    """Neither intake nor worker can open a file: no new connection, no new segment; raised again, all goes on."""
    collector = small_journal
    collector.start()
    collector.wait_ready()
    pids = _pids(collector)

    load = Load(collector, line_bytes=LINE_BYTES, patience_s=PATIENCE_S)
    async with contextlib.AsyncExitStack() as connections, load.running():
        await load.progress()
        before = [_take_all_files(pid) for pid in pids]
        kept = [await _answer(collector, connections) for _ in range(3)]
        await until(lambda: "journal_writes_failed" in collector.log(), "a segment that cannot roll")
        await until(lambda: "Too many open files" in collector.get("/health/ready")[1], "a word of it")
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        await load.progress()
    await asyncio.to_thread(collector.wait_ready)
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert _pids(collector) == pids
    sys.stdout.write(f"{sum(kept)} of 3 new connections kept; {load.acked} acknowledged\n")
    assert collector.stop() == 0
