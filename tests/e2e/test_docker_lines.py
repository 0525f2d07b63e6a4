"""Whatever containers of a real Engine write becomes the right documents, though workers and watchers are killed."""

import itertools
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.kit.docker_engine import IMAGE, DockerEngine
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

ROUNDS: Final = 24
LONG: Final = 40_960
NOW: Final = datetime.now(UTC).replace(microsecond=0)
"""A time of lines that is not far from that of their receipt."""

SCRIPT: Final = rf"""
i=0
while [ $i -lt {ROUNDS} ]; do
    printf '{{"level":"warn","time":"{NOW:%Y-%m-%dT%H:%M:%SZ}","msg":"slow %d","user":{{"tier":"gold"}}}}\n' $i
    printf 'java.lang.IllegalStateException: no %d\n\tat a.B.c(B.java:%d)\n\tat a.B.d(B.java:2)\n' $i $i
    printf 'Traceback (most recent call last):\n  File "/a.py", line %d, in f\nValueError: no %d\n' $i $i >&2
    printf '192.0.2.7 - - [{NOW:%d/%b/%Y:%H:%M:%S} +0000] "GET /%d HTTP/1.1" 404 5 "-" "curl/8.5.0"\n' $i
    printf '%0{LONG}d\n' $i
    sleep 0.15
    i=$((i+1))
done
"""
"""What a container writes: JSON, stack traces on both outputs at once, access lines, and lines of three pieces."""

PER_ROUND: Final = 5
SHORT: Final = 12
LABELS: Final = {
    "app": "shop",
    "app.kubernetes.io/name": "shop",
    "com.example.team": "orders",
    "com_example_team": "other",
    "container_id": "f" * 64,
    "tag": "x",
}
"""With dots, such as collide, and one like a key of the driver's own, which puts it in that one's place."""

SHOWN: Final = {
    "app": "shop",
    "app_kubernetes_io/name": "shop",
    "com_example_team": "orders",
    "com_example_team_2": "other",
    "container_id": "f" * 64,
    "tag": "x",
}
IMAGE_PARTS: Final = ("acme/bb", ["1.2"])

FOUND_WITHIN_S: Final = 60.0


@pytest.fixture
def collector(docker: DockerEngine, start_collector: Callable[..., RunningCollector]) -> RunningCollector:
    """A collector that takes the containers' lines and asks their Engine."""
    port = free_port()
    inputs = {
        "docker": {"type": "forward", "listen": f"127.0.0.1:{port}"},
        "engine": {"type": "docker_events", "url": docker.address},
    }
    collector = start_collector(settings={"inputs": inputs})
    collector.forward_port = port
    connect(collector)
    return collector


def connect(collector: RunningCollector) -> None:
    """Wait until the watcher hears its Engine."""
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_connected", input="engine") == 1,
        timeout_s=FOUND_WITHIN_S,
        what="connected",
    )


def options(collector: RunningCollector) -> list[str]:
    """What makes Docker send a container's lines, with all labels."""
    log_options = (f"fluentd-address=127.0.0.1:{collector.forward_port}", "labels-regex=.*")
    labels = [f"--label={name}={value}" for name, value in LABELS.items()]
    return [*labels, "--log-driver=fluentd", *(f"--log-opt={each}" for each in log_options)]


def kill(collector: RunningCollector, role: str) -> None:
    """Kill a role as soon as it runs; a watcher is given the time to come back, for lines wait for it 5 s at most."""
    wait_until(lambda: collector.kill(role), timeout_s=FOUND_WITHIN_S, what=f"a {role} to be killed")
    if role == "watcher":
        wait_until(lambda: collector.pid_of(role) is not None, timeout_s=FOUND_WITHIN_S, what="a new watcher")
        connect(collector)


