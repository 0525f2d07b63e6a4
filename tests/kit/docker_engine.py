"""A real Docker Engine for tests: started in a folder of its own, without networking of its own, stopped by process id.

It needs root and Debian's `docker.io` and `busybox-static`; `missing()` says what lacks. There is no registry: the one
image, `acme/bb:1.2`, is made from busybox. Containers run with the host's network, so 127.0.0.1 in them is ours.

    engine = DockerEngine(folder)
    engine.start()
    engine.run("echo hello", options=["--log-driver", "fluentd"])
    engine.stop()
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from collector.errors import TidewaiterError

CLIENT: Final = "/usr/bin/docker"
"""Debian's client: another, newer one without an engine may come first on PATH."""

DAEMON: Final = "/usr/sbin/dockerd"
BUSYBOX: Final = "/usr/bin/busybox"

IMAGE: Final = "acme/bb:1.2"
"""The image that `start` makes."""

APPLETS: Final = (
    "sh",
    "echo",
    "sleep",
    "cat",
    "ls",
    "id",
    "seq",
    "printf",
    "true",
    "false",
    "kill",
    "wc",
    "head",
    "yes",
)

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 20.0
COMMAND_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.05


class DockerError(TidewaiterError):
    """The engine or its client did not do what was asked; the text holds what they said."""


def missing() -> str | None:
    """Why no engine can be started here; None when one can."""
    if os.geteuid() != 0:
        return "Docker Engine needs root"
    for file, package in ((DAEMON, "docker.io"), (CLIENT, "docker.io"), (BUSYBOX, "busybox-static")):
        if not Path(file).exists():
            return f"{file} is missing: apt-get install {package}"
    return None


def _write_image(file: Path) -> None:
    """Write a root file system of busybox and its links as a tar file."""
    with tarfile.open(file, "w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)


class DockerEngine:
    """One running dockerd. Its folder must be short enough for Unix sockets, so it lies in the system's temp folder."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="twd-"))
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The engine's API (`unix://…`)."""
        return f"unix://{self._folder / 'd.sock'}"

    def log(self) -> str:
        """What dockerd wrote."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start dockerd, wait until it answers, make the image; raise DockerError with its log if it does not."""
        self.start_daemon()
        image = self._folder / "image.tar"
        _write_image(image)
        self.docker("import", str(image), IMAGE)

    def start_daemon(self) -> None:
        """Start dockerd on what is there, and wait until it answers."""
        folder = self._folder
        with (folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    DAEMON,
                    "--iptables=false",
                    "--bridge=none",
                    "--storage-driver=overlay2",
                    *("-H", self.address),
                    *("--data-root", str(folder / "data")),
                    *("--exec-root", str(folder / "exec")),
                    *("--pidfile", str(folder / "pid")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_answers(self._daemon)

    def _wait_until_it_answers(self, daemon: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(
            self.command("info"), capture_output=True, check=False, env=self._environment()
        ).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise DockerError(f"dockerd did not start:\n{self.log()[-4000:]}")
            time.sleep(POLL_S)

    def _environment(self) -> dict[str, str]:
        """The client's environment: neither contexts nor credentials of the user."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self._folder), "DOCKER_CONFIG": str(self._folder / "client")}

    def command(self, *arguments: str) -> list[str]:
        """The argument list that runs the client against this engine."""
        return [CLIENT, "-H", self.address, *arguments]

    def docker(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a client command and return what it wrote; raise DockerError when it fails."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=self._environment(),
        )
        if done.returncode:
            raise DockerError(f"docker {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API itself and return what it answers, None where that is nothing; raise DockerError at a refusal."""
        connection = http.client.HTTPConnection("engine", timeout=COMMAND_TIMEOUT_S)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(self.address.removeprefix("unix://"))
            content = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise DockerError(f"{method} {path}: {answer.status} {said.decode(errors='replace')}")
        return json.loads(said) if said.startswith((b"{", b"[")) else None

    def run(self, script: str, *, options: Sequence[str] = (), timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a shell script in a new container to its end, then remove it; return the container's full id."""
        container = self.start_container(script, options=options)
        try:
            code = self.docker("wait", container, timeout_s=timeout_s).strip()
        finally:
            self.docker("rm", "--force", container)
        if code != "0":
            raise DockerError(f"the script ended with exit code {code}")
        return container

    def start_container(self, script: str, *, options: Sequence[str] = ()) -> str:
        """Start a shell script in a new container; return its full id. The caller removes it."""
        return self.docker("run", "--detach", "--network", "host", *options, IMAGE, "sh", "-c", script).strip()

    def signal(self, number: int) -> None:
        """Send dockerd a signal."""
        if self._daemon is None:
            raise DockerError("dockerd does not run")
        self._daemon.send_signal(number)

    def stop_daemon(self) -> None:
        """Stop dockerd alone; what it has stays, for `start_daemon`."""
        daemon = self._daemon
        if daemon is None:
            return
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """Stop the containers and dockerd, unmount what it leaves behind, remove the folder."""
        daemon = self._daemon
        if daemon is not None and daemon.poll() is None:
            containers = self.docker("ps", "--quiet", "--all").split()
            if containers:
                self.docker("rm", "--force", *containers)
            self.stop_daemon()
        for mounted in sorted((self._folder / "exec" / "netns").glob("*")):
            subprocess.run(["umount", str(mounted)], check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)
