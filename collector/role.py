"""What every child process is: a role with a context, told by the supervisor what to do and never outliving it.

Started as `python -P -m collector.role ROLE FD`, FD being its end of the control channel.
"""

import asyncio
import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, cast

import msgspec

from collector import telemetry
from collector.config import Config
from collector.control import Channel, Configure, Report, Reports, Stop
from collector.logs import configure, get_logger

ROLES: Final = {
    "intake": "collector.intake",
    "worker": "collector.worker",
    "console": "collector.console.server",
}
"""Role -> the module whose `main` it runs; imported only by that process, so each loads just what it needs."""

REPORT_INTERVAL_S: Final = 1.0
PR_SET_PDEATHSIG: Final = 1

logger = get_logger("role")


class Context:
    """What a role knows and may say. Belongs to the event loop's thread."""

    def __init__(self, role: str, config: Config, channel: Channel) -> None:
        self.role = role
        self.config = config
        self.stopping = asyncio.Event()
        self.reports: Reports | None = None
        self._channel = channel
        self._health: dict[str, str] = {}

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return Path(self.config.data_dir)

    def healthy(self, component: str) -> None:
        """Say that nothing is wrong with a component."""
        self._set(component, "")

    def unhealthy(self, component: str, reason: str) -> None:
        """Say what is wrong with a component, for an operator to read."""
        self._set(component, reason)

    def _set(self, component: str, reason: str) -> None:
        if self._health.get(component) != reason:
            self._health[component] = reason
            self.report()

    def report(self) -> None:
        """Send health and metrics to the supervisor."""
        self._channel.send(Report(self.role, dict(self._health), msgspec.to_builtins(telemetry.samples(self.role))))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill us when the supervisor dies, however it dies; elsewhere the channel's end does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


async def run(role: str, end: socket.socket, main: Callable[[Context], Awaitable[None]]) -> int:
    """Run a role to its end; return its exit code."""
    channel = await Channel.over(end)
    first = await channel.receive()
    if not isinstance(first, Configure):
        return 1
    context = Context(role, msgspec.convert(first.config, Config), channel)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, context.stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's reaches us too; the supervisor decides
    listening = asyncio.create_task(_listen(channel, context))
    reporting = asyncio.create_task(_report(context))
    try:
        await main(context)
    finally:
        context.report()
        for task in (listening, reporting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        channel.close()
    return 0


async def _listen(channel: Channel, context: Context) -> None:
    while True:
        message = await channel.receive()
        if message is None:
            os._exit(1)
        if isinstance(message, Stop):
            context.stopping.set()
        elif isinstance(message, Reports):
            context.reports = message


async def _report(context: Context) -> None:
    while True:
        await asyncio.sleep(REPORT_INTERVAL_S)
        context.report()


def main() -> None:
    """Entry of a child process: role, file descriptor, pid of the supervisor."""
    role, descriptor, parent = sys.argv[1:4]
    die_with_parent(int(parent))
    configure()
    code = 1
    try:
        entry = cast("Callable[[Context], Awaitable[None]]", importlib.import_module(ROLES[role]).main)
        code = asyncio.run(run(role, socket.socket(fileno=int(descriptor)), entry))
    except Exception:
        # The process boundary: the supervisor starts us again; what happened must be in the log.
        logger.exception("role failed", role=role)
    sys.exit(code)


if __name__ == "__main__":
    main()
