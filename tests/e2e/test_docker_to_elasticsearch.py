"""From a real container to a real Elasticsearch that is killed meanwhile: nothing lost, nothing doubled."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

import pytest

from collector.testing.docker_engine import DockerEngine
from collector.testing.engines import ElasticsearchEngine
from collector.testing.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.elasticsearch, pytest.mark.timeout(300)]

LINES: Final = 1000
SCRIPT: Final = (
    f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); echo line $i >&2; i=$((i+1));"
    " [ $((i % 20)) -ne 0 ] || sleep 0.1; done"
)
"""Takes 5 s, so that Elasticsearch can be killed while it writes."""

DOWN_S: Final = 30.0
DELIVERED_WITHIN_S: Final = 60.0
STREAM: Final = "logs-tidewaiter.container-default"


def ask(engine: ElasticsearchEngine, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to Elasticsearch; its answer as JSON."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        engine.url + path, data=content, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        return json.load(response)


def count(engine: ElasticsearchEngine) -> int:
    """Documents in the data stream; 0 while it does not exist or Elasticsearch does not answer."""
    try:
        ask(engine, f"/{STREAM}/_refresh")
        return int(ask(engine, f"/{STREAM}/_count")["count"])
    except (urllib.error.URLError, OSError):
        return 0


def test_a_containers_lines_reach_elasticsearch_once_though_it_is_killed(
    docker: DockerEngine, elasticsearch: ElasticsearchEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """1,000 lines while Elasticsearch is dead for 30 s: 1,000 documents by `_count`, each number once, none refused."""
    collector = start_collector({"elastic": {"type": "elasticsearch", "urls": [elasticsearch.url]}})
    subprocess.run(collector.command("setup", "elasticsearch"), check=True, timeout=60)

    sending = ["--log-driver=fluentd", f"--log-opt=fluentd-address=127.0.0.1:{collector.forward_port}"]
    container = docker.start_container(SCRIPT, options=sending)
    wait_until(lambda: count(elasticsearch) > 100, timeout_s=20, what="the first documents", poll_s=0.05)
    elasticsearch.kill()
    died = time.monotonic()
    docker.docker("wait", container)
    wait_until(lambda: time.monotonic() - died > DOWN_S, timeout_s=DOWN_S + 1, what="the end of the outage")
    elasticsearch.start()
    wait_until(lambda: count(elasticsearch) >= LINES, timeout_s=DELIVERED_WITHIN_S, what="all documents", poll_s=0.5)
    docker.docker("rm", container)

    assert LINES == count(elasticsearch)
    query = {"size": LINES, "_source": ["message", "container", "event.ingested"]}
    found = [hit["_source"] for hit in ask(elasticsearch, f"/{STREAM}/_search", query)["hits"]["hits"]]
    assert list(range(LINES)) == sorted(int(document["message"][5:]) for document in found)
    assert {container} == {document["container"]["id"] for document in found}
    assert all("ingested" in document["event"] for document in found)
    backing = ask(elasticsearch, "/_cat/indices?format=json&expand_wildcards=all")
    assert any(index["index"].startswith(f".ds-{STREAM}-") for index in backing)
    assert [] == [file for file in (collector.data_dir / "dead-letters").glob("*elastic*") if file.stat().st_size]
    assert 0 == collector.stop()
