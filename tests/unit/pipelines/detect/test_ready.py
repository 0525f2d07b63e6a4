"""Matchers are made ahead of the set that they are of, and once for all pipelines of a process."""

from typing import Any

import pytest

from pipelines.batch import Batch
from pipelines.detect import scan
from pipelines.detect.matcher import Matcher
from pipelines.detect.ready import KEPT, Matchers
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.detection import ANY, LOGIN, SHELL, rules_frame, rules_message
from tests.kit.frames import frame_of
from tests.kit.pieces import packed

SETTINGS = Settings(version="0.1.0")
SETS = ((SHELL,), (SHELL, LOGIN), (ANY,))


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


class Made:
    """Counts matchers and scanners that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.matchers = self.scanners = 0
        init, compile_atoms = Matcher.__init__, scan.HyperscanScanner.__init__

        def counting(matcher: Matcher, rules: Any, **how: Any) -> None:
            self.matchers += 1
            init(matcher, rules, **how)

        def compiling(scanner: scan.HyperscanScanner, hyperscan: Any, atoms: Any) -> None:
            self.scanners += 1
            compile_atoms(scanner, hyperscan, atoms)

        monkeypatch.setattr(Matcher, "__init__", counting)
        monkeypatch.setattr(scan.HyperscanScanner, "__init__", compiling)


def pipeline(matchers: Matchers) -> Pipeline:
    """Return a pipeline that shares matchers."""
    return Pipeline(SETTINGS, failed, on_rule_failure=failed, matchers=matchers)


def swap(pipelines: list[Pipeline], message: bytes, sequence: int) -> list[Batch]:
    """Let each pipeline read a set and a line behind it; return the lines' batches."""
    record = {"container_id": "a" * 64, "container_name": "/web", "source": "stdout", "log": "uid=0"}
    line = frame_of(("forward", [(packed(record), b"", 1)]), sequence=sequence + 1)
    batches = []
    for each in pipelines:
        list(each(rules_frame([message], sequence=sequence)))
        batches += list(each(line))
    return batches


def test_a_set_that_was_made_ready_holds_without_anything_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the matcher, nor the scanner of the datasets that have come before."""
    matchers = Matchers()
    one = pipeline(matchers)
    swap([one], rules_message(*SETS[0]), 1)
    matchers.prepare(rules_message(*SETS[1]))
    made = Made(monkeypatch)

    (batch,) = swap([one], rules_message(*SETS[1]), 3)
    assert batch.tally.derived == 1
    assert (made.matchers, made.scanners) == (0, 0)


def test_pipelines_share_what_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lags behind, and one that reads again."""
    made = Made(monkeypatch)
    matchers = Matchers()

    first, second = swap([pipeline(matchers), pipeline(matchers)], rules_message(*SETS[0]), 1)
    assert first == second
    assert (made.matchers, made.scanners) == (1, 1)


def test_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule sets come for ever."""
    matchers = Matchers()
    for rules in SETS:
        matchers.prepare(rules_message(*rules))
    made = Made(monkeypatch)
    swap([pipeline(matchers)], rules_message(*SETS[2]), 1)
    assert made.matchers == 0
    swap([pipeline(matchers)], rules_message(*SETS[0]), 1)

    assert (made.matchers, len(matchers._ready)) == (1, KEPT)


def test_what_is_no_set_is_said_so_and_an_empty_one_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a message ready made it, and hears of it before it is appended."""
    made = Made(monkeypatch)
    Matchers().prepare(rules_message())
    with pytest.raises(ValueError, match="MessagePack"):
        Matchers().prepare(b"\xc1")

    assert made.matchers == 0
