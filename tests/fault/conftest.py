"""What the fault tests share: a disk that is really full, collectors that never outlive their test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.testing.running import RunningCollector

StartCollector = Callable[..., RunningCollector]

DISK_BYTES = 2 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs of 2 MiB; skips with the reason where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # a failed test may still hold files open


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """Start a ready collector, with further options of its TCP input; what still lives at the end is killed."""
    started: list[RunningCollector] = []

    def start(**options: object) -> RunningCollector:
        collector = RunningCollector(tmp_path / f"collector-{len(started)}", input_options=options)
        started.append(collector)
        collector.start()
        collector.wait_ready()
        return collector

    yield start
    for collector in started:
        collector.kill_all()