def expected(number: int) -> set[tuple[str, str]]:
    """Output and message of the documents of one round."""
    error = f'Traceback (most recent call last):\n  File "/a.py", line {number}, in f\nValueError: no {number}'
    thrown = f"java.lang.IllegalStateException: no {number}\n\tat a.B.c(B.java:{number})\n\tat a.B.d(B.java:2)"
    access = f'192.0.2.7 - - [{NOW:%d/%b/%Y:%H:%M:%S} +0000] "GET /{number} HTTP/1.1" 404 5 "-" "curl/8.5.0"'
    texts = (f"slow {number}", thrown, access, f"{number:0{LONG}}")
    return {("stderr", error), *(("stdout", text) for text in texts)}


def kind(document: dict[str, Any]) -> tuple[Any, ...]:
    """What else the document of a line says, by what the line is: which is told by its message alone."""
    own = document["tidewaiter"]
    if document["message"].startswith("slow"):
        return ("json", document["log"]["level"], own["app"])
    if "\n" in document["message"]:
        return ("trace", document["error"]["type"], document["log"]["level"])
    if document["message"].startswith("192.0.2.7"):
        return ("access", document["http"]["response"]["status_code"], document["event"]["dataset"])
    return ("long" if len(document["message"]) == LONG else "short", own["container"].get("pieces"))


KINDS: Final = [
    ("json", "warn", {"user": {"tier": "gold"}}),
    ("trace", "java.lang.IllegalStateException", "error"),
    ("trace", "ValueError", "error"),
    ("access", 404, "nginx.access"),
    ("long", 3),
]


def known(document: dict[str, Any]) -> tuple[Any, ...]:
    """What its Engine says of its container, and what somebody claims."""
    container, own = document["container"], document["tidewaiter"]
    image = (container["image"]["name"], container["image"]["tag"])
    return (*image, container["labels"], own["container"]["engine"], own["claimed"], document.get("tags"))


def test_all_that_containers_write_is_there_once_with_all_that_is_known(
    docker: DockerEngine, collector: RunningCollector
) -> None:
    """Two containers at once, twelve that live for an instant, labels that collide; worker and watcher die in turn."""
    roles = itertools.cycle(["worker", "worker", "watcher"])
    words = [f"word-{number}" for number in range(SHORT)]
    writing = [docker.start_container(SCRIPT, options=["--name", name, *options(collector)]) for name in ("one", "two")]
    command = docker.command("run", "--rm", "--network", "host", *options(collector))
    for first in range(0, SHORT, 3):
        names = words[first : first + 3]
        short = [subprocess.Popen([*command, "--name", name, IMAGE, "echo", "word"]) for name in names]
        kill(collector, next(roles))
        assert [0] * 3 == [each.wait(60) for each in short]
    for container in writing:
        docker.docker("wait", container)
        kill(collector, next(roles))
    count = 2 * PER_ROUND * ROUNDS + SHORT
    documents: list[dict[str, Any]] = []

    def enough() -> bool:
        documents[:] = collector.search("NOT event.dataset:docker.events", "--limit", "10000")
        documents[:] = [each for each in documents if "container" in each]
        return len(documents) >= count

    wait_until(enough, timeout_s=FOUND_WITHIN_S, what=f"{count} documents", poll_s=0.5)
    docker.docker("rm", *writing)

    by_name: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_name.setdefault(document["container"]["name"], []).append(document)
    lines = sorted(line for number in range(ROUNDS) for line in expected(number))
    for container, name in zip(writing, ("one", "two"), strict=True):
        own = by_name.pop(name)
        assert lines == sorted((each["tidewaiter"]["container"]["stream"], each["message"]) for each in own)
        assert {container} == {each["container"]["id"] for each in own}
        assert [ROUNDS] * len(KINDS) == [list(map(kind, own)).count(each) for each in KINDS]
    assert {(name, "word") for name in words} == {(name, each["message"]) for name in by_name for each in by_name[name]}
    assert len({each["event"]["id"] for each in documents}) == len(documents) == count
    claimed = {"container": {"id": LABELS["container_id"]}}
    for document in documents:
        assert (*IMAGE_PARTS, SHOWN, "engine", claimed, ["_identity_conflict"]) == known(document)
    assert [] == list((collector.data_dir / "dead-letters").glob("*.ndjson"))
    assert 0 == collector.stop()
