"""A case's result as lines of text: the documents as made, and which condition failed on which value."""

from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.detect.predicate import View
from pipelines.detect.rule import Rule, Where
from pipelines.detect.steps import Step, fields_read, flat, has_keywords, steps_of
from pipelines.detect.trial import Made, Result, expected_fields, shown

DOCUMENTS_LIMIT: Final = 3
"""Documents of a case that are told about."""

MARKS: Final = {True: "✓", False: "✗", None: "·"}
INDENT: Final = "  "

MESSAGE: Final = "message"


def told(result: Result) -> Iterator[str]:
    """Yield why a case failed, for people; nothing of one that passed."""
    yield from result.faults
    if result.passed or not result.rules:
        return
    yield from documents_told(result, _telling(result))


def documents_told(result: Result, chosen: Sequence[tuple[int, Made]]) -> Iterator[str]:
    """Yield what documents, given with their numbers, are to the rules: the fields that are read, each condition."""
    if not result.made:
        yield "the lines make no document"
    for number, made in chosen[:DOCUMENTS_LIMIT]:
        yield f"document {number} of {len(result.made)}, {made.dataset}"
        view = View(made.document)
        yield from (f"{INDENT}{line}" for line in _fields(result, made, view))
        for rule in result.rules:
            yield from (f"{INDENT}{line}" for line in rule_on(rule, made.dataset, view))
    if len(chosen) > DOCUMENTS_LIMIT:
        yield f"… and {len(chosen) - DOCUMENTS_LIMIT} documents more"


def rule_on(rule: Rule, dataset: str, view: View) -> Iterator[str]:
    """Yield whether a rule holds on a document of a dataset, and which of its conditions do."""
    if rule.never is not None:
        yield f"{MARKS[False]} {rule.title}: it can never match: {rule.never}"
        return
    asked = [variant for variant in rule.variants if variant.where.has(dataset)]
    if not asked:
        meant = " or ".join(dict.fromkeys(where_text(variant.where) for variant in rule.variants))
        yield f"{MARKS[False]} {rule.title}: its log source ({rule.log_source}) means documents of {meant}"
        return
    for variant in asked:
        step = steps_of(variant.expression, view)
        source = f" (as {variant.source})" if len(asked) > 1 else ""
        yield f"{MARKS[step.holds]} {rule.title}{source}"
        yield from (f"{INDENT}{line}" for line in step_lines(step))


def step_lines(step: Step) -> Iterator[str]:
    """Yield a step and all below it, a line each, with what the document has."""
    for depth, each in flat(step):
        values = "" if each.values is None else f": {', '.join(each.values) or 'no value'}"
        yield f"{INDENT * depth}{MARKS[each.holds]} {each.text}{values}"


def where_text(where: Where) -> str:
    """Return which datasets are meant."""
    names = ", ".join(sorted(where.datasets))
    if not where.but:
        return names
    return f"any dataset but {names}" if names else "any dataset"


def _telling(result: Result) -> list[tuple[int, Made]]:
    """Return the documents that say why: of too many alerts those that fire, of too few those that do not."""
    numbered = list(enumerate(result.made, start=1))
    fires = len(result.alerts) > result.placed.expected
    telling = [each for each in numbered if any(rule in result.rules for rule in each[1].rules) is fires]
    return telling or numbered


def _fields(result: Result, made: Made, view: View) -> Iterator[str]:
    """Yield the fields that the rules read as the document has them, and those that it has of the expected ones."""
    asked = [
        variant.expression
        for rule in result.rules
        for variant in rule.variants
        if variant.where.has(made.dataset) or not any(each.where.has(made.dataset) for each in rule.variants)
    ]
    expected = [path for path in expected_fields(result.placed.case) if view.values(path)]
    paths = dict.fromkeys([*(path for each in asked for path in fields_read(each, view)), *expected])
    if not paths or any(map(has_keywords, asked)):
        paths[MESSAGE] = None
    width = max(map(len, paths))
    for path in paths:
        yield f"{path:{width}}  {', '.join(shown(value) for value in view.values(path)) or '-'}"
