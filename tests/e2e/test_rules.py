"""Rules in a folder, as an author meets them: dropped, changed and broken while senders send and the worker dies."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.rule_folders import BROKEN, rule
from tests.kit.running import RunningCollector, wait_until

pytestmark = pytest.mark.timeout(600)

WAIT_S = 60.0
"""Far above the seconds that a change takes, so that a loaded machine does not fail."""

ALERTS = "data_stream.dataset:tidewaiter.alerts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where rules are dropped; one is there from the beginning."""
    made = tmp_path / "rules"
    made.mkdir()
    (made / "alpha.yml").write_text(rule(1, "alpha"))
    return made


@pytest.fixture
def collector(start_collector: Callable[..., RunningCollector], folder: Path) -> RunningCollector:
    """A collector that looks after the folder."""
    return start_collector(settings={"rules": {"pack": False, "paths": [str(folder)]}})


class Author:
    """Sends lines of containers `alpha` and `beta`, which the rules of these names are about, and reads alerts."""

    def __init__(self, collector: RunningCollector) -> None:
        self.collector = collector
        self.senders = {
            name: ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name=name))
            for name in ("alpha", "beta")
        }

    async def send(self, name: str, count: int = 1) -> None:
        """Send lines; return when they are acknowledged."""
        await self.senders[name].send(count)

    def alerts(self, name: str) -> list[dict[str, Any]]:
        """Alerts of a rule so far."""
        return self.collector.search(f'{ALERTS} AND rule.name:"Word {name}"')

    def sources(self, name: str) -> Counter[str]:
        """How often each document is the source of one."""
        return Counter(each["tidewaiter"]["alert"]["source"]["id"][0] for each in self.alerts(name))

    def documents(self, name: str) -> set[str]:
        """Ids of a container's documents."""
        return {
            each["event"]["id"] for each in self.collector.search(f"container.name:{name} AND NOT event.kind:alert")
        }

    async def wait_alerts(self, name: str, count: int) -> None:
        """Wait until a rule has raised as many alerts."""
        what = f"{count} alerts of {name}"
        await wait_for(lambda: len(self.alerts(name)) >= count, what)

    def degraded(self) -> dict[str, str]:
        """What health says."""
        found: dict[str, str] = json.loads(self.collector.get("/health/ready")[1])["degraded"]
        return found


async def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait beside the senders."""
    await asyncio.to_thread(wait_until, condition, timeout_s=WAIT_S, what=what, poll_s=0.3)


async def test_rules_change_while_senders_send_and_the_worker_dies(collector: RunningCollector, folder: Path) -> None:
    """A new rule fires, a broken file keeps its rules and is told, a killed worker neither loses nor doubles an alert.

    Acknowledgements go on through all of it, and no record is lost or doubled.
    """
    author = Author(collector)
    intake = collector.pid_of("intake")
    async with Load(collector, patience_s=WAIT_S).running() as load:
        await author.send("alpha", 3)
        await author.wait_alerts("alpha", 3)

        (folder / "beta.yml").write_text(rule(2, "beta"))
        await load.progress()
        await wait_for(lambda: collector.metric("tidewaiter_worker_rules_active") == 2, "the new rule")
        await author.send("beta", 3)
        await author.wait_alerts("beta", 3)

        (folder / "alpha.yml").write_text(BROKEN)
        await wait_for(lambda: "worker: rules" in author.degraded(), "what is wrong in health")
        said = author.degraded()["worker: rules"]
        await author.send("alpha", 3)
        assert collector.kill("worker")
        await author.send("alpha", 3)
        await load.progress()
        await author.wait_alerts("alpha", 9)

    stored = stored_lines(collector, load)
    assert said.startswith(f"{folder}/alpha.yml has 1 mistake; its rules before hold: {folder}/alpha.yml:")
    check_the_books(stored, load)
    for name, count in (("alpha", 9), ("beta", 3)):
        assert count == len(author.documents(name))
        assert dict.fromkeys(author.documents(name), 1) == author.sources(name)
    assert (0, intake) == (load.resent_messages, collector.pid_of("intake"))
    assert 0 == collector.stop()


def reload(collector: RunningCollector, **rules: Any) -> int:
    """Let other rules hold; return the command's exit code."""
    given = json.loads(collector.config_file.read_text()) | {"rules": {"pack": False, **rules}}
    collector.config_file.write_text(json.dumps(given))
    return subprocess.run(collector.command("reload"), capture_output=True, check=False).returncode


async def loaded(collector: RunningCollector, times: int) -> None:
    """Wait until a set was appended for the so manieth time."""
    await wait_for(lambda: collector.log().count('"rules_loaded"') == times, f"set {times}")


async def test_a_reload_lets_other_rules_hold(collector: RunningCollector, folder: Path) -> None:
    """Another folder, one that is not there, which is refused, then none: each line meets the rules of its time."""
    author = Author(collector)
    other = folder.with_name("other")
    other.mkdir()
    (other / "beta.yml").write_text(rule(2, "beta"))
    await author.send("alpha")
    await author.send("beta")

    assert 0 == await asyncio.to_thread(reload, collector, paths=[str(other)])
    await loaded(collector, 2)
    await author.send("alpha")
    await author.send("beta")
    assert 1 == await asyncio.to_thread(reload, collector, paths=[f"{other}-nowhere"])
    await author.send("beta")
    assert 0 == await asyncio.to_thread(reload, collector)
    await loaded(collector, 3)
    await author.send("alpha")
    await author.send("beta")
    await wait_for(lambda: len(author.documents("beta")) == 4, "the last line")

    assert [1, 2] == [len(author.alerts(name)) for name in ("alpha", "beta")]
    assert 0 == collector.stop()
