"""Which rules hold on which documents of a batch: a scan for literals, then the predicate on what is left.

The answer is that of evaluating every rule on every document (P4), and only the way there is short. Documents come by
data stream, so one dataset's rules are looked for at a time: those of other sources cost nothing. A rule without
literals is evaluated on each document of its datasets that has a key which it needs.

A rule that cannot be evaluated on a document fails on that one alone, and whoever asks is told which it was.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from pipelines.batch import Documents
from pipelines.detect.atoms import Atom, Clause
from pipelines.detect.clauses import clauses_of, required_keys
from pipelines.detect.compiled import Holds, compiled
from pipelines.detect.expression import Expression
from pipelines.detect.predicate import View, holds
from pipelines.detect.rule import Rule
from pipelines.detect.scan import Scanner, scanner_of

DATASETS_LIMIT: Final = 1_024
"""Datasets whose rules are remembered; of more, the least are forgotten together and looked up anew."""


class Match(NamedTuple):
    """A rule that holds on a document, by its place among the `Documents` that were asked about."""

    document: int
    rule: Rule


class Failure(NamedTuple):
    """A rule that could not be evaluated on a document, and why: whether it holds there is not known."""

    document: int
    rule: Rule
    error: Exception


class Cost(NamedTuple):
    """What was done for the documents so far: candidates are pairs of a rule and a document that were evaluated."""

    documents: int
    decoded: int
    candidates: int
    matches: int


class Matcher:
    """Finds the matches of one rule set. Made once; without state but for counts and what it remembers of datasets.

    Of the documents that were asked about last, `failures` are what whoever takes the matches reports too, and
    `matched` are those with matches, decoded, by their places.
    """

    def __init__(self, rules: Iterable[Rule], *, plain: bool = False) -> None:
        self._plain = plain
        self._variants = [
            _Prepared(number, rule, variant.expression, clauses_of(variant.expression), compiled(variant.expression))
            for number, rule in enumerate(rules)
            for variant in rule.variants
        ]
        self._where = [variant.where for rule in rules for variant in rule.variants]
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._by_dataset: dict[str, _Plan] = {}
        self.cost = Cost(0, 0, 0, 0)
        self.failures: tuple[Failure, ...] = ()
        self.matched: dict[int, dict[str, Any]] = {}

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose rules were looked for."""
        return tuple(self._by_dataset)

    def prepare(self, datasets: Iterable[str]) -> None:
        """Make ready for documents of these datasets, so that the first of them do not wait for it."""
        for dataset in datasets:
            self._plan(dataset)

    def matches(self, documents: Documents) -> list[Match]:
        """Return which rules hold on which of the documents, in their order and that of the rules.

        What could not be evaluated is in `failures` afterwards, and not among the matches.
        """
        self.failures = ()
        self.matched = {}
        plan = self._plan(documents.stream.dataset)
        if not plan.variants:
            self.cost = self.cost._replace(documents=self.cost.documents + len(documents.ids))
            return []
        body = documents.ndjson
        starts = _starts(body)
        found: list[Match] = []
        failed: list[Failure] = []
        decoded = evaluated = 0
        for document, candidates in plan.candidates(body, starts):
            end = starts[document + 1] if document + 1 < len(starts) else len(body)
            view = View(_decoded(body[starts[document] : end]))
            decoded += 1
            evaluated += len(candidates)
            rules = {each.number: each.rule for each in candidates if _holds(each, view, document, failed)}
            if rules:
                found.extend(Match(document, rules[number]) for number in sorted(rules))
                self.matched[document] = view.document
        self.failures = tuple(failed)
        before = self.cost
        self.cost = Cost(
            before.documents + len(starts),
            before.decoded + decoded,
            before.candidates + evaluated,
            before.matches + len(found),
        )
        return found

    def _plan(self, dataset: str) -> "_Plan":
        plan = self._by_dataset.get(dataset)
        if plan is None:
            mine = tuple(number for number, where in enumerate(self._where) if where.has(dataset))
            plan = self._plans.get(mine)
            if plan is None:
                plan = self._plans[mine] = _Plan([self._variants[number] for number in mine], plain=self._plain)
            if len(self._by_dataset) >= DATASETS_LIMIT:
                self._by_dataset.clear()
            self._by_dataset[dataset] = plan
        return plan


