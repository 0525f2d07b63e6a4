"""The disk under the whole collector fills, to any point: it says so, senders wait, and with room all goes on.

Something else fills it, as is usual; so each of our writes meets a disk with a little less room: journal, its state,
anchors and indexes, the store and its manifest, cursors, the supervisor's own records.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from collector.durable_files import free_bytes
from tests.fault.conftest import MountDisk
from tests.fault.waiting import until
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

DISK_BYTES = 100 << 20
"""The journal leaves 64 MiB to cursors and stores."""

LEFT_BYTES = (40 << 20, 64 << 10, 4 << 10, 0)
"""What is left each time: below the journal's reserve, then less than one commit of the store, or one page."""


PATIENCE_S = 60.0


class Filler:
    """Takes room on a disk."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "lost+found"
        self._disk = disk

    def leave(self, left_bytes: int) -> None:
        """Fill the disk up to so many bytes, whatever others write or delete meanwhile."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for _ in range(5):
                size = os.fstat(descriptor).st_size
                wanted = max(size + free_bytes(self._disk) - left_bytes, 0)
                os.truncate(descriptor, wanted)
                if wanted > size:
                    os.posix_fallocate(descriptor, size, wanted - size)
        except OSError:
            return  # somebody was faster: it is full
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give it all back."""
        self._file.unlink()


async def test_a_disk_that_fills_is_told_and_nothing_is_lost_or_doubled(
    collector: RunningCollector, mount_disk: MountDisk
) -> None:
    """Four times another program leaves less room: readiness names it, nothing is acknowledged, a search works.

    With room again everything follows by itself.
    """
    disk = mount_disk(collector.data_dir, DISK_BYTES)
    filler = Filler(disk)
    collector.start()
    collector.wait_ready()
    intake = collector.pid_of("intake")
    reasons = []

    async with Load(collector, line_bytes=2000, patience_s=PATIENCE_S).running() as load:
        for left_bytes in LEFT_BYTES:
            await load.progress()
            filler.leave(left_bytes)
            await until(lambda: collector.get("/health/ready")[0] == 503, "readiness that tells of it")
            reasons.append(collector.get("/health/ready")[1])
            filler.leave(left_bytes)
            acked = load.acked
            searched = await asyncio.to_thread(collector.query, "SELECT count(*) AS n FROM logs")
            assert searched[0]["n"] > 0
            assert load.acked == acked, "acknowledged on a full disk"
            filler.free()
        await load.progress()
    await asyncio.to_thread(collector.wait_ready)
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert all("journal" in reason and "full" in reason for reason in reasons)
    assert collector.pid_of("intake") == intake
    sys.stdout.write(
        f"{len(LEFT_BYTES)} times full, {load.acked} records acknowledged, {load.resent_messages} messages sent again\n"
    )
    assert collector.stop() == 0


async def test_a_start_on_a_full_disk_names_it_and_succeeds_with_room(
    collector: RunningCollector, mount_disk: MountDisk
) -> None:
    """Killed, then started without a free byte: it says what it lacks, and goes on by itself once there is room."""
    disk = mount_disk(collector.data_dir, DISK_BYTES)
    filler = Filler(disk)
    collector.start()
    collector.wait_ready()

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        await asyncio.to_thread(collector.kill_all)
        filler.leave(0)
        collector.start()
        await until(lambda: "space" in collector.get("/health/ready")[1], "a start that says what it lacks")
        reason = collector.get("/health/ready")
        filler.free()
        await asyncio.to_thread(collector.wait_ready)
        await load.progress()
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert reason[0] == 503
    assert "No space left" in reason[1]
    assert collector.stop() == 0
