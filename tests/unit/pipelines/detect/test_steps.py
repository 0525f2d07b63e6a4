"""What is told of a condition: its words, and on a document the truth of each part."""

from typing import Any

import pytest

from pipelines.detect.predicate import View, holds
from pipelines.detect.steps import Step, fields_read, flat, has_keywords, steps_of
from pipelines.detect.told import step_lines
from tests.kit.rule_documents import Maker
from tests.kit.rule_sets import random_rules
from tests.kit.rules import rule_of

DOCUMENT = {"a": "x.sh", "b": ["one", "two"], "n": 404, "t": "2026-11-29T13:00:00Z", "ip": "192.0.2.7", "same": "x.sh"}


def lines(detection: str, document: dict[str, Any] | None = None) -> list[str]:
    """Return what is told of a rule's condition."""
    (variant,) = rule_of(detection).variants
    return list(step_lines(steps_of(variant.expression, None if document is None else View(document))))


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("a: x.sh", "✓ s: a is 'x.sh': \"x.sh\""),
        ("a|cased: X.sh", "✗ s: a is cased 'X.sh': \"x.sh\""),
        ("a|startswith: x", "✓ s: a startswith 'x': \"x.sh\""),
        ("a|endswith: .sh", "✓ s: a endswith '.sh': \"x.sh\""),
        ("a|contains: y", "✗ s: a contains 'y': \"x.sh\""),
        ("a: '?.s*'", "✓ s: a is like '?.s*': \"x.sh\""),
        ("a: ''", "✗ s: a is '': \"x.sh\""),
        ("a|contains: \"it's\"", "✗ s: a contains \"it's\": \"x.sh\""),
        ("a|re: '^x\\.'", "✓ s: a re '^x\\.': \"x.sh\""),
        ("a|re|i: X", "✓ s: a re|i 'X': \"x.sh\""),
        ("b: two", "✓ s: b is 'two': \"one\", \"two\""),
        ("n: 404", "✓ s: n is 404: 404"),
        ("n|gte: 500", "✗ s: n >= 500: 404"),
        ("t|hour: 13", "✓ s: t hour is 13: \"2026-11-29T13:00:00Z\""),
        ("ip|cidr: 192.0.2.0/24", "✓ s: ip cidr 192.0.2.0/24: \"192.0.2.7\""),
        ("a|fieldref: same", "✓ s: a is the same as the field same: \"x.sh\", \"x.sh\""),
        ("missing: null", "✓ s: missing has no value: no value"),
        ("missing|exists: true", "✗ s: missing exists: no value"),
        ("a|exists: false", "✗ s: a does not exist: \"x.sh\""),
        ("missing: x", "✗ s: missing is 'x': no value"),
        ("b: [one, three]", "✓ s: b is one of 'one', 'three' (here 'one'): \"one\", \"two\""),
        ("a|endswith: [.py, .rb]", "✗ s: a endswith one of '.py', '.rb': \"x.sh\""),
        ("a: [x*, y]", "✓ s: a is one of: startswith 'x', is 'y' (here startswith 'x'): \"x.sh\""),
    ],
)  # fmt: skip
def test_a_test_is_told_in_the_words_of_sigma_with_what_is_there(test: str, told: str) -> None:
    """Field, modifier, value; then the document's own value, and whether it passes."""
    assert [told] == lines(f"s: {{{test}}}\ncondition: s\n", DOCUMENT)


def test_without_a_document_nothing_is_true_or_false() -> None:
    """What a rule has become is told with a mark that says nothing."""
    assert ["· s: a is 'x'"] == lines("s: {a: x}\ncondition: s\n")


def test_keywords_are_looked_for_anywhere() -> None:
    """They have no field, and so no value."""
    assert ["✓ s: any value contains 'sh'"] == lines("s: [sh]\ncondition: s\n", DOCUMENT)
    assert ["✓ s: any value contains one of 'py', 404 (here 404)"] == lines("s: [py, 404]\ncondition: s\n", DOCUMENT)


def test_a_condition_keeps_its_shape() -> None:
    """All of, one of, not; a part that is alone stands on the line of its name."""
    detection = "a: {a: x.sh, n: 1}\nb: {b: one}\nc: {n: 404}\ncondition: a or (b and not c)\n"

    assert [
        "✗ one of",
        "  ✗ a: all of",
        "    ✓ a is 'x.sh': \"x.sh\"",
        "    ✗ n is 1: 404",
        "  ✗ all of",
        '    ✓ b: b is \'one\': "one", "two"',
        "    ✗ not c: n is 404: 404",
    ] == lines(detection, DOCUMENT)


def test_a_long_list_is_cut_and_says_which_holds() -> None:
    """Eight are named, the others counted; the one that holds is named wherever it stands."""
    values = ", ".join(f"v{number}" for number in range(20))
    (told,) = lines(f"s: {{a: [{values}, x.sh]}}\ncondition: s\n", DOCUMENT)

    assert told == (
        "✓ s: a is one of 'v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7' and 13 more (here 'x.sh'): \"x.sh\""
    )


def test_many_values_are_counted() -> None:
    """Of a field that has many, eight are told."""
    (told,) = lines("s: {b: x}\ncondition: s\n", {"b": [str(number) for number in range(10)]})

    assert told.endswith('"7", 2 more')


def test_fields_are_named_once_in_their_order() -> None:
    """Also those that another is compared with; keywords read none."""
    (variant,) = rule_of("s: {a: x, b|fieldref: c}\nt: {a: y}\ncondition: s or not t\n").variants
    (keywords,) = rule_of("s: [x]\nt: {a: y}\ncondition: t and not s\n").variants

    assert ["a", "b", "c"] == fields_read(variant.expression)
    assert (False, True) == (has_keywords(variant.expression), has_keywords(keywords.expression))


def test_the_truth_that_is_told_is_the_predicates() -> None:
    """On documents made from rules, and nearly: whole conditions and each of their parts agree with one another."""
    maker = Maker(7)
    for rule in random_rules(7, 300):
        (variant,) = rule.variants
        document = maker.positive(variant.expression)
        for each in (document, maker.mutated(document)):
            step = steps_of(variant.expression, View(each))

            assert holds(variant.expression, View(each)) is step.holds
            assert all(_agrees(part) for _, part in flat(step))


def _agrees(step: Step) -> bool:
    """Whether a step is what its parts make it."""
    parts = [part.holds for part in step.steps]
    if step.text.endswith("all of") and not step.text.startswith("not"):
        return step.holds is all(parts)
    if step.text.endswith("one of") and not step.text.startswith("not"):
        return step.holds is any(parts)
    return True
