"""From a real container to a document with all that its Engine knows: log driver, watcher and pipeline together."""

import socket
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

FOUND_WITHIN_S = 30.0


@pytest.fixture
def collector(docker: DockerEngine, start_collector: Callable[..., RunningCollector]) -> RunningCollector:
    """A collector that takes the containers' lines and asks their Engine."""
    port = free_port()
    inputs = {
        "docker": {"type": "forward", "listen": f"127.0.0.1:{port}"},
        "engine": {"type": "docker_events", "url": docker.address},
    }
    collector = start_collector(settings={"inputs": inputs})
    collector.forward_port = port
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_connected", input="engine") == 1,
        timeout_s=FOUND_WITHIN_S,
        what="connected",
    )
    return collector


def sending(collector: RunningCollector) -> list[str]:
    """Options of a container whose lines go there; the driver itself sends id, name and stream."""
    return ["--log-driver", "fluentd", "--log-opt", f"fluentd-address=127.0.0.1:{collector.forward_port}"]


def found(collector: RunningCollector, query: str, count: int) -> list[dict[str, Any]]:
    """Wait for so many documents."""
    documents: list[dict[str, Any]] = []

    def enough() -> bool:
        documents[:] = collector.search(query, "--limit", "1000")
        return len(documents) >= count

    wait_until(enough, timeout_s=FOUND_WITHIN_S, what=f"{count} documents of {query!r}", poll_s=0.2)
    return documents


def test_a_line_has_what_its_engine_knows_of_its_container(docker: DockerEngine, collector: RunningCollector) -> None:
    """Image, labels, user and host, though the driver sends none of them."""
    options = ["--name", "known", "--label", "com.example.team=orders", "--user", "1000", *sending(collector)]
    container = docker.run("echo hello", options=options)
    about = (
        docker.docker("info", "--format", "{{.OperatingSystem}}|{{.KernelVersion}}|{{.Architecture}}")
        .strip()
        .split("|")
    )

    (document,) = found(collector, f"container.id:{container} AND message:hello", 1)

    assert ("hello", "known") == (document["message"], document["container"]["name"])
    assert ("acme/bb", ["1.2"]) == (document["container"]["image"]["name"], document["container"]["image"]["tag"])
    assert {"com_example_team": "orders"} == document["container"]["labels"]
    assert "1000" == document["tidewaiter"]["container"]["user"]
    host = document["host"]
    assert about == [host["os"]["full"], host["os"]["kernel"], host["architecture"]]
    assert [] == [tag for tag in document.get("tags", []) if tag.startswith(("_metadata", "_container", "_identity"))]
    assert 0 == collector.stop()


def test_a_line_in_the_name_of_a_container_that_is_not_there_is_a_finding(
    docker: DockerEngine, collector: RunningCollector
) -> None:
    """Somebody on this machine sends it, and the Engine of this machine does not know that container."""
    record = {"container_id": "f" * 64, "container_name": "/ghost", "source": "stdout", "log": "boo"}
    with socket.create_connection(("127.0.0.1", collector.forward_port)) as sender:
        sender.sendall(msgpack.packb(["docker.ghost", 1_795_917_600, record]))
        (document,) = found(collector, "message:boo", 1)

    assert "_container_unknown" in document["tags"]
    assert 0 == collector.stop()
