"""A real `tidewaiter run` for tests: own data folder, own ports, its processes known by pid.

    collector = RunningCollector(tmp_path)
    collector.start()
    collector.wait_ready()
    …
    documents = collector.search("*")
    assert collector.stop() == 0

Every process it starts inherits a mark in its environment, so `processes` finds them even when their parent is dead.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from collector.errors import TidewaiterError

READY_TIMEOUT_S: Final = 90.0
"""How long `wait_ready` waits; far above the two seconds a start may take, so that a loaded machine does not fail."""

STOP_TIMEOUT_S: Final = 20.0
"""How long `stop` waits: the drain limit of 10 s and some."""

SEARCH_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.01

FREE_PORTS: Final = range(20_000, 32_000)
"""Below the kernel's ephemeral ports, so that no outgoing connection takes a port while a collector restarts."""

MARK: Final = "TIDEWAITER_TEST_RUN"
"""The environment variable that marks the processes of one collector under test."""

ROLES: Final = ("intake", "worker", "console", "watcher")


class CollectorError(TidewaiterError):
    """The collector under test did not do what was asked; the text ends with its log."""


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for port in random.sample(FREE_PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CollectorError("no free port found")


def lives(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str, poll_s: float = POLL_S) -> None:
    """Wait until a condition holds; raise CollectorError naming `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise CollectorError(f"not within {timeout_s} s: {what}")
        time.sleep(poll_s)


class RunningCollector:
    """One collector: the files and ports outlive its processes, so it can be killed and started again.

    `environment` is put on top of ours at a start; `wrapper` is a command that runs ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        outputs: Mapping[str, Mapping[str, object]] | None = None,
        settings: Mapping[str, object] | None = None,
        input_options: Mapping[str, object] | None = None,
    ) -> None:
        """Write the configuration; nothing runs yet.

        Args:
            folder: holds configuration, data folder, log and Unix socket; its path must be short enough for a socket.
            outputs: the configuration's section, or None for one local store named `store`.
            settings: further sections, in place of the kit's.
            input_options: further options of the input over TCP, `docker`.
        """
        self.data_dir = folder / "data"
        self.config_file = folder / "tidewaiter.yaml"
        self.log_file = folder / "log"
        self.forward_port = free_port()
        self.forward_socket = folder / "forward.sock"
        self.console_port = free_port()
        self._mark = uuid.uuid4().hex
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        self.wrapper: list[str] = []
        configuration: dict[str, object] = {
            "data_dir": str(self.data_dir),
            "name": "collector-under-test",
            "inputs": {
                "docker": {
                    "type": "forward",
                    "listen": f"127.0.0.1:{self.forward_port}",
                    **(input_options or {}),
                },
                "socket": {"type": "forward", "listen": f"unix://{self.forward_socket}"},
            },
            "outputs": {"store": {"type": "local"}} if outputs is None else outputs,
            "console": {"listen": f"127.0.0.1:{self.console_port}"},
            # Tests count documents: alerts of our own rules are for those that ask for them.
            "rules": {"pack": False},
            **(settings or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(json.dumps(configuration, indent=2))  # JSON is YAML

    def command(self, *arguments: str) -> list[str]:
        """The argument list of a `tidewaiter` command with this configuration."""
        return [str(Path(sys.executable).with_name("tidewaiter")), "--config", str(self.config_file), *arguments]

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        if self._supervisor is None:
            raise CollectorError("the collector was not started")
        return self._supervisor.pid

    def start(self) -> None:
        """Start `tidewaiter run`; does not wait."""
        with self.log_file.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [*self.wrapper, *self.command("run")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, MARK: self._mark},
            )

    def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until `/health/ready` answers 200; raise CollectorError when the supervisor ends or time is up."""
        deadline = time.monotonic() + timeout_s
        answer = (0, "nothing")
        while (answer := self.get("/health/ready"))[0] != 200:
            ended = self._supervisor is not None and self._supervisor.poll() is not None
            if ended or time.monotonic() > deadline:
                raise CollectorError(f"not ready ({answer[1]}):\n{self.log()[-4000:]}")
            time.sleep(POLL_S)

    def get(self, path: str) -> tuple[int, str]:
        """Ask the console port; return status and body, 0 and the reason when it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.console_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def processes(self) -> dict[int, str]:
        """Every living process of this collector, orphans too: pid -> role (`supervisor`, `intake`, …)."""
        mark = f"{MARK}={self._mark}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if mark not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            child = "collector.role" in arguments
            roles = (*ROLES, "judge")
            found[int(folder.name)] = next((role for role in roles if child and role in arguments), "supervisor")
        return found

    def pid_of(self, role: str) -> int | None:
        """The process id of a role, None while it does not run."""
        return next((pid for pid, name in self.processes().items() if name == role), None)

    def resident_bytes(self, role: str, *, peak: bool = False) -> int:
        """Return the resident memory of a role's process, or the most it ever was; raise CollectorError without one."""
        pid = self.pid_of(role)
        if pid is None:
            raise CollectorError(f"no {role} runs")
        name = "VmHWM:" if peak else "VmRSS:"
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, 0 where there are none."""
        _, page = self.get("/metrics")
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in page.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))

    def kill(self, role: str) -> bool:
        """Kill -9 one role (or `supervisor`); False when it does not run."""
        pid = self.pid_of(role)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if role == "supervisor" and self._supervisor is not None:
            self._supervisor.wait()
        return True

    def kill_all(self) -> None:
        """Kill -9 the supervisor and every child at once."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._supervisor is not None:
            self._supervisor.wait()

    def wait_gone(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until no process of this collector lives; raise CollectorError naming those that stay."""
        deadline = time.monotonic() + timeout_s
        while alive := self.processes():
            if time.monotonic() > deadline:
                raise CollectorError(f"still alive: {alive}")
            time.sleep(POLL_S)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, wait for the drain, return the exit code; raise CollectorError when processes stay."""
        if self._supervisor is None:
            raise CollectorError("the collector was not started")
        self._supervisor.send_signal(signal.SIGTERM)
        try:
            code = self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired as expired:
            self.kill_all()
            raise CollectorError(f"did not stop within {timeout_s} s:\n{self.log()[-4000:]}") from expired
        self.wait_gone(timeout_s=5)
        return code

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        os.kill(self.pid, number)

    def wait(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the supervisor ends by itself; return its exit code, negative for a signal."""
        if self._supervisor is None:
            raise CollectorError("the collector was not started")
        try:
            return self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired as expired:
            raise CollectorError(f"did not end within {timeout_s} s:\n{self.log()[-4000:]}") from expired

    def log(self) -> str:
        """What the collector wrote so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def search(self, query: str, *options: str) -> list[dict[str, Any]]:
        """Run `tidewaiter search QUERY --json`: documents, oldest first; raise CollectorError when it fails."""
        return [json.loads(line) for line in self._search([query, *options]).splitlines()]

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run `tidewaiter search --json --sql SELECT…` over the view `logs`; return the rows."""
        return [json.loads(line) for line in self._search(["--sql", sql]).splitlines()]

    def _search(self, arguments: Sequence[str]) -> str:
        done = subprocess.run(
            self.command("search", "--json", *arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=SEARCH_TIMEOUT_S,
        )
        if done.returncode:
            raise CollectorError(f"search {arguments} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout
