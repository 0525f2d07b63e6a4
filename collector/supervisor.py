"""`tidewaiter run`: starts intake, worker and console, watches them, starts a dead one again, and stops them in order.

A child is a fresh interpreter that gets only its part of the configuration: the intake no outputs (nor their secrets),
the worker no inputs, the console neither. Order of a stop: the intake first, so that what senders were promised is in
the journal, then the worker, which settles what it has in hand, then the console.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import msgspec

from collector import __version__, telemetry
from collector.config import Config
from collector.control import Channel, Configure, Report, Reports, Stop
from collector.errors import DataDirError
from collector.internal import InternalClient, InternalClosed
from collector.logs import get_logger
from pipelines.frame import Producer

START_ORDER: Final = ("intake", "worker", "console")
STOP_ORDER: Final = ("intake", "worker", "console")

DRAIN_LIMIT_S: Final = 10.0
"""A stop takes at most this long in all; who has not finished by then is killed. Nothing acknowledged is lost by it."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
STABLE_S: Final = 30.0
"""A role that lived this long starts again without a pause."""

AUDIT_PRODUCER: Final = "supervisor"
AUDIT_TIMEOUT_S: Final = 2.0

logger = get_logger("supervisor")

Command = Callable[[str, int], list[str]]


def role_command(role: str, descriptor: int) -> list[str]:
    """Return the command line of a role's process; -P keeps the current folder off the import path."""
    return [sys.executable, "-P", "-m", "collector.role", role, str(descriptor), str(os.getpid())]


def config_for(role: str, config: Config) -> Config:
    """Return what a role may know."""
    if role == "intake":
        return msgspec.structs.replace(config, outputs={}, consumers=sorted([*config.outputs, "dead-letters"]))
    if role == "worker":
        return msgspec.structs.replace(config, inputs={})
    return msgspec.structs.replace(config, inputs={}, outputs={})


def lock_data_dir(data_dir: Path) -> IO[str]:
    """Make the data folder if need be and hold it; raise DataDirError when it is another's, or held."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = data_dir.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise DataDirError(f"{data_dir}: must be a folder of the user who runs tidewaiter, not a link")
        data_dir.chmod(0o700)
        lock = (data_dir / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise DataDirError(f"{data_dir}: cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        raise DataDirError(f"{data_dir}: in use by tidewaiter with pid {holder}") from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


class Child:
    """One role's process, started again whenever it ends before its time."""

    def __init__(self, role: str, config: Config, command: Command, on_report: Callable[[Report], None]) -> None:
        self.role = role
        self.report: Report | None = None
        self.stopping = False
        self._config = config
        self._command = command
        self._on_report = on_report
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    async def keep(self) -> None:
        """Run the role until it is stopped."""
        pause_s = FIRST_PAUSE_S
        while not self.stopping:
            started = time.monotonic()
            code = await self._live()
            self.report = None
            if self.stopping:
                return
            lived_s = time.monotonic() - started
            pause_s = FIRST_PAUSE_S if lived_s > STABLE_S else pause_s
            telemetry.RESTARTS.labels(role=self.role).inc()
            logger.error("role died", role=self.role, code=code, lived_s=round(lived_s, 1), again_in_s=pause_s)
            self._on_report(Report(self.role, {"process": "died; starting again"}, []))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _live(self) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self._process = process = subprocess.Popen(
                self._command(self.role, descriptor), pass_fds=(descriptor,), stdin=subprocess.DEVNULL
            )
        self._channel = channel = await Channel.over(ours)
        channel.send(Configure(msgspec.to_builtins(self._config)))
        if self.stopping:
            channel.send(Stop())
        while True:
            message = await channel.receive()
            if message is None:
                break
            if isinstance(message, Report):
                self.report = message
                self._on_report(message)
        channel.close()
        return await _reaped(process)

    def send(self, message: Reports) -> None:
        """Tell the role something, if it lives."""
        if self._channel is not None:
            self._channel.send(message)

    def stop(self) -> None:
        """Ask the role to drain and exit."""
        self.stopping = True
        if self._channel is not None:
            self._channel.send(Stop())

    def kill(self) -> None:
        """End the process at once."""
        self.stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


