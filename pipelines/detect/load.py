"""Rule files become a rule set: YAML as published, read by pySigma, mapped to the fields of our documents.

Files come as texts with their names: whoever calls has read them (`collector/rules.py`). One broken rule stops only
itself; each problem has its file, line and column. A rule whose log source or fields are in no document of ours is
loaded and says so.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.modifiers import modifier_mapping
from sigma.rule import SigmaRule
from sigma.rule.base import check_alias_expansion

from parsers.ecs_types import nearest_field
from pipelines.detect import faults
from pipelines.detect.correlations import SECTION, Written, written
from pipelines.detect.documents import FAULTS, Document, read
from pipelines.detect.expression import Constant, Expression, Named, Or, both, folded
from pipelines.detect.linked import Linker
from pipelines.detect.rule import LogSource, Problem, Related, Rule, RuleSet, Variant
from pipelines.detect.sources import OpenSource, Source, Sources
from pipelines.detect.tables import SOURCES
from pipelines.detect.translate import Placeholders, Translator, UntranslatableError

RULES_LIMIT: Final = 50_000
"""Rules of one set; SigmaHQ publishes 3,800."""

CORRELATIONS_LIMIT: Final = 5_000

_PYSIGMA_FAULTS: Final = (SigmaError, UntranslatableError, *FAULTS)
"""What pySigma raises on what it does not take: beside its own errors others, on shapes that it does not expect."""

_SPELLINGS: Final = {"utf16le": "wide"}
"""Modifiers of the specification (appendix modifiers, "Encoding") that pySigma 2.0 knows only by another name."""


class Loader:
    """Loads one set: `add` its files, then `finish`.

    `stands_alone` while nothing that was added says something of rules that may be in other files.
    """

    def __init__(self, sources: Sources = SOURCES, placeholders: Placeholders | None = None) -> None:
        self._sources = sources
        self._placeholders = placeholders or {}
        self.stands_alone = True
        self._problems: list[Problem] = []
        self._rules: list[tuple[Document, SigmaRule]] = []
        self._filters: list[tuple[Document, SigmaFilter]] = []
        self._correlations: list[Written] = []
        self._keys: dict[str, Document] = {}
        self._broken: list[str] = []

    def add(self, file: str, text: str) -> None:
        """Read the rules of a file."""
        base: dict[str, Any] = {}
        last: dict[str, Any] = {}
        for document in read(file, text):
            if isinstance(document, Problem):
                self._problems.append(document)
                continue
            if not isinstance(document.content, dict):
                self._problems.append(document.problem("a rule is a mapping of `title`, `logsource`, `detection`, …"))
                continue
            try:
                check_alias_expansion(document.content)
            except SigmaError as error:
                self._problems.append(document.problem(str(error)))
                continue
            action = document.content.pop("action", None)
            if action == "global":
                base = last = document.content
            elif action == "reset":
                base = {}
            elif action == "repeat":
                last = document.content = _merged(last, document.content)
                self._add(document)
            elif action is None:
                last = document.content
                self._add(document, base)
            else:
                said = f"an action {action!r} is not known" if isinstance(action, str) else "an action is a word"
                self._problems.append(document.problem(said, ("action",)))

    def _add(self, document: Document, base: Mapping[str, Any] | None = None) -> None:
        content = document.content
        self.stands_alone = self.stands_alone and not {SECTION, "filter"} & content.keys()
        if SECTION in content:
            self._add_correlation(document)
            return
        kind = SigmaFilter if "filter" in content else SigmaRule
        if kind is SigmaRule and base:
            content = document.content = _merged(base, content)
        part = "filter" if kind is SigmaFilter else "detection"
        try:
            if isinstance(content.get(part), dict):
                content = {**content, part: _respelled(content[part])}
            made = kind.from_dict(content, collect_errors=True)
        except _PYSIGMA_FAULTS as error:
            self._broken += _names_in(document)
            self._problems.append(faults.problem_of(document, part, error))
            return
        if made.errors:
            self._broken += _names_in(document)
            self._problems.extend(faults.problem_of(document, part, error) for error in made.errors)
            return
        if isinstance(made, SigmaFilter):
            self._add_filter(document, made)
        elif len(self._rules) < RULES_LIMIT:
            self._add_rule(document, made)
        else:
            self._problems.append(document.problem(f"more than {RULES_LIMIT} rules"))

    def _add_rule(self, document: Document, rule: SigmaRule) -> None:
        if self._is_new(document, rule):
            self._rules.append((document, rule))

    def _add_correlation(self, document: Document) -> None:
        made = written(document)
        if not isinstance(made, Written):
            self._broken += _names_in(document)
            self._problems += made
        elif len(self._correlations) >= CORRELATIONS_LIMIT:
            self._problems.append(document.problem(f"more than {CORRELATIONS_LIMIT} correlations"))
        elif self._is_new(document, made.rule):
            self._correlations.append(made)
            why = "correlation rules are not evaluated by this version; the rules that it names are"
            self._problems.append(document.problem(why, (SECTION,), fatal=False))

    def _is_new(self, document: Document, rule: SigmaRule | SigmaCorrelationRule) -> bool:
        """Whether no rule before has the id or the name, which are this one's from now on."""
        for key in filter(None, (str(rule.id or ""), rule.name)):
            if key in self._keys:
                first = self._keys[key].place()
                self._problems.append(document.problem(f"the rule {key} is already at {first}", ("id",)))
                return False
        for key in filter(None, (str(rule.id or ""), rule.name)):
            self._keys[key] = document
        return True

    def _add_filter(self, document: Document, rule: SigmaFilter) -> None:
        self._filters.append((document, rule))
        if "not" not in rule.filter.condition[0].lower().split():
            why = (
                "the filter's condition has no `not`: it is joined to its rules' by `and`, "
                "so these hold only where the filter's selection does"
            )
            self._problems.append(document.problem(why, ("filter", "condition"), fatal=False))

    def finish(self) -> RuleSet:
        """Return the set: filters apply to rules of all files."""
        rules = []
        for document, rule in self._rules:
            try:
                rules.append(self._compiled(document, rule))
            except _PYSIGMA_FAULTS as error:
                self._problems.append(faults.problem_of(document, "detection", error))
        self._problems += [
            document.problem("no rule is meant by this filter", ("filter", "rules"), fatal=False)
            for document, each in self._filters
            if not any(_applies(each, rule) for _, rule in self._rules)
        ]
        known = frozenset((*self._keys, *self._broken))
        linker = Linker(self._correlations, rules, known, self._sources, _metadata)
        correlations, correlated = linker.linked()
        return RuleSet(tuple(rules), (*self._problems, *linker.problems), correlations, correlated)

    def _compiled(self, document: Document, rule: SigmaRule) -> Rule:
        log_source = LogSource(rule.logsource.category, rule.logsource.product, rule.logsource.service)
        sources = self._sources.of(log_source)
        filters = [each for _, each in self._filters if _applies(each, rule)]
        remarks: list[Problem] = []
        variants = []
        unknown: dict[str, None] = {}
        for source in sources or (OpenSource(),):
            expression = self._expression(document, source, rule, filters, unknown if sources else {})
            if sources and not (isinstance(expression, Constant) and not expression.value):
                variants.append(Variant(source.name, source.where, both(_condition(source), expression)))
        never = _never(log_source, variants, unknown, known=bool(sources))
        if never is None:
            remarks += [
                document.problem(
                    f"no document has the field {field}{_nearest(field)}",
                    faults.field_path(document, "detection", field) or ("filter",),
                    fatal=False,
                )
                for field in unknown
            ]
        return Rule(
            key=str(rule.id or rule.name or document.place()),
            place=document.place(),
            log_source=log_source,
            variants=tuple(variants),
            never=never,
            filters=tuple(each.title for each in filters),
            remarks=tuple(remarks),
            **_metadata(rule),
        )

    def _expression(
        self,
        document: Document,
        source: Source | OpenSource,
        rule: SigmaRule,
        filters: list[SigmaFilter],
        unknown: dict[str, None],
    ) -> Expression:
        translator = Translator(source, self._placeholders)
        conditions = [translator.condition(each) for each in rule.detection.parsed_condition]
        expression = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
        for each in filters:
            (condition,) = (translator.condition(parsed) for parsed in each.filter.parsed_condition)
            expression = both(expression, Named(f"filter {each.title}", condition))
        unknown |= translator.unknown
        return folded(expression)


