"""The supervisor with real processes: fake roles that obey, crash, fall silent or ignore what they are told."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config, ForwardInputConfig
from collector.config_http import HttpInputConfig, KubernetesAuditInputConfig
from collector.config_outputs import ElasticsearchOutputConfig, LocalOutputConfig
from collector.config_secrets import Secret
from collector.config_watchers import DockerEventsInputConfig
from collector.roles import config_for, required_components, secret_variables
from tests.kit.running import free_port, lives, wait_until

SCRIPT = Path(__file__).with_name("supervised.py")
QUICK = {"drain_s": 2.0, "first_pause_s": 0.02, "longest_pause_s": 0.2, "stable_s": 30.0}
TIMEOUT_S = 60.0


class Supervised:
    """One supervisor under test."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.log_file = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, environment: dict[str, str] | None = None, **settings: Any) -> None:
        """Start it; does not wait."""
        if not self.data_dir.is_symlink():
            # The fake roles' own files stand in the folder too; this makes it a collector's all the same.
            for name in ("journal", "evidence"):
                (self.data_dir / name).mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-P",
            str(SCRIPT),
            "run",
            str(self.data_dir),
            json.dumps({"limits": QUICK} | settings),
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **(environment or {})})

    def mood(self, role: str, mood: str) -> None:
        """Tell a fake role how to be."""
        moods = self.data_dir / "moods"
        moods.mkdir(parents=True, exist_ok=True)
        (moods / "new").write_text(mood)
        (moods / "new").replace(moods / role)

    def events(self, start: str = "") -> list[str]:
        """What happened to the roles so far."""
        file = self.data_dir / "events"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(start)]

    def pids(self) -> list[int]:
        """Process ids of all fake roles that were ever started."""
        return [int(line.split()[2]) for line in self.events() if line.split()[1] == "started"]

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """What the supervisor logged."""
        lines = (json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if event is None or line["event"] == event]

    def wait_events(self, start: str, count: int = 1) -> None:
        """Wait until so many events begin like this."""
        wait_until(lambda: len(self.events(start)) >= count, timeout_s=TIMEOUT_S, what=f"{count} times {start!r}")

    def wait_log(self, event: str) -> dict[str, Any]:
        """Wait until the supervisor logs this; return it."""
        wait_until(lambda: bool(self.log(event)), timeout_s=TIMEOUT_S, what=f"log line {event!r}")
        return self.log(event)[0]

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        return self.process.wait(TIMEOUT_S)

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A supervisor that is dead after the test, with all its roles."""
    each = Supervised(tmp_path)
    yield each
    if each.process is not None and each.process.poll() is None:
        each.process.kill()
        each.process.wait()
    for pid in filter(lives, each.pids()):
        os.kill(pid, signal.SIGKILL)


def test_starts_every_role_and_says_once_that_it_is_ready(supervised: Supervised) -> None:
    """The ready message names where it listens, how to send and how to search; SIGTERM ends all with exit code 0."""
    supervised.start()

    ready = supervised.wait_log("ready")
    code = supervised.stop()

    assert 0 == code
    assert "forward 127.0.0.1:24224" == ready["listening"]
    assert "fluentd-address=127.0.0.1:24224" in ready["send"]
    assert "tidewaiter search '*'" == ready["search"]
    assert 1 == len(supervised.log("ready"))
    assert [] == [pid for pid in supervised.pids() if lives(pid)]


def test_stops_the_intake_before_the_roles_behind_it(supervised: Supervised) -> None:
    """Worker and console are told to stop only when the intake has ended."""
    supervised.start()
    supervised.wait_log("ready")

    supervised.signal(signal.SIGINT)
    code = supervised.wait()

    stops = [event for event in supervised.events() if event.endswith(("stop", "stopped"))]
    assert 0 == code
    assert ["intake told to stop", "intake stopped"] == stops[:2]
    assert {"worker told to stop", "worker stopped", "console told to stop", "console stopped"} == set(stops[2:])


def test_every_role_gets_only_its_part_of_configuration_and_environment(supervised: Supervised) -> None:
    """The intake knows outputs by name only; the secret of an output is in the worker's environment alone."""
    output = {"type": "elasticsearch", "urls": ["https://es:9200"], "api_key": {"env": "ES_KEY"}}
    supervised.start(config={"outputs": {"elastic": output}}, environment={"ES_KEY": "a secret"})
    supervised.wait_log("ready")
    supervised.stop()

    told = {
        role: json.loads((supervised.data_dir / f"{role}.json").read_text()) for role in ("intake", "worker", "console")
    }

    assert {"intake": False, "worker": True, "console": False} == {
        role: "ES_KEY" in each["environment"] for role, each in told.items()
    }
    assert {"intake": {}, "worker": {"elastic": output}, "console": {}} == {
        role: {name: output | options for name, options in each["config"]["outputs"].items()}
        for role, each in told.items()
    }
    assert ["dead-letters", "elastic"] == told["intake"]["config"]["consumers"]
    assert {"forward"} == told["intake"]["config"]["inputs"].keys()
    assert {} == told["worker"]["config"]["inputs"] == told["console"]["config"]["inputs"]


