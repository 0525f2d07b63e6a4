"""What a run costs: CPU time of each process and the sum of the processes' memory, read from /proc."""

import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S: Final = 0.2
"""How often memory is sampled: the kernel walks every mapping for one figure, so oftener would disturb the run."""

TOUCHED_BYTES: Final = 2 << 30
TOUCHED_HUGE_BYTES: Final = 1 << 30
"""More than a run needs: page cache of the journal and the store, memory of the processes, bodies on their way."""


def touch_memory() -> None:
    """Make the host of a virtual machine back the memory that the run will take, in small and in huge pages.

    A guest's first write to a page its host has not backed (or has taken back) is charged to whoever writes: measured
    here 0.76 us per event for the journal's page cache, against 0.07 us in memory that was used before, and 0.3 us for
    the worker's heap, which lies in huge pages.
    """
    page_bytes, private = mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with (
        mmap.mmap(-1, TOUCHED_BYTES, flags=private | mmap.MAP_POPULATE),
        mmap.mmap(-1, TOUCHED_HUGE_BYTES, flags=private) as huge,
    ):
        huge.madvise(mmap.MADV_HUGEPAGE)
        with memoryview(huge) as view:
            view[::page_bytes] = bytes(TOUCHED_HUGE_BYTES // page_bytes)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def cpu_by_role(processes: Mapping[int, str]) -> dict[str, float]:
    """CPU seconds so far, by role."""
    return {role: cpu_seconds(pid) for pid, role in processes.items()}


def pss_bytes(pid: int) -> int:
    """The proportional set size: own memory, and shared memory divided by those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class MemoryPeak:
    """Samples the sum of the processes' PSS in a thread; `bytes` is the highest sum seen, `roles` its parts."""

    def __init__(self, processes: Mapping[int, str]) -> None:
        self._processes = processes
        self._ended = threading.Event()
        self.bytes = 0
        self.roles: dict[str, int] = {}

    def _sample(self) -> None:
        roles = {role: pss_bytes(pid) for pid, role in self._processes.items()}
        if sum(roles.values()) > self.bytes:
            self.bytes, self.roles = sum(roles.values()), roles

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            self._sample()

    @contextmanager
    def watching(self) -> Iterator["MemoryPeak"]:
        """Sample while the block runs, and once at its end."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            self._sample()


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Start processes in the block on one core (None: anywhere)."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
