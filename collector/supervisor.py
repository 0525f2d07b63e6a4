"""`tidewaiter run`: starts intake, worker and console, watches them, starts a dead one again, and stops them in order.

Each role gets only its part of the configuration: the intake no outputs (nor their secrets), the worker no inputs, the
console neither. It is ready while every input listens, the journal takes appends and every role is up; an output that
fails makes it degraded, never unready, for senders lose nothing by it.

Order of a stop: our own record of it into the journal; then the intake, so that what senders were promised is kept and
the worker hears of its last frame; then worker and console, which finish what they have in hand.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from collector import __version__, telemetry
from collector.audit import AuditTrail
from collector.child import Backoff, Child, Command, inherited_environment
from collector.config import DEAD_LETTERS_OUTPUT, Config, Secret
from collector.control import Report, Reports
from collector.data_dir import lock_data_dir, make_data_dir
from collector.logs import get_logger, tell_left_out
from collector.systemd import notify

TICK_S: Final = 1.0
AUDIT_LIMIT_S: Final = 2.0
"""How long a stop waits for its own record to become durable."""

LAST_S: Final = 2.0
"""Part of the drain limit that the intake leaves to the roles behind it."""

EXIT_KILLED: Final = 1

logger = get_logger("supervisor")


class Limits(msgspec.Struct, frozen=True):
    """Times of the supervisor. `drain_s` bounds a stop in all; who has not ended by then is killed.

    Nothing acknowledged is lost by that: it is in the journal, and outputs begin again at their cursors.
    """

    drain_s: float = 10.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0
    stable_s: float = 30.0


def role_command(role: str, descriptor: int) -> Sequence[str]:
    """Return the command line of a role's process; -P keeps the current folder off the import path."""
    return [sys.executable, "-P", "-m", "collector.role", role, "--control-fd", str(descriptor)]


def config_for(role: str, config: Config) -> Config:
    """Return what a role may know."""
    if role == "intake":
        consumers = sorted({*config.outputs, DEAD_LETTERS_OUTPUT})
        return msgspec.structs.replace(config, outputs={}, consumers=consumers)
    if role == "worker":
        return msgspec.structs.replace(config, inputs={})
    return msgspec.structs.replace(config, inputs={}, outputs={}, hosts={})


def secret_variables(section: Mapping[str, msgspec.Struct]) -> frozenset[str]:
    """Return the environment variables that hold secrets of inputs or outputs: only one role inherits them."""
    options = [value for each in section.values() for value in msgspec.structs.asdict(each).values()]
    options += [inner for value in options if isinstance(value, dict) for inner in value.values()]
    return frozenset(value.env for value in options if isinstance(value, Secret) and value.env)


def required_components(config: Config) -> dict[str, frozenset[str]]:
    """Return by role the components that it must have spoken of before it counts as up."""
    return {
        "intake": frozenset({"journal", *(f"input {name}" for name in config.inputs)}),
        "worker": frozenset({"journal"}),
        "console": frozenset({"console"}),
    }


