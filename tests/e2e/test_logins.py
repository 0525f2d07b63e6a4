"""Real sshd, su and sudo: in a container whose log driver is the collector, and through rsyslog's file as a host's.

The container has the machine's own programs, mounted, and `deploy/auth`; accounts and keys are the test's.
"""

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

WITHIN_S: Final = 40.0
PROGRAMS: Final = ("/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen", "/usr/sbin/rsyslogd", "/usr/bin/sudo")

PASSWD: Final = """\
root:x:0:0:root:/srv:/bin/sh
sshd:x:104:65534::/run/sshd:/usr/sbin/nologin
alice:x:1000:1000::/srv/home/alice:/bin/sh
bob:x:1001:1001::/srv/home/bob:/bin/sh
"""
GROUP: Final = "root:x:0:\ntty:x:5:\nshadow:x:42:\nnogroup:x:65534:\nalice:x:1000:\nbob:x:1001:\n"
SHADOW: Final = "root:*:19000:0:99999:7:::\nalice:*:19000:0:99999:7:::\nbob:*:19000:0:99999:7:::\nsshd:!:19000::::::\n"
RECIPES: Final = Path(__file__).parents[2] / "deploy" / "auth"
SUDOERS: Final = (RECIPES / "sudoers").read_text() + "alice ALL=(ALL) NOPASSWD: /usr/bin/id\nbob ALL=(ALL) ALL\n"
FILE: Final = "/var/log/tidewaiter-auth.log"
RSYSLOG: Final = 'module(load="imuxsock")\n' + (RECIPES / "rsyslog.conf").read_text().replace(FILE, "/logs/auth.log")


class Jump:
    """A folder with accounts, keys and configuration, and a container that runs sshd with them."""

    def __init__(self, folder: Path, engine: DockerEngine) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.port = free_port()
        self._engine = engine
        self._container = ""
        conf = folder / "conf"
        for each in (conf, self.logs, folder / "etc"):
            each.mkdir(mode=0o755, parents=True)
        for name in ("host", "right", "wrong"):
            command = ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(conf / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(conf / "right.pub", conf / "authorized")
        for name, text in (("passwd", PASSWD), ("group", GROUP), ("shadow", SHADOW), ("sudoers", SUDOERS)):
            (folder / "etc" / name).write_text(text)
        (folder / "etc" / "sudoers").chmod(0o440)
        (conf / "rsyslog.conf").write_text(RSYSLOG)

    def start(self, command: str, *, pam: bool, options: list[str]) -> str:
        """Start a container with sshd's configuration in `/conf/sshd`; return its id."""
        (self.folder / "conf" / "sshd").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey /conf/host\nPidFile none\n"
            f"UsePAM {'yes' if pam else 'no'}\nStrictModes no\nAuthorizedKeysFile /conf/authorized\n"
            + (RECIPES / "sshd.conf").read_text()
        )
        mounts = [f"{each}:{each}:ro" for each in ("/usr", "/lib", "/lib64", "/etc/pam.d", "/etc/security")]
        mounts += [f"{self.folder}/conf:/conf", f"{self.logs}:/logs", "/etc/login.defs:/etc/login.defs:ro"]
        mounts += [f"{self.folder}/etc/{name}:/etc/{name}" for name in ("passwd", "group", "shadow", "sudoers")]
        script = f"mkdir -p /run/sshd /var/empty; {command}"
        volumes = [f"--volume={each}" for each in mounts]
        self._container = self._engine.start_container(script, options=["--hostname=jump", *volumes, *options])
        wait_until(self._listens, timeout_s=WITHIN_S, what="sshd listens", poll_s=0.1)
        return self._container

    def ssh(self, user: str, key: str) -> int:
        """Log in with a key and leave again; return the exit code."""
        command = ["/usr/bin/ssh", "-F", "none", "-p", str(self.port), "-i", str(self.folder / "conf" / key)]
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes")
        command += [part for each in options for part in ("-o", each)]
        done = subprocess.run(
            [*command, f"{user}@127.0.0.1", "true"], check=False, capture_output=True, stdin=subprocess.DEVNULL
        )
        return done.returncode

    def execute(self, script: str) -> None:
        """Run a script in the container, whatever becomes of it."""
        command = self._engine.command("exec", self._container, "sh", "-c", script)
        subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=WITHIN_S)

    def stop(self) -> None:
        """Remove the container."""
        if self._container:
            self._engine.docker("rm", "--force", self._container)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def jump(docker: DockerEngine, tmp_path: Path) -> Iterator[Jump]:
    """The container that is logged in to; skips where a program is missing."""
    if missing := [each for each in PROGRAMS if not Path(each).exists()]:
        pytest.skip(f"missing: {', '.join(missing)}")
    made = Jump(tmp_path / "jump", docker)
    yield made
    made.stop()


