"""A real Docker Engine and the collector's watcher: what is told of containers, through kills, restarts and a proxy."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.docker_engine import IMAGE, DockerEngine
from tests.kit.journals import end_of_files, frames_in, messages_of, read_all
from tests.kit.read_only_proxy import ReadOnlyProxy
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

TOLD_WITHIN_S = 15.0
SECRET = "of-nobodys-business"


class Told:
    """A collector that watches an Engine, and what it was told."""

    def __init__(self, collector: RunningCollector, url: str) -> None:
        self.collector = collector
        self.url = url

    def frames(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Producer, sequence and content of each message."""
        journal = self.collector.data_dir / "journal"
        return [
            (frame.producer.name, frame.producer.sequence, json.loads(message.payload))
            for frame in frames_in(read_all(journal, end_of_files(journal)))
            for message in messages_of(frame)
            if message.encoding == "docker-inspect" and frame.producer is not None
        ]

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind."""
        return [content for _, _, content in self.frames() if content["kind"] == kind]

    def causes(self, container: str) -> list[str]:
        """Why a container was told of, one after another; `gone` at last."""
        found = [content for _, _, content in self.frames() if container in (content.get("id"), _id(content))]
        return [content.get("cause", "gone") for content in found]

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until this holds of what is told."""
        wait_until(holds, timeout_s=TOLD_WITHIN_S, what=what, poll_s=0.05)

    def wait_listed(self, count: int = 1) -> None:
        """Wait for so many snapshots."""
        self.wait(lambda: len(self.messages("snapshot")) >= count, f"snapshot {count}")

    def present(self) -> set[str]:
        """The containers there are by what is told, as a pipeline keeps it."""
        there: set[str] = set()
        for _, _, content in self.frames():
            if content["kind"] == "container":
                there.add(_id(content))
            elif content["kind"] == "gone":
                there.discard(content["id"])
            elif content["kind"] == "snapshot":
                there &= set(content["ids"])
        return there


def _id(content: dict[str, Any]) -> str:
    return str(content.get("container", {}).get("Id", ""))


def real_containers(engine: DockerEngine) -> set[str]:
    """The containers there are."""
    return set(engine.docker("ps", "--all", "--quiet", "--no-trunc").split())


Watch = Callable[[str], Told]


@pytest.fixture
def watch(start_collector: Callable[..., RunningCollector]) -> Watch:
    """Start a collector that watches an Engine at an address, and wait for its first list."""

    def begin(url: str) -> Told:
        inputs = {"engine": {"type": "docker_events", "url": url}}
        told = Told(start_collector(settings={"inputs": inputs}), url)
        told.wait_listed()
        return told

    return begin


def test_what_a_container_is_is_told_through_its_life(docker: DockerEngine, watch: Watch) -> None:
    """From created to destroyed; its name, image and labels are right, and its secrets are nowhere."""
    told = watch(docker.address)

    options = ["--name", "first", "--label", "team=orders", "--env", f"PASSWORD={SECRET}"]
    health = ["--health-cmd", "true", "--health-interval", "200ms"]
    container = docker.start_container("sleep 100", options=[*options, *health])
    told.wait(lambda: "health_status" in told.causes(container), "healthy")
    docker.docker("rename", "first", "second")
    told.wait(lambda: "rename" in told.causes(container), "renamed")
    docker.docker("kill", container)
    told.wait(lambda: "die" in told.causes(container), "dead")
    docker.docker("rm", container)
    told.wait(lambda: "gone" in told.causes(container), "gone")

    life = [content for content in told.messages("container") if _id(content) == container]
    last = life[-1]["container"]
    assert ["/first", "/second"] == [life[0]["container"]["Name"], last["Name"]]
    assert ("acme/bb:1.2", {"team": "orders"}) == (last["Config"]["Image"], last["Config"]["Labels"])
    assert ["PASSWORD"] == [name for name in last["Config"]["Env"] if name != "PATH"]
    assert [IMAGE] == life[-1]["image"]["RepoTags"]
    assert "healthy" in {content["container"]["State"].get("Health", {}).get("Status") for content in life}
    assert 137 == last["State"]["ExitCode"]
    assert container not in told.present()
    files = [path.read_bytes() for path in (told.collector.data_dir / "journal").iterdir() if path.is_file()]
    assert not [content for content in files if SECRET.encode() in content]
    assert (200, {}) == (told.collector.get("/health/ready")[0], _degraded(told.collector))
    assert 0 == told.collector.stop()


def _degraded(collector: RunningCollector) -> dict[str, str]:
    degraded: dict[str, str] = json.loads(collector.get("/health/ready")[1])["degraded"]
    return degraded


