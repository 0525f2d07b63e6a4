"""Dead letters of a real Elasticsearch: refused for a mapping, explained, and stored once the stream is mended."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.delivered import lines, send, set_up
from tests.kit.engines import ElasticsearchEngine
from tests.kit.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
pytestmark = pytest.mark.timeout(600)

STREAM = "logs-tidewaiter.container-letters"
PATTERN = {"index_patterns": [STREAM], "priority": 900, "data_stream": {}}
LINES = 40


def dead_letters(collector: RunningCollector, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `tidewaiter dead-letters … --json`; return exit code and objects."""
    command = collector.command("dead-letters", *arguments, "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def stored(engine: ElasticsearchEngine) -> list[str]:
    """The messages in the data stream."""
    engine.call("POST", f"/{STREAM}/_refresh")
    found = engine.call("POST", f"/{STREAM}/_search", {"size": 1000, "sort": ["event.sequence"]})
    return [hit["_source"]["message"] for hit in found["hits"]["hits"]]


def test_what_a_mapping_refused_is_stored_when_the_stream_is_mended(
    elasticsearch: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """`list` names Elasticsearch's type and the data stream; before the roll-over a replay is refused, then stored."""
    collector = start_collector(
        outputs={"elastic": {"type": "elasticsearch", "urls": [elasticsearch.url], "hold_refused": False}},
        settings={"namespace": "letters"},
    )
    set_up(collector)
    strict = {
        "settings": {"number_of_replicas": 0},
        "mappings": {"dynamic": "strict", "properties": {"@timestamp": {"type": "date"}}},
    }
    elasticsearch.call("PUT", "/_index_template/strict-letters", {**PATTERN, "template": strict})
    send(collector, lines("letters", LINES))
    wait_until(
        lambda: sum(each["letters"] for each in dead_letters(collector, "list")[1]) == LINES,
        timeout_s=60,
        what="all refused",
    )
    _, (listed,) = dead_letters(collector, "list")
    refused = dead_letters(collector, "replay", "--all")
    elasticsearch.call("DELETE", "/_index_template/strict-letters")
    elasticsearch.call("POST", f"/{STREAM}/_rollover")
    delivered = dead_letters(collector, "replay", "--output", "elastic")

    assert (listed["reason"], listed["example"]["stream"]) == ("strict_dynamic_mapping_exception", STREAM)
    assert f"POST /{STREAM}/_rollover" in listed["advice"]
    assert (refused[0], refused[1][0]["refused"]) == (1, LINES)
    assert (delivered[0], delivered[1][0]["stored"]) == (0, LINES)
    assert stored(elasticsearch) == [f"line {number}" for number in range(LINES)]
    assert dead_letters(collector, "list") == (0, [])