class Supervisor:
    """The roles of one collector, and what is wrong with them."""

    def __init__(self, config: Config, *, lock: int, command: Command, limits: Limits, search: str) -> None:
        self._config = config
        self._limits = limits
        self._search = search
        self._required = required_components(config)
        self._telemetry = telemetry.Telemetry("supervisor")
        self._audit = AuditTrail(Path(config.data_dir))
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._ready = False
        self._announced = False
        self._started_at_s = time.monotonic()
        self._children = {role: self._child(role, lock, command) for role in self._required}
        telemetry.BUILD.labels(version=__version__).set(1)

    def _child(self, role: str, lock: int, command: Command) -> Child:
        secrets: frozenset[str] = frozenset()
        if role != "intake":
            secrets |= secret_variables(self._config.inputs)
        if role != "worker":
            secrets |= secret_variables(self._config.outputs)
        return Child(
            role,
            config=msgspec.to_builtins(config_for(role, self._config)),
            command=command,
            environment=inherited_environment(role, secrets | {"NOTIFY_SOCKET"}),
            # The lock is theirs too: it ends with the last of them, never while an old intake may still write.
            held=(lock,),
            backoff=Backoff(self._limits.first_pause_s, self._limits.longest_pause_s, self._limits.stable_s),
            on_change=self._changed.set,
        )

    def signalled(self) -> None:
        """Begin to drain; when that has begun, end at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self) -> int:
        """Run until signalled; return the exit code."""
        keeping = {role: asyncio.create_task(child.keep()) for role, child in self._children.items()}
        watching = asyncio.create_task(self._watch())
        recording = asyncio.create_task(self._record())
        try:
            await self._stop.wait()
            recording.cancel()
            killed = await self._drain(keeping)
        finally:
            for child in self._children.values():
                child.kill()
            for task in (watching, recording):
                task.cancel()
            await asyncio.gather(watching, recording, *keeping.values(), return_exceptions=True)
        logger.info("stopped", killed=killed, ran_s=round(time.monotonic() - self._started_at_s, 1))
        tell_left_out()
        return EXIT_KILLED if killed else 0

    async def _watch(self) -> None:
        """Judge the whole whenever something changed, and once a second, and tell the console."""
        while True:
            self._changed.clear()
            self._judge()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TICK_S)

    def _judge(self) -> None:
        problems, degraded = self.problems(), self.degraded()
        telemetry.READY.set(not problems)
        for role, child in self._children.items():
            telemetry.ROLE_UP.labels(role=role).set(not child.problem())
        own = Report("supervisor", {}, self._telemetry.families())
        reports = [child.report for child in self._children.values() if child.report is not None]
        self._children["console"].send(Reports([*reports, own], problems, degraded))
        if self._stop.is_set() or (not problems) == self._ready:
            return
        self._ready = not problems
        if problems and self._announced:
            logger.warning("not_ready", **problems)
        elif self._announced:
            logger.info("ready_again")
        else:
            self._announced = True
            notify("READY=1")
            self._announce()

    def problems(self) -> dict[str, str]:
        """Return what keeps the collector from being ready, by component; empty when it is."""
        if self._stop.is_set():
            return {"supervisor": "stopping"}
        found = {}
        for role, child in self._children.items():
            health = child.report.health if child.report is not None else {}
            if problem := child.problem():
                found[role] = problem
            elif missing := self._required[role] - health.keys():
                found[role] = f"starting: {', '.join(sorted(missing))}"
            elif role == "intake":
                found |= dict(_unhealthy(child))
        return found

    def degraded(self) -> dict[str, str]:
        """Return what is wrong beside that: outputs, and the console itself."""
        return {name: reason for role in ("worker", "console") for name, reason in _unhealthy(self._children[role])}

    def _announce(self) -> None:
        """Say where it listens, how to send to it, and how to search."""
        inputs = self._config.inputs
        logger.info(
            "ready",
            version=__version__,
            listening=", ".join(f"{name} {options.listen}" for name, options in inputs.items()) or "nowhere",
            console=f"http://{self._config.console.listen}",
            send=next((_how_to_send(options.listen) for options in inputs.values()), "no input is configured"),
            search=self._search,
        )

    async def _record(self) -> None:
        """Put our own start into the journal, and from then on what commands leave to be put there."""
        details = {"version": __version__, "pid": os.getpid(), "inputs": sorted(self._config.inputs)}
        await self._audit.record("start", details)
        while True:
            await self._audit.take_left()
            await asyncio.sleep(TICK_S)

    async def _drain(self, keeping: Mapping[str, asyncio.Task[None]]) -> list[str]:
        """Stop all roles in order, within the limit; return those that had to be killed."""
        notify("STOPPING=1")
        self._changed.set()
        deadline_s = time.monotonic() + self._limits.drain_s
        for child in self._children.values():
            child.retire()
        if self._children["intake"].report is not None:
            limit_s = min(AUDIT_LIMIT_S, self._limits.drain_s / 4)
            recording = asyncio.create_task(self._record_stop())
            await self._within(limit_s, recording)
            recording.cancel()
        killed = []
        last_s = min(LAST_S, self._limits.drain_s / 4)
        for roles, until_s in ((("intake",), deadline_s - last_s), (("worker", "console"), deadline_s)):
            for role in roles:
                self._children[role].stop()
            await self._within(until_s - time.monotonic(), *(keeping[role] for role in roles))
            for role in roles:
                if not keeping[role].done() and self._children[role].kill():
                    logger.error("role_killed", role=role, drain_limit_s=self._limits.drain_s)
                    killed.append(role)
        return killed

    async def _record_stop(self) -> None:
        seconds = round(time.monotonic() - self._started_at_s, 3)
        await self._audit.record("stop", {"version": __version__, "pid": os.getpid(), "ran_seconds": seconds})

    async def _within(self, limit_s: float, *tasks: asyncio.Task[None]) -> None:
        """Wait for tasks, but no longer than this, and not when told to hurry."""
        hurry = asyncio.create_task(self._hurry.wait())
        waited: set[asyncio.Future[Any]] = {hurry, asyncio.gather(*tasks, return_exceptions=True)}
        await asyncio.wait(waited, timeout=max(limit_s, 0.0), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()


def _unhealthy(child: Child) -> Iterator[tuple[str, str]]:
    health: Mapping[str, Any] = child.report.health if child.report is not None else {}
    return ((f"{child.role}: {component}", reason) for component, reason in health.items() if reason)


def _how_to_send(listen: str) -> str:
    if not listen.startswith("unix:"):
        host, _, port = listen.rpartition(":")
        listen = f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"  # noqa: S104 - compared, not bound
    return f"docker run --log-driver fluentd --log-opt fluentd-address={listen} hello-world"


async def supervise(
    config: Config,
    *,
    command: Command = role_command,
    limits: Limits | None = None,
    search: str = "tidewaiter search '*'",
) -> int:
    """Hold the data folder and run all roles until SIGTERM or SIGINT; return the exit code. Raises DataDirError.

    The first signal drains, a second one ends at once. `command` makes a role's command line of its name and control
    descriptor; `search` is what the ready message shows. Belongs into the main thread, of a process that ends with it.
    """
    data_dir = Path(config.data_dir)
    make_data_dir(data_dir)
    lock = await lock_data_dir(data_dir)
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(config, lock=lock, command=command, limits=limits or Limits(), search=search)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.signalled)
    loop.add_signal_handler(signal.SIGHUP, lambda: logger.warning("reload_not_supported", instead="restart"))
    try:
        return await supervisor.run()
    finally:
        # What comes from here to the end of the process must not make an orderly end look like another.
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            loop.remove_signal_handler(number)
        os.close(lock)
