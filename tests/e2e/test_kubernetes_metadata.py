"""From a pod's line, as Fluent Bit reads it from the node, to a document with what the API server knows of the pod."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.kit.kubernetes_thread import KubernetesThread
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = pytest.mark.timeout(600)

FOUND_WITHIN_S = 30.0
TIME_S = 1_795_917_600


@pytest.fixture
def server() -> Iterator[KubernetesThread]:
    """An API server that runs."""
    made = KubernetesThread()
    made.start()
    yield made
    made.remove()


@pytest.fixture
def collector(
    server: KubernetesThread, start_collector: Callable[..., RunningCollector], tmp_path: Path
) -> RunningCollector:
    """A collector that takes lines and asks the cluster."""
    port = free_port()
    inputs = {
        "forward": {"type": "forward", "listen": f"127.0.0.1:{port}"},
        "cluster": {"type": "kubernetes", "cluster": "production", "kubeconfig": server.kubeconfig(tmp_path)},
    }
    collector = start_collector(settings={"inputs": inputs})
    collector.forward_port = port
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_connected", input="cluster") == 1,
        timeout_s=FOUND_WITHIN_S,
        what="connected",
    )
    return collector


def send(collector: RunningCollector, pod: str, identity: str, line: str) -> None:
    """Send a line as Fluent Bit's tail input does, its filter left out: the tag names the file."""
    record = {"time": "2026-11-29T09:20:00.123456789Z", "stream": "stdout", "_p": "F", "log": line}
    tag = f"kube.var.log.containers.{pod}_shop_app-{identity}.log"
    with socket.create_connection(("127.0.0.1", collector.forward_port)) as sender:
        sender.sendall(msgpack.packb([tag, TIME_S, record]))


def found(collector: RunningCollector, message: str) -> dict[str, Any]:
    """Wait for the document of a line."""
    documents: list[dict[str, Any]] = []

    def there() -> bool:
        documents[:] = collector.search(f"message:{message}")
        return bool(documents)

    wait_until(there, timeout_s=FOUND_WITHIN_S, what=f"a document of {message}", poll_s=0.2)
    (document,) = documents
    return document


def test_a_pods_line_has_what_its_cluster_knows_of_it(server: KubernetesThread, collector: RunningCollector) -> None:
    """Its deployment, node, labels and rights, though the line's way brought none of them."""
    identity = server.create_pod("web-1")
    send(collector, "web-1", identity, "hello")
    document = found(collector, "hello")

    assert (document["container"]["id"], document["container"]["name"]) == (identity, "app")
    assert document["orchestrator"]["cluster"]["name"] == "production"
    kubernetes = document["kubernetes"]
    assert (kubernetes["pod"]["name"], kubernetes["namespace"], kubernetes["node"]["name"]) == (
        "web-1",
        "shop",
        "node-1",
    )
    assert kubernetes["deployment"]["name"] == "web"
    assert kubernetes["labels"]["app"] == "web"
    assert document["host"]["os"]["kernel"] == "6.1.0"
    assert [tag for tag in document.get("tags", []) if tag.startswith(("_metadata", "_container", "_identity"))] == []
    assert collector.stop() == 0


def test_a_line_of_a_pod_that_is_not_there_is_a_finding(collector: RunningCollector) -> None:
    """The cluster of its sender does not know that container."""
    send(collector, "ghost", "f" * 64, "boo")

    assert "_container_unknown" in found(collector, "boo")["tags"]
    assert collector.stop() == 0


def test_while_the_api_server_is_away_what_is_known_is_used(
    server: KubernetesThread, collector: RunningCollector
) -> None:
    """Also by a worker that was killed meanwhile."""
    identity = server.create_pod("web-1")
    send(collector, "web-1", identity, "before")
    before = found(collector, "before")
    server.kill()
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_connected", input="cluster") == 0,
        timeout_s=FOUND_WITHIN_S,
        what="away",
    )
    collector.kill("worker")
    send(collector, "web-1", identity, "afterwards")

    assert found(collector, "afterwards")["kubernetes"] == before["kubernetes"]
    assert collector.stop() == 0
