"""What the fault tests share: disks that are really small, collectors that never outlive their test."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.running import RunningCollector

DISK_BYTES = 2 << 20
FAST_DISK_BYTES = 512 << 20

MountDisk = Callable[[Path, int], Path]


@pytest.fixture
def mount_disk() -> Iterator[MountDisk]:
    """Mount a tmpfs of a size in bytes at a path; skips with the reason where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    with contextlib.ExitStack() as mounted:

        def mount(path: Path, size_bytes: int) -> Path:
            path.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
            # Lazy: a failed test may still hold files open.
            mounted.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)
            return path

        yield mount


@pytest.fixture
def small_disk(tmp_path: Path, mount_disk: MountDisk) -> Path:
    """A tmpfs of 2 MiB."""
    return mount_disk(tmp_path, DISK_BYTES)


@pytest.fixture
def fast_disk(tmp_path: Path, mount_disk: MountDisk) -> Path:
    """A tmpfs for who syncs very often."""
    return mount_disk(tmp_path, FAST_DISK_BYTES)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    """A collector that was not started yet; what lives of it at the end is killed."""
    collector = RunningCollector(tmp_path / "c")
    yield collector
    collector.kill_all()
