"""A try ends its own process and no other, whatever it does; how it ended is told apart. The forks are real."""

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.isolation import tries
from collector.isolation.memory import own_limit
from collector.isolation.tries import attempt, outcome_of

pytestmark = [
    # Other tests of this process may have left a thread that waits; a try of the product has none.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

ROOM_BYTES = 256 << 20


def memory_limit_bytes() -> int:
    """Return a limit a little above what this process has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return ROOM_BYTES + next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))


def crash() -> None:
    """Read address 0."""
    ctypes.string_at(0)


def spin() -> None:
    """Use a processor, for ever."""
    while True:
        pass


def eat() -> None:
    """Take memory until there is none."""
    taken = []
    while True:
        taken.append(bytearray(16 << 20))


def raise_something() -> None:
    """Raise what a pipeline never should."""
    raise ValueError("a fault of ours")


@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        (lambda: None, "passed"),
        (crash, "crash"),
        (os.abort, "crash"),
        (raise_something, "crash"),
        (spin, "hang"),
        (lambda: os.kill(os.getpid(), signal.SIGSTOP), "hang"),
        (eat, "memory"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "outside"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "outside"),
        (lambda: os._exit(5), "outside"),
    ],
)
def test_how_a_try_ended(work: Callable[[], None], outcome: str) -> None:
    """A fault of the processor, abort and exceptions are crashes; time and memory are bounded; all else is unknown."""
    assert outcome == attempt(
        work, cpu_limit_s=1.0 if outcome == "hang" else 20.0, memory_limit_bytes=memory_limit_bytes()
    )


def test_a_try_changes_nothing_here() -> None:
    """It works on a copy of what this process has in memory."""
    taken: list[int] = []

    assert "passed" == attempt(lambda: taken.append(1), cpu_limit_s=20.0, memory_limit_bytes=memory_limit_bytes())
    assert [] == taken


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, "passed"),
        (1, "outside"),
        (tries.EXIT_FAULT, "crash"),
        (tries.EXIT_MEMORY, "memory"),
        (-signal.SIGSEGV, "crash"),
        (-signal.SIGBUS, "crash"),
        (-signal.SIGABRT, "crash"),
        (-signal.SIGKILL, "outside"),
        (-signal.SIGTERM, "outside"),
        (-signal.SIGHUP, "outside"),
    ],
)
def test_a_kill_from_outside_is_never_taken_for_a_crash(code: int, outcome: str) -> None:
    """SIGKILL least of all: the out-of-memory killer's cannot be told from an operator's."""
    assert outcome == outcome_of(code)


def test_the_limit_of_memory_lies_below_the_control_group_s(tmp_path: Path) -> None:
    """That of a group around it counts as well; `max` is none, nor is a group that cannot be read."""
    membership = tmp_path / "cgroup"
    membership.write_text("0::/pod/container\n")
    (tmp_path / "pod" / "container").mkdir(parents=True)
    (tmp_path / "pod" / "container" / "memory.max").write_text("max\n")
    limit_bytes = 4 << 30

    assert limit_bytes == own_limit(limit_bytes, membership=membership, groups=tmp_path)
    (tmp_path / "pod" / "memory.max").write_text(f"{1 << 30}\n")
    assert int(0.8 * (1 << 30)) == own_limit(limit_bytes, membership=membership, groups=tmp_path)
    assert limit_bytes == own_limit(limit_bytes, membership=tmp_path / "none", groups=tmp_path)