def test_containers_that_live_for_an_instant_are_told(docker: DockerEngine, watch: Watch) -> None:
    """Twenty with `--rm`, five at a time, that do nothing: each with name and image, and each is gone at the end."""
    told = watch(docker.address)
    command = docker.command("run", "--rm", "--network", "host", "--label", "short=yes")

    for batch in range(4):
        running = [
            subprocess.Popen([*command, "--name", f"short-{batch}-{number}", IMAGE, "true"]) for number in range(5)
        ]
        assert [0] * 5 == [each.wait(60) for each in running]
    told.wait(lambda: len(told.messages("gone")) >= 20, "twenty are gone")

    names = {content["container"]["Name"]: content["container"] for content in told.messages("container")}
    expected = {f"/short-{batch}-{number}" for batch in range(4) for number in range(5)}
    assert expected == expected & names.keys()
    assert {("acme/bb:1.2", "yes")} == {
        (names[name]["Config"]["Image"], names[name]["Config"]["Labels"]["short"]) for name in expected
    }
    assert real_containers(docker) == told.present()
    assert 0 == told.collector.stop()


def test_an_engine_that_restarts_is_away_and_then_told_anew(own_docker: DockerEngine, watch: Watch) -> None:
    """The collector stays ready, and says so; what was removed meanwhile is in no snapshot."""
    container = own_docker.docker("create", "--name", "stays", IMAGE, "true").strip()
    told = watch(own_docker.address)

    own_docker.stop_daemon()
    told.wait(lambda: len(told.messages("away")) == 1, "away")
    status, degraded = told.collector.get("/health/ready")[0], _degraded(told.collector)
    own_docker.start_daemon()
    own_docker.docker("create", "--name", "new", IMAGE, "true")
    told.wait(lambda: real_containers(own_docker) == told.present(), "all there are")

    assert 200 == status
    assert own_docker.address in degraded["watcher: input engine"]
    told.wait(lambda: _degraded(told.collector) == {}, "well again")
    assert 1 == len(told.messages("away"))
    assert ["list", "list"] == told.causes(container)
    assert 0 == told.collector.stop()


def test_a_watcher_that_is_killed_loses_and_doubles_nothing(docker: DockerEngine, watch: Watch) -> None:
    """Kill -9 four times while containers come and go: all are told, and every sequence is there once."""
    told = watch(docker.address)
    shorts = []

    for life in range(4):
        told.wait_listed(life + 1)
        for number in range(3):
            shorts.append(docker.run("true", options=["--name", f"k-{life}-{number}"]))
            if number == 1:
                assert told.collector.kill("watcher")
    told.wait_listed(5)
    told.wait(lambda: all("gone" in told.causes(short) for short in shorts), "all are gone")

    names = {content["container"]["Name"] for content in told.messages("container")}
    assert {f"/k-{life}-{number}" for life in range(4) for number in range(3)} <= names
    sequences = [sequence for _, sequence, _ in told.frames()]
    assert sorted(set(sequences)) == sequences
    assert {"watcher-engine"} == {name for name, _, _ in told.frames()}
    assert real_containers(docker) == told.present()
    assert 4 == told.collector.metric("tidewaiter_supervisor_restarts_total", role="watcher")
    assert 0 == told.collector.stop()


@pytest.fixture
async def proxy(docker: DockerEngine, tmp_path: Path) -> AsyncIterator[ReadOnlyProxy]:
    """A read-only proxy before the Engine."""
    async with ReadOnlyProxy(tmp_path / "proxy.sock", docker.address) as each:
        yield each


async def test_a_read_only_proxy_is_enough(docker: DockerEngine, watch: Watch, proxy: ReadOnlyProxy) -> None:
    """Nothing but GET comes to it, and all is told as without it."""

    def live() -> Told:
        told = watch(proxy.url)
        container = docker.run("true", options=["--name", "through"])
        told.wait(lambda: "gone" in told.causes(container), "gone")
        assert 0 == told.collector.stop()
        return told

    told = await asyncio.to_thread(live)

    assert {"GET"} == {method for method, _ in proxy.requests}
    assert "/through" in {content["container"]["Name"] for content in told.messages("container")}
    assert "engine_version" in told.messages("engine")[0]["host"]


def test_check_says_that_the_socket_can_be_used(docker: DockerEngine, watch: Watch) -> None:
    """The same command as for everything else."""
    told = watch(docker.address)

    done = subprocess.run(told.collector.command("check"), capture_output=True, text=True, check=False)

    assert (0, f"{told.collector.config_file}: ok\n") == (done.returncode, done.stdout)
