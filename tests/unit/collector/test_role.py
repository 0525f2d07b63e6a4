"""A role's process and its context: configured, heard, stopped, never an orphan."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.config import Config, ConsoleConfig
from collector.control import Message, Report, Stop
from collector.role import Context, main, run
from tests.kit.running import free_port, lives, wait_until

TIMEOUT_S = 45.0


class Kept:
    """Keeps what a context says."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)


async def test_health_that_changes_is_reported_at_once_and_in_one_report() -> None:
    """What changes in one turn of the loop is one report; saying the same again is none."""
    kept = Kept()
    context = Context("intake", Config(data_dir="/data"), kept)

    context.healthy("journal")
    context.unhealthy("input docker", "the port is in use")
    await asyncio.sleep(0)
    context.healthy("journal")
    await asyncio.sleep(0)

    assert [{"journal": "", "input docker": "the port is in use"}] == [
        message.health for message in kept.messages if isinstance(message, Report)
    ]


class Line:
    """The supervisor's end of a role that runs in this process."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.settimeout(TIMEOUT_S)
        self._received = self._ours.makefile("rb")
        config = msgspec.to_builtins(Config(data_dir="/data"))
        self._ours.sendall(json.dumps({"type": "configure", "config": config}).encode() + b"\n")

    def stop(self) -> None:
        """Tell the role to stop."""
        self._ours.sendall(msgspec.json.encode(Stop()) + b"\n")

    def reports(self) -> list[dict[str, Any]]:
        """Everything the role said until it hung up."""
        return [json.loads(line) for line in self._received]

    def close(self) -> None:
        """Hang up."""
        self._received.close()
        self._ours.close()


@pytest.fixture
def line() -> Iterator[Line]:
    """A control channel whose first message is there already."""
    each = Line()
    yield each
    each.close()


async def test_a_role_that_drained_ends_with_exit_code_zero(line: Line) -> None:
    """The word to stop sets `stopping`; when the role's main has returned, the last report is sent and it is over."""

    async def role(context: Context) -> None:
        context.healthy("journal")
        line.stop()
        await context.stopping.wait()
        context.unhealthy("journal", "closed")

    code = await run("intake", line.theirs, role)

    assert 0 == code
    assert {"journal": "closed"} == line.reports()[-1]["health"]


async def test_sigterm_drains_like_the_supervisors_word(line: Line) -> None:
    """SIGTERM sets `stopping`."""

    async def role(context: Context) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(context.stopping.wait(), TIMEOUT_S)

    assert 0 == await run("intake", line.theirs, role)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_an_exception_is_logged_reported_and_ends_with_exit_code_one(
    line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    """The traceback is in the log, the reason in the last report."""

    async def role(_context: Context) -> None:
        raise RuntimeError("no such luck")

    code = await run("worker", line.theirs, role)

    assert 1 == code
    assert "RuntimeError: no such luck" == line.reports()[-1]["health"]["process"]
    logged = json.loads(capsys.readouterr().err)
    assert ("role_failed", True) == (logged["event"], "Traceback" in logged["traceback"])


@pytest.mark.parametrize(
    "arguments", [[], ["intake"], ["nonsense", "--control-fd", "3"], ["intake", "--control-fd", "x"]]
)
def test_wrong_arguments_are_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and how it is used."""
    before = signal.getsignal(signal.SIGINT)
    code = main(arguments)
    signal.signal(signal.SIGINT, before)

    assert 2 == code
    assert capsys.readouterr().err.startswith("usage:")


PARENT = """
import socket, subprocess, sys
test = socket.socket(fileno=int(sys.argv[1]))
ours, theirs = socket.socketpair()
descriptor = theirs.fileno()
command = [sys.executable, "-P", "-m", "collector.role", "console", "--control-fd", str(descriptor)]
child = subprocess.Popen(command, pass_fds=[descriptor])
theirs.close()
socket.send_fds(test, [str(child.pid).encode()], [ours.fileno()])
child.wait()
"""


class Process:
    """A real console role, started by a parent that can be killed."""

    def __init__(self, tmp_path: Path) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(TIMEOUT_S)
        command = [sys.executable, "-P", "-m", "collector.role", "console", "--control-fd", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        listen = f"127.0.0.1:{free_port()}"
        config = msgspec.to_builtins(Config(data_dir=str(tmp_path), console=ConsoleConfig(listen=listen)))
        self.ours.sendall(json.dumps({"type": "configure", "config": config}).encode() + b"\n")
        self.received = self.ours.makefile("rb")

    def wait_up(self) -> None:
        """Wait until it listens."""
        while json.loads(self.received.readline())["health"].get("console") != "":
            pass


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Process]:
    """A console that is up."""
    each = Process(tmp_path)
    each.wait_up()
    yield each
    each.received.close()
    each.ours.close()
    each.process.kill()
    each.process.wait()


def test_a_terminals_interrupt_does_not_reach_a_role(console: Process) -> None:
    """SIGINT is ignored; the supervisor's word ends it with exit code 0."""
    console.process.send_signal(signal.SIGINT)
    console.ours.sendall(msgspec.json.encode(Stop()) + b"\n")

    assert 0 == console.process.wait(TIMEOUT_S)


def test_sigterm_drains_a_role(console: Process) -> None:
    """SIGTERM ends it with exit code 0."""
    console.process.terminate()

    assert 0 == console.process.wait(TIMEOUT_S)


def test_the_end_of_the_control_channel_ends_a_role(console: Process) -> None:
    """Without a supervisor there is no role."""
    console.received.close()
    console.ours.close()

    assert 1 == console.process.wait(TIMEOUT_S)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal is Linux's")
def test_a_role_dies_with_its_parent_even_when_the_channel_stays_open() -> None:
    """The kernel kills it: a role that hangs in a system call or a loop cannot outlive its supervisor either."""
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT_S)
    with ours, theirs:
        command = [sys.executable, "-P", "-c", PARENT, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as parent:
            pid, (descriptor,), _, _ = socket.recv_fds(ours, 20, 1)
            with socket.socket(fileno=descriptor) as channel:
                config = msgspec.to_builtins(
                    Config(data_dir="/data", console=ConsoleConfig(f"127.0.0.1:{free_port()}"))
                )
                channel.sendall(json.dumps({"type": "configure", "config": config}).encode() + b"\n")
                first_report = channel.recv(1)
                parent.kill()
                parent.wait()

                wait_until(lambda: not lives(int(pid)), timeout_s=TIMEOUT_S, what="the role to die")

    assert b"{" == first_report
