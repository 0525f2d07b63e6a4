"""Texts as rules compare them: ASCII letters fold and no others, `*` stands for any characters, `?` for one.

The scan folds ASCII alone, so the predicate must as well: `'K'` (U+212A) lowered by Unicode's rules is `k`, a match
that no scan would see.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from pipelines.detect.expression import MANY, ONE, Text

Matches = Callable[[str], bool]

CONTAINED_LIMIT: Final = 1 << 28
"""Characters that are gone through to find texts within others, about 0.2 s: their length times the texts' number."""

_UPPER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(text: str) -> str:
    """Return the text with ASCII letters in lower case."""
    return text.lower() if text.isascii() else text.translate(_UPPER)


def matcher_of(test: Text) -> Matches:
    """Return whether a text is what the pattern says, as a whole; unless it is cased, of a text that is folded already.

    Linear in the text for each part between two `*`: the leftmost place for a part is never worse than a later one.
    """
    parts = [part if isinstance(part, int) or test.cased else fold(part) for part in test.parts]
    if MANY not in parts:
        return _whole(parts)
    pieces = _split(parts)
    first, *middle, last = pieces
    if len(pieces) == 2 and not first:
        return _ending(last) if last else lambda text: True
    if len(pieces) == 2 and not last:
        return _beginning(first)
    if len(pieces) == 3 and not first and not last and (within := _literal(middle[0])) is not None:
        return lambda text: within in text
    return _wildcards(first, middle, last)


def containing(test: Text) -> Text:
    """Return the pattern that finds this one anywhere."""
    parts = test.parts
    before = () if parts[:1] == (MANY,) else (MANY,)
    after = () if parts[-1:] == (MANY,) else (MANY,)
    return Text((*before, *parts, *after), test.cased)


class TooManyTextsError(ValueError):
    """A document has more to compare than `CONTAINED_LIMIT`: whether a text is within another is not known."""


def any_same(values: AbstractSet[str], others: AbstractSet[str], *, starts: bool, ends: bool) -> bool:
    """Whether a value is one of the others; with `starts` it begins so, with `ends` it ends so, with both it has one.

    A document's sender chooses how many there are, so that no value is compared with each of the others. Raises
    `TooManyTextsError` where this cannot be had.
    """
    if starts and ends:
        return _any_within(values, others)
    if not starts and not ends:
        return not values.isdisjoint(others)
    lengths = sorted({len(other) for other in others})
    return any(
        (value[:length] if starts else value[len(value) - length :]) in others
        for value in values
        for length in lengths[: bisect_right(lengths, len(value))]
    )


def _any_within(values: AbstractSet[str], others: AbstractSet[str]) -> bool:
    """Whether one of the others is within a value: a lone surrogate, which no document has, stands between these."""
    joined = "\udfff".join(values)
    if len(joined) * len(others) > CONTAINED_LIMIT:
        raise TooManyTextsError(f"{len(others)} texts are too many to look for in {len(joined)} characters")
    return bool(values) and any(other in joined for other in others)


Piece = list[str | int]


def _split(parts: Sequence[str | int]) -> list[Piece]:
    """Return what stands between `*`."""
    pieces: list[Piece] = [[]]
    for part in parts:
        if part == MANY and isinstance(part, int):
            pieces.append([])
        else:
            pieces[-1].append(part)
    return pieces


def _literal(piece: Piece) -> str | None:
    """Return the text that a piece is, or None where it has a `?`."""
    return None if ONE in piece else "".join(str(part) for part in piece)


def _compiled(piece: Piece) -> re.Pattern[str]:
    """Return a pattern of fixed length; newlines are characters like any other."""
    return re.compile("".join("." if isinstance(part, int) else re.escape(part) for part in piece), re.DOTALL)


def _whole(parts: Piece) -> Matches:
    literal = _literal(parts)
    if literal is not None:
        return lambda text: text == literal
    pattern = _compiled(parts)
    return lambda text: pattern.fullmatch(text) is not None


def _beginning(piece: Piece) -> Matches:
    literal = _literal(piece)
    if literal is not None:
        return lambda text: text.startswith(literal)
    pattern = _compiled(piece)
    return lambda text: pattern.match(text) is not None


def _ending(piece: Piece) -> Matches:
    literal = _literal(piece)
    if literal is not None:
        return lambda text: text.endswith(literal)
    pattern, length = _compiled(piece), _length(piece)
    return lambda text: len(text) >= length and pattern.match(text, len(text) - length) is not None


def _length(piece: Piece) -> int:
    return sum(1 if isinstance(part, int) else len(part) for part in piece)


def _wildcards(first: Piece, middle: list[Piece], last: Piece) -> Matches:
    begins, ends = _beginning(first), _ending(last)
    start, end = _length(first), _length(last)
    inner = [(_finder(piece), _length(piece)) for piece in middle if piece]

    def matches(text: str) -> bool:
        if len(text) < start + end or not begins(text) or not ends(text):
            return False
        place, limit = start, len(text) - end
        for find, length in inner:
            found = find(text, place, limit)
            if found < 0:
                return False
            place = found + length
        return True

    return matches


def _finder(piece: Piece) -> Callable[[str, int, int], int]:
    literal = _literal(piece)
    if literal is not None:
        return lambda text, start, end: text.find(literal, start, end)
    pattern = _compiled(piece)

    def find(text: str, start: int, end: int) -> int:
        found = pattern.search(text, start, end)
        return found.start() if found else -1

    return find
