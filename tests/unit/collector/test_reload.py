"""A reload with real processes: the new configuration holds as a whole, or everything is as it was."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collector.config import Config
from collector.config_file import Loaded
from collector.errors import UnreachableError
from collector.reload import Outcome, Reloader
from collector.reload_socket import ask_for_reload, socket_path
from collector.roles import Roles
from tests.kit.running import free_port, lives, wait_until
from tests.unit.collector.test_supervisor import QUICK, TIMEOUT_S, Supervised

pytestmark = pytest.mark.timeout(60)


class Reloaded(Supervised):
    """A supervisor whose configuration is a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "tidewaiter.yaml"
        self.port = free_port()

    def write(self, **sections: Any) -> None:
        """Write the file."""
        console = {"listen": f"127.0.0.1:{self.port}"}
        self.file.write_text(json.dumps({"name": "collector", "console": console, **sections}, indent=1))

    def start_with(
        self, switch_limit_s: float = 5.0, environment: dict[str, str] | None = None, **sections: Any
    ) -> None:
        """Start with these sections, and wait until it is ready."""
        self.write(**sections)
        self.start(environment=environment, file=str(self.file), limits=QUICK | {"switch_s": switch_limit_s})
        self.wait_log("ready")

    def reload(self, **sections: Any) -> Outcome:
        """Let it read these sections; return the outcome."""
        self.write(**sections)
        return ask_for_reload(self.data_dir, limit_s=TIMEOUT_S)

    def told(self, role: str) -> Any:
        """Return the configuration that a role was started with last."""
        return json.loads((self.data_dir / f"{role}.json").read_text())["config"]


@pytest.fixture
def reloaded(tmp_path: Path) -> Iterator[Reloaded]:
    """A supervisor that is dead after the test, with all its roles."""
    each = Reloaded(tmp_path)
    yield each
    if each.process is not None and each.process.poll() is None:
        each.process.kill()
        each.process.wait()
    for pid in filter(lives, each.pids()):
        os.kill(pid, signal.SIGKILL)


def test_the_new_worker_is_ready_before_the_old_one_lets_go(reloaded: Reloaded) -> None:
    """It stands by, then the intake switches, then the old worker ends, then the new one begins; the intake stays."""
    reloaded.start_with()

    outcome = reloaded.reload(documents={"original": "always"})
    reloaded.wait_events("worker goes")

    events = [event for event in reloaded.events() if " told {" not in event]
    steps = ["worker stands by", "intake told to switch", "worker told to stop", "worker stopped", "worker goes"]
    places = [next(at for at, event in enumerate(events) if event.startswith(step)) for step in steps]
    assert "reloaded" == outcome.status
    assert ["documents changed"] == outcome.changes
    assert sorted(places) == places
    assert "always" == reloaded.told("worker")["documents"]["original"]
    assert 1 == len(reloaded.events("intake started"))
    assert 0 == reloaded.stop()


def test_an_old_worker_that_does_not_let_go_is_ended_before_the_new_one_begins(reloaded: Reloaded) -> None:
    """Two would write to one store; nothing is lost by it, for the new one goes on from the cursors."""
    reloaded.start_with()
    reloaded.mood("worker", "deaf")
    (old,) = [int(event.split()[-1]) for event in reloaded.events("worker started")]
    reloading = threading.Thread(target=reloaded.reload, kwargs={"documents": {"original": "always"}})

    reloading.start()
    reloaded.wait_events("worker goes")

    assert not lives(old)
    reloading.join(TIMEOUT_S)
    reloaded.mood("worker", "well")
    assert 1 == len(reloaded.events("worker told to stop"))


