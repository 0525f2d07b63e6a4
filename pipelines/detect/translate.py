"""pySigma's condition trees become our expressions, with the fields of one source.

Modifiers are applied by pySigma when a rule is read (`sigma.modifiers`); what is left are values of its types. A
value that we cannot do is an error, never a condition left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import re2
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionIdentifier,
    ConditionNOT,
    ConditionOR,
    ConditionSelector,
    ConditionValueExpression,
    SigmaCondition,
)
from sigma.rule import SigmaDetection, SigmaDetections
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from pipelines.detect.expression import (
    MANY,
    ONE,
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
)
from pipelines.detect.predicate import regex_of
from pipelines.detect.sources import OpenSource, Source
from pipelines.detect.text import fold

Placeholders = Mapping[str, tuple[str, ...]]
"""Values by placeholder's name; wildcards in them count."""

_FLAGS: Final = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_OPERATORS: Final = {
    CompareOperators.LT: "lt",
    CompareOperators.LTE: "lte",
    CompareOperators.GT: "gt",
    CompareOperators.GTE: "gte",
}


class UntranslatableError(ValueError):
    """A condition that pySigma takes and that cannot be evaluated; in which search identifier, and on which field."""

    identifier: str | None = None
    field: str | None = None


class Translator:
    """Makes expressions for one source; `unknown` holds the fields that none of its documents has."""

    def __init__(self, source: Source | OpenSource, placeholders: Placeholders) -> None:
        self._source = source
        self._placeholders = placeholders
        self.unknown: dict[str, None] = {}

    def condition(self, condition: SigmaCondition) -> Expression:
        """Translate a condition; its search identifiers keep their names."""
        return self._parsed(condition.parse(postprocess=False), condition.detections)

    def _parsed(self, node: Any, detections: SigmaDetections) -> Expression:
        if isinstance(node, ConditionSelector):
            names = node.resolve_referenced_detections(detections)
            if not names:
                raise UntranslatableError(f"{node.args[0]} of {node.pattern}: no search identifier has such a name")
            items = tuple(self._named(each.identifier, detections) for each in names)
            return _joined(And if node.cond_class is ConditionAND else Or, items)
        if isinstance(node, ConditionIdentifier):
            return self._named(node.identifier, detections)
        if isinstance(node, ConditionNOT):
            return Not(self._parsed(node.args[0], detections))
        items = tuple(self._parsed(each, detections) for each in node.args)
        return _joined(And if isinstance(node, ConditionAND) else Or, items)

    def _named(self, name: str, detections: SigmaDetections) -> Expression:
        if name not in detections.detections:
            raise UntranslatableError(f"the condition names {name!r}, which is no search identifier of the rule")
        try:
            return Named(name, self.detection(detections.detections[name], detections))
        except UntranslatableError as error:
            error.identifier = name
            raise

    def detection(self, detection: SigmaDetection, detections: SigmaDetections) -> Expression:
        """Translate what one search identifier says."""
        return self._tree(detection.postprocess(detections))

    def _tree(self, node: Any) -> Expression:
        if isinstance(node, ConditionAND | ConditionOR):
            items = tuple(self._tree(each) for each in node.args)
            return _joined(And if isinstance(node, ConditionAND) else Or, items)
        if isinstance(node, ConditionNOT):
            return Not(self._tree(node.args[0]))
        if isinstance(node, ConditionFieldEqualsValueExpression):
            return self._field(node.field, node.value)
        if isinstance(node, ConditionValueExpression):
            return self._keyword(node.value)
        raise UntranslatableError("a search identifier is empty")

    def _field(self, field: str, value: Any) -> Expression:
        try:
            return self._of_field(field, value)
        except UntranslatableError as error:
            error.field = field
            raise

    def _of_field(self, field: str, value: Any) -> Expression:
        if isinstance(value, SigmaExpansion):
            return _joined(Or, tuple(self._field(field, each) for each in value.values))
        if _has_placeholder(value):
            return _joined(Or, tuple(self._field(field, each) for each in self._expanded(value)))
        test = self._test(value)
        if isinstance(test, Text) and len(test.parts) == 1 and isinstance(test.parts[0], str):
            stands = self._source.stands_for.get((field, fold(test.parts[0])))
            if stands is not None:
                return stands
        return FieldTest(field, self._paths(field), test)

    def _paths(self, field: str) -> tuple[str, ...]:
        paths = self._source.paths(field)
        if not paths:
            self.unknown[field] = None
        return paths

    def _keyword(self, value: Any) -> Expression:
        if isinstance(value, SigmaExpansion):
            return _joined(Or, tuple(self._keyword(each) for each in value.values))
        if _has_placeholder(value):
            return _joined(Or, tuple(self._keyword(each) for each in self._expanded(value)))
        test = self._test(value)
        if not isinstance(test, Text | Regex | Number):
            raise UntranslatableError("a keyword is a text, a number or a pattern: anything else needs a field")
        if isinstance(test, Text) and all(part in (MANY, "") for part in test.parts):
            raise UntranslatableError("a keyword without any character would hold on every record")
        return KeywordTest(test)

    def _expanded(self, value: Any) -> Iterator[Any]:
        regex = isinstance(value, SigmaRegularExpression)
        text = value.regexp if isinstance(value, SigmaRegularExpression) else value
        missing = [
            part.name for part in text.s if isinstance(part, Placeholder) and part.name not in self._placeholders
        ]
        if missing:
            raise UntranslatableError(f"no values are given for the placeholder %{missing[0]}%")
        for each in _product(text.s, self._placeholders, escape=regex):
            if isinstance(value, SigmaRegularExpression):
                yield SigmaRegularExpression("".join(str(part) for part in each), set(value.flags))
            else:
                made = type(value)()
                made.s = each
                yield made

    def _test(self, value: Any) -> Test:
        match value:
            case SigmaString():
                return Text(_parts(value), isinstance(value, SigmaCasedString))
            case SigmaTimestampPart():
                return TimePart(_part(value), int(_exact(value.number)))
            case SigmaNumber():
                return Number(_exact(value.number))
            case SigmaBool():
                return Boolean(value.boolean)
            case SigmaNull():
                return Null()
            case SigmaExists():
                return Exists(value.exists)
            case SigmaRegularExpression():
                return _regex(value)
            case SigmaCIDRExpression():
                return Network(str(value.network))
            case SigmaCompareExpression() if value.op in _OPERATORS:
                part = _part(value.number) if isinstance(value.number, SigmaTimestampPart) else None
                number = value.number.number
                return Compare(_OPERATORS[value.op], number if _is_exact(number) else float(number), part)
            case SigmaFieldReference():
                paths = self._paths(value.field)
                return SameAs(value.field, paths, value.starts_with, value.ends_with)
        raise UntranslatableError(f"a value of the kind {type(value).__name__} cannot be compared with a document")


