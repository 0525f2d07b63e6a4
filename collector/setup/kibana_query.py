"""Filters of Kibana's objects as data, so that a test can say of each field whether documents have it."""

from collections.abc import Iterator
from typing import NamedTuple


class Term(NamedTuple):
    """A field that has one of these values; without values: that is there at all."""

    field: str
    values: tuple[str, ...] = ()

    def kql(self) -> str:
        """Write it in Kibana's query language. Values are words of ours, and need no quotes."""
        if not self.values:
            return f"{self.field}: *"
        return f"{self.field}: {self.values[0]}" if len(self.values) == 1 else f"{self.field}: ({_or(self.values)})"


Query = tuple[tuple[Term, ...], ...]
"""Alternatives, in each of which every term holds; none: all documents."""


def kql(query: Query) -> str:
    """Write a query in Kibana's query language."""
    alternatives = [" and ".join(term.kql() for term in terms) for terms in query]
    return alternatives[0] if len(alternatives) == 1 else _or([f"({each})" for each in alternatives])


def fields_of(query: Query) -> Iterator[str]:
    """Yield the fields that a query names."""
    for terms in query:
        yield from (term.field for term in terms)


def _or(words: tuple[str, ...] | list[str]) -> str:
    return " or ".join(words)
