"""Correlations find the rules that they name, across files, and the fields of these rules' documents.

A correlation that names what is not there, or what did not load, is not loaded itself; one whose rules can never match
is loaded and says so. Those that others name come first.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from sigma.correlations import SigmaCorrelationRule

from pipelines.detect.correlations import SECTION, Written, WrittenError, nearest
from pipelines.detect.documents import Path
from pipelines.detect.faults import problem_at
from pipelines.detect.rule import Correlated, Correlation, Problem, Reference, Rule
from pipelines.detect.sources import Sources

CHAIN_LIMIT: Final = 8
"""Correlations on one another."""

_Metadata = Callable[[SigmaCorrelationRule], dict[str, Any]]


class Linker:
    """Links one set's correlations. `rules` are those that loaded, `known` the names of all that were read."""

    def __init__(
        self, written: list[Written], rules: list[Rule], known: frozenset[str], sources: Sources, metadata: _Metadata
    ) -> None:
        self._written = written
        self._by_name = {name: each for each in written for name in _names(each)}
        self._rules = {name: rule for rule in rules for name in (rule.key, rule.id, rule.name) if name}
        self._known = known
        self._sources = sources
        self._metadata = metadata
        self._made: dict[str, Correlation] = {}
        self._failed: set[int] = set()
        self._linking: list[Written] = []
        self._wanted: dict[str, dict[str, tuple[str, ...]]] = {}
        self.problems: list[Problem] = []

    def linked(self) -> tuple[tuple[Correlation, ...], tuple[Correlated, ...]]:
        """Return the correlations, and the rules whose matches they take."""
        for each in self._written:
            self._link(each)
        silent = {part.rule for each in self._made.values() if not each.generate for part in each.parts}
        correlations = tuple(
            msgspec.structs.replace(each, alerts=each.key not in silent) for each in self._made.values()
        )
        correlated = tuple(
            Correlated(key, tuple(sorted(fields.items())), silent=key in silent) for key, fields in self._wanted.items()
        )
        return correlations, correlated

    def _link(self, each: Written) -> Correlation | None:
        key = _key(each)
        if key in self._made:
            return self._made[key]
        if id(each) in self._failed:
            return None
        self._linking.append(each)
        try:
            self._made[key] = made = _Link(self, each).correlation()
        except WrittenError as error:
            self.problems.append(problem_at(each.document, error.path, error))
            self._failed.add(id(each))
            return None
        finally:
            self._linking.pop()
        return made

    def find(self, name: str, *path: str | int) -> Rule | Correlation:
        """Return what a name means; raise `WrittenError` where that is nothing that loaded."""
        if name in self._rules:
            return self._rules[name]
        if name in self._by_name:
            other = self._by_name[name]
            if other in self._linking:
                raise WrittenError(f"{name} names this correlation in turn: none would ever be the first", *path)
            if len(self._linking) >= CHAIN_LIMIT:
                raise WrittenError(f"more than {CHAIN_LIMIT} correlations on one another", *path)
            made = self._link(other)
            if made is not None:
                return made
        elif name not in self._known:
            raise WrittenError(f"no rule has the id or name {name}{nearest(name, self._known)}", *path)
        raise WrittenError(f"the rule {name} did not load", *path)

    def metadata(self, each: Written) -> dict[str, Any]:
        """Return what a correlation was published with."""
        return self._metadata(each.rule)

    def want(self, rule: Rule, field: str) -> bool:
        """Take a field of a rule's documents along; return whether any has it."""
        fields = self._wanted.setdefault(rule.key, {})
        if field not in fields:
            sources = self._sources.of(rule.log_source)
            paths = tuple(dict.fromkeys(path for source in sources for path in source.paths(field)))
            if not paths:
                return False
            fields[field] = paths
        return True

    def take(self, rule: Rule) -> None:
        """Take a rule's matches, whatever fields they have."""
        self._wanted.setdefault(rule.key, {})

    def want_below(self, inner: Correlation, field: str) -> bool:
        """Take a field along that a correlation itself does not group by, from the event that completes it."""
        if field in inner.group_by:
            return True
        there = False
        for part in inner.parts:
            if part.chained:
                there |= self.want_below(self._made[part.rule], field)
            else:
                there |= self.want(self._rules[part.rule], field)
        return there


