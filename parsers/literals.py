"""What texts a line must hold to match a pattern: `in` tells most lines apart for a tenth of what a match costs.

Found in the tree that `re` itself makes of the pattern; where that tree has something unknown here, nothing is said
about that part. Sound by construction, and held so by `tests/property/test_literals.py`.
"""

import re
from collections.abc import Iterable, Sequence
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

ALTERNATIVES_LIMIT: Final = 3
"""Of more texts, of which a line must hold one, a match is as cheap."""

COMMON: Final = frozenset(" :-./0")
"""Texts of these alone are in nearly every line."""

Texts = tuple[str, ...]
"""Texts of which a line must hold at least one."""


def required_texts(pattern: str, flags: int) -> Texts:
    """Return texts of which each line that matches holds one, the most telling ones; none where none are known."""
    if flags & re.IGNORECASE:
        return ()
    tree = _parser.parse(pattern, flags)
    if tree.state.flags & re.IGNORECASE:
        return ()
    return max(_of_sequence(tree), key=_worth, default=())


def _worth(texts: Texts) -> tuple[int, int]:
    return min(map(len, texts)), -len(texts)


def _of_sequence(items: Iterable[tuple[Any, Any]]) -> list[Texts]:
    """Return what is known of a sequence: of each of these sets a line holds one."""
    found: list[Texts] = []
    run = ""
    for kind, value in items:
        if kind is code.LITERAL:
            run += chr(value)
            continue
        found += _telling([(run,)])
        run = ""
        found += _of_item(kind, value)
    return found + _telling([(run,)])


def _of_item(kind: Any, value: Any) -> list[Texts]:
    if kind is code.SUBPATTERN:
        _, added, _, inside = value
        return [] if added & re.IGNORECASE else _of_sequence(inside)
    if kind is code.ATOMIC_GROUP:
        return _of_sequence(value)
    if kind in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
        least, _, inside = value
        return _of_sequence(inside) if least else []
    if kind is code.BRANCH:
        _, branches = value
        return _telling([_either([max(_of_sequence(branch), key=_worth, default=()) for branch in branches])])
    return []


def _either(sets: Sequence[Texts]) -> Texts:
    if not all(sets):
        return ()
    return tuple(dict.fromkeys(text for each in sets for text in each))


def _telling(sets: list[Texts]) -> list[Texts]:
    return [
        each
        for each in sets
        if each and len(each) <= ALTERNATIVES_LIMIT and not any(COMMON.issuperset(text) for text in each)
    ]