async def _reaped(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process whose channel has closed; one that closed it and lives on is killed."""
    deadline = time.monotonic() + 1.0
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    if process.poll() is None:
        process.kill()
    return process.wait()


class Supervisor:
    """The roles of one collector, and what is wrong with them."""

    def __init__(self, config: Config, command: Command = role_command) -> None:
        self._config = config
        self._children = {
            role: Child(role, config_for(role, config), command, self._take) for role in START_ORDER
        }
        self._ready = False
        self._stop = asyncio.Event()
        self._audit = asyncio.Lock()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; a second one kills. Return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, lambda: logger.warning("reload is not built yet; restart instead"))
        tasks = {role: asyncio.create_task(child.keep()) for role, child in self._children.items()}
        recorded = asyncio.create_task(self._record_start())
        await self._stop.wait()
        _notify("STOPPING=1")
        recorded.cancel()
        await self._stop_all(tasks)
        logger.info("stopped")
        return 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            for child in self._children.values():
                child.kill()
        self._stop.set()

    async def _stop_all(self, tasks: dict[str, asyncio.Task[None]]) -> None:
        deadline = time.monotonic() + DRAIN_LIMIT_S
        if self._ready:
            await self._record("stop", {})
        for role in STOP_ORDER:
            self._children[role].stop()
            left_s = max(deadline - time.monotonic(), 0.5)
            done, _ = await asyncio.wait([tasks[role]], timeout=left_s)
            if not done:
                logger.error("role did not stop in time", role=role, limit_s=DRAIN_LIMIT_S)
                self._children[role].kill()
                tasks[role].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _take(self, _report: Report) -> None:
        """Judge the whole anew, tell the console, and say once when it is ready."""
        problems = self.problems()
        reports = [child.report for child in self._children.values() if child.report is not None]
        own = Report("supervisor", {}, msgspec.to_builtins(telemetry.samples("supervisor")))
        self._children["console"].send(Reports([*reports, own], problems))
        if not problems and not self._ready:
            self._ready = True
            _notify("READY=1")
            self._announce()

    def problems(self) -> dict[str, str]:
        """Return what keeps the collector from being ready, by component; empty when it is."""
        found = {}
        for role, child in self._children.items():
            if child.report is None:
                found[role] = "not running yet"
                continue
            found |= {f"{role}: {component}": reason for component, reason in child.report.health.items() if reason}
        return {
            component: reason for component, reason in found.items() if not component.startswith("worker: output ")
        }

    def _announce(self) -> None:
        listening = {f"input_{name}": options.listen for name, options in self._config.inputs.items()}
        logger.info("ready", version=__version__, console=f"http://{self._config.console.listen}", **listening)

    async def _record_start(self) -> None:
        details = {"version": __version__, "pid": os.getpid(), "inputs": sorted(self._config.inputs)}
        while not await self._record("start", details):
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _record(self, action: str, details: dict[str, object]) -> bool:
        """Append an audit record of our own; False when the intake does not take it now."""
        record = {"action": action, "outcome": "success", "time_ns": time.time_ns(), "details": details}
        try:
            async with asyncio.timeout(AUDIT_TIMEOUT_S), self._audit:
                async with InternalClient(Path(self._config.data_dir) / "run" / "intake.sock") as client:
                    last = await client.last_produced(AUDIT_PRODUCER)
                    producer = Producer(AUDIT_PRODUCER, last.sequence + 1 if last else 1)
                    receipt = await client.append(producer, "audit", msgspec.json.encode(record))
                    return receipt.value == "durable"
        except (InternalClosed, TimeoutError):
            return False


async def supervise(config: Config, command: Command = role_command) -> int:
    """Hold the data folder and run all roles; raise DataDirError."""
    lock = lock_data_dir(Path(config.data_dir))
    with contextlib.closing(lock):
        return await Supervisor(config, command).run()


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.sendall(state.encode())