class _Link:
    """One correlation that is being linked."""

    def __init__(self, linker: Linker, each: Written) -> None:
        self._linker = linker
        self._each = each
        section = each.document.content[SECTION]
        listed = section.get("rules")
        self._found = [
            linker.find(name, *(("rules", place) if isinstance(listed, list) else ("condition",)))
            for place, name in enumerate(each.rules)
        ]
        keys = [found.key for found in self._found]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise WrittenError(f"{each.rules[place]} names a rule that stands in `rules` already", "rules", place)
        self._remarks: list[Problem] = []
        self._aliased = self._aliases(keys)

    def _aliases(self, keys: list[str]) -> dict[tuple[str, int], str]:
        """Return the field that an alias means in each of the rules."""
        made = {}
        for alias, fields in self._each.aliases.items():
            for name, field in fields.items():
                found = self._linker.find(name, "aliases", alias, name)
                if found.key not in keys:
                    why = f"{name} is none of this correlation's rules"
                    raise WrittenError(why, "aliases", alias, name)
                made[alias, keys.index(found.key)] = field
            if alias not in (*self._each.group_by, *self._each.values):
                self._remark(f"nothing is grouped by the alias {alias}", "aliases", alias)
        return made

    def correlation(self) -> Correlation:
        """Return it; raise `WrittenError` where it cannot be."""
        each = self._each
        lateness = each.lateness_ns
        parts = []
        live = []
        for place, found in enumerate(self._found):
            group, value = self._fields(place, each.group_by), self._fields(place, each.values)
            chained = isinstance(found, Correlation)
            if isinstance(found, Correlation):
                lateness = max(lateness, found.lateness_ns + 1)
            else:
                self._linker.take(found)
            there = [self._has(found, field, path) for field, path in self._wanted(place, group, value)]
            live.append(found.never is None and all(there))
            parts.append(Reference(found.key, group, value, chained))
        made = Correlation(
            key=_key(each),
            place=each.document.place(),
            type=each.type,
            parts=tuple(parts),
            group_by=each.group_by,
            timespan_ns=each.timespan_ns,
            lateness_ns=lateness,
            bounds=each.bounds,
            terms=each.terms(),
            percentile=each.percentile,
            generate=bool(each.rule.generate),
            **self._linker.metadata(each),
        )
        if each.type in _COUNTED and not any(_can_count(made, count) for count in range(1, _MOST)):
            self._remark(
                "no count from 1 on is so, and a window without any event is not seen: it can never hold", "condition"
            )
        return msgspec.structs.replace(made, never=_never(made, live, each.rules), remarks=tuple(self._remarks))

    def _fields(self, place: int, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._aliased.get((name, place), name) for name in names)

    def _wanted(self, place: int, group: tuple[str, ...], value: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
        """Yield the fields that are asked of a rule, and where each is written."""
        each = self._each
        names = [*enumerate(each.group_by), *((None, name) for name in each.values)]
        for (at, name), field in zip(names, (*group, *value), strict=True):
            if (name, place) in self._aliased:
                fields = each.aliases[name]
                yield field, ("aliases", name, next(rule for rule in fields if fields[rule] == field))
            elif at is None:
                yield field, ("condition", "field")
            else:
                listed = isinstance(each.document.content[SECTION]["group-by"], list)
                yield field, ("group-by", at) if listed else ("group-by",)

    def _has(self, found: Rule | Correlation, field: str, path: Path) -> bool:
        name = found.name or found.id or found.title
        if isinstance(found, Rule):
            if self._linker.want(found, field):
                return True
            if found.never is None:
                self._remark(f"no document of the rule {name} has the field {field}", *path)
            return False
        if field in found.group_by:
            return True
        if found.at_close:
            known = ", ".join(found.group_by) or "nothing"
            why = f"{name} is judged when its window has closed, and tells of what it groups by alone ({known})"
            raise WrittenError(f"{field} is not known then: {why}", *path)
        if self._linker.want_below(found, field):
            return True
        self._remark(f"no document of the rules of {name} has the field {field}", *path)
        return False

    def _remark(self, message: str, *path: str | int) -> None:
        self._remarks.append(self._each.document.problem(message, (SECTION, *path), fatal=False))


_COUNTED: Final = ("event_count", "value_count", "temporal", "temporal_ordered")
_MOST: Final = 100_002
"""One beyond the largest number that a count is compared with, and the next."""


def _can_count(each: Correlation, count: int) -> bool:
    return bool(each.terms) or all(bound.holds(count) for bound in each.bounds)


def _never(made: Correlation, live: list[bool], names: tuple[str, ...]) -> str | None:
    """Return why it can never hold: too many of its rules cannot match, or have not the fields."""
    if made.terms:
        can = any(all(live[place] for place in term.required) for term in made.terms)
    elif made.type in ("temporal", "temporal_ordered") and not made.at_close:
        can = _can_count(made, sum(live))
    else:
        can = any(live)
    dead = ", ".join(name for name, lives in zip(names, live, strict=True) if not lives)
    return None if can else f"of its rules these can never match: {dead}"


def _key(each: Written) -> str:
    return str(each.rule.id or each.rule.name or each.document.place())


def _names(each: Written) -> list[str]:
    return [name for name in (str(each.rule.id or ""), each.rule.name, _key(each)) if name]