def test_a_role_that_crashes_starts_again_after_doubling_pauses(supervised: Supervised) -> None:
    """A worker that dies at once is started again and again, later each time; intake and console live on."""
    supervised.mood("worker", "crash")
    supervised.start()
    supervised.wait_events("worker started", 4)
    supervised.mood("worker", "well")

    supervised.wait_log("ready")
    code = supervised.stop()

    pauses = [line["again_in_s"] for line in supervised.log("role_ended")]
    assert 0 == code
    assert [0.02, 0.04, 0.08] == pauses[:3]
    assert {"ended with exit code 7"} == {line["ending"] for line in supervised.log("role_ended")}
    assert [1, 1] == [len(supervised.events(f"{role} started")) for role in ("intake", "console")]


def test_a_role_that_cannot_go_on_is_shown_with_its_own_words(supervised: Supervised) -> None:
    """An exit code tells an operator nothing; what the role said before it ended does."""
    supervised.mood("intake", "end: state.json is missing")
    supervised.start()
    supervised.wait_events("intake started", 2)
    supervised.wait_events('console told {"problems": {"intake": "ended with exit code 1: state.json is missing', 1)
    supervised.stop()

    assert "ended with exit code 1: state.json is missing" in {line["ending"] for line in supervised.log("role_ended")}


