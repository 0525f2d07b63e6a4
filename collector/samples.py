"""What a process reports of its metrics to the supervisor, once a second (`collector.telemetry` declares them)."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.telemetry import CPU_SECONDS, OPEN_FILES, RESIDENT_BYTES, START_SECONDS, of_role, set_total


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number of a metric; `name` is the exposition's (`…_total`, `…_bucket`)."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The samples of one declared metric in one process."""

    name: str
    samples: list[Sample]


class Telemetry:
    """What one process reports: the metrics of its role, and its own use of the machine."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._before: list[Callable[[], None]] = []
        START_SECONDS.labels(role=role).set(time.time())

    def before_report(self, callback: Callable[[], None]) -> None:
        """Call `callback` before each report, to bring metrics up to date that are not counted as things happen.

        It runs in the event loop once a second and must be quick.
        """
        self._before.append(callback)

    def families(self) -> list[Family]:
        """Return all samples as they are now."""
        for callback in self._before:
            callback()
        self._measure_process()
        found = []
        for metric in of_role(self._role):
            samples = [
                Sample(sample.name, dict(sample.labels), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            if samples:
                found.append(Family(metric.name, samples))
        return found

    def _measure_process(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        set_total(CPU_SECONDS.labels(role=self._role), usage.ru_utime + usage.ru_stime)
        try:
            pages = int(Path("/proc/self/statm").read_bytes().split()[1])
            files = len(os.listdir("/proc/self/fd"))
        except OSError:
            return
        RESIDENT_BYTES.labels(role=self._role).set(pages * resource.getpagesize())
        OPEN_FILES.labels(role=self._role).set(files)