def test_a_reload_that_the_intake_refuses_changes_nothing(reloaded: Reloaded) -> None:
    """The place in the file is told; the worker beside is gone, and the one that runs was told nothing."""
    reloaded.start_with()
    reloaded.mood("intake", "refuse: cannot listen")

    outcome = reloaded.reload(inputs={"forward": {"type": "forward", "listen": "127.0.0.1:24225"}})

    assert "refused" == outcome.status
    assert [("inputs.forward", 7, "cannot listen")] == [tuple(problem) for problem in outcome.problems]
    assert [] == [event for event in reloaded.events("worker") if event.endswith(("goes", "stop", "stopped"))]
    reloaded.wait_events("intake told to forget")
    (beside,) = [int(event.split()[-1]) for event in reloaded.events("worker stands by")]
    assert not lives(beside)
    assert 0 == reloaded.stop()


def test_a_switch_that_fails_changes_nothing(reloaded: Reloaded) -> None:
    """The journal takes nothing, say: the old worker works on."""
    reloaded.start_with()
    reloaded.mood("intake", "fail: the journal takes nothing now")

    outcome = reloaded.reload(documents={"original": "always"})

    assert ["the journal takes nothing now"] == [problem.message for problem in outcome.problems]
    assert [] == [event for event in reloaded.events("worker") if event.endswith(("goes", "stop", "stopped"))]
    assert 0 == reloaded.stop()


def test_an_intake_that_dies_in_a_switch_comes_back_under_the_old_configuration(reloaded: Reloaded) -> None:
    """Whether it had switched nobody knows; the one that is started in its place begins under what holds."""
    reloaded.start_with()
    reloaded.mood("intake", "die")

    outcome = reloaded.reload(inputs={"other": {"type": "forward", "listen": "127.0.0.1:24225"}})
    reloaded.wait_events("intake started", 2)

    assert "refused" == outcome.status
    assert ["intake"] == [problem.path for problem in outcome.problems]
    wait_until(lambda: "forward" in reloaded.told("intake")["inputs"], timeout_s=TIMEOUT_S, what="the old inputs")
    assert 0 == reloaded.stop()


def test_an_intake_that_does_not_answer_is_started_again(reloaded: Reloaded) -> None:
    """It may switch yet, when nobody knows of it any more; so it is ended, and the next one begins under what holds."""
    reloaded.start_with(switch_limit_s=0.2)
    reloaded.mood("intake", "hang")

    outcome = reloaded.reload(documents={"original": "always"})
    reloaded.wait_events("intake started", 2)

    assert ["intake"] == [problem.path for problem in outcome.problems]
    assert 0 == reloaded.stop()


def test_a_worker_that_cannot_start_under_it_is_a_reason_to_refuse(reloaded: Reloaded) -> None:
    """How it ended is told, and the one that runs works on."""
    reloaded.start_with()
    reloaded.mood("worker-beside", "crash")

    outcome = reloaded.reload(documents={"original": "always"})

    assert [("worker", None, "the new one ended with exit code 7")] == [tuple(each) for each in outcome.problems]
    assert 0 == reloaded.stop()


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"outputs": {"store": {"type": "lokal"}}}, "outputs.store.type"),
        ({"name": "other"}, "name"),
        ({"lookups": {"teams": {"file": "/nowhere.csv", "match": "container.name", "add": {"a": "tags"}}}}, "(file)"),
    ],
)
def test_a_file_that_is_wrong_starts_nothing(reloaded: Reloaded, sections: dict[str, Any], path: str) -> None:
    """A mistake, what cannot change while it runs, a file that is not there: told with the place, before all else."""
    reloaded.start_with()

    outcome = reloaded.reload(**sections)

    assert "refused" == outcome.status
    assert [path] == [problem.path for problem in outcome.problems]
    assert [] == reloaded.events("worker stands by") + reloaded.events("intake told to")
    assert 0 == reloaded.stop()


