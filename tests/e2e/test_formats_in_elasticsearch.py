"""Samples of all formats, and hostile lines, in a real Elasticsearch by our own templates: whole, typed, in place."""

import hashlib
import json
import os
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from collector.testing import engines
from collector.testing.ecs import Schema
from collector.testing.engines import ElasticsearchEngine
from collector.testing.hostile_lines import HOSTILE_LINES
from collector.testing.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]

TESTS: Final = Path(__file__).parents[1]
SCHEMA: Final = Schema(TESTS / "data")
SENT_S: Final = 1795953600
"""2026-11-29T12:00:00Z, when the samples' lines are received."""

HOST: Final = "docker-1"
LABELS: Final = "container.labels."

SAMPLES: Final = {
    path: path.read_text(encoding="utf-8").split("\n")[:-1]
    for path in sorted((TESTS / "golden" / "formats").glob("*/*.log"))
}

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module", params=sorted(engines.java_homes()))
def engine(request: pytest.FixtureRequest) -> Iterator[ElasticsearchEngine]:
    """A real node of each major version that can run here; skips with the reason where none can."""
    if reason := engines.missing():
        pytest.skip(reason)
    node = ElasticsearchEngine(TESTS / "engines" / "elasticsearch" / "start.sh", major=request.param)
    try:
        node.start()
        yield node
    finally:
        node.remove()


def collect(engine: ElasticsearchEngine, start: StartCollector, namespace: str) -> RunningCollector:
    """A ready collector that writes into a namespace of its own, whose templates are installed."""
    outputs = {"elastic": {"type": "elasticsearch", "urls": [engine.url]}}
    return start(outputs=outputs, settings={"namespace": namespace, "hosts": {"127.0.0.1": HOST}})


WITH_RULES = ("iptables.log",)
"""Datasets of firewalls, whose lines name the rule that they tell of."""


