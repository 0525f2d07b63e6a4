"""One role's process as its supervisor sees it: started, configured, listened to, started again when it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from collector import telemetry
from collector.control import PROCESS, Channel, Configure, Message, Report, Stop
from collector.logs import get_logger

HANGUP_GRACE_S: Final = 1.0
"""A child that closed its control channel is about to end; one that has not by then is killed."""

SILENCE_LIMIT_S: Final = 5.0
"""Reports come once a second; a role that said nothing for so long is shown as not answering."""

logger = get_logger("supervisor")

Command = Callable[[str, int], Sequence[str]]


ALLOCATOR: Final = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4194304:glibc.malloc.trim_threshold=67108864"
"""What the C library is told where the operator says nothing of it: memory of long messages goes back to the system
when they are done (measured: 150 MiB after floods of unfinished messages, not 380). Names that a C library does not
know are ignored."""

WORKER_ALLOCATOR: Final = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=268435456"
    ":glibc.malloc.top_pad=16777216"
)
"""Bodies of some MiB come and go: by default the C library maps each anew, and the kernel clears it page by page
(measured: 0.2 us per event)."""


class Backoff(msgspec.Struct):
    """Pauses between starts: doubling, and from the first again after a life that was long enough."""

    first_s: float = 0.1
    longest_s: float = 10.0
    stable_s: float = 30.0
    next_s: float = 0.0

    def after(self, lived_s: float) -> float:
        """Return the pause after a life of `lived_s`."""
        pause_s = self.first_s if lived_s >= self.stable_s or self.next_s == 0.0 else self.next_s
        self.next_s = min(2 * pause_s, self.longest_s)
        return pause_s


class Child:
    """Keeps one role running until it is told to stop.

    Belongs to the event loop, in the main thread: the kernel ends a child with the *thread* that started it.
    `on_change` is called when it comes up, goes down, or its health changes. `held` are descriptors that it inherits.
    """

    def __init__(
        self,
        role: str,
        *,
        config: Mapping[str, Any],
        command: Command,
        environment: Mapping[str, str],
        held: Sequence[int],
        backoff: Backoff,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.role = role
        self.report: Report | None = None
        self.down = "not started yet"
        self._config = dict(config)
        self._command = command
        self._environment = dict(environment)
        self._held = tuple(held)
        self._backoff = backoff
        self._on_change = on_change
        self._clock = clock
        self._heard_at_s = clock()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._retired = asyncio.Event()
        self._told_to_stop = False
        self._killed = False

    async def keep(self) -> None:
        """Run the role, again and again, until it is retired."""
        while not self._retired.is_set():
            started_at_s = self._clock()
            ending = await self._live()
            if self.report is not None and (own_words := self.report.health.get(PROCESS)):
                ending = f"{ending}: {own_words}"
            self.report = self._channel = self._process = None
            if self._retired.is_set():
                self._go_down(ending)
                return
            pause_s = self._backoff.after(self._clock() - started_at_s)
            telemetry.RESTARTS.labels(role=self.role).inc()
            logger.error("role_ended", role=self.role, ending=ending, again_in_s=pause_s)
            self._go_down(f"{ending}; starts again")
            await self._pause(pause_s)

    def problem(self) -> str:
        """Say why the role is not up, empty when it is."""
        if self.report is None:
            return self.down
        silence_s = self._clock() - self._heard_at_s
        return f"has not answered for {silence_s:.0f} s" if silence_s > SILENCE_LIMIT_S else ""

    def send(self, message: Message) -> None:
        """Tell the role something, if it lives."""
        if self._channel is not None:
            self._channel.send(message)

    def retire(self) -> None:
        """Do not start it again."""
        self._retired.set()

    def stop(self) -> None:
        """Ask it to drain and end."""
        self.retire()
        self._told_to_stop = True
        self.send(Stop())

    def kill(self) -> bool:
        """End it at once; tell whether there was something to end."""
        self.retire()
        self._killed = True
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return True

    async def _pause(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._retired.wait(), pause_s)
        except TimeoutError:
            return

    def _go_down(self, reason: str) -> None:
        self.down = reason
        self._on_change()

    async def _live(self) -> str:
        """Run one process to its end; return how it ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = process = await self._start(theirs.fileno())
            except OSError as error:
                ours.close()
                return f"cannot be started: {error.strerror}"
        if self._killed:
            process.kill()
        self.down = "starting"
        self._channel = channel = await Channel.over(ours)
        channel.send(Configure(self._config))
        if self._told_to_stop:
            channel.send(Stop())
        while (message := await channel.receive()) is not None:
            if isinstance(message, Report) and message.role == self.role:
                self._take(message)
        await channel.close()
        return _ending(await self._ended(process))

    async def _start(self, descriptor: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command(self.role, descriptor),
            stdin=subprocess.DEVNULL,
            env=self._environment,
            pass_fds=(descriptor, *self._held),
            # A terminal's interrupt goes to its foreground group: the supervisor alone decides what it means.
            start_new_session=True,
        )

    def _take(self, report: Report) -> None:
        before, self.report = self.report, report
        self._heard_at_s = self._clock()
        if before is None or before.health != report.health:
            self._on_change()

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        try:
            return await asyncio.wait_for(process.wait(), HANGUP_GRACE_S)
        except TimeoutError:
            process.kill()
            return await process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def inherited_environment(role: str, without: frozenset[str]) -> dict[str, str]:
    """Return our environment without these variables: a role that needs no secret is given none.

    Where the operator says nothing of the allocator, we do.
    """
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {"GLIBC_TUNABLES": WORKER_ALLOCATOR if role == "worker" else ALLOCATOR, **kept}
