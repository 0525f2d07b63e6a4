"""The collector's watcher and an API server, scripted and, where one is built, real: what is told of pods, once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.kit import kubernetes_server
from tests.kit.journals import end_of_files, frames_in, messages_of, read_all
from tests.kit.kubernetes_server import KubernetesServer
from tests.kit.kubernetes_thread import KubernetesThread
from tests.kit.kubernetes_watching import HIDDEN
from tests.kit.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)

TOLD_WITHIN_S = 30.0
RECIPE = Path(__file__).parents[2] / "deploy" / "kubernetes"


class Server(Protocol):
    """What both are to these tests."""

    def start(self) -> None:
        """Serve what there is."""

    def kubeconfig(self, folder: Path) -> str:
        """Write how it is reached."""

    def create_pod(self, name: str) -> str:
        """Make a running pod; return its container's id."""

    def delete_pod(self, name: str) -> None:
        """Delete one."""

    def kill(self) -> None:
        """End at once."""

    def remove(self) -> None:
        """Leave nothing behind."""


@pytest.fixture(params=["scripted", *(["real"] if kubernetes_server.program().is_file() else [])])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An API server that runs."""
    made: Server = KubernetesServer(RECIPE) if request.param == "real" else KubernetesThread()
    try:
        made.start()
        yield made
    finally:
        made.remove()


class Told:
    """A collector that watches a cluster, and what it was told."""

    def __init__(self, collector: RunningCollector) -> None:
        self.collector = collector

    def frames(self) -> list[tuple[int, dict[str, Any]]]:
        """Sequence and content of each message of the watcher."""
        journal = self.collector.data_dir / "journal"
        return [
            (frame.producer.sequence, json.loads(message.payload))
            for frame in frames_in(read_all(journal, end_of_files(journal)))
            for message in messages_of(frame)
            if message.encoding == "kubernetes-object" and frame.producer is not None
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind."""
        return [content for _, content in self.frames() if content["kind"] == kind]

    def snapshots(self) -> int:
        """How often all pods were listed."""
        return sum(content["of"] == "pod" for content in self.of("snapshot"))

    def present(self) -> set[str]:
        """The names of the pods there are by what is told, as a pipeline keeps them."""
        there: dict[str, str] = {}
        for _, content in self.frames():
            if content["kind"] == "pod":
                there[content["object"]["metadata"]["uid"]] = content["object"]["metadata"]["name"]
            elif content["kind"] == "deleted" and content["of"] == "pod":
                there.pop(content["uid"], None)
            elif content["kind"] == "snapshot" and content["of"] == "pod":
                there = {uid: name for uid, name in there.items() if uid in content["uids"]}
        return set(there.values())

    def degraded(self) -> dict[str, str]:
        """What is wrong, while the collector is ready."""
        status, body = self.collector.get("/health/ready")
        found: dict[str, str] = json.loads(body)["degraded"]
        assert status == 200
        return found

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until this holds of what is told."""
        wait_until(holds, timeout_s=TOLD_WITHIN_S, what=what, poll_s=0.05)


@pytest.fixture
def told(server: Server, start_collector: Callable[..., RunningCollector], tmp_path: Path) -> Told:
    """A collector that has listed two pods."""
    server.create_pod("web-1-a")
    server.create_pod("web-1-b")
    inputs = {"cluster": {"type": "kubernetes", "kubeconfig": server.kubeconfig(tmp_path)}}
    told = Told(start_collector(settings={"inputs": inputs}))
    told.wait(lambda: told.snapshots() == 1, "a snapshot")
    return told


def test_what_pods_there_are_is_told_through_a_kill_of_the_watcher(server: Server, told: Told) -> None:
    """What happened meanwhile is there afterwards, sequences rise, nothing is refused, and secrets are nowhere."""
    before = told.present()
    server.create_pod("web-1-c")
    told.wait(lambda: told.present() == {"web-1-a", "web-1-b", "web-1-c"}, "a new pod")

    told.collector.kill("watcher")
    server.delete_pod("web-1-a")
    server.create_pod("web-1-d")

    told.wait(lambda: told.present() == {"web-1-b", "web-1-c", "web-1-d"}, "the pods there are")
    told.wait(lambda: told.degraded() == {}, "nothing is wrong")
    sequences = [sequence for sequence, _ in told.frames()]
    files = [path.read_bytes() for path in (told.collector.data_dir / "journal").iterdir() if path.is_file()]
    assert before == {"web-1-a", "web-1-b"}
    assert sequences == sorted(set(sequences))
    assert [content["object"]["metadata"]["name"] for content in told.of("replicaset")][:1] != []
    assert told.of("pod")[0]["object"]["status"]["containerStatuses"][0]["containerID"].startswith("containerd://")
    assert not [content for content in files if HIDDEN.encode() in content]
    assert told.collector.stop() == 0


def test_a_server_that_is_killed_is_away_once_and_then_listed_again(server: Server, told: Told) -> None:
    """The collector stays ready and says what is wrong; when the server is back, all is as it is there."""
    server.kill()
    told.wait(lambda: told.of("away") != [], "away")
    told.wait(lambda: "watcher: input cluster" in told.degraded(), "that something is wrong")
    why = told.degraded()["watcher: input cluster"]

    server.start()
    server.delete_pod("web-1-b")
    server.create_pod("web-1-e")

    told.wait(lambda: told.present() == {"web-1-a", "web-1-e"}, "the pods there are")
    told.wait(lambda: told.degraded() == {}, "nothing is wrong")
    assert "pods: cannot connect: Connection refused" in why
    assert len(told.of("away")) == 1
    assert told.snapshots() == 2