def set_up(collector: RunningCollector) -> dict[str, str]:
    """Run `tidewaiter setup elasticsearch`; what it says of each object, and of data streams that are not ours."""
    command = collector.command("setup", "elasticsearch", "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    results: dict[str, str] = json.loads(done.stdout)
    return results


def container_id(name: str) -> str:
    """The id of the container that writes a file of lines."""
    return hashlib.sha256(name.encode()).hexdigest()


def send(collector: RunningCollector, name: str, lines: list[str]) -> None:
    """Send a container's lines in one message as Docker's driver does, and wait for the acknowledgement."""
    identifier, chunk = container_id(name), os.urandom(16).hex()
    record = {"container_id": identifier, "container_name": f"/{name}", "source": "stdout", "com.example.team": "web"}
    entries = b"".join(
        msgpack.packb([msgpack.ExtType(0, struct.pack(">II", SENT_S, number)), {**record, "log": line}])
        for number, line in enumerate(lines)
    )
    message = msgpack.packb([f"acme/app:1/{name}/{identifier[:12]}", entries, {"chunk": chunk}])
    with socket.create_connection(("127.0.0.1", collector.forward_port), timeout=20) as connection:
        connection.sendall(message)
        assert msgpack.unpackb(connection.recv(512)) == {"ack": chunk}


def stored(engine: ElasticsearchEngine, streams: str) -> int:
    """How many documents some data streams have; -1 where there is none yet."""
    try:
        return engine.count(streams)
    except OSError:
        return -1


def of_lines(namespace: str) -> str:
    """All data streams but that of the collector's own records."""
    return f"logs-*-{namespace},-logs-tidewaiter.audit-*"


def documents(engine: ElasticsearchEngine, streams: str, count: int) -> list[dict[str, Any]]:
    """Wait for as many documents and return all there are, as search gives them."""
    wait_until(lambda: stored(engine, streams) >= count, timeout_s=60, what=f"{count} documents in {streams}")
    found: list[dict[str, Any]] = engine.call("POST", f"/{streams}/_search", {"size": 10_000})["hits"]["hits"]
    return found


def lost(collector: RunningCollector) -> list[Path]:
    """Files of dead letters."""
    return list((collector.data_dir / "dead-letters").glob("*.ndjson"))


def mapped(properties: dict[str, Any], prefix: str = "") -> set[str]:
    """The names of all leaves below some properties."""
    return {
        name
        for key, about in properties.items()
        for name in (mapped(about["properties"], f"{prefix}{key}.") if "properties" in about else {f"{prefix}{key}"})
    }


def mapped_meanwhile(engine: ElasticsearchEngine, streams: str) -> set[str]:
    """Names of fields that no template maps, so that Elasticsearch had to guess; labels are free."""
    known = set()
    for name in ("tidewaiter@ecs", "tidewaiter@mappings"):
        (found,) = engine.call("GET", f"/_component_template/{name}")["component_templates"]
        known |= mapped(found["component_template"]["template"]["mappings"]["properties"])
    now = engine.call("GET", f"/{streams}/_mapping").values()
    names = {name for each in now for name in mapped(each["mappings"]["properties"])}
    return {name for name in names - known if not name.startswith(LABELS)}


def problems(hit: dict[str, Any]) -> list[str]:
    """What is wrong with a document: with its fields, its place, or with who it says it is from."""
    source = hit["_source"]
    stream = source["data_stream"]
    wrong = SCHEMA.problems(source)
    name = f"logs-{stream['dataset']}-{stream['namespace']}"
    said = {
        "the index": hit["_index"].startswith(f".ds-{name}-"),
        "the id": hit["_id"] == source["event"]["id"],
        "the kind": source["event"]["kind"] == "event",
        "the dataset": source["event"]["dataset"] == stream["dataset"],
        "the container": source["container"]["id"] == container_id(source["container"]["name"]),
        "the labels": source["container"]["labels"] == {"com_example_team": "web"},
        "the host": source["host"] == {"name": HOST},
        "the origin": source["tidewaiter"]["origin"]["peer"] == "127.0.0.1",
        "the agent": source["agent"]["type"] == "tidewaiter",
        "a rule": "threat" not in source and ("rule" not in source or stream["dataset"] in WITH_RULES),
    }
    return wrong + [what for what, holds in said.items() if not holds]


def test_every_sample_of_every_format_is_a_document(
    engine: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """In its dataset, valid ECS, without a mapping error, a value that is ignored or a field whose type is guessed."""
    collector = collect(engine, start_collector, "golden")
    set_up(collector)
    for path, lines in SAMPLES.items():
        send(collector, f"{path.parent.name}-{path.stem}", lines)
    count = sum(map(len, SAMPLES.values()))
    found = documents(engine, of_lines("golden"), count)
    beside = [json.loads(line) for path in SAMPLES for line in path.with_suffix(".jsonl").read_text().splitlines()]
    expected = Counter(each.get("dataset") or "tidewaiter.container" for each in beside)

    assert len(found) == count
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in problems(hit)] == []
    assert [(hit["_ignored"], hit["_source"]["message"]) for hit in found if "_ignored" in hit] == []
    assert Counter(hit["_source"]["data_stream"]["dataset"] for hit in found) == expected
    assert mapped_meanwhile(engine, "logs-*-golden") == set()


def test_hostile_lines_are_documents_of_who_wrote_them(
    engine: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """Whatever a line claims or is shaped like: no mapping error, and identity, place and kind are ours."""
    collector = collect(engine, start_collector, "hostile")
    set_up(collector)
    for number in range(3):
        send(collector, f"hostile-{number}", [*HOSTILE_LINES[number:], *HOSTILE_LINES[:number]])
    count = 3 * len(HOSTILE_LINES)
    found = documents(engine, of_lines("hostile"), count)

    assert len(found) == count
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in problems(hit)] == []
    assert [hit["_source"] for hit in found if not hit["_source"].keys().isdisjoint(("rule", "threat"))] == []
    assert mapped_meanwhile(engine, "logs-*-hostile") == set()


def test_an_installed_integration_keeps_its_template_and_does_not_parse_our_documents(
    engine: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """Installed before or after ours; its template rules, setup says so, and its default pipeline does not run."""
    template = {
        "priority": 200,
        "data_stream": {},
        "template": {"settings": {"index.default_pipeline": "grok-that-is-not-there"}},
    }
    collector = collect(engine, start_collector, "shared")
    engine.call("PUT", "/_index_template/logs-nginx.access", {"index_patterns": ["logs-nginx.access-*"], **template})
    first = set_up(collector)
    engine.call("PUT", "/_index_template/logs-system.auth", {"index_patterns": ["logs-system.auth-*"], **template})
    second = set_up(collector)
    lines = SAMPLES[TESTS / "golden" / "formats" / "nginx" / "access.log"]
    send(collector, "nginx", lines)
    try:
        found = documents(engine, "logs-nginx.access-shared", 1)

        assert {name for name, what in first.items() if what == "other"} == {"logs-nginx.access-shared"}
        assert {name: what for name, what in second.items() if what != "unchanged"} == {
            "logs-nginx.access-shared": "other",
            "logs-system.auth-shared": "other",
        }
        assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in problems(hit)] == []
        assert lost(collector) == []
    finally:
        engine.call("DELETE", "/_index_template/logs-system.auth")
