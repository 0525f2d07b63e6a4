"""From a real container to a searchable document: Docker's `fluentd` log driver, the collector, `tidewaiter search`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LINES = 1000
SCRIPT = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); echo line $i >&2; i=$((i+1)); done"
TAG = "{{.ImageName}}/{{.Name}}/{{.ID}}"
SEARCHABLE_WITHIN_S = 20.0


def fluentd(address: str, *options: str) -> list[str]:
    """The options that make Docker send a container's lines to `address`."""
    return ["--log-driver", "fluentd", *(f"--log-opt={option}" for option in (f"fluentd-address={address}", *options))]


def found(collector: RunningCollector, query: str, *, count: int = LINES) -> list[dict[str, Any]]:
    """Wait until a search finds at least `count` documents; return them all."""
    documents: list[dict[str, Any]] = []

    def enough() -> bool:
        documents[:] = collector.search(query, "--limit", "10000")
        return len(documents) >= count

    wait_until(enough, timeout_s=SEARCHABLE_WITHIN_S, what=f"{count} documents of {query!r}", poll_s=0.2)
    return documents


def numbers(documents: list[dict[str, Any]]) -> list[int]:
    """The numbers of the lines, sorted."""
    return sorted(int(document["message"].removeprefix("line ")) for document in documents)


def parse(timestamp: str) -> datetime:
    """A document's time to the microsecond."""
    assert timestamp.endswith("Z")
    whole, _, fraction = timestamp[:-1].partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0")))


def test_a_containers_lines_are_found_with_its_identity(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """1,000 numbered lines of a container are found, exactly those, with container id, name, image, stream and time."""
    collector = start_collector()
    began = datetime.now(UTC) - timedelta(seconds=1)

    options = ["--name", "orders-1", *fluentd(f"127.0.0.1:{collector.forward_port}", f"tag={TAG}")]
    container = docker.run(SCRIPT, options=options)
    documents = found(collector, "container.name:orders-1")

    assert list(range(LINES)) == numbers(documents)
    assert {container} == {document["container"]["id"] for document in documents}
    assert {"orders-1"} == {document["container"]["name"] for document in documents}
    assert {"acme/bb"} == {document["container"]["image"]["name"] for document in documents}
    assert {("1.2",)} == {tuple(document["container"]["image"]["tag"]) for document in documents}
    streams = {int(d["message"][5:]) % 2: d["tidewaiter"]["container"]["stream"] for d in documents}
    assert {0: "stdout", 1: "stderr"} == streams
    assert LINES // 2 == len(collector.search("tidewaiter.container.stream:stderr", "--limit", "10000"))
    times = [parse(document["@timestamp"]) for document in documents]
    assert began <= min(times)
    assert max(times) <= datetime.now(UTC)
    assert LINES == len({document["event"]["id"] for document in documents})
    assert {"127.0.0.1"} == {document["tidewaiter"]["origin"]["peer"] for document in documents}
    assert 0 == collector.stop()


def test_lines_sent_with_acks_and_sub_second_precision_are_found_in_order(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """With `fluentd-request-ack` every line is found once; with sub-second precision times have a fraction."""
    collector = start_collector()

    address = f"127.0.0.1:{collector.forward_port}"
    log_options = fluentd(address, "fluentd-request-ack=true", "fluentd-sub-second-precision=true")
    container = docker.run(f"for i in $(seq 0 {LINES - 1}); do echo line $i; done", options=log_options)
    documents = found(collector, f"container.id:{container}")

    assert list(range(LINES)) == [int(document["message"][5:]) for document in documents]
    fractions = {document["@timestamp"].partition(".")[2] for document in documents}
    assert len(fractions) > LINES // 2
    times = [document["@timestamp"] for document in documents]
    assert sorted(times) == times
    assert 0 == collector.stop()


def test_lines_sent_over_the_unix_socket_name_their_peer(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """The driver's `unix://` address works, and the origin says which user stood at the other end."""
    collector = start_collector()

    container = docker.run(SCRIPT, options=fluentd(f"unix://{collector.forward_socket}"))
    documents = found(collector, f"container.id:{container}")

    assert list(range(LINES)) == numbers(documents)
    assert {"unix"} == {document["tidewaiter"]["origin"]["transport"] for document in documents}
    assert {"unix:uid=0"} == {document["tidewaiter"]["origin"]["peer"] for document in documents}
    assert 0 == collector.stop()


def test_a_line_that_the_engine_cut_is_one_document(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """40 KiB and 64 KiB lines between short ones, on both streams: whole, with the time of their first piece."""
    collector = start_collector()

    script = (
        "echo begin;"
        " printf '%040960d\\n' 7; printf '%016384d\\n' 8 >&2;"
        " printf '%065536d\\n' 9 & printf '%040959d\\n' 6 >&2; wait;"
        " echo end; printf 'no newline'"
    )
    container = docker.run(script, options=fluentd(f"127.0.0.1:{collector.forward_port}", f"tag={TAG}"))
    documents = found(collector, f"container.id:{container}", count=7)

    lines = sorted((len(each["message"]), each["message"][-1]) for each in documents)
    assert [(3, "d"), (5, "n"), (10, "e"), (16384, "8"), (40959, "6"), (40960, "7"), (65536, "9")] == lines
    pieces = {len(each["message"]): each["tidewaiter"]["container"].get("pieces") for each in documents}
    assert {3: None, 5: None, 10: 1, 16384: 2, 40959: 3, 40960: 3, 65536: 5} == pieces
    assert [10] == [len(each["message"]) for each in documents if "_line_incomplete" in each.get("tags", [])]
    assert 0 == collector.stop()


def test_labels_the_driver_was_told_to_send_are_found(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """Labels arrive dot-safe under `container.labels`; a label never replaces what the engine says."""
    collector = start_collector()

    labels = ["--label", "team=payments", "--label", "app.kubernetes.io/name=orders", "--label", "secret=no"]
    sending = fluentd(f"127.0.0.1:{collector.forward_port}", "labels=team,app.kubernetes.io/name")
    docker.run("echo hello", options=[*labels, *sending])
    documents = found(collector, "container.labels.team:payments", count=1)

    assert ["hello"] == [document["message"] for document in documents]
    assert {"team": "payments", "app_kubernetes_io/name": "orders"} == documents[0]["container"]["labels"]
    assert 0 == collector.stop()


def test_a_container_keeps_writing_through_a_restart_of_the_collector(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """With acks no line is lost when everything is killed while a container writes; it waits and goes on."""
    collector = start_collector()

    sending = fluentd(f"127.0.0.1:{collector.forward_port}", "fluentd-request-ack=true", "fluentd-retry-wait=100ms")
    script = f"for i in $(seq 0 {LINES - 1}); do echo line $i; [ $((i % 100)) -ne 0 ] || sleep 0.2; done"
    container = docker.start_container(script, options=sending)
    found(collector, f"container.id:{container}", count=150)
    collector.kill_all()
    collector.wait_gone()
    collector.start()
    collector.wait_ready()
    docker.docker("wait", container)
    docker.docker("rm", container)
    documents = found(collector, f"container.id:{container}")

    assert list(range(LINES)) == sorted(set(numbers(documents)))
    assert len(documents) <= LINES + 1  # the message in flight at the kill is sent again
    assert 0 == collector.stop()
