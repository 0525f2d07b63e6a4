"""`tidewaiter reload` as an operator meets it: what it prints, what it changes, and what the journal has of it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)

WAIT_S = 120.0


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    """A collector that is dead after the test."""
    each = RunningCollector(tmp_path)
    each.start()
    each.wait_ready(timeout_s=WAIT_S)
    yield each
    each.kill_all()


def write(collector: RunningCollector, **sections: Any) -> None:
    """Change the configuration's file."""
    given = json.loads(collector.config_file.read_text()) | sections
    collector.config_file.write_text(json.dumps(given, indent=1))


def reload(collector: RunningCollector, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(collector.command("reload", *options), capture_output=True, text=True, check=False)


async def send(collector: RunningCollector, name: str) -> None:
    """Send a line of a container of this name."""
    await ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name=name)).send(1)


async def test_lines_are_documents_of_the_configuration_that_held_when_they_came(collector: RunningCollector) -> None:
    """Before, under and after; the collector was ready all the time, and its own records tell what was done."""
    await send(collector, "before")
    write(collector, documents={"original": "always"})
    taken = reload(collector)
    await send(collector, "under")
    write(collector, documents={"original": "sometimes"})
    refused = reload(collector, "--json")
    write(collector, documents={"original": "needed"})
    assert 0 == reload(collector).returncode
    await send(collector, "after")

    wait_until(lambda: len(collector.search("container.name:*")) == 3, timeout_s=WAIT_S, what="all lines", poll_s=0.3)
    originals = {
        found["container"]["name"]: "original" in found["event"] for found in collector.search("container.name:*")
    }
    records = collector.search("data_stream.dataset:tidewaiter.audit AND event.action:reload")
    assert {"before": False, "under": True, "after": False} == originals
    assert (0, "documents changed") == (taken.returncode, taken.stdout.splitlines()[0])
    assert f"reloaded: {collector.config_file} holds since now" in taken.stdout
    assert 1 == refused.returncode
    (problem,) = json.loads(refused.stdout)["problems"]
    assert "documents.original" == problem["path"]
    assert [
        ("success", "The configuration was reloaded: documents changed"),
        (
            "failure",
            "A reload of the configuration was refused, and the one before holds: problems at documents.original",
        ),
        ("success", "The configuration was reloaded: documents changed"),
    ] == [(record["event"]["outcome"], record["message"]) for record in records]
    assert '"not_ready"' not in collector.log()
    assert 0 == collector.stop()


async def test_without_a_collector_there_is_nothing_to_reload(tmp_path: Path) -> None:
    """Exit code 3, and a sentence that names the folder; so it is with a file that is wrong."""
    collector = RunningCollector(tmp_path)

    right = reload(collector)
    write(collector, outputs={})
    wrong = reload(collector)

    said = f"tidewaiter: no collector runs with the data folder {collector.data_dir}: name that of the one that does\n"
    assert [(3, said), (3, said)] == [(each.returncode, each.stderr) for each in (right, wrong)]
