"""Faults of a real Elasticsearch, each with its figure: what is lost, doubled, moved aside or dead, of how many."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from collector.outputs.elasticsearch_answers import Pace
from collector.outputs.elasticsearch_refusals import IN_A_ROW
from collector.setup.templates import objects
from pipelines.batch import DataStream
from tests.kit import engines
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import BulkServer, running
from tests.kit.delivered import counted, dead_letters, lines, send
from tests.kit.engines import ElasticsearchEngine
from tests.kit.losing_proxy import losing_proxy
from tests.kit.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
SCRIPT: Final = Path(__file__).parents[1] / "engines" / "elasticsearch" / "start.sh"
POISONED: Final = {
    "message": {"type": "keyword"},
    "tidewaiter": {"properties": {"invalid": {"type": "long"}}},
}
"""Mappings that refuse a long line, and what is moved aside as well."""

POISON: Final = "x" * 40_000
OWN: Final = "_index_template/tidewaiter"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=sorted(engines.java_homes()))
def node(request: pytest.FixtureRequest) -> Iterator[ElasticsearchEngine]:
    """A real node of each major version that can run here, with our templates."""
    if reason := engines.missing():
        pytest.skip(reason)
    engine = ElasticsearchEngine(SCRIPT, major=request.param)
    try:
        engine.start()
        install(engine)
        yield engine
    finally:
        engine.remove()


def install(engine: ElasticsearchEngine) -> None:
    """Put our templates."""
    for path, body in objects(version="0.1.0", retention_s=86400).items():
        engine.call("PUT", f"/{path}", body)


def override(engine: ElasticsearchEngine, namespace: str, template: dict[str, Any]) -> str:
    """Let the data stream of a namespace follow a template of its own, that says more than ours; return its path."""
    ours = objects(version="0.1.0", retention_s=86400)[OWN]
    body = {**ours, "index_patterns": [stream_of(namespace)], "priority": 900, "template": template}
    engine.call("PUT", f"/_index_template/{namespace}", body)
    return f"/_index_template/{namespace}"


def stream_of(namespace: str) -> str:
    """The data stream of containers' lines."""
    return f"logs-tidewaiter.container-{namespace}"


def into(engine: ElasticsearchEngine, start: StartCollector, namespace: str, **options: Any) -> RunningCollector:
    """A ready collector with a namespace of its own."""
    outputs = {"elastic": {"type": "elasticsearch", "urls": [engine.url], **options}}
    return start(outputs=outputs, settings={"namespace": namespace})


def count(engine: ElasticsearchEngine, namespace: str) -> int:
    """How many documents of a namespace there are; -1 while nobody can say."""
    try:
        return engine.count(stream_of(namespace))
    except OSError:
        return -1


def arrives(engine: ElasticsearchEngine, namespace: str, expected: int) -> None:
    """Wait until a number of documents stands there."""
    wait_until(lambda: count(engine, namespace) >= expected, timeout_s=120, what=f"{expected} documents")


def is_counted(collector: RunningCollector, outcome: str, expected: int) -> None:
    """Wait until metrics say how many documents had an outcome: they are told once a second."""
    wait_until(lambda: counted(collector, outcome) == expected, timeout_s=60, what=f"{expected} {outcome}")


