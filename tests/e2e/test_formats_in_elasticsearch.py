"""Samples of all formats, and hostile lines, in a real Elasticsearch by our own templates: whole, typed, in place."""

import asyncio
import hashlib
import http.client
import json
import os
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from collector.producer import JournalProducer
from tests.kit import engines
from tests.kit.audit_events import samples
from tests.kit.ecs import Schema
from tests.kit.engines import ElasticsearchEngine
from tests.kit.hostile_lines import HOSTILE_LINES
from tests.kit.posted_inputs import event_list
from tests.kit.running import RunningCollector, free_port, wait_until
from tests.kit.trails import exec_records

StartCollector = Callable[..., RunningCollector]

TESTS: Final = Path(__file__).parents[1]
SCHEMA: Final = Schema(TESTS / "data")
SENT_S: Final = 1795953600
"""2026-11-29T12:00:00Z, when the samples' lines are received."""

HOST: Final = "docker-1"
LABELS: Final = ("container.labels.", "kubernetes.audit.annotations.")

SAMPLES: Final = {
    path: path.read_text(encoding="utf-8").split("\n")[:-1]
    for path in sorted((TESTS / "golden" / "formats").glob("*/*.log"))
}

NO_SECTIONS: Final[Mapping[str, object]] = {}

pytestmark = pytest.mark.timeout(600)


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


def collect(
    engine: ElasticsearchEngine,
    start: StartCollector,
    namespace: str,
    *,
    multiline: bool = False,
    sections: Mapping[str, object] = NO_SECTIONS,
) -> RunningCollector:
    """A ready collector that writes into a namespace of its own; without `multiline` each line is a document."""
    outputs = {"elastic": {"type": "elasticsearch", "urls": [engine.url]}}
    # Of a container's lines only the operator says that they are what an API server did.
    rules = [{"multiline": multiline}, {"parser": "kubernetes_audit", "name": "kubernetes_audit-*"}]
    settings = {"namespace": namespace, "hosts": {"127.0.0.1": HOST}, "parsers": rules, **sections}
    return start(outputs=outputs, settings=settings)


WITH_RULES = ("iptables.log", "falco.alerts", "cilium_tetragon.log", "trivy.report")
"""Datasets of firewalls, sensors and scanners, whose lines name the rule that they tell of."""


def set_up(collector: RunningCollector) -> dict[str, str]:
    """Run `tidewaiter setup elasticsearch`; what it says of each object, and of data streams that are not ours."""
    command = collector.command("setup", "elasticsearch", "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
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
    wait_until(lambda: stored(engine, streams) >= count, timeout_s=240, what=f"{count} documents in {streams}")
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
    beside = [json.loads(line) for path in SAMPLES for line in path.with_suffix(".jsonl").read_text().splitlines()]
    expected = Counter[str]()
    for each in beside:
        expected[each.get("dataset") or "tidewaiter.container"] += 1 + len(each.get("findings", ()))
    count = expected.total()
    found = documents(engine, of_lines("golden"), count)

    assert len(found) == count
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in problems(hit)] == []
    assert [(hit["_ignored"], hit["_source"]["message"]) for hit in found if "_ignored" in hit] == []
    assert Counter(hit["_source"]["data_stream"]["dataset"] for hit in found) == expected
    assert mapped_meanwhile(engine, "logs-*-golden") == set()


def test_traces_and_audit_events_are_documents(engine: ElasticsearchEngine, start_collector: StartCollector) -> None:
    """One each, valid ECS, without a mapping error, found by the error's type and by what was called."""
    collector = collect(engine, start_collector, "traces", multiline=True)
    set_up(collector)
    count = 0
    for path in sorted((TESTS / "golden" / "traces").glob("*.log")):
        send(collector, f"traces-{path.stem}", path.read_text(encoding="utf-8").split("\n")[:-1])
        count += path.with_suffix(".jsonl").read_text(encoding="utf-8").count("\n")
    event = SAMPLES[TESTS / "golden" / "formats" / "auditd" / "audit.log"][:6]
    send(collector, "audit", event)
    found = documents(engine, of_lines("traces"), count + 1)
    by_type = {"query": {"term": {"error.type": "java.lang.ArithmeticException"}}}

    assert len(found) == count + 1
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in problems(hit)] == []
    assert [(hit["_ignored"], hit["_source"]["message"]) for hit in found if "_ignored" in hit] == []
    assert 1 == len(engine.call("POST", f"/{of_lines('traces')}/_search", by_type)["hits"]["hits"])
    assert ["\n".join(event[:5])] == [
        hit["_source"]["message"] for hit in found if hit["_source"]["data_stream"]["dataset"] == "auditd.log"
    ]
    assert mapped_meanwhile(engine, "logs-*-traces") == set()