class _Prepared(NamedTuple):
    """A rule on one source, with its clauses."""

    number: int
    rule: Rule
    expression: Expression
    clauses: tuple[Clause, ...]
    holds: Holds


class _Plan:
    """The variants that documents of some datasets are asked about, by what must be in their bytes."""

    def __init__(self, variants: Sequence[_Prepared], *, plain: bool) -> None:
        self.variants = variants
        atoms: dict[Atom, int] = {}
        uses: list[list[tuple[int, int]]] = []
        self._needed = [len(variant.clauses) for variant in variants]
        for at, variant in enumerate(variants):
            for bit, clause in enumerate(variant.clauses):
                for atom in sorted(clause):
                    number = atoms.setdefault(atom, len(atoms))
                    if number == len(uses):
                        uses.append([])
                    uses[number].append((at, 1 << bit))
        self._uses = [tuple(each) for each in uses]
        self._scanner: Scanner = scanner_of(atoms, plain=plain)
        self._whole = [(1 << needed) - 1 for needed in self._needed]
        self._always = [
            (at, required_keys(variant.expression)) for at, variant in enumerate(variants) if not variant.clauses
        ]

    def candidates(self, body: bytes, starts: Sequence[int]) -> Iterable[tuple[int, list[_Prepared]]]:
        """Yield documents on which rules may hold, and which."""
        hits = self._scanner.hits(body, starts) if self._uses else {}
        documents: Iterable[int] = range(len(starts)) if self._always else sorted(hits)
        for document in documents:
            found = self._by_clauses(hits[document]) if document in hits else []
            if self._always:
                end = starts[document + 1] if document + 1 < len(starts) else len(body)
                found += self._by_keys(body, starts[document], end)
            if found:
                yield document, [self.variants[at] for at in found]

    def _by_clauses(self, atoms: Iterable[int]) -> list[int]:
        """Return the variants each of whose clauses has an atom here."""
        seen: dict[int, int] = {}
        for atom in atoms:
            for at, bit in self._uses[atom]:
                seen[at] = seen.get(at, 0) | bit
        return [at for at, bits in seen.items() if bits == self._whole[at]]

    def _by_keys(self, body: bytes, start: int, end: int) -> list[int]:
        """Return the variants without clauses that have a key which they need here, or need none."""
        return [at for at, keys in self._always if keys is None or any(body.find(key, start, end) >= 0 for key in keys)]


def _holds(asked: _Prepared, view: View, document: int, failed: list[Failure]) -> bool:
    """Whether a rule holds on a document; where it fails, that is put to the others."""
    try:
        return asked.holds(view)
    except MemoryError:
        raise
    except Exception as error:  # the boundary of a rule: a fault of one is not another's (P7)
        failed.append(Failure(document, asked.rule, error))
        return False


def brute_force(rules: Iterable[Rule], documents: Documents) -> list[Match]:
    """Return what `Matcher.matches` must: every rule evaluated on every document; a rule that fails raises."""
    body = documents.ndjson
    dataset = documents.stream.dataset
    found = []
    asked = list(rules)
    for document, line in enumerate(body.split(b"\n")[:-1]):
        view = View(_decoded(line))
        for rule in asked:
            mine = (each.expression for each in rule.variants if each.where.has(dataset))
            if any(holds(expression, view) for expression in mine):
                found.append(Match(document, rule))
    return found


def _starts(body: bytes) -> list[int]:
    """Return where documents begin: each ends with a newline, and none holds one."""
    starts = [0] if body else []
    place = body.find(b"\n") + 1
    while 0 < place < len(body):
        starts.append(place)
        place = body.find(b"\n", place) + 1
    return starts


def _decoded(line: bytes) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(line)
    return made