WHOLE_LIMITS: Final = range(-(1 << 63), 1 << 64)
"""Whole numbers that a document can hold; of JSON's larger ones it holds the nearest float."""
FLOAT_LIMIT: Final = 1 << 53
"""From here on a float of pySigma's is a whole number of the rule that it has rounded."""


def _is_exact(number: float) -> bool:
    return number in WHOLE_LIMITS if isinstance(number, int) else abs(number) < FLOAT_LIMIT


def _exact(number: float) -> float:
    """Return a number that can be compared as the rule has it."""
    if _is_exact(number):
        return number
    why = "is too large to be compared exactly: in quotation marks it is compared as it is spelled"
    raise UntranslatableError(f"the number {number} {why}")


def _regex(value: SigmaRegularExpression) -> Regex:
    """Return a pattern that RE2 takes: what takes longer than linear time is refused here, never at a document."""
    test = Regex(value.regexp.to_plain_regex(), "".join(sorted(_FLAGS[flag] for flag in value.flags)))
    try:
        regex_of(test)
    except re2.error as error:
        raise UntranslatableError(f"the pattern {test.pattern!r} is refused: {error}") from error
    return test


EXPANSION_LIMIT: Final = 100_000
"""Values that one value with placeholders may become."""


def _has_placeholder(value: Any) -> bool:
    return isinstance(value, SigmaString | SigmaRegularExpression) and value.contains_placeholder()


def _product(parts: list[Any], placeholders: Placeholders, *, escape: bool) -> list[list[Any]]:
    """Return the parts with each placeholder's values in its place, all combinations."""
    made: list[list[Any]] = [[]]
    for part in parts:
        if isinstance(part, Placeholder):
            values = [SigmaString(value).s for value in placeholders[part.name]]
            if escape:
                values = [[re2_escaped(value)] for value in placeholders[part.name]]
        else:
            values = [[_wild(part) if escape else part]]
        if len(made) * len(values) > EXPANSION_LIMIT:
            raise UntranslatableError(f"placeholders make more than {EXPANSION_LIMIT} values of one")
        made = [[*before, *value] for before in made for value in values]
    return made


def _wild(part: Any) -> str:
    """Return a part of a regular expression: there `*` and `?` are what pySigma took for wildcards."""
    return {SpecialChars.WILDCARD_MULTI: "*", SpecialChars.WILDCARD_SINGLE: "?"}.get(part) or str(part)


def re2_escaped(text: str) -> str:
    """Return a pattern for just this text."""
    return "".join(f"\\{each}" if each in r"\.+*?()|[]{}^$-" else each for each in text)


def _parts(value: SigmaString) -> tuple[str | int, ...]:
    found: list[str | int] = []
    for part in value.s:
        if isinstance(part, str):
            if found and isinstance(found[-1], str):
                found[-1] += part
            elif part:
                found.append(part)
        elif part is SpecialChars.WILDCARD_MULTI:
            if found[-1:] != [MANY]:
                found.append(MANY)
        else:
            found.append(ONE)
    return tuple(found)


def _part(value: SigmaTimestampPart) -> str:
    return value.timestamp_part.name.lower()


def _joined(kind: type[And] | type[Or], items: tuple[Expression, ...]) -> Expression:
    return items[0] if len(items) == 1 else kind(items)
