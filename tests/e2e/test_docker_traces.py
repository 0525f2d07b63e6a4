"""From a program that fails in a real container to one document: Docker's `fluentd` driver, the collector, a search."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

TRACES: Final = Path(__file__).parents[1] / "golden" / "traces"
SEARCHABLE_WITHIN_S: Final = 20.0


def sent_to(collector: RunningCollector, *options: str) -> list[str]:
    """The options that make Docker send a container's lines, with the samples where it can read them."""
    log_options = (f"fluentd-address=127.0.0.1:{collector.forward_port}", *options)
    return [
        "--volume",
        f"{TRACES}:/traces:ro",
        "--log-driver",
        "fluentd",
        *(f"--log-opt={each}" for each in log_options),
    ]


def expected(name: str) -> list[str]:
    """The messages of a sample's documents, in order."""
    return [json.loads(line)["message"] for line in (TRACES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def messages(collector: RunningCollector, query: str, count: int) -> list[str]:
    """Wait until a search finds so many documents; return what they say, in the order of their lines."""
    documents: list[dict[str, Any]] = []

    def enough() -> bool:
        documents[:] = collector.search(query, "--limit", "10000")
        return len(documents) >= count

    wait_until(enough, timeout_s=SEARCHABLE_WITHIN_S, what=f"{count} documents of {query!r}", poll_s=0.2)
    return [each["message"] for each in sorted(documents, key=lambda each: each["event"]["sequence"])]


def test_traces_of_two_streams_at_once_are_one_document_each(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """Java's on standard output while Python's are on standard error; Node's last one goes out by itself."""
    collector = start_collector()
    script = "cat /traces/java.log & cat /traces/python.log >&2 & wait; cat /traces/node.log"
    container = docker.run(script, options=sent_to(collector))
    counts = {"stdout": [*expected("java"), *expected("node")], "stderr": expected("python")}

    for stream, lines in counts.items():
        query = f"container.id:{container} AND tidewaiter.container.stream:{stream}"
        assert lines == messages(collector, query, len(lines))
    assert collector.search(f"container.id:{container} AND error.type:KeyboardInterrupt") != []
    assert 0 == collector.stop()


def test_a_label_keeps_lines_apart(docker: DockerEngine, start_collector: Callable[..., RunningCollector]) -> None:
    """`tidewaiter.multiline=off`: each line is a document."""
    collector = start_collector()
    label = ["--label", "tidewaiter.multiline=off"]
    container = docker.run("cat /traces/ruby.log", options=[*label, *sent_to(collector, "labels=tidewaiter.multiline")])
    lines = (TRACES / "ruby.log").read_text(encoding="utf-8").splitlines()

    assert len(lines) == len(messages(collector, f"container.id:{container}", len(lines)))
    assert 0 == collector.stop()