def found(collector: RunningCollector, query: str, count: int) -> list[dict[str, Any]]:
    """Wait until a search finds so many documents, and return them in their order."""
    documents: list[dict[str, Any]] = []

    def enough() -> bool:
        documents[:] = collector.search(query, "--limit", "1000")
        return len(documents) >= count

    wait_until(enough, timeout_s=WITHIN_S, what=f"{count} documents of {query!r}", poll_s=0.3)
    return sorted(documents, key=lambda each: each["event"]["sequence"])


def summary(document: dict[str, Any]) -> tuple[Any, ...]:
    """Who, how it ended, from where, why not, and by which method."""
    event, source = document["event"], document.get("source", {}).get("ip")
    method = document["tidewaiter"].get("auth", {}).get("method")
    return document["user"]["name"], event["outcome"], source, event.get("reason"), method


def test_an_sshd_in_a_container_is_told_as_such(jump: Jump, start_collector: Callable[..., RunningCollector]) -> None:
    """Its start is a fact, its logins have the container's id, and that one failed before is on the success."""
    collector = start_collector()
    driver = ["--log-driver=fluentd", f"--log-opt=fluentd-address=127.0.0.1:{collector.forward_port}"]
    container = jump.start("exec /usr/sbin/sshd -D -e -f /conf/sshd", pam=False, options=driver)

    assert (255, 255, 0) == (jump.ssh("guest", "right"), jump.ssh("alice", "wrong"), jump.ssh("alice", "right"))
    logins = found(collector, "event.action:ssh_login", 3)
    started = found(collector, "tidewaiter.facts:sshd_started", 1)

    source = "127.0.0.1"
    assert [
        ("guest", "failure", source, "invalid user", None),
        ("alice", "failure", source, "publickey refused", "publickey"),
        ("alice", "success", source, None, "publickey"),
    ] == [summary(each) for each in logins]
    assert ["login_after_failures", "login_in_container"] == logins[-1]["tidewaiter"]["facts"]
    assert 1 == logins[-1]["tidewaiter"]["auth"]["failures"]
    assert {container} == {each["container"]["id"] for each in [*logins, *started]}
    assert 0 == collector.stop()


def test_logins_of_a_host_come_through_its_file(jump: Jump, start_collector: Callable[..., RunningCollector]) -> None:
    """sshd, PAM, su and sudo log through rsyslog; a tail of the file sends it, and one connection is one session."""
    collector = start_collector()
    jump.start(
        "rsyslogd -f /conf/rsyslog.conf -i /run/rsyslog.pid; exec /usr/sbin/sshd -D -f /conf/sshd", pam=True, options=[]
    )
    file = jump.logs / "auth.log"

    assert (255, 0) == (jump.ssh("alice", "wrong"), jump.ssh("alice", "right"))
    jump.execute("/usr/bin/su -c true alice")
    jump.execute("echo nope | script -qec \"/usr/bin/su alice -c '/usr/bin/su -c true root'\" /dev/null")
    jump.execute("/usr/bin/su alice -c 'sudo /usr/bin/id -u'")
    jump.execute("/usr/bin/su bob -c 'sudo -n /usr/bin/id -u'")
    wait_until(
        lambda: file.exists() and "a password is required" in file.read_text(),
        timeout_s=WITHIN_S,
        what="the last line is in the file",
        poll_s=0.2,
    )
    tail(file, collector.forward_port)
    documents = found(collector, "event.dataset:system.auth", 12)

    told = {
        (each["process"]["name"], *summary(each)[:3], each["user"].get("effective", {}).get("name"))
        for each in documents
        if "name" in each.get("user", {}) and each["event"].get("action") in ("ssh_login", "su", "sudo")
    }
    assert {
        ("sshd", "alice", "failure", "127.0.0.1", None),
        ("sshd", "alice", "success", "127.0.0.1", None),
        ("su", "root", "success", None, "alice"),
        ("su", "alice", "failure", None, "root"),
        ("sudo", "alice", "success", None, "root"),
        ("sudo", "bob", "failure", None, "root"),
    } <= told
    accepted = next(each for each in documents if each["message"].startswith("Accepted publickey"))
    session = accepted["tidewaiter"]["session"]["id"]
    same = [each for each in documents if each["tidewaiter"].get("session", {}).get("id") == session]
    assert ["login_after_failures"] == accepted["tidewaiter"]["facts"]
    assert {"Disconnected", "pam_unix(sshd:session):"} <= {each["message"].split()[0] for each in same}
    assert not [each for each in documents if "container" in each]
    assert 0 == collector.stop()


def tail(file: Path, port: int) -> None:
    """Send a file's lines as Fluent Bit's `tail` does, and wait for the acknowledgement."""
    entries = [[int(time.time()), {"log": line}] for line in file.read_text().splitlines()]
    chunk = base64.b64encode(b"tail of a file 1").decode()
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        connection.sendall(msgpack.packb(["host.var.log.auth.log", entries, {"chunk": chunk}]))

        assert {"ack": chunk} == msgpack.unpackb(connection.recv(4096))
