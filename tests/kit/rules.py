"""Rules for tests: a detection's text becomes a rule, and is asked of a document."""

import textwrap
from typing import Any

from pipelines.detect.load import load
from pipelines.detect.predicate import View, holds
from pipelines.detect.rule import Rule, RuleSet
from pipelines.detect.sources import OpenSources, Sources
from pipelines.detect.translate import Placeholders

HEAD = "title: A rule\nlogsource: {category: test}\n"


def loaded(text: str, sources: Sources | None = None, placeholders: Placeholders | None = None) -> RuleSet:
    """Load one file, by default for documents that have the rules' own fields."""
    return load([("rule.yml", textwrap.dedent(text))], sources or OpenSources(), placeholders)


def rule_of(detection: str, placeholders: Placeholders | None = None) -> Rule:
    """Return a rule with this detection."""
    made = loaded(HEAD + "detection:\n" + textwrap.indent(textwrap.dedent(detection), "  "), None, placeholders)
    assert [str(problem) for problem in made.problems] == []
    (rule,) = made.rules
    return rule


def fires(rule: Rule, document: dict[str, Any], dataset: str = "test") -> bool:
    """Whether a rule holds on a document of a dataset."""
    view = View(document)
    return any(variant.where.has(dataset) and holds(variant.expression, view) for variant in rule.variants)
