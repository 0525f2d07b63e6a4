"""Files of rules that did not change are not compiled again, and the set is what it would be otherwise."""

import random
from collections.abc import Mapping

import pytest

from collector.rule_parts import Part, compiled
from pipelines.detect import load as loading
from pipelines.detect.load import Loader, load
from tests.kit.rule_folders import BROKEN, rule

FILTER = """title: Not there
logsource: {category: application}
filter:
  rules: any
  quiet: {container.name: test}
  condition: not quiet
"""
CORRELATION = """title: Many
id: 6d1f2a00-0000-4000-8000-000000000077
correlation: {type: event_count, rules: [x], group-by: [user.name], timespan: 1m, condition: {gte: 3}}
"""
NAMED = rule(8, "named") + "name: one\n"


def changed(files: Mapping[str, str], chooser: random.Random) -> dict[str, str]:
    """Return the files with one of them another, gone, or new."""
    texts = [rule(number, f"word{number}") for number in range(6)] + [BROKEN, FILTER, CORRELATION, NAMED, "a: [", ""]
    after = dict(files)
    name = f"{chooser.randrange(5)}.yml"
    if not chooser.randrange(4):
        after.pop(name, None)
    else:
        after[name] = "---\n".join(chooser.sample(texts, chooser.randrange(1, 3)))
    return after


@pytest.mark.parametrize("seed", range(8))
def test_the_set_is_what_it_is_without_parts(seed: int) -> None:
    """Over changes of all kinds: rules that are there twice, filters, correlations, mistakes."""
    chooser = random.Random(seed)
    files: dict[str, str] = {}
    parts: Mapping[str, Part] = {}
    for _ in range(25):
        files = changed(files, chooser)
        found, parts = compiled(files, {}, parts)
        expected = load(files.items())

        assert expected.rules == found.rules
        assert set(expected.problems) == set(found.problems)


def test_only_what_changed_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are taken as they are."""
    files = {f"{number}.yml": rule(number, f"word{number}") for number in range(20)}
    _, parts = compiled(files, {}, {})
    added: list[str] = []

    class Telling(Loader):
        """Tells what it compiles."""

        def add(self, file: str, text: str) -> None:
            """Tell, and add."""
            added.append(file)
            super().add(file, text)

    monkeypatch.setattr(loading, "Loader", Telling)
    found, _ = compiled({**files, "7.yml": rule(7, "other")}, {}, parts)

    assert ["7.yml"] == added
    assert "Word other" == found.rules[7].title