def load(
    files: Iterable[tuple[str, str]], sources: Sources = SOURCES, placeholders: Placeholders | None = None
) -> RuleSet:
    """Load the rules of files, given as names and texts; `placeholders` are values for `|expand` (`%admin_users%`)."""
    loader = Loader(sources, placeholders)
    for file, text in files:
        loader.add(file, text)
    return loader.finish()


def _condition(source: Source | OpenSource) -> Expression:
    return Constant(value=True) if source.condition is None else source.condition


def _never(log_source: LogSource, variants: list[Variant], unknown: Mapping[str, None], *, known: bool) -> str | None:
    if not known:
        return f"no document is of the log source ({log_source})"
    if variants:
        return None
    if not unknown:
        return "its condition contradicts itself"
    names = ", ".join(f"{field}{_nearest(field)}" for field in unknown)
    return f"no document of its log source has the field {names}" if len(unknown) == 1 else f"no document has {names}"


def _nearest(field: str) -> str:
    """Return a hint at a field that is spelt alike, for those who meant one of ours."""
    nearest = nearest_field(field) if "." in field else None
    return f" (is {nearest} meant?)" if nearest else ""


def _applies(each: SigmaFilter, rule: SigmaRule) -> bool:
    """Whether a filter means a rule: its log source contains the rule's, and its `rules` name it or say `any`."""
    if rule.logsource not in each.logsource:
        return False
    wanted = each.filter.rules
    if isinstance(wanted, str):
        return wanted == "any"
    return any(reference.reference in (str(rule.id), rule.name) for reference in wanted)


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with what another says, key by key (`action: global` and `repeat`)."""
    made = dict(base)
    for key, value in more.items():
        before = made.get(key)
        made[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return made


def _respelled(value: Any) -> Any:
    """Return search identifiers with modifiers under pySigma's names."""
    if isinstance(value, dict):
        return {_respelled_key(key): _respelled(below) for key, below in value.items()}
    return [_respelled(each) for each in value] if isinstance(value, list) else value