async def append(collector: RunningCollector, kind: str, encoding: str, payload: bytes) -> None:
    """Append a message as a watcher of an Engine does."""
    socket_path = collector.data_dir / "run" / "intake.sock"
    async with JournalProducer(socket_path, f"{kind}-engine", encoding=encoding, input_name="engine") as producer:
        await producer.begin()
        await producer.append(payload, b"")


def test_what_engines_tell_are_documents(engine: ElasticsearchEngine, start_collector: StartCollector) -> None:
    """Each of the samples, and a command of 100 KB: valid ECS, and no field whose type is guessed."""
    collector = collect(engine, start_collector, "acts")
    set_up(collector)
    files = sorted((TESTS / "golden" / "docker").glob("*.ndjson"))
    messages = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    about = [json.dumps(each["inspect"]).encode() for each in messages if "inspect" in each]
    acts = [json.dumps(each["trail"]).encode() for each in messages if "trail" in each]
    acts += exec_records(["sh", "-c", "x" * 100_000], container="c1" * 32)
    asyncio.run(append(collector, "watcher", "docker-inspect", b"\n".join(about)))
    asyncio.run(append(collector, "trail", "docker-event", b"\n".join(acts)))
    found = documents(engine, "logs-docker.events-acts", len(acts))

    assert len(found) == len(acts)
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in SCHEMA.problems(hit["_source"])] == []
    assert max(len(each["_source"].get("process", {}).get("command_line", "")) for each in found) == 100_006
    shells = {"query": {"term": {"tidewaiter.facts": "shell_started"}}}
    assert engine.call("POST", "/logs-docker.events-acts/_search", shells)["hits"]["hits"] != []
    assert mapped_meanwhile(engine, "logs-docker.events-acts") == set()


def test_what_api_servers_post_are_documents(engine: ElasticsearchEngine, start_collector: StartCollector) -> None:
    """Each sample of an audit event, and a large odd one: valid ECS, found as Elastic's rules ask, no type guessed."""
    port = free_port()
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}"}
    collector = collect(engine, start_collector, "audited", sections={"inputs": {"audit": audit}})
    set_up(collector)
    events = samples(TESTS / "golden" / "kubernetes_audit" / "events.log")
    odd = {"a.b": {"c": "x" * 40_000, "": None, "d": [[1, "2", {"e": True}]]}, "a": 1, "spec": [{"f": 1e300}]}
    annotations = {"a": "1", "a.b": "2", "long": "y" * 40_000}
    large = {**events[0], "requestObject": odd, "responseObject": odd, "annotations": annotations, "verb": "z" * 40_000}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/", event_list(*events, large))
    assert connection.getresponse().status == 200
    connection.close()
    found = documents(engine, "logs-kubernetes.audit_logs-audited", len(events) + 1)

    assert len(found) == len(events) + 1
    assert lost(collector) == []
    assert [(wrong, hit["_source"]["message"]) for hit in found for wrong in SCHEMA.problems(hit["_source"])] == []
    query = (
        'event.dataset:"kubernetes.audit_logs" AND '
        "kubernetes.audit.requestObject.spec.containers.securityContext.privileged:true"
        " AND kubernetes.audit.annotations.authorization_k8s_io\\/decision:allow AND kubernetes.audit.verb:create"
    )
    asked = {"query": {"query_string": {"query": query}}}
    hits = engine.call("POST", "/logs-kubernetes.audit_logs-audited/_search", asked)["hits"]["hits"]
    assert ["alice create pods shop/web-1: 201"] == [hit["_source"]["message"] for hit in hits]
    assert mapped_meanwhile(engine, "logs-kubernetes.audit_logs-audited") == set()


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