def test_a_hangup_reloads(reloaded: Reloaded) -> None:
    """SIGHUP does what the command does; a refusal is an error in the log with each problem, and metrics show it."""
    reloaded.start_with()
    reloaded.write(outputs={"store": {"type": "lokal"}})

    reloaded.signal(signal.SIGHUP)
    refused = reloaded.wait_log("reload_refused")
    reloaded.write(documents={"original": "always"})
    reloaded.signal(signal.SIGHUP)
    done = reloaded.wait_log("reloaded")

    assert 1 == refused["problems"]
    assert ["outputs.store.type"] == [line["option"] for line in reloaded.log("reload_problem")]
    assert ["documents changed"] == done["changes"]
    assert 0 == reloaded.stop()


def test_systemd_is_told_when_a_reload_begins_and_ends(reloaded: Reloaded, tmp_path: Path) -> None:
    """As `Type=notify` units do (sd_notify(3)); a refused one has ended as well."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(TIMEOUT_S)
        reloaded.start_with(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        reloaded.reload(name="other")
        told = [notifications.recv(100) for _ in range(3)]

    assert [b"READY=1", b"RELOADING=1", b"READY=1"] == [each.partition(b"\n")[0] for each in told]
    assert told[1].partition(b"\nMONOTONIC_USEC=")[2].isdigit()
    assert 0 == reloaded.stop()


def test_a_stop_in_the_middle_of_a_reload_stops_all(reloaded: Reloaded) -> None:
    """Whoever waits for the outcome is hung up on, and no process is left."""
    reloaded.start_with()
    reloaded.mood("worker-beside", "silent")
    reloaded.write(documents={"original": "always"})
    told: list[BaseException] = []

    def ask() -> None:
        try:
            ask_for_reload(reloaded.data_dir, limit_s=TIMEOUT_S)
        except UnreachableError as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    reloaded.wait_events("worker stands by")
    code = reloaded.stop()
    asking.join(TIMEOUT_S)

    assert 0 == code
    assert ["the collector ended before it answered; what became of it stands in the log"] == list(map(str, told))
    assert [] == [pid for pid in reloaded.pids() if lives(pid)]
    assert not socket_path(reloaded.data_dir).exists()


def test_a_console_that_listens_elsewhere_is_another_process(reloaded: Reloaded) -> None:
    """The one before ends when the new one answers."""
    reloaded.start_with()
    reloaded.port = free_port()

    outcome = reloaded.reload()

    assert ["console changed"] == outcome.changes
    assert 2 == len(reloaded.events("console started"))
    assert 1 == len(reloaded.events("console stopped"))
    assert 0 == reloaded.stop()


def test_a_watcher_comes_and_goes_with_whom_it_asks(reloaded: Reloaded) -> None:
    """There is none without an input that asks; it is changed only where those change."""
    inputs = {"forward": {"type": "forward"}}
    engine = {"engine": {"type": "docker_events"}}
    reloaded.start_with(inputs=inputs)

    with_it = reloaded.reload(inputs=inputs | engine)
    reloaded.wait_events("watcher started")
    reloaded.reload(inputs=inputs | engine, documents={"original": "always"})
    without = reloaded.reload(inputs=inputs)

    assert (["inputs.engine added"], ["documents changed", "inputs.engine removed"]) == (
        with_it.changes,
        sorted(without.changes),
    )
    assert (1, 1) == (len(reloaded.events("watcher started")), len(reloaded.events("watcher stopped")))
    assert 0 == reloaded.stop()


async def test_a_fault_of_ours_refuses_a_reload_and_is_not_the_last_one(tmp_path: Path) -> None:
    """Before, the task that waits for SIGHUP ended with it, and systemd waited for a reload that never was over."""

    def load() -> Loaded:
        raise RecursionError

    roles = SimpleNamespace(config=Config(data_dir=str(tmp_path)))
    reloader = Reloader(cast(Roles, roles), load, ready_s=1.0, switch_s=1.0, let_go_s=1.0)

    for _ in range(2):
        outcome = await reloader.reload()
        assert "refused" == outcome.status
        assert "RecursionError" in outcome.problems[0].message
