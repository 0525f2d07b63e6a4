"""Why a rule holds on a document, or does not: its condition step by step, each with the values that were looked at.

The truth of each step is the predicate's own (`predicate.holds`): nothing is decided here, it is only told.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import orjson

from pipelines.detect.expression import (
    MANY,
    And,
    Boolean,
    Compare,
    Exists,
    Expression,
    FieldTest,
    KeywordTest,
    Named,
    Network,
    Not,
    Null,
    Number,
    Or,
    Regex,
    SameAs,
    Test,
    Text,
    TimePart,
    field_tests,
)
from pipelines.detect.predicate import View, holds, spelled

ALTERNATIVES_LIMIT: Final = 8
"""So many of a field's values are named before they are only counted."""
VALUES_LIMIT: Final = 8
"""Values of a field that are told."""

_ORDER: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


class Step(msgspec.Struct, frozen=True):
    """A part of a condition: what it says, its parts, and on a document whether it `holds` and on which values.

    `values` are those of the field as JSON, as the document has them; empty where it has none. None: nothing was
    looked at.
    """

    text: str
    steps: tuple["Step", ...] = ()
    holds: bool | None = None
    values: tuple[str, ...] | None = None


def steps_of(item: Expression, view: View | None = None, *, alternatives: int = ALTERNATIVES_LIMIT) -> Step:
    """Return what an expression says; with a document, whether each part of it holds there."""
    return _Teller(view, alternatives).step(item)


def fields_read(item: Expression, view: View | None = None) -> list[str]:
    """Return the paths at which an expression looks, each once, in its order: of a document, those that it has."""
    paths: dict[str, None] = {}
    for test in field_tests(item):
        paths |= dict.fromkeys(paths_of(test, view))
        if isinstance(test.test, SameAs):
            paths |= dict.fromkeys(test.test.paths)
    return list(paths)


def has_keywords(item: Expression) -> bool:
    """Whether any part looks at all values of a record."""
    if isinstance(item, Not | Named):
        return has_keywords(item.item)
    return (
        any(has_keywords(each) for each in item.items) if isinstance(item, And | Or) else isinstance(item, KeywordTest)
    )


def names_in(item: Expression) -> bool:
    """Whether a search identifier of the rule is in it: what has none was put before by its log source."""
    if isinstance(item, Named):
        return True
    if isinstance(item, Not):
        return names_in(item.item)
    return isinstance(item, And | Or) and any(map(names_in, item.items))


class _Teller:
    """Tells of one document, or of none."""

    def __init__(self, view: View | None, alternatives: int) -> None:
        self._view = view
        self._alternatives = alternatives

    def step(self, item: Expression) -> Step:
        return self._root(item)

    def _root(self, item: Expression) -> Step:
        """Tell the log source's own condition apart from the rule's."""
        if isinstance(item, And) and len(item.items) == 2 and names_in(item.items[1]) and not names_in(item.items[0]):
            source, condition = item.items
            told = Step("the log source is such a document's", (self._step(source),), self._holds(source))
            return Step("all of", (told, self._step(condition)), self._holds(item))
        return self._step(item)

    def _field(self, item: FieldTest) -> str:
        return field_text(item.field, paths_of(item, self._view))

    def _holds(self, item: Expression) -> bool | None:
        return None if self._view is None else holds(item, self._view)

    def _step(self, item: Expression) -> Step:
        if isinstance(item, Named):
            inner = self._step(item.item)
            return Step(item.name, (inner,), inner.holds)
        if isinstance(item, Not):
            return Step("not", (self._step(item.item),), self._holds(item))
        if isinstance(item, And | Or):
            same = self._of_one_field(item)
            if same is not None:
                return same
            text = "all of" if isinstance(item, And) else "one of"
            return Step(text, tuple(map(self._step, item.items)), self._holds(item))
        if isinstance(item, FieldTest):
            return Step(f"{self._field(item)} {test_text(item.test)}", (), self._holds(item), self._values(item))
        if isinstance(item, KeywordTest):
            return Step(f"any value contains {_keyword_text(item.test)}", (), self._holds(item))
        return Step("always" if item.value else "never", (), self._holds(item))

    def _of_one_field(self, item: And | Or) -> Step | None:
        """Tell many tests of one field (a list of values in the rule) as one, and of keywords likewise."""
        if isinstance(item, And):
            return None
        if all(isinstance(each, KeywordTest) for each in item.items):
            texts = [_keyword_text(each.test) for each in item.items if isinstance(each, KeywordTest)]
            return Step(f"any value contains one of {self._listed(item, texts)}", (), self._holds(item))
        tests = [each for each in item.items if isinstance(each, FieldTest)]
        first = tests[0] if tests else None
        if first is None or len(tests) < len(item.items):
            return None
        if any((each.field, each.paths) != (first.field, first.paths) for each in tests):
            return None
        texts = [test_text(each.test) for each in tests]
        operators = {text.partition(" ")[0] for text in texts}
        if len(operators) == 1 and all(" " in text for text in texts):
            (operator,) = operators
            said = f"{operator} one of {self._listed(item, [text.partition(' ')[2] for text in texts])}"
        else:
            said = f"is one of: {self._listed(item, texts)}"
        return Step(f"{self._field(first)} {said}", (), self._holds(item), self._values(first))

    def _listed(self, item: Or, texts: Sequence[str]) -> str:
        """Return alternatives, as many as there is room for, and which of them hold."""
        shown = list(texts)[: self._alternatives]
        more = f" and {len(texts) - len(shown)} more" if len(shown) < len(texts) else ""
        holding = [text for each, text in zip(item.items, texts, strict=True) if self._holds(each)]
        here = f" (here {', '.join(holding[: self._alternatives])})" if holding else ""
        return f"{', '.join(shown)}{more}{here}"

    def _values(self, item: FieldTest) -> tuple[str, ...] | None:
        if self._view is None:
            return None
        paths = (*item.paths, *(item.test.paths if isinstance(item.test, SameAs) else ()))
        found = [value for path in paths for value in self._view.values(path)]
        told = tuple(orjson.dumps(value).decode() for value in found)
        more = len(told) - VALUES_LIMIT
        return told if more <= 0 else (*told[:VALUES_LIMIT], f"{more} more")


