"""What the supervisor does about its worker: ends one that hangs, and has judged what one had in hand that ended."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from collector import telemetry
from collector.child import Child
from collector.config import WorkerConfig
from collector.durable_files import replace_file
from collector.isolation.in_hand import FOLDER, forget_marks, mark_file, read_mark
from collector.isolation.questions import ASKED, FOUND, JUDGE_LIMIT_S, Asked, Judgement
from collector.isolation.tries import WALL_FACTOR, outcome_of
from pipelines.frame import Position

LOOP_CRASHES: Final = 3
LOOP_S: Final = 60.0
"""A worker that ended so often of itself within so long is in a loop: the collector is not ready, though it may be up
for a moment."""

CPU_FIELDS: Final = slice(11, 13)
"""User and system time in `/proc/PID/stat`, counted behind the name (proc(5))."""


class WorkerInquest:
    """Of one collector's worker; belongs to the event loop. `make_judge` gives a judge's process, not started."""

    def __init__(
        self,
        data_dir: Path,
        limits: WorkerConfig,
        make_judge: Callable[[], Child],
        *,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[int], float | None] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._hang_limit_s = limits.hang_limit
        self._make_judge = make_judge
        self._clock = clock
        self._busy = busy or busy_seconds
        self._seen: object = None
        self._since_s = (0.0, 0.0)
        self._hung = 0
        self._last: Position | None = None
        self._times = 0
        self._unanswered = 0
        self._crashes: deque[tuple[float, str]] = deque(maxlen=LOOP_CRASHES)

    def look(self, pid: int, silence_s: float) -> str:
        """Return why the worker is to be ended: it works on one batch, or says nothing, for longer than it may."""
        mark, now_s, busy_s = read_mark(self._data_dir, pid), self._clock(), self._busy(pid)
        if mark is None or busy_s is None:
            # One that somebody has halted does not hang.
            self._seen = None
            return ""
        if (pid, mark) != self._seen:
            self._seen, self._since_s = (pid, mark), (now_s, busy_s)
            return ""
        waited_s, worked_s = now_s - self._since_s[0], busy_s - self._since_s[1]
        if mark.position is None:
            return f"hung: said nothing for {silence_s:.0f} s" if silence_s > WALL_FACTOR * self._hang_limit_s else ""
        if worked_s < self._hang_limit_s and waited_s < WALL_FACTOR * self._hang_limit_s:
            return ""
        self._hung = pid
        return f"hung: did not come to an end with a frame in {waited_s:.0f} s"

    async def hold(self, pid: int, code: int, ending: str) -> str:
        """Have judged what the worker had in hand, where it ended of itself; return what was found."""
        mark = read_mark(self._data_dir, pid)
        # On a disk that cannot be written to they stay: the next worker is started all the same, and has its own.
        with contextlib.suppress(OSError):
            mark_file(self._data_dir, pid).unlink(missing_ok=True)
            forget_marks(self._data_dir)
        cause = "hang" if self._hung == pid else outcome_of(code)
        if cause == "passed" or cause == "outside":
            return ""
        self._crashes.append((self._clock(), ending))
        telemetry.WORKER_CRASHES.labels(cause=cause).inc()
        if mark is None or mark.position is None:
            return "it had no frame in hand"
        folder, ended = self._data_dir / FOLDER, "was not asked: there is no folder for the question"
        try:
            (folder / FOUND).unlink(missing_ok=True)
            if mark.position != self._last:
                self._times = self._unanswered = 0
            self._times += 1
            self._last = mark.position
            asked = Asked(mark.position, cause, ending, self._times, self._unanswered)
            replace_file(folder / ASKED, msgspec.json.encode(asked))
            ended = await self._judged()
            judgement = msgspec.json.decode((folder / FOUND).read_bytes(), type=Judgement)
        except FileNotFoundError:
            self._unanswered += 1
            return f"the judge of what it had in hand {ended}"
        except (OSError, msgspec.DecodeError) as error:
            return f"what it had in hand cannot be judged: {error}"
        if judgement.cause:
            telemetry.CONDEMNED.labels(cause=judgement.cause).inc()
        return judgement.reason

    def loop(self) -> str:
        """Say that the worker ends again and again, empty when it does not."""
        crashes = [(at_s, ending) for at_s, ending in self._crashes if self._clock() - at_s < LOOP_S]
        if len(crashes) < LOOP_CRASHES:
            return ""
        return (
            f"in a loop: it ended {len(crashes)} times within {LOOP_S:.0f} s of itself, the last time: {crashes[-1][1]}"
        )

    async def _judged(self) -> str:
        judge = self._make_judge()
        try:
            async with asyncio.timeout(JUDGE_LIMIT_S):
                return await judge.run_once()
        except TimeoutError:
            return f"was ended after {JUDGE_LIMIT_S:.0f} s"
        finally:
            judge.kill()


def busy_seconds(pid: int) -> float | None:
    """Return the time of processors that a process used; None where it is halted or gone. Elsewhere than Linux 0."""
    if not os.path.isdir("/proc/self"):
        return 0.0
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = sum(map(int, rest[CPU_FIELDS.start - 1 : CPU_FIELDS.stop - 1]))
    return None if state in "Tt" else ticks / os.sysconf("SC_CLK_TCK")
