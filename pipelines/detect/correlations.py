"""Correlation rules (Sigma specification 2.1, "Correlation rules") become `Correlation`s, by pySigma.

What pySigma 2.0 passes over is told here: keys that are not known, a rule named twice, a field without a name. Ranges
it refuses, so their parts are given to it one at a time. What names rules is looked up when all files are read.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
    SigmaCorrelationTimespan,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.exceptions import SigmaError

from pipelines.detect import faults
from pipelines.detect.documents import FAULTS, Document, Path
from pipelines.detect.rule import Bound, Problem, Term

SECTION: Final = "correlation"
SECOND_NS: Final = 1_000_000_000
LATENESS_LIMIT_NS: Final = 30 * SECOND_NS
LATENESS_LEAST_NS: Final = 5 * SECOND_NS
LATENESS_PART: Final = 10
"""Lateness is a tenth of the timespan, within these limits."""

PARTS_LIMIT: Final = 63
"""Rules that one correlation names: a place among them is six bits of each event that is kept."""
TERMS_LIMIT: Final = 64
"""Ways in which a condition over rules can hold, once it is written without parentheses."""
COUNT_LIMIT: Final = 100_000
"""What events or values can be counted to: those below a threshold are kept, each with its id."""
TIMESPAN_LIMIT_S: Final = 366 * 86400

_KEYS: Final = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
_OPERATORS: Final = ("gt", "gte", "lt", "lte", "eq", "neq")
_TEMPORAL: Final = ("temporal", "temporal_ordered")


class WrittenError(ValueError):
    """Something in a correlation is not as it must be; `path` says where."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path: Path = (SECTION, *path)