def paths_of(item: FieldTest, view: View | None) -> tuple[str, ...]:
    """Return where a field may stand; of a document that has it in one of these places, only where it does."""
    there = () if view is None else tuple(path for path in item.paths if view.values(path))
    return there or item.paths


def field_text(field: str, paths: Sequence[str]) -> str:
    """Return a field as its rule has it, and where documents hold it if that is another name."""
    text = " or ".join(paths)
    return field if text == field else f"{field} ({text})"


def test_text(test: Test) -> str:
    """Return what a test asks, as Sigma's modifiers call it."""
    match test:
        case Text():
            return _pattern_text(test)
        case Number() | Boolean():
            return f"is {spelled(test.value)}"
        case Null():
            return "has no value"
        case Exists():
            return "exists" if test.value else "does not exist"
        case Regex():
            return f"re{''.join(f'|{flag}' for flag in test.flags)} {quoted(test.pattern)}"
        case Network():
            return f"cidr {test.cidr}"
        case Compare():
            return f"{f'{test.part} ' if test.part else ''}{_ORDER[test.operator]} {spelled(test.value)}"
        case TimePart():
            return f"{test.part} is {test.value}"
        case SameAs():
            how = {(False, False): "is the same as", (True, True): "contains"}.get(
                (test.starts, test.ends), "startswith" if test.starts else "endswith"
            )
            return f"{how} the field {test.field}"


def _pattern_text(test: Text) -> str:
    parts = test.parts
    cased = "cased " if test.cased else ""
    literal = [part for part in parts if isinstance(part, str)]
    if not parts:
        return "is ''"
    if len(literal) == 1 and all(part == MANY for part in parts if isinstance(part, int)):
        before, after = parts[0] == MANY, parts[-1] == MANY
        how = {(False, False): "is", (True, True): "contains", (True, False): "endswith", (False, True): "startswith"}
        return f"{how[before, after]} {cased}{quoted(literal[0])}"
    text = "".join(_wildcard(part) if isinstance(part, int) else _escaped(part) for part in parts)
    return f"is {cased}like {quoted(text)}"


def _wildcard(part: int) -> str:
    return "*" if part == MANY else "?"


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in "*?" else each for each in text)


def _keyword_text(test: Text | Regex | Number) -> str:
    if isinstance(test, Text):
        parts = test.parts
        inner = parts[1 if parts[:1] == (MANY,) else 0 : -1 if parts[-1:] == (MANY,) else None]
        return _pattern_text(Text(inner, test.cased)).removeprefix("is ")
    return test_text(test).removeprefix("is ")


def quoted(text: str) -> str:
    """Return a text between quotation marks; what they cannot show plainly, is escaped."""
    return f"'{text}'" if "'" not in text else f'"{text}"'


def flat(step: Step, depth: int = 0) -> Iterator[tuple[int, Step]]:
    """Yield a step and all below it with their depth; a name with one part alone is one line with it."""
    while len(step.steps) == 1 and not step.values:
        (only,) = step.steps
        joint = " " if step.text.rpartition(": ")[2] == "not" else ": "
        step = Step(f"{step.text}{joint}{only.text}", only.steps, step.holds, only.values)
    yield depth, step
    for each in step.steps:
        yield from flat(each, depth + 1)
