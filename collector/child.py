"""One role's process as its supervisor sees it: started, configured, listened to, started again when it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from collector import telemetry
from collector.control import PROCESS, Answer, Channel, Configure, Go, Message, Prepare, Report, Stop, Switch
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


class Inquest(Protocol):
    """Who finds out what a process died of, before the next one is started."""

    def look(self, pid: int, silence_s: float) -> str:
        """Return why a living process is to be ended, empty while all is well."""

    async def hold(self, pid: int, code: int, ending: str) -> str:
        """Find out what it died of; return that for people, empty where there is nothing to be found out.

        May be cancelled.
        """

    def loop(self) -> str:
        """Say that the process dies again and again of itself, empty when it does not."""


class Child:
    """Keeps one role running until it is told to stop.

    Belongs to the event loop, in the main thread: the kernel ends a child with the *thread* that started it.
    `on_change` is called when it comes up, goes down, or its health changes. `held` are descriptors that it inherits.
    One that `stands_by` is told to wait until `go`; `ending` says how it ended by itself last, empty while it did not.
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
        stands_by: bool = False,
        clock: Callable[[], float] = time.monotonic,
        inquest: Inquest | None = None,
    ) -> None:
        self.role = role
        self.ending = ""
        self.report: Report | None = None
        self.down = "not started yet"
        self._config = dict(config)
        self._command = command
        self._environment = dict(environment)
        self._held = tuple(held)
        self._backoff = backoff
        self._on_change = on_change
        self._stands_by = stands_by
        self._asked: dict[int, asyncio.Future[Answer | None]] = {}
        self._clock = clock
        self._inquest = inquest
        self._ended_for = ""
        self._code = 0
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
            lived_s = self._clock() - started_at_s
            pid = self._process.pid if self._process is not None else 0
            self.report = self._channel = self._process = None
            if not self._retired.is_set():
                ending = await self._looked_into(pid, ending)
            if self._retired.is_set():
                self._go_down(ending)
                return
            self.ending = ending
            pause_s = self._backoff.after(lived_s)
            telemetry.RESTARTS.labels(role=self.role).inc()
            logger.error("role_ended", role=self.role, ending=ending, again_in_s=pause_s)
            self._go_down(f"{ending}; starts again")
            await self._pause(pause_s)

    def problem(self) -> str:
        """Say why the role is not up, or will not be for long; empty when it is."""
        if self.report is None:
            return self.down
        silence_s = self._clock() - self._heard_at_s
        if silence_s > SILENCE_LIMIT_S:
            return f"has not answered for {silence_s:.0f} s"
        return self._inquest.loop() if self._inquest is not None else ""

    def look(self) -> None:
        """End the process where it does not go on by itself."""
        process = self._process
        if self._inquest is None or process is None or process.returncode is not None or self._ended_for:
            return
        self._ended_for = self._inquest.look(process.pid, self._clock() - self._heard_at_s)
        if self._ended_for:
            logger.error("role_hangs", role=self.role, reason=self._ended_for)
            process.kill()

    def send(self, message: Message) -> None:
        """Tell the role something, if it lives."""
        if self._channel is not None:
            self._channel.send(message)

    async def ask(self, question: Prepare | Switch) -> Answer | None:
        """Ask what a reload asks; return the answer, None when the role is not there or ends before it gives one."""
        if self._channel is None:
            return None
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._asked[question.number] = answer
        try:
            self._channel.send(question)
            return await answer
        finally:
            self._asked.pop(question.number, None)

    def go(self) -> None:
        """Let one begin that stands by, and who comes in its place after it."""
        self._stands_by = False
        self.send(Go())

    def configure(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Give another configuration to whoever is started from now on; who runs was asked to change, or needs not."""
        self._config, self._environment = dict(config), dict(environment)

    def retire(self) -> None:
        """Do not start it again."""
        self._retired.set()

    def stop(self) -> None:
        """Ask it to drain and end."""
        self.retire()
        self._told_to_stop = True
        self.send(Stop())

    def restart(self) -> None:
        """End the process that runs; another comes in its place."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def kill(self) -> bool:
        """End it at once; tell whether there was something to end."""
        self.retire()
        self._killed = True
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return True

    async def run_once(self) -> str:
        """Run the role's process to its end, once; return how it ended."""
        self.retire()
        return await self._live()

    async def _looked_into(self, pid: int, ending: str) -> str:
        """Find out what a process died of; return its ending with what was found."""
        ended_for, self._ended_for = self._ended_for, ""
        ending = ended_for or ending
        if self._inquest is None or not pid:
            return ending
        self._go_down(f"{ending}; what it had in hand is looked into")
        holding = asyncio.create_task(self._inquest.hold(pid, self._code, ending))
        retiring = asyncio.create_task(self._retired.wait())
        await asyncio.wait({holding, retiring}, return_when=asyncio.FIRST_COMPLETED)
        retiring.cancel()
        if not holding.done():
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            return ending
        if fault := holding.exception():
            # Of ours: whatever it is, the role has to come up again.
            logger.error("inquest_failed", role=self.role, ending=ending, exc_info=fault)
            return f"{ending}; what it had in hand could not be looked into: {type(fault).__name__}"
        found = holding.result()
        return f"{ending}; {found}" if found else ending

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
        channel.send(Configure(self._config, self._stands_by))
        if self._told_to_stop:
            channel.send(Stop())
        while (message := await channel.receive()) is not None:
            if isinstance(message, Report) and message.role == self.role:
                self._take(message)
            elif isinstance(message, Answer) and message.number in self._asked:
                self._settle(message.number, message)
        for number in tuple(self._asked):
            self._settle(number, None)
        await channel.close()
        self._code = await self._ended(process)
        return _ending(self._code)

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

    def _settle(self, number: int, answer: Answer | None) -> None:
        if not self._asked[number].done():
            self._asked[number].set_result(answer)

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
