"""Each rule that comes with Tidewaiter says all that whoever gets its alert needs, and is cheap to look for."""

import re
from functools import cache
from typing import Final

import pytest

from collector.config_rules import RulesConfig
from collector.rule_files import read_rule_files
from pipelines.detect.attack import TACTICS
from pipelines.detect.clauses import clauses_of
from pipelines.detect.load import load
from pipelines.detect.rule import Rule, RuleSet

LEAST: Final = 60
"""Rules that there are to be."""


@cache
def pack() -> RuleSet:
    """Return all of them."""
    return load(read_rule_files(RulesConfig()).files.items())


def rules() -> list[Rule]:
    """Return those that load."""
    return list(pack().rules)


def test_all_load_and_each_is_there_once() -> None:
    """Without a mistake or a remark, under an id and a title of its own."""
    made = rules()

    assert [str(problem) for problem in pack().problems] == []
    assert [str(remark) for rule in made for remark in rule.remarks] == []
    assert len(made) >= LEAST
    for names in ([str(rule.id) for rule in made], [rule.title for rule in made]):
        assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.place.file)
def test_a_rule_says_what_its_alert_means(rule: Rule) -> None:
    """How bad it is, by which technique to what end, what a person should do, and what else looks the same."""
    assert rule.level in ("informational", "low", "medium", "high", "critical")
    assert rule.status in ("stable", "test")
    assert (rule.author, rule.license) == ("Tidewaiter", "Apache-2.0")
    assert rule.date is not None
    assert rule.false_positives != ()
    assert len((rule.description or "").split()) >= 12
    words = [tag.removeprefix("attack.") for tag in rule.tags if tag.startswith("attack.")]
    assert [word for word in words if not re.fullmatch(r"t\d{4}(\.\d{3})?", word) and word not in TACTICS] == []
    assert {word[0] == "t" and word[1].isdigit() for word in words} == {True, False}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.place.file)
def test_a_rule_has_literals_to_be_found_by(rule: Rule) -> None:
    """On every source of documents: without, each of these would be decoded for it."""
    assert [variant.source for variant in rule.variants if not clauses_of(variant.expression)] == []
