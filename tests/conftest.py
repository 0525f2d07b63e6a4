"""What holds for every test, and what tests of several kinds share."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.kit.running import RunningCollector

# A shell starts what it runs in the background with SIGINT ignored, and every program that a test starts would inherit
# it: then Ctrl-C says nothing to it, which several tests say for a person.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[Callable[..., RunningCollector]]:
    """Start a ready collector: `start_collector(outputs=…)`; what still lives at the end is killed.

    `settings` are further settings at the top of its configuration, other arguments further options of its TCP input.
    """
    started: list[RunningCollector] = []

    def start(
        outputs: Mapping[str, Mapping[str, object]] | None = None,
        settings: Mapping[str, object] | None = None,
        **input_options: object,
    ) -> RunningCollector:
        folder = tmp_path / f"collector-{len(started)}"
        collector = RunningCollector(folder, outputs=outputs, settings=settings, input_options=input_options)
        started.append(collector)
        collector.start()
        collector.wait_ready()
        return collector

    yield start
    for collector in started:
        collector.kill_all()


COLLECTED: Final = pytest.StashKey[int]()
"""How many tests each of several processes found."""


WHOLE: Final = ("tests/e2e/", "tests/fault/")
"""Where tests start whole collectors, and real engines, each kind once for all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole collectors: they take longest, and wait more than they compute."""
    items.sort(key=lambda item: not item.nodeid.startswith(WHOLE))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # that has no types
    """Where several processes share the tests, a file's stay together, and all of those of whole collectors."""

    def _split_scope(self, nodeid: str) -> str:
        return "whole" if nodeid.startswith(WHOLE) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Share them so."""
    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Note how many tests there are, for the process that counts them at the end has none of its own."""
    node.config.stash[COLLECTED] = len(ids)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped, deselected or lost is a failure: there everything it needs is installed."""
    if os.environ.get("CI") != "true" or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    counts = {kind: len(reporter.stats.get(kind, ())) for kind in ("skipped", "deselected", "passed", "failed")}
    collected = session.config.stash.get(COLLECTED, session.testscollected)
    lost = collected - counts["passed"] - counts["failed"]
    if counts["skipped"] or counts["deselected"] or lost > 0:
        reporter.write_line(f"CI runs every test: {counts}, collected {collected}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew: read the difference by eye before you commit it."""
    parser.addoption("--golden", choices=["compare", "write"], default="compare", help="write: renew the golden files")


@pytest.fixture
def golden_write(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--golden") == "write")
