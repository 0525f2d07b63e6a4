"""Literals without which a rule cannot hold: what must be in a document's bytes, so that most are never decoded.

A clause is a set of atoms of which one at least is in the encoding of every document on which the expression holds;
a rule has up to three, all of which are needed. Sound because a document is our own canonical JSON: escapes go code
point by code point, so the encoding of a text holds that of each of its parts, and each has one spelling. Atoms are
ASCII and found without regard to case, as far as the predicate folds.
"""

from collections.abc import Iterable
from math import fsum
from typing import Final

from pipelines.detect.atoms import Atom, Clause, field_clauses, key_of, keyword_clauses
from pipelines.detect.expression import And, Constant, Exists, Expression, FieldTest, KeywordTest, Named, Null, Or
from pipelines.detect.frequent import EVERYWHERE, weight_of

CLAUSES_LIMIT: Final = 3
"""Clauses of one expression."""
ATOMS_LIMIT: Final = 5_000
"""Atoms of one clause; an expression that needs more has none."""
RARE: Final = 0.01
"""A share of documents that is small enough: further clauses would cost more hits than they save evaluations."""


def clauses_of(item: Expression) -> tuple[Clause, ...]:
    """Return the clauses of an expression, the rarest first; none where no literal is needed."""
    chosen: list[Clause] = []
    share = 1.0
    for cost, _, clause in sorted((_cost(clause), sorted(clause), clause) for clause in set(_clauses(item))):
        if chosen and cost >= EVERYWHERE:
            break
        chosen.append(clause)
        share *= cost
        if share < RARE or len(chosen) == CLAUSES_LIMIT:
            break
    return tuple(chosen)


def required_keys(item: Expression) -> frozenset[bytes] | None:
    """Return keys of JSON of which one must be in a document for the expression to hold; None where none is needed."""
    if isinstance(item, Named):
        return required_keys(item.item)
    if isinstance(item, FieldTest):
        if isinstance(item.test, Null) or (isinstance(item.test, Exists) and not item.test.value):
            return None
        if any(path.rpartition(".")[2].isdecimal() for path in item.paths):
            return None  # A place in a list has no key.
        return frozenset(key_of(path) for path in item.paths)
    if isinstance(item, And):
        found = [keys for each in item.items if (keys := required_keys(each)) is not None]
        return min(found, key=lambda keys: (_cost(keys), sorted(keys)), default=None)
    if isinstance(item, Or):
        every = [required_keys(each) for each in item.items]
        return None if None in every else frozenset(key for keys in every if keys is not None for key in keys)
    return frozenset() if isinstance(item, Constant) and not item.value else None


def _cost(clause: Iterable[Atom]) -> float:
    return fsum(map(weight_of, clause))  # Exact: the same whatever the order in which a set gives its atoms.


def _clauses(item: Expression) -> list[Clause]:
    if isinstance(item, Named):
        return _clauses(item.item)
    if isinstance(item, And):
        return [clause for each in item.items for clause in _clauses(each)]
    if isinstance(item, Or):
        return _of_any(item)
    if isinstance(item, KeywordTest):
        return keyword_clauses(item.test)
    if isinstance(item, FieldTest):
        return field_clauses(item)
    if isinstance(item, Constant) and not item.value:
        return [frozenset()]
    return []


def _of_any(item: Or) -> list[Clause]:
    """Return the clause that has the best one of each alternative; nothing where one has none."""
    atoms: set[Atom] = set()
    for each in item.items:
        found = _clauses(each)
        if not found:
            return []
        atoms |= min(found, key=lambda clause: (_cost(clause), sorted(clause)))
        if len(atoms) > ATOMS_LIMIT:
            return []
    return [frozenset(atoms)]
