"""Into a real Elasticsearch: what it accepts, what it refuses, and that its death loses and doubles nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.delivered import lines, send, set_up, stored
from tests.kit.docker_engine import DockerEngine
from tests.kit.engines import ElasticsearchEngine
from tests.kit.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
LINES = 1000
pytestmark = pytest.mark.timeout(600)


def into(engine: ElasticsearchEngine, **options: Any) -> dict[str, dict[str, Any]]:
    """The outputs section for an engine."""
    return {"elastic": {"type": "elasticsearch", "urls": [engine.url], **options}}


@pytest.fixture
def installed(elasticsearch: ElasticsearchEngine, start_collector: StartCollector) -> RunningCollector:
    """A ready collector whose templates are installed, in a namespace of its own."""
    collector = start_collector(outputs=into(elasticsearch))
    set_up(collector)
    return collector


def test_setup_installs_once_and_leaves_alone_what_is_right(installed: RunningCollector) -> None:
    """The second run changes nothing; every object is accepted by Elasticsearch."""
    assert set(set_up(installed).values()) == {"unchanged"}


def test_a_containers_lines_stand_in_a_data_stream(
    docker: DockerEngine, installed: RunningCollector, elasticsearch: ElasticsearchEngine
) -> None:
    """1,000 lines of a real container are 1,000 documents by _count, without mapping errors."""
    options = [
        "--name", "es-lines", "--log-driver", "fluentd",
        "--log-opt", f"fluentd-address=127.0.0.1:{installed.forward_port}",
        "--log-opt", "tag={{.ImageName}}/{{.Name}}/{{.ID}}",
    ]  # fmt: skip
    docker.run(f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done", options=options)
    wait_until(lambda: stored(elasticsearch, "es-lines") >= LINES, timeout_s=60, what="1,000 documents")
    body = {"query": {"term": {"container.name": "es-lines"}}, "size": 1}
    (hit,) = elasticsearch.call("POST", "/logs-tidewaiter.container-default/_search", body)["hits"]["hits"]

    assert stored(elasticsearch, "es-lines") == LINES
    assert hit["_id"] == hit["_source"]["event"]["id"]
    assert hit["_source"]["container"]["image"] == {"name": "acme/bb", "tag": ["1.2"]}
    assert hit["_index"].startswith(".ds-logs-tidewaiter.container-default-")
    assert list((installed.data_dir / "dead-letters").glob("*.ndjson")) == []


def test_an_elasticsearch_that_is_killed_loses_and_doubles_nothing(
    installed: RunningCollector, elasticsearch: ElasticsearchEngine
) -> None:
    """Lines are acknowledged while it is dead; after its return each stands there once."""
    send(installed, lines("es-killed", LINES))
    elasticsearch.kill()
    send(installed, lines("es-killed", LINES))
    assert installed.get("/health/ready")[0] == 200
    elasticsearch.start()
    wait_until(lambda: stored(elasticsearch, "es-killed") >= 2 * LINES, timeout_s=60, what="2,000 documents")

    assert stored(elasticsearch, "es-killed") == 2 * LINES


def test_what_nobody_knows_is_accepted(installed: RunningCollector, elasticsearch: ElasticsearchEngine) -> None:
    """Keys named like ECS objects, deep nesting, NULs, huge numbers and clashing labels make no mapping error."""
    deep: dict[str, Any] = {"leaf": "x"}
    for _ in range(60):
        deep = {"level": deep}
    odd: list[dict[str, Any]] = [
        {"host": "x", "event": {"kind": 7}, "@timestamp": 5, "_id": "y", "message": {"a": 1}},
        {"deep": deep, "nul\0key": "nul\0value", "": "empty", "long" * 300: "k", "value": "v" * 40_000},
        {"number": 2**64 - 1, "float": 1e308, "list": [1, {"a": [None, {}]}], "dots.in.key": {"more.dots": 1}},
        {"app": "x", "app.kubernetes.io/name": "y"},
        {"app": {"kubernetes": 1}},
    ]
    run = lines("es-odd", 1)[0]
    records = [{**run, **each} for each in odd] + [{k: v for k, v in run.items() if k != "log"}]
    send(installed, records)
    wait_until(lambda: stored(elasticsearch, "es-odd") >= len(records), timeout_s=60, what="every document")

    assert stored(elasticsearch, "es-odd") == len(records)
    assert list((installed.data_dir / "dead-letters").glob("*.ndjson")) == []


def test_a_missing_template_keeps_everything_waiting_and_says_what_to_do(
    elasticsearch: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """On a bare node nothing is dead-lettered: the log names the command, and after it everything flows."""
    bare = elasticsearch.another()
    try:
        bare.start()
        collector = start_collector(outputs=into(bare))
        send(collector, lines("es-bare", LINES))
        wait_until(lambda: "tidewaiter setup elasticsearch" in collector.log(), timeout_s=60, what="the advice")
        set_up(collector)
        wait_until(lambda: stored(bare, "es-bare") >= LINES, timeout_s=60, what="1,000 documents")

        assert stored(bare, "es-bare") == LINES
        assert list((collector.data_dir / "dead-letters").glob("*.ndjson")) == []
    finally:
        bare.remove()
