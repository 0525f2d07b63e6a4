"""The disk under the whole collector turns read-only: no false acknowledgement, then nothing lost or doubled."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.waiting import until
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

IMAGE_BYTES = 160 << 20
PATIENCE_S = 60.0


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


@pytest.fixture
def image(tmp_path: Path, collector: RunningCollector) -> Iterator[Path]:
    """An ext4 in a file, mounted as the data folder."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-m", 0, image)
    collector.data_dir.mkdir()
    _run("mount", "-o", "loop", image, collector.data_dir)
    yield image
    collector.kill_all()
    subprocess.run(["umount", "--lazy", str(collector.data_dir)], check=False)


async def test_a_file_system_that_gives_up_acknowledges_nothing_and_is_mended_by_a_restart(
    collector: RunningCollector, image: Path
) -> None:
    """As after an error of its own, ext4 goes read-only: readiness tells, nothing is acked; after fsck all is there."""
    collector.start()
    collector.wait_ready()

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        _run("mount", "-o", "remount,abort", collector.data_dir)
        await until(lambda: collector.get("/health/ready")[0] == 503, "readiness that tells of it")
        reason = collector.get("/health/ready")[1]
        acked = load.acked
        code = await asyncio.to_thread(collector.stop)
        assert load.acked == acked, "acknowledged on a read-only disk"
        _run("umount", collector.data_dir)
        subprocess.run(["e2fsck", "-fy", str(image)], check=False, capture_output=True)  # noqa: ASYNC221 - all wait
        _run("mount", "-o", "loop", image, collector.data_dir)
        collector.start()
        await load.progress()
    await asyncio.to_thread(collector.wait_ready)
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert "journal" in reason
    sys.stdout.write(f"exit code {code}; {reason.strip()}; {load.acked} acknowledged, {load.resent_messages} resent\n")
    assert collector.stop() == 0


async def test_a_folder_that_is_read_only_for_a_while_needs_no_restart(collector: RunningCollector) -> None:
    """Nothing new can be made in the data folder, then it can: what is degraded is named, senders notice nothing.

    The open segment takes what comes; store, cursors and anchors wait. Were it read-only too, the test above has it.
    """
    collector.start()
    collector.wait_ready()
    processes = collector.processes()

    async with Load(collector, patience_s=PATIENCE_S).running() as load:
        await load.progress()
        _run("mount", "--bind", collector.data_dir, collector.data_dir)
        _run("mount", "-o", "remount,bind,ro", collector.data_dir)
        try:
            await load.progress()
            await until(lambda: "Read-only" in collector.get("/health/ready")[1], "a word of it")
            degraded = collector.get("/health/ready")
        finally:
            _run("umount", "--lazy", collector.data_dir)
        await load.progress()
    stored = await asyncio.to_thread(stored_lines, collector, load)

    check_the_books(stored, load)
    assert degraded[0] == 200
    assert load.resent_messages == 0
    assert collector.processes() == processes
    sys.stdout.write(f"{degraded[1].strip()}; {load.acked} acknowledged, none sent again\n")
    assert collector.stop() == 0
