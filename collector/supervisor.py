"""`tidewaiter run`: starts intake, worker and console, watches them, starts a dead one again, and stops them in order.

A watcher is there only where something is to be asked. The collector is ready while every input listens, the journal
takes appends and every other role is up; an output that fails, or a watcher, makes it degraded, never unready, for
senders lose nothing by it. SIGHUP, or `tidewaiter reload`, lets another configuration hold (`collector.reload`).

Order of a stop: our own record of it into the journal; then watcher and intake, so that what senders were promised is
kept and the worker hears of its last frame; then worker and console, which finish what they have in hand.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from collector import __version__, telemetry
from collector.audit import AuditTrail
from collector.child import Backoff, Child, Command
from collector.config import Config, ForwardInputConfig, ListeningInputConfig, listening
from collector.config_file import Loaded
from collector.control import Report, Reports
from collector.data_dir import lock_data_dir, make_data_dir
from collector.logs import get_logger, tell_left_out
from collector.reload import Outcome, Reloader
from collector.reload_socket import ReloadServer
from collector.roles import CONSOLE, INTAKE, WATCHER, WORKER, Roles, role_command
from collector.samples import Telemetry
from collector.systemd import notify, reloading

TICK_S: Final = 1.0
AUDIT_LIMIT_S: Final = 2.0
"""How long a stop waits for its own record to become durable."""

LAST_S: Final = 2.0
"""Part of the drain limit that the intake leaves to the roles behind it."""

EXIT_KILLED: Final = 1

logger = get_logger("supervisor")


class Limits(msgspec.Struct, frozen=True):
    """Times of the supervisor. `drain_s` bounds a stop in all; who has not ended by then is killed.

    Nothing acknowledged is lost by that: it is in the journal, and outputs begin again at their cursors. `ready_s` is
    how long what a reload starts may take to get ready, `switch_s` the journal and the intake to change.
    """

    drain_s: float = 10.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0
    stable_s: float = 30.0
    ready_s: float = 60.0
    switch_s: float = 20.0


class Supervisor:
    """The roles of one collector, and what is wrong with them."""

    def __init__(
        self,
        config: Config,
        *,
        lock: int,
        command: Command,
        limits: Limits,
        search: str,
        load: Callable[[], Loaded] | None,
    ) -> None:
        self._limits = limits
        self._search = search
        self._telemetry = Telemetry("supervisor")
        self._audit = AuditTrail(Path(config.data_dir))
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._ready = False
        self._announced = False
        self._started_at_s = time.monotonic()
        self._roles = Roles(
            config,
            lock=lock,
            command=command,
            make_backoff=lambda: Backoff(limits.first_pause_s, limits.longest_pause_s, limits.stable_s),
            on_change=self._changed.set,
        )
        self._reloader = Reloader(
            self._roles, load, ready_s=limits.ready_s, switch_s=limits.switch_s, let_go_s=limits.drain_s
        )
        self._reload_wanted = asyncio.Event()
        self._beside: set[asyncio.Task[None]] = set()
        self._server = ReloadServer(Path(config.data_dir), self.reload)
        telemetry.BUILD.labels(version=__version__).set(1)

    def signalled(self) -> None:
        """Begin to drain; when that has begun, end at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def hung_up(self) -> None:
        """Reload, when what is being done is done; however often this is called meanwhile, once."""
        self._reload_wanted.set()

    async def reload(self) -> Outcome:
        """Let what the configuration's file says now hold, or change nothing; the journal records which."""
        # Who has not been told yet that we are ready must not hear it because of a reload.
        told = self._announced
        if told:
            reloading()
        try:
            outcome = await self._reloader.reload()
        finally:
            if told:
                notify("READY=1")
        refused = outcome.status == "refused"
        telemetry.RELOADS.labels(outcome=outcome.status).inc()
        telemetry.RELOAD_REFUSED.set(refused)
        outcome.tell()
        self._own(self._audit.record("reload", outcome.details(), outcome="failure" if refused else "success"))
        self._changed.set()
        return outcome

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside us, no longer than we run."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def run(self) -> int:
        """Run until signalled; return the exit code."""
        self._roles.begin()
        await self._server.start()
        tasks = [asyncio.create_task(each) for each in (self._watch(), self._record(), self._reload_when_told())]
        try:
            await self._stop.wait()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            await self._server.close()
            killed = await self._drain()
        finally:
            for task in (*tasks, *self._beside):
                task.cancel()
            await self._roles.kill_all()
            await asyncio.gather(*tasks, *self._beside, return_exceptions=True)
        logger.info("stopped", killed=killed, ran_s=round(time.monotonic() - self._started_at_s, 1))
        tell_left_out()
        return EXIT_KILLED if killed else 0

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await self.reload()

    async def _watch(self) -> None:
        """Judge the whole whenever something changed, and once a second, and tell the console."""
        while True:
            self._changed.clear()
            self._roles.look()
            self._judge()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TICK_S)

    def _judge(self) -> None:
        problems, degraded = self.problems(), self.degraded()
        telemetry.READY.set(not problems)
        for role, child in self._roles.items():
            telemetry.ROLE_UP.labels(role=role).set(not child.problem())
        own = Report("supervisor", {}, self._telemetry.families())
        reports = [child.report for _, child in self._roles.items() if child.report is not None]
        if CONSOLE in self._roles:
            self._roles[CONSOLE].send(Reports([*reports, own], problems, degraded))
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
        for role, child in self._roles.items():
            health = child.report.health if child.report is not None else {}
            if role == WATCHER:
                continue
            if problem := child.problem():
                found[role] = problem
            elif missing := self._roles.required[role] - health.keys():
                found[role] = f"starting: {', '.join(sorted(missing))}"
            elif role == "intake":
                found |= dict(_unhealthy(child))
        return found

    def degraded(self) -> dict[str, str]:
        """Return what is wrong beside that: outputs, who is asked, and the console itself."""
        roles = [role for role, _ in self._roles.items() if role != INTAKE]
        found = {name: reason for role in roles for name, reason in _unhealthy(self._roles[role])}
        if WATCHER in self._roles and (problem := self._roles[WATCHER].problem()):
            found[WATCHER] = problem
        return found

    def _announce(self) -> None:
        """Say where it listens, how to send to it, and how to search."""
        inputs = listening(self._roles.config)
        logger.info(
            "ready",
            version=__version__,
            listening=", ".join(f"{name} {options.listen}" for name, options in inputs.items()) or "nowhere",
            console=f"http://{self._roles.config.console.listen}",
            send=next((_how_to_send(options) for options in inputs.values()), "no input is configured"),
            search=self._search,
        )

    async def _record(self) -> None:
        """Put our own start into the journal, and from then on what commands leave to be put there."""
        details = {"version": __version__, "pid": os.getpid(), "inputs": sorted(self._roles.config.inputs)}
        await self._audit.record("start", details)
        while True:
            await self._audit.take_left()
            await asyncio.sleep(TICK_S)

    async def _drain(self) -> list[str]:
        """Stop all roles in order, within the limit; return those that had to be killed."""
        notify("STOPPING=1")
        self._changed.set()
        roles = self._roles
        deadline_s = time.monotonic() + self._limits.drain_s
        roles.retire()
        if roles[INTAKE].report is not None:
            limit_s = min(AUDIT_LIMIT_S, self._limits.drain_s / 4)
            recording = asyncio.create_task(self._record_stop())
            await self._within(limit_s, recording)
            recording.cancel()
        killed = []
        last_s = min(LAST_S, self._limits.drain_s / 4)
        for names, until_s in (((WATCHER, INTAKE), deadline_s - last_s), ((WORKER, CONSOLE), deadline_s)):
            present = [role for role in names if role in roles]
            for role in present:
                roles[role].stop()
            await self._within(until_s - time.monotonic(), *roles.kept(*present, leaving=WORKER in present))
            for role in present:
                if not roles.is_over(role) and roles[role].kill():
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


def _how_to_send(options: ListeningInputConfig) -> str:
    listen = options.listen
    if not isinstance(options, ForwardInputConfig):
        over = "https" if options.tls is not None else "http"
        return f"POST to {over}://{listen}" if not listen.startswith("unix:") else f"POST to {listen}"
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
    load: Callable[[], Loaded] | None = None,
) -> int:
    """Hold the data folder and run all roles until SIGTERM or SIGINT; return the exit code. Raises DataDirError.

    The first signal drains, a second one ends at once. `command` makes a role's command line of its name and control
    descriptor; `search` is what the ready message shows; `load` reads the configuration again, for a reload. Belongs
    into the main thread, of a process that ends with it.
    """
    data_dir = Path(config.data_dir)
    make_data_dir(data_dir)
    lock = await lock_data_dir(data_dir)
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(config, lock=lock, command=command, limits=limits or Limits(), search=search, load=load)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.signalled)
    loop.add_signal_handler(signal.SIGHUP, supervisor.hung_up)
    try:
        return await supervisor.run()
    finally:
        # What comes from here to the end of the process must not make an orderly end look like another.
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            loop.remove_signal_handler(number)
        os.close(lock)
