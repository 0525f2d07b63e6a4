"""A try: work that may end its process, done in a fork of this one, within limits of time and memory."""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Final, NoReturn

from collector.isolation.memory import limit_memory
from collector.isolation.narrowing import Outcome
from collector.role import PR_SET_PDEATHSIG

CRASHES: Final = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGTRAP}
)
"""Signals by which a process ends for what it does itself."""

WALL_FACTOR: Final = 4
"""A process that waits and never goes on uses no time of the processor; so its limit by the clock is this much more."""

POLL_S: Final = 0.005
EXIT_DONE: Final = 0

EXIT_FAULT: Final = 70
"""Exit code, of a try and of a worker, where the pipeline raised, which it never should."""

EXIT_MEMORY: Final = 71
"""Exit code where the process's own limit of memory did not suffice for a frame."""


def attempt(work: Callable[[], None], *, cpu_limit_s: float, memory_limit_bytes: int) -> Outcome:
    """Do the work in a fork; return how that ended. Blocking; of a process with one thread."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        _do(work, parent, cpu_limit_s, memory_limit_bytes)
    deadline_s = time.monotonic() + WALL_FACTOR * cpu_limit_s
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return outcome_of(os.waitstatus_to_exitcode(status))
        time.sleep(POLL_S)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


def outcome_of(code: int) -> Outcome:
    """Return what an exit code says, as Python shows it: negative for a signal."""
    if code == EXIT_DONE:
        return "passed"
    if code == EXIT_MEMORY:
        return "memory"
    if code == -signal.SIGXCPU:
        return "hang"
    return "crash" if code == EXIT_FAULT or -code in CRASHES else "outside"


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_FAULT)


def _do(work: Callable[[], None], parent: int, cpu_limit_s: float, memory_limit_bytes: int) -> NoReturn:
    code = EXIT_FAULT
    try:
        _end_with(parent)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        whole_s = max(round(cpu_limit_s), 1)
        resource.setrlimit(resource.RLIMIT_CPU, (whole_s, whole_s + 1))
        limit_memory(memory_limit_bytes)
        work()
        code = EXIT_DONE
    except MemoryError:
        code = EXIT_MEMORY
    finally:
        # Nothing of what the parent would do at its end: no buffers, no handlers, no loop.
        os._exit(code)
