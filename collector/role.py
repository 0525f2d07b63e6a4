"""What every child process is: a role with a context, told by the supervisor what to do and never outliving it.

Started as `python -P -m collector.role ROLE --control-fd N`, N being its end of the control channel. The interrupt of a
terminal is ignored, for the supervisor decides; SIGTERM drains, like the supervisor's word.
"""

import asyncio
import contextlib
import ctypes
import importlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from collector.config import Config
from collector.control import (
    PROCESS,
    Answer,
    Channel,
    Configure,
    Go,
    Message,
    Prepare,
    Report,
    Reports,
    Stop,
    Switch,
)
from collector.errors import sentence_of
from collector.logs import configure, get_logger, log_uncaught, tell_left_out
from collector.samples import Telemetry

ROLES: Final = {
    "intake": "collector.intake",
    "worker": "collector.worker",
    "console": "collector.console.server",
    "watcher": "collector.watchers.watcher",
    "judge": "collector.isolation.judge",
}
"""Role -> the module whose `main` it runs, in the event loop of its `new_event_loop` where it has one.

Imported only by that process, so each loads just what it needs."""

REPORT_INTERVAL_S: Final = 1.0
EXIT_WRONG_USE: Final = 2
PR_SET_PDEATHSIG: Final = 1

RoleMain = Callable[["Context"], Awaitable[None]]

logger = get_logger("role")


class Sender(Protocol):
    """What a context needs of the control channel."""

    def send(self, message: Message) -> None:
        """Send without waiting."""


class Context:
    """What a role knows and may say. Belongs to the event loop's thread.

    `config` is the role's part of the configuration: the intake knows outputs by name only, the worker no input that
    listens. `stopping` is set when the drain begins. `reports` is for the console: the newest of all roles. `changes`
    are what a reload asks of the role, each to be answered. One that `stands_by` waits for its `turn`.
    """

    def __init__(self, role: str, config: Config, channel: Sender, *, stands_by: bool = False) -> None:
        self.role = role
        self.config = config
        self.telemetry = Telemetry(role)
        self.stopping = asyncio.Event()
        self.stands_by = stands_by
        self.turn = asyncio.Event()
        self.changes: asyncio.Queue[Prepare | Switch] = asyncio.Queue()
        self.reports: Reports | None = None
        self._channel = channel
        self._health: dict[str, str] = {}
        self._report_due = False

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return Path(self.config.data_dir)

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the drain begins."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def stop(self) -> None:
        """Begin to drain; who stands by waits no longer."""
        self.stopping.set()
        self.turn.set()

    def healthy(self, component: str) -> None:
        """Say that nothing is wrong with a component."""
        self._set(component, "")

    def unhealthy(self, component: str, reason: str) -> None:
        """Say what is wrong with a component, for an operator to read."""
        self._set(component, reason or "unhealthy")

    def forget(self, component: str) -> None:
        """Say nothing of a component any more: there is none."""
        if self._health.pop(component, None) is not None:
            self._report_soon()

    def answer(self, number: int, problems: Sequence[tuple[str, str]]) -> None:
        """Answer what a reload asked; what was said of health before is told before."""
        self.report()
        self._channel.send(Answer(number, list(problems)))

    def _set(self, component: str, reason: str) -> None:
        if self._health.get(component) == reason:
            return
        self._health[component] = reason
        self._report_soon()

    def _report_soon(self) -> None:
        if not self._report_due:
            # What changes in one turn of the loop is one report.
            self._report_due = True
            asyncio.get_running_loop().call_soon(self.report)

    def report(self) -> None:
        """Send health and metrics to the supervisor."""
        self._report_due = False
        self._channel.send(Report(self.role, dict(self._health), self.telemetry.families()))


def die_with_parent(end: socket.socket) -> None:
    """Have the kernel kill us when the supervisor dies, however it dies; elsewhere the channel's end does it.

    `end` knows who made the channel: when that is not our parent any more, the supervisor died before the kernel
    was asked.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    supervisor, _, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if os.getppid() != supervisor:
        os._exit(1)


async def run(role: str, end: socket.socket, main: RoleMain) -> int:
    """Run a role to its end; return its exit code."""
    channel = await Channel.over(end)
    first = await channel.receive()
    if not isinstance(first, Configure):
        return 1
    context = Context(role, msgspec.convert(first.config, Config), channel, stands_by=first.stands_by)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, context.stop)
    background = (asyncio.create_task(_listen(channel, context)), asyncio.create_task(_report(context)))
    code = 1
    try:
        await main(context)
        code = 0
    except Exception as error:
        # The process boundary: the supervisor starts us again, and what happened is in the log and in the health.
        if sentence := sentence_of(error):
            logger.error("role_ended_itself", role=role, reason=sentence)  # noqa: TRY400 - an operator needs no traceback
        else:
            logger.exception("role_failed", role=role)
        context.unhealthy(PROCESS, sentence or f"{type(error).__name__}: {error}")
    finally:
        for task in background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        context.report()
        await channel.close()
    return code


async def _listen(channel: Channel, context: Context) -> None:
    while True:
        message = await channel.receive()
        if message is None:
            # At once, as if killed: another supervisor may be starting another intake on the same journal.
            os._exit(1)
        if isinstance(message, Stop):
            context.stop()
        elif isinstance(message, Go):
            context.turn.set()
        elif isinstance(message, Prepare | Switch):
            context.changes.put_nowait(message)
        elif isinstance(message, Reports):
            context.reports = message


async def _report(context: Context) -> None:
    while True:
        context.report()
        await asyncio.sleep(REPORT_INTERVAL_S)


def main(arguments: Sequence[str]) -> int:
    """Entry of a child process; return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    match arguments:
        case [role, "--control-fd", descriptor] if role in ROLES and descriptor.isdecimal():
            end = socket.socket(fileno=int(descriptor))
        case _:
            sys.stderr.write(f"usage: python -m collector.role {'|'.join(ROLES)} --control-fd N\n")
            return EXIT_WRONG_USE
    end.set_inheritable(False)
    die_with_parent(end)
    configure()
    log_uncaught(logger)
    try:
        module = importlib.import_module(ROLES[role])
        with asyncio.Runner(loop_factory=getattr(module, "new_event_loop", None)) as runner:
            return runner.run(run(role, end, module.main))
    finally:
        tell_left_out()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