class Written:
    """One correlation as its file says it: names of rules are not looked up yet."""

    def __init__(self, document: Document, rule: SigmaCorrelationRule, bounds: tuple[Bound, ...]) -> None:
        section = document.content[SECTION]
        condition = section.get("condition")
        self.document = document
        self.rule = rule
        self.bounds = bounds
        self.type = str(rule.type.name.lower())
        self.timespan_ns = rule.timespan.seconds * SECOND_NS
        self.group_by: tuple[str, ...] = tuple(rule.group_by or ())
        self.rules = _listed(document, rule)
        self.values = _values(condition) if isinstance(condition, dict) and self.type not in _TEMPORAL else ()
        self.aliases: dict[str, dict[str, str]] = section.get("aliases") or {}
        self.percentile = 50 if self.type == "value_median" else getattr(rule.condition, "percentile", None)

    @property
    def lateness_ns(self) -> int:
        """How long it waits by itself for events that are on their way."""
        return max(min(LATENESS_LIMIT_NS, self.timespan_ns // LATENESS_PART), LATENESS_LEAST_NS)

    def terms(self) -> tuple[Term, ...]:
        """Return the ways in which its condition over rules holds; without one, nothing."""
        if not isinstance(self.rule.condition, SigmaExtendedCorrelationCondition):
            return ()
        found = []
        for each in sorted(map(sorted, _terms(self.rule.condition.parsed, self.rules, holds=True))):
            required = tuple(place for place, there in each if there)
            forbidden = tuple(place for place, there in each if not there)
            if not set(required) & set(forbidden):
                found.append(Term(required, forbidden))
        terms = tuple(found)
        if not terms or any(not term.required for term in terms):
            raise WrittenError("it would hold without any event: nothing can begin its window", "condition")
        return terms


def written(document: Document) -> Written | list[Problem]:
    """Read a correlation, or say what is wrong with it."""
    try:
        bounds = _checked(document)
        made = SigmaCorrelationRule.from_dict(_for_pysigma(document.content), collect_errors=True)
        if made.errors:
            return [_problem(document, error) for error in made.errors]
        return Written(document, made, bounds)
    except WrittenError as error:
        return [faults.problem_at(document, error.path, error)]
    except (SigmaError, *FAULTS) as error:
        return [_problem(document, error)]


def _problem(document: Document, error: Exception) -> Problem:
    name = type(error).__name__
    if name == "SigmaCorrelationConditionError":
        return faults.problem_at(document, (SECTION, "condition"), error)
    if name in ("SigmaCorrelationRuleError", "SigmaCorrelationTypeError", "SigmaTimespanError"):
        return faults.problem_at(document, (SECTION,), error)
    return faults.problem_of(document, SECTION, error)


def _checked(document: Document) -> tuple[Bound, ...]:
    """Check each part by itself, so that its mistake is told at its place; return the bounds of its condition."""
    section = document.content[SECTION]
    if not isinstance(section, dict):
        raise WrittenError("a correlation is a mapping of `type`, `rules`, `group-by`, `timespan`, `condition`")
    for key in section:
        if key not in _KEYS:
            raise WrittenError(f"a key {key!r} is not known{nearest(str(key), _KEYS)}", key)
    kind = section.get("type")
    kinds = [each.name.lower() for each in SigmaCorrelationType]
    if kind not in kinds:
        raise WrittenError(f"the type {kind!r} is none of {', '.join(kinds)}{nearest(str(kind), kinds)}", "type")
    try:
        timespan = SigmaCorrelationTimespan(section.get("timespan", ""))
    except SigmaError as error:
        raise WrittenError(f"{error} It is a number and s, m, h or d, as in 10m", "timespan") from error
    if timespan.seconds > TIMESPAN_LIMIT_S:
        raise WrittenError("a timespan is a year at most", "timespan")
    for key in ("rules", "group-by"):
        _check_names(section, key)
    _check_aliases(section.get("aliases") or {})
    if not isinstance(section.get("generate", False), bool):
        raise WrittenError("`generate` is true or false", "generate")
    condition = section.get("condition")
    if isinstance(condition, dict):
        return _bounds(condition, kind)
    if condition is None and kind not in _TEMPORAL:
        raise WrittenError(f"a {kind} needs a condition", "condition")
    if isinstance(condition, str) and kind not in _TEMPORAL:
        raise WrittenError(f"a {kind} compares a number: its condition is a mapping as in `gte: 10`", "condition")
    rules = section.get("rules")
    return (Bound("gte", len(rules) if isinstance(rules, list) else 1),) if condition is None else ()


def _check_names(section: Mapping[str, Any], key: str) -> None:
    names = section.get(key)
    if names is None and (key == "group-by" or isinstance(section.get("condition"), str)):
        return
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not listed:
        raise WrittenError(f"`{key}` is a list of names", key)
    for place, name in enumerate(listed):
        path = (key, place) if isinstance(names, list) else (key,)
        if not isinstance(name, str) or not name:
            raise WrittenError(f"`{key}` is a list of names, and {name!r} is none", *path)
        if name in listed[:place]:
            raise WrittenError(f"{name} stands twice in `{key}`", *path)
    if len(listed) > PARTS_LIMIT:
        raise WrittenError(f"more than {PARTS_LIMIT} names in `{key}`", key)


def _check_aliases(aliases: Any) -> None:
    if not isinstance(aliases, dict):
        raise WrittenError("`aliases` is a mapping of names, each to fields by rule", "aliases")
    for alias, fields in aliases.items():
        if not isinstance(fields, dict):
            raise WrittenError(f"the alias {alias} is a mapping of rules to their fields", "aliases", alias)
        for rule, field in fields.items():
            if not isinstance(field, str) or not field:
                raise WrittenError(f"the field of {rule} is a name", "aliases", alias, rule)


def _bounds(condition: Mapping[str, Any], kind: str) -> tuple[Bound, ...]:
    at = "condition"
    for key in condition:
        if key not in (*_OPERATORS, "field", "percentile"):
            known = (*_OPERATORS, "field", "percentile")
            raise WrittenError(f"a key {key!r} is not known in a condition{nearest(str(key), known)}", at, key)
    made = []
    for key in condition:
        if key in _OPERATORS:
            if isinstance(condition[key], bool):
                raise WrittenError(f"{condition[key]} is no number", at, key)
            try:
                count = SigmaCorrelationCondition.from_dict({key: condition[key]}).count
            except SigmaError as error:
                raise WrittenError(f"{condition[key]!r} is no number", at, key) from error
            if count > COUNT_LIMIT and not kind.startswith(("value_sum", "value_avg", "value_percentile", "value_med")):
                raise WrittenError(f"more than {COUNT_LIMIT} cannot be counted", at, key)
            made.append(Bound(key, count))
    if not made:
        raise WrittenError("a condition compares with a number: `gte: 10`, or `gt: 100` with `lte: 200`", at)
    _check_field(condition, kind)
    return tuple(made)


def _check_field(condition: Mapping[str, Any], kind: str) -> None:
    at = "condition"
    if kind.startswith("value_"):
        names = condition.get("field")
        listed = names if isinstance(names, list) else [names]
        if not listed or not all(isinstance(name, str) and name for name in listed):
            raise WrittenError(f"a {kind} names the `field` whose values it looks at", at, "field")
        if len(listed) > 1 and kind != "value_count":
            raise WrittenError(f"a {kind} looks at one field", at, "field")
    elif "field" in condition:
        raise WrittenError(f"a {kind} looks at no `field`", at, "field")
    percentile = condition.get("percentile")
    if kind == "value_percentile":
        if not isinstance(percentile, int) or isinstance(percentile, bool) or not 0 <= percentile <= 100:
            why = "a value_percentile says which: `percentile: 95`, a whole number from 0 to 100"
            raise WrittenError(why, at, "percentile")
    elif percentile is not None:
        raise WrittenError(f"a {kind} has no `percentile`", at, "percentile")


def _for_pysigma(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule with one comparison of a range: pySigma refuses two, which the specification has."""
    section = dict(content[SECTION])
    condition = section.get("condition")
    if isinstance(condition, dict):
        first = next(key for key in condition if key in _OPERATORS)
        section["condition"] = {key: value for key, value in condition.items() if key not in _OPERATORS or key == first}
    return {**content, SECTION: section}


def _values(condition: Mapping[str, Any]) -> tuple[str, ...]:
    names = condition.get("field")
    return tuple(names) if isinstance(names, list) else (() if names is None else (names,))


def _listed(document: Document, rule: SigmaCorrelationRule) -> tuple[str, ...]:
    """Return the rules that it names, in order; they may stand in the condition alone."""
    if rule.rules is not None:
        return tuple(each.reference for each in rule.rules)
    condition = rule.condition
    names = condition.get_referenced_rules() if isinstance(condition, SigmaExtendedCorrelationCondition) else []
    if len(names) > PARTS_LIMIT:
        raise WrittenError(f"more than {PARTS_LIMIT} rules", "condition")
    return tuple(names)


_Literals = frozenset[tuple[int, bool]]


def _terms(node: Any, rules: tuple[str, ...], *, holds: bool) -> set[_Literals]:
    """Return the disjunctive normal form of a condition over rules: which are there, and which are not."""
    if isinstance(node, SigmaRuleReference):
        return {frozenset({(rules.index(node.reference), holds)})}
    if isinstance(node, CorrelationConditionNOT):
        return _terms(node.args[0], rules, holds=not holds)
    below = [_terms(each, rules, holds=holds) for each in node.args]
    if isinstance(node, CorrelationConditionAND) is not holds:
        made = set().union(*below)
    else:
        made = {frozenset()}
        for each in below:
            made = {left | right for left in made for right in each}
            if len(made) > TERMS_LIMIT:
                break
    if len(made) > TERMS_LIMIT:
        raise WrittenError(f"it can hold in more than {TERMS_LIMIT} ways: write several correlations", "condition")
    return made


def nearest(name: str, known: Any) -> str:
    """Return a hint at what is spelt alike, empty where nothing is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; is {near[0]} meant?" if near else ""
