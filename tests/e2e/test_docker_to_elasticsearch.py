"""From a real container to a real Elasticsearch that is killed while the container writes: nothing lost or doubled."""

import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.engines import ElasticsearchEngine
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.elasticsearch, pytest.mark.timeout(600)]

LINES: Final = 1000
SCRIPT: Final = (
    f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); echo line $i >&2; i=$((i+1));"
    " [ $((i % 20)) -ne 0 ] || sleep 0.1; done"
)
"""Takes 5 s, so that Elasticsearch can be killed while it writes."""

DOWN_S: Final = 30.0
DELIVERED_WITHIN_S: Final = 60.0
STREAM: Final = "logs-tidewaiter.container-default"


def documents_of(engine: ElasticsearchEngine, container: str) -> list[dict[str, Any]]:
    """A container's documents; none while the data stream does not exist or Elasticsearch does not answer."""
    query = {"size": 10 * LINES, "query": {"term": {"container.id": container}}}
    try:
        engine.call("POST", f"/{STREAM}/_refresh")
        hits: list[dict[str, Any]] = engine.call("POST", f"/{STREAM}/_search", query)["hits"]["hits"]
    except OSError:
        return []
    return hits


def count(engine: ElasticsearchEngine, container: str) -> int:
    """What `_count` says of a container."""
    return int(engine.call("POST", f"/{STREAM}/_count", {"query": {"term": {"container.id": container}}})["count"])


def test_a_containers_lines_reach_elasticsearch_once_though_it_is_killed(
    docker: DockerEngine, elasticsearch: ElasticsearchEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """1,000 lines while Elasticsearch is dead for 30 s: 1,000 documents by `_count`, each number once, none refused."""
    collector = start_collector({"elastic": {"type": "elasticsearch", "urls": [elasticsearch.url]}})
    subprocess.run(collector.command("setup", "elasticsearch"), check=True, timeout=60)

    sending = ["--log-driver=fluentd", f"--log-opt=fluentd-address=127.0.0.1:{collector.forward_port}"]
    container = docker.start_container(SCRIPT, options=sending)
    wait_until(lambda: len(documents_of(elasticsearch, container)) > 100, timeout_s=60, what="the first documents")
    elasticsearch.kill()
    died = time.monotonic()
    docker.docker("wait", container)
    wait_until(lambda: time.monotonic() - died > DOWN_S, timeout_s=DOWN_S + 1, what="the end of the outage")
    elasticsearch.start()
    wait_until(
        lambda: len(documents_of(elasticsearch, container)) >= LINES,
        timeout_s=DELIVERED_WITHIN_S,
        what="all documents",
        poll_s=0.5,
    )
    docker.docker("rm", container)
    found = documents_of(elasticsearch, container)
    documents = [hit["_source"] for hit in found]

    assert LINES == count(elasticsearch, container)
    assert list(range(LINES)) == sorted(int(document["message"][5:]) for document in documents)
    assert all(hit["_id"] == hit["_source"]["event"]["id"] for hit in found)
    assert all("ingested" in document["event"] for document in documents)
    assert all(hit["_index"].startswith(f".ds-{STREAM}-") for hit in found)
    assert [] == list((collector.data_dir / "dead-letters").glob("*.ndjson"))
    assert 0 == collector.stop()