def test_a_killed_role_is_started_again_and_ready_returns(supervised: Supervised) -> None:
    """Kill -9 of the intake: not ready, a new one, ready again."""
    supervised.start()
    supervised.wait_log("ready")
    (intake,) = [int(line.split()[2]) for line in supervised.events("intake started")]

    os.kill(intake, signal.SIGKILL)
    supervised.wait_log("ready_again")
    code = supervised.stop()

    assert 0 == code
    assert "ended by SIGKILL; starts again" == supervised.log("not_ready")[0]["intake"]
    assert 2 == len(supervised.events("intake started"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_start_stops_all(supervised: Supervised, number: int) -> None:
    """Signalled before any role has reported: exit code 0 and nothing left."""
    for role in ("intake", "worker", "console"):
        supervised.mood(role, "silent")
    supervised.start()
    supervised.wait_events("worker started")

    supervised.signal(number)
    code = supervised.wait()

    assert 0 == code
    assert [] == supervised.log("ready")
    assert [] == [pid for pid in supervised.pids() if lives(pid)]


def test_no_role_outlives_a_killed_supervisor(supervised: Supervised) -> None:
    """Kill -9 of the supervisor: every role is gone at once, and the data folder can be used again."""
    supervised.start()
    supervised.wait_log("ready")
    pids = supervised.pids()

    supervised.signal(signal.SIGKILL)
    supervised.wait()
    wait_until(lambda: not any(map(lives, pids)), timeout_s=30.0, what="all roles gone")
    supervised.start()
    wait_until(lambda: len(supervised.log("ready")) == 2, timeout_s=TIMEOUT_S, what="ready again")

    assert 0 == supervised.stop()


def test_a_data_folder_is_held_until_the_last_child_of_a_dead_supervisor_is_gone(supervised: Supervised) -> None:
    """The lock is inherited: while an old role still lives, a new supervisor waits and then refuses or starts."""
    supervised.start()
    supervised.wait_log("ready")
    (intake,) = [int(line.split()[2]) for line in supervised.events("intake started")]
    os.kill(intake, signal.SIGSTOP)
    supervised.signal(signal.SIGKILL)
    supervised.wait()

    supervised.start()
    with pytest.raises(subprocess.TimeoutExpired):
        supervised.process.wait(0.7)  # type: ignore[union-attr]
    started_before = len(supervised.events("intake started"))
    os.kill(intake, signal.SIGCONT)
    wait_until(lambda: len(supervised.log("ready")) == 2, timeout_s=TIMEOUT_S, what="ready again")

    assert 1 == started_before
    assert 0 == supervised.stop()


def test_a_second_supervisor_is_refused_and_names_the_first(supervised: Supervised, tmp_path: Path) -> None:
    """The data folder is locked: another `run` ends with exit code 3 and the pid of the holder; the first goes on."""
    supervised.start()
    supervised.wait_log("ready")
    second = Supervised(tmp_path)
    second.log_file = tmp_path / "second"

    second.start()
    code = second.wait()

    assert supervised.process is not None
    assert 3 == code
    assert f"in use by another tidewaiter (pid {supervised.process.pid})" in second.log_file.read_text()
    assert 0 == supervised.stop()


def test_a_role_that_does_not_stop_is_killed_within_the_drain_limit(supervised: Supervised) -> None:
    """A worker that ignores the word to stop ends with the limit, and the exit code says so."""
    supervised.mood("worker", "deaf")
    supervised.start()
    supervised.wait_log("ready")

    code = supervised.stop()

    assert 1 == code
    assert ["worker"] == [line["role"] for line in supervised.log("role_killed")]
    assert [] == [pid for pid in supervised.pids() if lives(pid)]


def test_a_second_signal_ends_at_once(supervised: Supervised) -> None:
    """While a deaf role is waited for, a second signal kills what is left instead of waiting for the limit."""
    supervised.mood("intake", "deaf")
    supervised.start(limits=QUICK | {"drain_s": 3600.0})
    supervised.wait_log("ready")

    supervised.signal(signal.SIGTERM)
    supervised.wait_events("intake told to stop")
    supervised.signal(signal.SIGTERM)

    assert 1 == supervised.wait()
    assert [] == [pid for pid in supervised.pids() if lives(pid)]


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(supervised: Supervised, tmp_path: Path) -> None:
    """READY=1 and STOPPING=1 arrive at NOTIFY_SOCKET, once each, and no role inherits it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(TIMEOUT_S)
        supervised.start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        ready = notifications.recv(100)
        supervised.stop()
        stopping = notifications.recv(100)
        notifications.setblocking(False)
        with pytest.raises(BlockingIOError):
            notifications.recv(100)

    assert (b"READY=1", b"STOPPING=1") == (ready, stopping)
    assert "NOTIFY_SOCKET" not in json.loads((supervised.data_dir / "intake.json").read_text())["environment"]


def test_an_output_that_fails_makes_it_degraded_and_leaves_it_ready(supervised: Supervised) -> None:
    """What is wrong in the worker is told to the console as degraded, at once; senders lose nothing by it."""
    supervised.start()
    supervised.wait_log("ready")

    supervised.mood("worker", "ill: Elasticsearch does not answer")
    told = 'console told {"problems": {}, "degraded": {"worker: journal": "Elasticsearch does not answer"}}'
    supervised.wait_events(told)

    assert 0 == supervised.stop()
    assert [] == supervised.log("not_ready")


def test_ready_turns_503_while_an_input_does_not_listen(supervised: Supervised) -> None:
    """With the real console: 503 that names the input, 200, and 503 again, within a blink of each change."""
    port = free_port()
    supervised.mood("intake", "ill: the port is in use")
    supervised.start(real=["console"], config={"console": {"listen": f"127.0.0.1:{port}"}})

    def answer() -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)
        except OSError:
            return 0, {}

    problem = {"intake: journal": "the port is in use", "intake: input forward": "the port is in use"}
    wait_until(lambda: answer()[1].get("problems") == problem, timeout_s=TIMEOUT_S, what="503 with the reason")
    unready = answer()
    supervised.mood("intake", "well")
    wait_until(lambda: answer()[0] == 200, timeout_s=TIMEOUT_S, what="200")
    supervised.mood("intake", "ill: the port is in use")
    wait_until(lambda: answer()[0] == 503, timeout_s=0.8, what="503 before the next second's report")

    assert 503 == unready[0]
    assert 0 == supervised.stop()


def test_a_linked_data_folder_is_refused(supervised: Supervised, tmp_path: Path) -> None:
    """A symbolic link in place of the data folder: exit code 3, and nothing is written behind it."""
    (tmp_path / "elsewhere").mkdir()
    supervised.data_dir.symlink_to(tmp_path / "elsewhere")

    supervised.start()

    assert 3 == supervised.wait()
    assert "is a symbolic link" in supervised.log_file.read_text()
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_the_data_folder_is_private(supervised: Supervised) -> None:
    """Whatever the umask, folder and lock are for the owner only."""
    supervised.start()
    supervised.wait_log("ready")

    modes = [oct(path.stat().st_mode & 0o777) for path in (supervised.data_dir, supervised.data_dir / "lock")]

    assert ["0o700", "0o600"] == modes
    assert 0 == supervised.stop()


def test_secret_variables_are_those_that_inputs_and_outputs_name() -> None:
    """Only environment references count; files are read late by who needs them."""
    forward = ForwardInputConfig(shared_key=Secret(env="SHARED"), users={"alice": Secret(env="ALICE")})
    elastic = ElasticsearchOutputConfig(urls=[], api_key=Secret(env="KEY"), password=Secret(file="/run/secret"))

    assert frozenset({"KEY"}) == secret_variables({"elastic": elastic, "store": LocalOutputConfig()})
    assert frozenset({"SHARED", "ALICE"}) == secret_variables({"forward": forward})


def test_the_console_knows_neither_inputs_nor_outputs() -> None:
    """Its part of the configuration holds its address and the data folder."""
    config = Config(inputs={"a": ForwardInputConfig()}, outputs={"b": LocalOutputConfig()}, hosts={"192.0.2.1": "web"})

    told = config_for("console", config)

    assert ({}, {}, {}) == (told.inputs, told.outputs, told.hosts)
    assert (config.data_dir, config.console) == (told.data_dir, told.console)


WATCHED = {"inputs": {"forward": {"type": "forward"}, "engine": {"type": "docker_events"}}}


def test_a_watcher_runs_only_where_something_is_to_be_asked() -> None:
    """Nobody else needs the process."""
    asked = Config(inputs={"engine": DockerEventsInputConfig()})

    assert {"intake", "worker", "console"} == set(required_components(Config()))
    assert frozenset({"input engine"}) == required_components(asked)["watcher"]
    assert frozenset({"journal"}) == required_components(asked)["intake"]


def test_only_the_watcher_and_the_worker_hear_of_what_is_asked() -> None:
    """The intake has what listens; the watcher no outputs; the worker what it is to know whom an Engine speaks for."""
    config = Config(
        inputs={"a": ForwardInputConfig(), "e": DockerEventsInputConfig()}, outputs={"b": LocalOutputConfig()}
    )
    told = {role: config_for(role, config) for role in ("intake", "watcher", "worker", "console")}

    assert {"intake": {"a"}, "watcher": {"e"}, "worker": {"e"}, "console": set()} == {
        role: set(each.inputs) for role, each in told.items()
    }
    assert {"intake": set(), "watcher": set(), "worker": {"b"}, "console": set()} == {
        role: set(each.outputs) for role, each in told.items()
    }


def test_the_worker_hears_of_audit_inputs_without_their_secrets() -> None:
    """It has to know cluster and proxies; what proves senders only the intake knows, as a secret's variable."""
    options = KubernetesAuditInputConfig(cluster="shop", proxies=["192.0.2.1"], tokens={"a": Secret(env="TOKEN")})
    config = Config(inputs={"audit": options, "json": HttpInputConfig(users={"b": Secret(env="PASSWORD")})})
    told = {role: config_for(role, config).inputs for role in ("intake", "worker", "watcher", "console")}

    assert {"audit": KubernetesAuditInputConfig(cluster="shop", proxies=["192.0.2.1"])} == told["worker"]
    assert (config.inputs, {}, {}) == (told["intake"], told["watcher"], told["console"])
    assert {"TOKEN", "PASSWORD"} == secret_variables(config.inputs)


def test_a_watcher_that_is_ill_or_down_leaves_the_collector_ready(supervised: Supervised) -> None:
    """Senders lose nothing by it: what is wrong stands under `degraded`, and goes when it is well."""
    supervised.mood("watcher", "ill: no such socket")
    supervised.start(config=WATCHED)
    supervised.wait_log("ready")
    ill = {"problems": {}, "degraded": {"watcher: input engine": "no such socket"}}
    supervised.wait_events(f"console told {json.dumps(ill)}")

    supervised.mood("watcher", "crash")
    down = {"problems": {}, "degraded": {"watcher": "ended with exit code 7; starts again"}}
    supervised.wait_events(f"console told {json.dumps(down)}")
    supervised.mood("watcher", "well")
    well = len(supervised.events(f"console told {json.dumps({'problems': {}, 'degraded': {}})}"))
    supervised.wait_events(f"console told {json.dumps({'problems': {}, 'degraded': {}})}", well + 1)

    assert 1 == len(supervised.log("ready"))
    assert [] == supervised.log("not_ready")
    assert 0 == supervised.stop()


def test_a_watcher_is_told_to_stop_with_the_intake(supervised: Supervised) -> None:
    """Before the roles that read what it appended."""
    supervised.start(config=WATCHED)
    supervised.wait_log("ready")
    supervised.wait_events("watcher started")

    code = supervised.stop()

    stops = [event for event in supervised.events() if event.endswith("told to stop")]
    assert 0 == code
    assert {"watcher told to stop", "intake told to stop"} == set(stops[:2])
    assert {"worker told to stop", "console told to stop"} == set(stops[2:])
