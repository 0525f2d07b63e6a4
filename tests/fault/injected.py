"""System calls of a running process that fail as a bad disk makes them fail, by strace."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.kit.running import wait_until

ATTACH_LIMIT_S: Final = 10.0


class Injection:
    """What is injected; `count` is how many calls failed by it so far."""

    def __init__(self, report: Path) -> None:
        self._report = report

    @property
    def count(self) -> int:
        """How many calls failed so far."""
        return self._report.read_text().count("(INJECTED)")


@contextlib.contextmanager
def injected(
    pid: int, calls: str, error: str, report: Path, *, when: str = "1+", path: Path | None = None
) -> Iterator[Injection]:
    """Let these calls of a process fail with an error while the block runs: those that `when` says (man strace).

    With a `path`, those on that file alone.
    """
    command = ["strace", "-f", "-qq", "-p", str(pid), "-o", str(report), "-e", f"trace={calls}", "-e", "signal=none"]
    command += ["-e", f"inject={calls}:error={error}:when={when}", *(["-P", str(path)] if path else [])]
    report.touch()
    strace = subprocess.Popen(command)
    try:
        wait_until(lambda: _traced(pid, strace.pid), timeout_s=ATTACH_LIMIT_S, what="strace in place")
        yield Injection(report)
    finally:
        strace.terminate()
        strace.wait()


def _traced(pid: int, tracer: int) -> bool:
    """Tell whether every thread of a process is traced."""
    threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return all(f"TracerPid:\t{tracer}\n" in status for status in threads)
