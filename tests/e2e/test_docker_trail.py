"""A real Docker Engine's trail in the journal: all that is done to containers, once, through kills and restarts."""

import asyncio
import collections
import concurrent.futures
import json
import os
import pty
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.docker_engine import IMAGE, DockerEngine
from tests.kit.journals import end_of_files, frames_in, messages_of, read_all
from tests.kit.read_only_proxy import ReadOnlyProxy
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

TOLD_WITHIN_S = 60.0
CANNOT_START = 126
"""What the client ends with where the Engine could not start the process."""

SECRET = "of-nobodys-business"


class Trail:
    """A collector that follows an Engine, and the records of its journal."""

    def __init__(self, collector: RunningCollector) -> None:
        self.collector = collector

    def records(self) -> list[dict[str, Any]]:
        """All of them, in order."""
        journal = self.collector.data_dir / "journal"
        return [
            json.loads(line)
            for frame in frames_in(read_all(journal, end_of_files(journal)))
            for message in messages_of(frame)
            if message.encoding == "docker-event"
            for line in message.payload.split(b"\n")
        ]

    def of(self, *actors: str) -> list[dict[str, Any]]:
        """Those of these actors."""
        return [each for each in self.records() if each["kind"] == "event" and each["event"]["Actor"]["ID"] in actors]

    def actions(self, *actors: str) -> list[str]:
        """What happened to them."""
        return [each["event"]["Action"].partition(":")[0] for each in self.of(*actors)]

    def gaps(self) -> list[dict[str, Any]]:
        """What is missing."""
        return [each for each in self.records() if each["kind"] == "gap"]

    def execs(self, container: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Records of a container's execs by their id and action; fails where one is there twice."""
        found: dict[str, dict[str, dict[str, Any]]] = collections.defaultdict(dict)
        for each in self.of(container):
            action = each["event"]["Action"].partition(":")[0]
            if action.startswith("exec_"):
                identity = each["event"]["Actor"]["Attributes"]["execID"]
                assert action not in found[identity]
                found[identity][action] = each
        return found

    def documents(self, container: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many documents of a container's execs or more; return all there are."""
        query = f"event.dataset:docker.events AND container.id:{container} AND event.action:exec*"
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = self.collector.search(query, "--limit", "2000")
            return len(found) >= count

        self.wait(are_there, f"{count} documents")
        return found

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until this holds of what is told."""
        wait_until(holds, timeout_s=TOLD_WITHIN_S, what=what, poll_s=0.1)

    def wait_followed(self) -> None:
        """Wait until the Engine's stream is read."""
        self.wait(lambda: self.collector.metric("tidewaiter_watcher_trail_connected", input="engine") == 1, "followed")


Follow = Callable[[str], Trail]


@pytest.fixture
def follow(start_collector: Callable[..., RunningCollector]) -> Follow:
    """Start a collector that follows an Engine at an address."""

    def begin(url: str) -> Trail:
        trail = Trail(start_collector(settings={"inputs": {"engine": {"type": "docker_events", "url": url}}}))
        trail.wait_followed()
        return trail

    return begin


@pytest.fixture
def container(docker: DockerEngine) -> Iterator[str]:
    """A container that sleeps."""
    identity = docker.start_container("sleep 1000", options=["--label", "team=orders"])
    yield identity
    docker.docker("rm", "--force", identity)


def on_terminal(command: list[str]) -> int:
    """Run a command on a terminal of its own; return its exit code."""
    ours, theirs = pty.openpty()
    try:
        running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        return running.wait(60)
    finally:
        os.close(theirs)
        os.close(ours)


def start_exec(engine: DockerEngine, container: str, *command: str) -> str:
    """Start an exec by the API, detached; return its id."""
    identity = str(engine.api("POST", f"/containers/{container}/exec", {"Cmd": list(command)})["Id"])
    engine.api("POST", f"/exec/{identity}/start", {"Detach": True})
    return identity


def test_each_way_to_run_a_command_is_told_with_its_facts(docker: DockerEngine, follow: Follow, container: str) -> None:
    """By the client as another user, privileged, detached, on a terminal; odd and long command lines; by the API."""
    trail = follow(docker.address)
    odd, long = 'a: b\n"c" \\ \x01 é', "x" * 100_000
    environment = ["-w", "/bin", "-e", f"PASSWORD={SECRET}"]
    codes = [
        subprocess.run(docker.command("exec", *arguments), capture_output=True, check=False, timeout=60).returncode
        for arguments in (
            [container, "id"],
            ["-u", "1000:1000", container, "sh", "-c", "exit 3"],
            ["--privileged", *environment, container, "true"],
            ["-d", container, "sleep", "0.1"],
            [container, "echo", odd],
            [container, "true", long],
        )
    ]
    codes += [on_terminal(docker.command("exec", "-it", container, "true")), 7]
    by_api = start_exec(docker, container, "sh", "-c", "exit 7")
    # Where this machine lets no process have all rights, the Engine cannot start it, and then tells of no end.
    ended = [code for code in codes if code != CANNOT_START]
    trail.wait(lambda: trail.actions(container).count("exec_die") == len(ended), "all execs ended")

    execs = trail.execs(container)
    begun = {"exec_create", "exec_start"}
    assert [begun if code == CANNOT_START else begun | {"exec_die"} for code in codes] == [
        set(each) for each in execs.values()
    ]
    answers = [next(each["exec"] for each in told.values() if "exec" in each) for told in execs.values()]
    process = [each["ProcessConfig"] for each in answers]
    assert ["id", "sh", "true", "sleep", "echo", "true", "true", "sh"] == [each["entrypoint"] for each in process]
    assert ["", "1000:1000", "", "", "", "", "", ""] == [each.get("user", "") for each in process]
    assert [False, False, True, False, False, False, False, False] == [each["privileged"] for each in process]
    assert [False] * 6 + [True, False] == [each["tty"] for each in process]
    assert ([odd], [long]) == (process[4]["arguments"], process[5]["arguments"])
    starts = [each["exec_start"]["event"]["Action"] for each in execs.values()]
    assert (f"exec_start: echo {odd}", f"exec_start: true {long}") == (starts[4], starts[5])
    assert by_api == list(execs)[7]
    ends = [each["exec_die"] for each in execs.values() if "exec_die" in each]
    assert ended == [int(each["event"]["Actor"]["Attributes"]["exitCode"]) for each in ends]
    assert [0, 3] == codes[:2]
    assert {0, 3, 7} >= {each["exec"].get("ExitCode", 0) for each in ends if "exec" in each}
    assert {"orders"} == {each["exec_start"]["event"]["Actor"]["Attributes"]["team"] for each in execs.values()}
    assert SECRET not in json.dumps(trail.records())
    assert [] == trail.gaps()
    count = sum(map(len, execs.values()))
    documents = trail.documents(container, count)
    assert count == len(documents)
    assert {odd} <= {argument for each in documents for argument in each["process"].get("args", ())}
    assert 0 == trail.collector.stop()


def test_labels_forge_neither_an_exec_nor_its_end(docker: DockerEngine, follow: Follow) -> None:
    """What the Engine itself says of it stands beside its events, and in its documents."""
    trail = follow(docker.address)
    labels = ["--label", f"execID={'f' * 64}", "--label", "exitCode=0"]
    container = docker.start_container("sleep 1000", options=labels)
    command = docker.command("exec", "--user", "1000", container, "sh", "-c", "sleep 1; exit 3")
    code = subprocess.run(command, check=False, timeout=60).returncode
    trail.wait(lambda: "exec_die" in trail.actions(container), "ended")
    documents = trail.documents(container, 3)
    docker.docker("rm", "--force", container)

    events = [each for each in trail.of(container) if each["event"]["Action"].startswith("exec_")]
    assert {("f" * 64, "0")} == {
        (each["event"]["Actor"]["Attributes"]["execID"], each["event"]["Actor"]["Attributes"]["exitCode"])
        for each in events
    }
    assert (3, {"1000"}) == (code, {each["exec"]["ProcessConfig"]["user"] for each in events})
    assert 3 == events[-1]["exec"]["ExitCode"]
    assert 1 == len({each["tidewaiter"]["exec"]["id"] for each in documents})
    assert "f" * 64 not in {each["tidewaiter"]["exec"]["id"] for each in documents}
    assert 3 == documents[-1]["process"]["exit_code"]
    assert 0 == trail.collector.stop()


def test_two_hundred_execs_at_once_are_told_though_the_watcher_is_killed(
    docker: DockerEngine, follow: Follow, container: str
) -> None:
    """In four groups, the second and third with a kill in the middle: each with beginning, start and end, once."""
    trail = follow(docker.address)
    started: dict[str, str] = {}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        # No more at a time than the Engine remembers, for else it is its memory that loses them.
        for group in range(4):
            numbers = range(50 * group, 50 * group + 50)
            asked = [pool.submit(start_exec, docker, container, "true", str(number)) for number in numbers]
            if group in (1, 2):
                asked[20].result()
                assert trail.collector.kill("watcher")
            started.update({each.result(): str(number) for number, each in zip(numbers, asked, strict=True)})
            trail.wait(lambda: trail.actions(container).count("exec_die") >= len(started), "all ended")

    execs = trail.execs(container)
    assert started.keys() == execs.keys()
    assert [{"exec_create", "exec_start", "exec_die"}] * 200 == [set(each) for each in execs.values()]
    told = {
        identity: each["exec_die"]["exec"]["ProcessConfig"]["arguments"]
        for identity, each in execs.items()
        if "exec" in each["exec_die"]
    }
    assert told == {identity: [started[identity]] for identity in told}
    assert [] == trail.gaps()
    assert 600 == len(trail.documents(container, 600))
    assert 0 == trail.collector.stop()


def test_an_engine_that_restarts_leaves_one_gap_with_the_containers_that_came_and_went(
    own_docker: DockerEngine, follow: Follow
) -> None:
    """And what happens afterwards is told."""
    trail = follow(own_docker.address)
    before = own_docker.start_container("sleep 1000")
    trail.wait(lambda: "start" in trail.actions(before), "started")

    own_docker.stop_daemon()
    own_docker.start_daemon()
    trail.wait(lambda: len(trail.gaps()) == 1, "a gap")
    after = own_docker.docker("create", IMAGE, "true").strip()
    trail.wait(lambda: trail.actions(after) == ["create"], "created")

    (gap,) = trail.gaps()
    last_ns = next(each["event"]["timeNano"] for each in trail.of(before) if each["event"]["Action"] == "start")
    assert "engine_restarted" == gap["why"]
    assert last_ns <= gap["after_ns"] <= gap["before_ns"]
    assert {before} >= {each["id"] for each in gap["changed"]}
    assert ([], []) == (gap["appeared"], gap["gone"])
    documents: list[dict[str, Any]] = []

    def is_document() -> bool:
        documents[:] = trail.collector.search("event.dataset:docker.events AND event.reason:engine_restarted")
        return bool(documents)

    trail.wait(is_document, "a document")
    assert 1 == len(documents)
    counted = {"input": "engine", "reason": "engine_restarted"}
    trail.wait(lambda: trail.collector.metric("tidewaiter_watcher_trail_gaps_total", **counted) == 1, "counted")
    assert 0 == trail.collector.stop()


def test_what_happens_while_the_collector_is_dead_is_told_as_far_as_the_engine_remembers(
    own_docker: DockerEngine, follow: Follow
) -> None:
    """All of a few events; of too many the last, behind one gap."""
    trail = follow(own_docker.address)
    first = own_docker.docker("create", "--name", "first", IMAGE, "true").strip()
    trail.wait(lambda: trail.actions(first) == ["create"], "created")
    trail.collector.kill_all()
    own_docker.docker("rename", "first", "second")
    trail.collector.start()
    trail.wait(lambda: trail.actions(first) == ["create", "rename"], "renamed")
    few = trail.gaps()

    trail.collector.kill_all()
    for number in range(260):
        own_docker.api("POST", f"/containers/{first}/rename?name=n{number}")
    trail.collector.start()
    trail.wait(lambda: len(trail.actions(first)) >= 258, "the last are told")

    assert [] == few
    assert ["memory_exceeded"] == [each["why"] for each in trail.gaps()]
    names = [each["event"]["Actor"]["Attributes"]["name"] for each in trail.of(first)]
    assert ["first", "second", *(f"n{number}" for number in range(4, 260))] == names
    assert 0 == trail.collector.stop()


@pytest.fixture
async def proxy(docker: DockerEngine, tmp_path: Path) -> AsyncIterator[ReadOnlyProxy]:
    """A read-only proxy before the Engine; it lets no question about an exec pass."""
    async with ReadOnlyProxy(tmp_path / "proxy.sock", docker.address) as each:
        yield each


async def test_through_a_proxy_that_refuses_execs_their_events_are_told(
    docker: DockerEngine, follow: Follow, proxy: ReadOnlyProxy
) -> None:
    """With the command line as the Engine writes it; nothing but GET comes to it, and it is said once."""

    def live() -> Trail:
        trail = follow(proxy.url)
        identity = docker.start_container("sleep 1000")
        docker.docker("exec", identity, "echo", "one")
        docker.docker("exec", identity, "echo", "two")
        docker.docker("rm", "--force", identity)
        trail.wait(lambda: trail.actions(identity)[-1:] == ["destroy"], "gone")
        starts = [each for each in trail.of(identity) if each["event"]["Action"].startswith("exec_start")]
        assert ["exec_start: echo one", "exec_start: echo two"] == [each["event"]["Action"] for each in starts]
        assert ["exec" in each for each in starts] == [False, False]
        assert 0 == trail.collector.stop()
        return trail

    trail = await asyncio.to_thread(live)

    assert {"GET"} == {method for method, _ in proxy.requests}
    assert 1 == trail.collector.log().count("execs_known_by_events_only")
