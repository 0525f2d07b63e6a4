"""Words of a text, as far as a query has to know them before DuckDB takes texts apart."""

import re
from typing import Final, NamedTuple

WITHIN_WORDS: Final = "_.:,;'\N{MIDDLE DOT}\N{RIGHT SINGLE QUOTATION MARK}"
"""Characters other than letters and digits that a word of a text may hold."""


class Words(NamedTuple):
    """A parameter that is made where the SQL runs: the words of a text, as a list or as text of neighbours."""

    text: str
    neighbours: bool


def plain_runs(text: str) -> list[str]:
    """Return a text's runs of ASCII letters and digits, lowered: parts of the words that it is taken apart into."""
    return [run.lower() for run in re.findall("[0-9A-Za-z]+", text)]


def words_of(text: str, *, neighbours: bool) -> Words:
    """Return what stands for the words of a text; raise ValueError where it has none."""
    if not any(character.isalnum() or _is_symbol(character) for character in text):
        raise ValueError("holds no word that could be searched")
    return Words(text, neighbours)


def within_word(character: str) -> bool:
    """Tell whether a word may hold a character."""
    return character.isalnum() or character in WITHIN_WORDS or _is_symbol(character) or not character.isascii()


def _is_symbol(character: str) -> bool:
    return character >= "\u2190"


def lower(character: str) -> str:
    """Lower one character as Lucene and the store do: character by character."""
    lowered = character.lower()
    return lowered if len(lowered) == 1 else lowered[0]
