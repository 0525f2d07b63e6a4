"""What is done to containers of a real Docker Engine is found as documents: joined, described, and never by a label."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.docker_engine import IMAGE, DockerEngine, DockerError
from tests.kit.ecs import Schema
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SCHEMA = Schema(Path(__file__).parents[1] / "data")
TOLD_WITHIN_S = 90.0
LIES = ("exitCode=0", f"execID={'f' * 64}", "execDuration=99", "signal=2")


def documents(collector: RunningCollector) -> list[dict[str, Any]]:
    """All documents of the trail, as `tidewaiter search` gives them."""
    command = collector.command("search", "data_stream.dataset:docker.events", "--limit", "10000", "--json")
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in found.splitlines()]


def tried(docker: DockerEngine, *arguments: str) -> None:
    """Run a client command, which may end with any exit code."""
    try:
        docker.docker(*arguments)
    except DockerError:
        return


def test_acts_on_containers_are_found_as_documents(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector]
) -> None:
    """Execs from start to end, a health check beside a person, labels that lie, and a removed container's name."""
    collector = start_collector(settings={"inputs": {"engine": {"type": "docker_events", "url": docker.address}}})
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_trail_connected", input="engine") == 1,
        timeout_s=TOLD_WITHIN_S,
        what="the Engine is followed",
    )
    checked = ("--health-cmd", "true", "--health-interval", "1s", "--user", "1000:1000")
    person = docker.start_container("sleep 1000", options=["--name", "trail-1", *checked])
    tried(docker, "exec", "trail-1", "sh", "-c", "echo a: b; exit 3")
    tried(docker, "exec", "--user", "0", "trail-1", "/bin/sh", "-c", "true")
    tried(docker, "exec", "trail-1", "true", "x" * 100_000)
    docker.docker("commit", "trail-1", "acme/trail:1")
    labels = [part for lie in LIES for part in ("--label", lie)]
    liar = docker.start_container("exit 7", options=["--name", "trail-2", *labels])
    docker.docker("wait", "trail-2")

    def told(action: str) -> int:
        return sum(each["event"]["action"] == action for each in documents(collector))

    wait_until(lambda: told("health_status") > 0, timeout_s=TOLD_WITHIN_S, what="a check has ended", poll_s=0.5)
    docker.docker("rm", "--force", "trail-1", "trail-2")
    wait_until(lambda: told("destroy") == 2, timeout_s=TOLD_WITHIN_S, what="both containers are removed", poll_s=0.5)
    found = documents(collector)
    mine = [each for each in found if each.get("container", {}).get("id") == person]
    ends = {each["process"]["command_line"]: each for each in mine if each["event"]["action"] == "exec_die"}

    assert [problem for each in found for problem in SCHEMA.problems(each)] == []
    assert list((collector.data_dir / "dead-letters").glob("*.ndjson")) == []
    for document in (*mine, *(each for each in found if each.get("container", {}).get("id") == liar)):
        assert document["container"]["name"] in ("trail-1", "trail-2")
        assert document["container"]["image"]["name"] == IMAGE.partition(":")[0]
    assert_execs(mine, ends)
    assert "commit" in [fact for each in mine for fact in each["tidewaiter"].get("facts", [])]
    (died,) = [each for each in found if each["event"]["action"] == "die" and each["container"]["id"] == liar]
    assert died["tags"] == ["_attribute_forged"]
    assert died["event"]["outcome"] == "unknown"
    assert "process" not in died


def assert_execs(mine: list[dict[str, Any]], ends: dict[str, dict[str, Any]]) -> None:
    """Check that ends are joined with their starts, and who is told to be a probe."""
    failed = ends["sh -c echo a: b; exit 3"]
    assert (failed["process"]["exit_code"], failed["event"]["outcome"]) == (3, "failure")
    assert failed["process"]["args"] == ["sh", "-c", "echo a: b; exit 3"]
    assert failed["process"]["user"] == {"id": "1000"}
    assert ends[f"true {'x' * 100_000}"]["process"]["args_count"] == 2
    for end in ends.values():
        same = [
            each["event"]["action"]
            for each in mine
            if each.get("process", {}).get("entity_id") == end["process"]["entity_id"]
        ]
        assert same == ["exec_create", "exec_start", "exec_die"]
        assert end["event"]["duration"] > 0
    checks = [each for each in mine if each.get("process", {}).get("command_line") == "/bin/sh -c true"]
    by_user = {(each["process"]["user"]["id"], each["tidewaiter"]["exec"].get("probe")) for each in checks}
    assert by_user == {("1000", "healthcheck"), ("0", None)}
    assert {tuple(each["tidewaiter"]["facts"]) for each in checks if each["process"]["user"]["id"] == "0"} == {
        ("exec_root", "shell_started")
    }