def test_a_wrong_mapping_costs_a_field_and_no_document(
    node: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """A data stream that takes `message` for a number and `container.image` for a text has all 1,000, tagged."""
    wrong = {"message": {"type": "long", "ignore_malformed": False}, "ecs": {"type": "keyword"}}
    override(node, "wrong", {"mappings": {"properties": wrong}})
    collector = into(node, start_collector, "wrong")
    send(collector, lines("wrong", 1000))
    arrives(node, "wrong", 1000)
    hits = node.call("POST", f"/{stream_of('wrong')}/_search", {"size": 1000})["hits"]["hits"]
    is_counted(collector, "moved", 1000)

    assert 1000 == count(node, "wrong")
    assert {f"line {number}" for number in range(1000)} == {
        hit["_source"]["tidewaiter"]["invalid"]["message"] for hit in hits
    }
    assert [] == dead_letters(collector)


def test_one_poisoned_document_in_5000_is_one_dead_letter(
    node: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """Of 15,000 records 3 are refused for good: 14,997 stand there, 3 are dead letters with Elasticsearch's reason."""
    override(node, "poison", {"mappings": {"properties": POISONED}})
    collector = into(node, start_collector, "poison")
    for _ in range(3):
        records = lines("poison", 5000)
        records[2500]["log"] = POISON
        send(collector, records)
    arrives(node, "poison", 14_997)
    is_counted(collector, "dead", 3)
    (path,) = dead_letters(collector)
    letters = [json.loads(line) for line in path.read_text().splitlines()]

    assert 14_997 == count(node, "poison")
    assert {"document_parsing_exception"} == {letter["code"] for letter in letters}
    assert all("failed to parse field [message] of type [keyword]" in letter["reason"] for letter in letters)
    assert [POISON] * 3 == [json.loads(base64.b64decode(letter["payload"]))["message"] for letter in letters]


def test_a_stream_that_refuses_everything_is_waited_for(
    node: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """Of 5,000 fewer than 500 become dead letters; the others arrive when the stream is mended and rolled over."""
    broken = override(node, "broken", {"mappings": {"dynamic": "strict", "properties": {"message": {"type": "text"}}}})
    node.call("PUT", broken, {**template_of(node, broken), "composed_of": []})
    collector = into(node, start_collector, "broken", request_limit="100KiB")
    for _ in range(5):
        send(collector, lines("broken", 1000))
    wait_until(lambda: "nearly all documents" in collector.log(), timeout_s=60, what="the reason in the log")
    node.call("DELETE", broken)
    node.call("POST", f"/{stream_of('broken')}/_rollover")
    wait_until(
        lambda: count(node, "broken") + counted(collector, "dead") >= 5000, timeout_s=120, what="5,000 documents"
    )

    assert 5000 == count(node, "broken") + counted(collector, "dead")
    assert counted(collector, "dead") < IN_A_ROW


def template_of(engine: ElasticsearchEngine, path: str) -> dict[str, Any]:
    """An index template as it was put: without its dates, which version 9 answers with and does not take."""
    found: dict[str, Any] = engine.call("GET", path)["index_templates"][0]["index_template"]
    return {name: value for name, value in found.items() if "_date" not in name}


def test_what_the_failure_store_takes_is_counted_apart(
    node: ElasticsearchEngine, start_collector: StartCollector
) -> None:
    """With the failure store on, 1 of 1,000 stands there: nothing waits, nothing is dead, and it is said where."""
    template = {"mappings": {"properties": POISONED}, "data_stream_options": {"failure_store": {"enabled": True}}}
    override(node, "failures", template)
    collector = into(node, start_collector, "failures")
    records = lines("failures", 1000)
    records[500]["log"] = POISON
    send(collector, records)
    arrives(node, "failures", 999)
    is_counted(collector, "diverted", 1)

    assert 999 == count(node, "failures")
    assert 1 == node.count(f"{stream_of('failures')}::failures")
    assert f"{stream_of('failures')}::failures" in collector.log()
    assert [] == dead_letters(collector)


async def test_a_roll_over_at_the_worst_moment_doubles_nothing(node: ElasticsearchEngine, tmp_path: Path) -> None:
    """1,000 documents are stored, the stream rolls over, the answer is lost: the repeat stores none a second time."""
    stream = DataStream("logs", "tidewaiter.container", "rolled")
    source = ListedSource([batch_of(0, ["first"], stream=stream)])
    quick = msgspec.structs.replace(Pace(), answer_s=10.0)
    async with losing_proxy(node.url) as proxy:
        server = BulkServer()
        server.url = proxy.url
        async with running(server, source, tmp_path, pace=quick):
            await source.wait_settled(0, timeout_s=60)
            proxy.lose = lambda: node.call("POST", f"/{stream}/_rollover")
            source.add(batch_of(1, ["x"] * 1000, stream=stream))
            await source.wait_settled(1, timeout_s=120)

    assert 1 == proxy.lost
    assert 1001 == node.count(str(stream))


def test_a_node_with_room_for_20_kb_takes_everything(start_collector: StartCollector) -> None:
    """Its indexing pressure refuses larger requests with 429, every one: 2,000 documents arrive, none is dead."""
    if reason := engines.missing():
        pytest.skip(reason)
    small = ElasticsearchEngine(SCRIPT, settings=("indexing_pressure.memory.limit=20kb",))
    try:
        small.start()
        install(small)
        collector = into(small, start_collector, "small")
        for _ in range(2):
            send(collector, lines("small", 1000))
        arrives(small, "small", 2000)

        assert 2000 == count(small, "small")
        assert counted(collector, "retried") > 0
        assert [] == dead_letters(collector)
    finally:
        small.remove()