def _respelled_key(key: Any) -> Any:
    if not isinstance(key, str) or "|" not in key:
        return key
    field, *modifiers = key.split("|")
    for modifier in modifiers:
        if modifier not in modifier_mapping and modifier not in _SPELLINGS:
            near = difflib.get_close_matches(modifier, [*modifier_mapping, *_SPELLINGS], n=1)
            raise faults.UnknownModifierError(key, modifier, near[0] if near else None)
    return "|".join((field, *(_SPELLINGS.get(modifier, modifier) for modifier in modifiers)))


def _names_in(document: Document) -> list[str]:
    """Return id and name of a rule that did not load, so that who names it is told just that."""
    return [str(document.content[key]) for key in ("id", "name") if document.content.get(key)]


def _metadata(rule: SigmaRule | SigmaCorrelationRule) -> dict[str, Any]:
    return {
        "title": rule.title,
        "id": str(rule.id) if rule.id else None,
        "name": rule.name,
        "level": rule.level.name.lower() if rule.level else None,
        "status": rule.status.name.lower() if rule.status else None,
        "description": rule.description,
        "author": rule.author,
        "license": rule.license,
        "date": rule.date.isoformat() if rule.date else None,
        "modified": rule.modified.isoformat() if rule.modified else None,
        "references": _texts(rule.references),
        "tags": tuple(str(tag) for tag in rule.tags),
        "false_positives": _texts(rule.falsepositives),
        "fields": _texts(rule.fields),
        "related": tuple(_related(rule)),
    }


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _related(rule: SigmaRule | SigmaCorrelationRule) -> Iterator[Related]:
    for each in rule.related.related if rule.related else ():
        yield Related(str(each.id), each.type.name.lower())
