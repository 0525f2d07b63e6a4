"""Into a real OpenSearch: setup, delivery, what it refuses, its death, and a roll-over while an answer is lost."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from collector.setup.templates import objects
from tests.kit.delivered import dead_letters, lines, send, set_up, stored
from tests.kit.engines import OpenSearchEngine
from tests.kit.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
LINES = 1000
STREAM = "logs-tidewaiter.container-default"

pytestmark = pytest.mark.timeout(600)


def into(engine: OpenSearchEngine, **options: Any) -> dict[str, dict[str, Any]]:
    """The outputs section for an engine."""
    return {"elastic": {"type": "elasticsearch", "server": "opensearch", "urls": [engine.url], **options}}


@pytest.fixture
def installed(opensearch: OpenSearchEngine, start_collector: StartCollector) -> RunningCollector:
    """A ready collector whose templates are installed."""
    collector = start_collector(outputs=into(opensearch))
    set_up(collector)
    return collector


def test_setup_installs_once_and_leaves_alone_what_is_right(installed: RunningCollector) -> None:
    """OpenSearch accepts every object, and the second run changes nothing."""
    assert {"unchanged"} == set(set_up(installed).values())


def test_an_opensearch_that_is_killed_loses_and_doubles_nothing(
    installed: RunningCollector, opensearch: OpenSearchEngine
) -> None:
    """Lines are acknowledged while it is dead; after its return each stands there once."""
    send(installed, lines("os-killed", LINES))
    opensearch.kill()
    send(installed, lines("os-killed", LINES))
    opensearch.start()
    wait_until(lambda: stored(opensearch, "os-killed") >= 2 * LINES, timeout_s=90, what="2,000 documents")

    assert 2 * LINES == stored(opensearch, "os-killed")
    assert [] == dead_letters(installed)


def test_what_nobody_knows_is_accepted(installed: RunningCollector, opensearch: OpenSearchEngine) -> None:
    """Keys named like ECS objects, nesting, huge numbers and clashing labels make no mapping error."""
    odd: list[dict[str, Any]] = [
        {"host": "x", "event": {"kind": 7}, "@timestamp": 5, "_id": "y", "message": {"a": 1}},
        {"number": 2**64 - 1, "float": 1e308, "list": [1, {"a": [None, {}]}], "dots.in.key": {"more.dots": 1}},
        {"app": "x", "app.kubernetes.io/name": "y"},
        {"app": {"kubernetes": 1}},
    ]
    (run,) = lines("os-odd", 1)
    send(installed, [{**run, **each} for each in odd])
    wait_until(lambda: stored(opensearch, "os-odd") >= len(odd), timeout_s=60, what="every document")

    assert len(odd) == stored(opensearch, "os-odd")
    assert [] == dead_letters(installed)


def test_a_field_of_another_type_is_moved_aside(installed: RunningCollector, opensearch: OpenSearchEngine) -> None:
    """OpenSearch names the field in its own words; the documents are stored without it, tagged."""
    send(installed, lines("os-first", 1))
    wait_until(lambda: stored(opensearch, "os-first") == 1, timeout_s=60, what="the stream")
    opensearch.call("DELETE", f"/_data_stream/{STREAM}")
    path = "/_index_template/tidewaiter-wrong"
    ours = objects(version="0.1.0", retention_s=86400, server="opensearch")["_index_template/tidewaiter"]
    wrong = {"mappings": {"properties": {"message": {"type": "long", "ignore_malformed": False}}}}
    opensearch.call("PUT", path, {**ours, "priority": 900, "template": wrong})
    try:
        send(installed, lines("os-wrong", 10))
        wait_until(lambda: stored(opensearch, "os-wrong") >= 10, timeout_s=60, what="every document")
        query = {"query": {"term": {"container.name": "os-wrong"}}, "size": 20}
        hits = opensearch.call("POST", f"/{STREAM}/_search", query)["hits"]["hits"]
    finally:
        opensearch.call("DELETE", f"/_data_stream/{STREAM}")  # a template that is in use cannot go
        opensearch.call("DELETE", path)

    assert {f"line {number}" for number in range(10)} == {
        hit["_source"]["tidewaiter"]["invalid"]["message"] for hit in hits
    }
    assert all("_mapping_conflict" in hit["_source"]["tags"] for hit in hits)
    assert [] == dead_letters(installed)


def test_an_output_that_takes_opensearch_for_elasticsearch_is_told(
    opensearch: OpenSearchEngine, start_collector: StartCollector
) -> None:
    """By `setup`, and by the collector's log: which option is missing."""
    collector = start_collector(outputs={"elastic": {"type": "elasticsearch", "urls": [opensearch.url]}})
    command = collector.command("setup", "elasticsearch", "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    send(collector, lines("os-unknown", 1))
    wait_until(lambda: "set server: opensearch" in collector.log(), timeout_s=60, what="the advice")

    assert done.returncode != 0
    assert "set server: opensearch" in done.stderr
