"""P4: what the matcher finds is what every rule, evaluated on every document, gives.

Documents are made of the rules themselves, so that each fires, and changed a little, so that each nearly fires.
"""

import random

import pytest

from pipelines.batch import Documents
from pipelines.detect.expression import Expression, FieldTest, Number, Test, Text
from pipelines.detect.matcher import Matcher, brute_force
from pipelines.detect.predicate import View, holds
from pipelines.detect.rule import LogSource, Place, Rule, Variant, Where
from pipelines.detect.sources import Sources
from pipelines.detect.tables import SOURCES
from tests.kit.golden_documents import golden_documents
from tests.kit.rule_documents import Maker, documents_of
from tests.kit.rule_sets import archive, published, random_rules

RULES = 150
SAMPLE = 20
"""Of SigmaHQ's rules so many documents are made in one test; each is evaluated on all rules."""

SETS = ("random", "published") if archive() else ("random",)


def agree(rules: list[Rule], documents: Documents, *, plain: bool = False) -> int:
    """Hold the matcher against brute force; return how many matches there are."""
    expected = brute_force(rules, documents)

    matcher = Matcher(rules, plain=plain)
    assert expected == matcher.matches(documents)
    assert () == matcher.failures
    return len(expected)


def made_of(rules: list[Rule], maker: Maker, mutations: int) -> Documents:
    """Return documents on which rules hold, or nearly do."""
    made = []
    for rule in rules:
        for variant in rule.variants:
            document = maker.positive(variant.expression)
            made.append(document)
            for _ in range(mutations):
                document = maker.mutated(document)
                made.append(document)
    return documents_of("test", made)


@pytest.mark.parametrize("seed", range(3))
def test_rules_made_at_random(seed: int) -> None:
    """Escapes, folding beyond ASCII, numbers that look like texts, lists, patterns: 150 rules, 600 documents."""
    rules = random_rules(seed, RULES)
    documents = made_of(rules, Maker(seed), 3)

    assert agree(rules, documents) > RULES


@pytest.mark.parametrize("seed", range(2))
def test_the_plain_scan_finds_the_same(seed: int) -> None:
    """Where Hyperscan's wheel is missing nothing else changes."""
    rules = random_rules(100 + seed, RULES)

    assert agree(rules, made_of(rules, Maker(seed), 1), plain=True) > RULES // 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", SETS)
def test_each_rule_fires_and_nearly_fires(kind: str, seed: int) -> None:
    """A sample of all rules on documents of its own; each on all rules."""
    rules = list(published().rules) if kind == "published" else random_rules(1000 + seed, 300)
    mine = random.Random(seed).sample(rules, SAMPLE)

    assert agree(rules, made_of(mine, Maker(seed), 1)) >= SAMPLE * 0.7


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SETS)
def test_no_rule_loses_a_document_that_was_made_for_it(kind: str) -> None:
    """Every rule, each with its own document: where the rule holds, the matcher says so."""
    rules = list(published().rules) if kind == "published" else random_rules(7, 300)
    maker = Maker(7)
    made = [maker.positive(rule.variants[0].expression) for rule in rules]
    expected = {at for at, rule in enumerate(rules) if holds(rule.variants[0].expression, View(made[at]))}

    found = {(match.document, match.rule.key) for match in Matcher(rules).matches(documents_of("test", made))}
    assert {at for at in expected if (at, rules[at].key) not in found} == set()
    assert len(expected) > len(rules) * 0.9 or kind == "random"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SETS)
def test_golden_documents(kind: str) -> None:
    """Golden samples of all formats, as they are shipped, by dataset; rules of the sources that we have."""
    rules = _of_sources(kind, SOURCES)

    found = sum(agree(rules, documents) for documents in golden_documents()[::3])
    assert found > 0


def _of_sources(kind: str, sources: Sources) -> list[Rule]:
    """Return rules that can match our documents; all of SigmaHQ's load, and say why where they cannot."""
    if kind == "published":
        made = published(sources)
        assert made.problems == ()
        assert all((rule.never is None) is bool(rule.variants) for rule in made.rules)
        return [rule for rule in made.rules if rule.variants]
    return random_rules(3, 50)


NUMBERS = (
    0,
    -0.0,
    0.0,
    1,
    1.0,
    -1,
    404,
    404.0,
    10**15,
    1e15,
    10**16,
    1e16,
    1e20,
    1.5,
    2**63,
    2**64 - 1,
    -(2**63),
    1e-7,
)


@pytest.mark.parametrize("plain", [False, True])
def test_a_number_however_it_is_spelled(*, plain: bool) -> None:
    """Integers, floats, zero with its sign, as numbers, as texts, in lists: by each other as a rule's value."""
    values = [*NUMBERS, *map(str, NUMBERS), *([1, each] for each in NUMBERS), *([each, "x"] for each in NUMBERS)]
    documents = documents_of("test", [{"f": value, "g": 1} for value in values])
    tests: list[Test] = [*map(Number, NUMBERS), *(Text((str(each),)) for each in NUMBERS)]
    rules = [rule_with(FieldTest("f", ("f",), test)) for test in tests]

    assert sum(agree([rule], documents, plain=plain) for rule in rules) > len(NUMBERS)


def rule_with(expression: Expression) -> Rule:
    """Return a rule of one test."""
    return Rule("r", "r", Place("here"), LogSource("test"), (Variant("any", Where(), expression),))


def test_a_document_that_fires_in_a_batch_of_others() -> None:
    """First, last and alone, whatever stands beside it."""
    rules = random_rules(5, 200)
    maker = Maker(5)
    (chosen, *_) = (rule for rule in rules if maker.positive(rule.variants[0].expression))
    document = maker.positive(chosen.variants[0].expression)
    others = [{"message": "x" * size} for size in (0, 1, 70_000)]
    for made in ([document], [document, *others], [*others, document], [others[0], document, document, others[2]]):
        assert agree(rules, documents_of("test", made)) > 0
