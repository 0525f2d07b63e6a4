"""A correlation made ready: its events are rows of bytes, sorted by time, and what is counted is told from these.

A row is the event's time, its tag (the rule's place among the correlation's, and whether it was late), where it is
needed a value, and the id of its document. A group with one event takes one row and nothing beside it.
"""

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from itertools import product
from struct import Struct
from typing import Final

import msgspec

from pipelines.correlate.fields import VALUES_LIMIT
from pipelines.correlate.match import ID_BYTES, Match
from pipelines.detect.rule import Correlation, Reference

LATE: Final = 0x80
PART: Final = 0x3F
TAG_AT: Final = 8
TIME: Final = Struct("<q")
_PARTS: Final = bytes(each & PART for each in range(256))

NUMBER_LIMIT: Final = 1e100
"""Larger numbers are no measurements, and their sums would overflow."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")

Fields = Mapping[str, tuple[str, ...]]
State = bytes | bytearray


class Plan:
    """One correlation, and how its rows are read."""

    def __init__(self, correlation: Correlation) -> None:
        self.correlation = correlation
        self.key = correlation.key
        self.type = correlation.type
        self.timespan_ns = correlation.timespan_ns
        self.lateness_ns = correlation.lateness_ns
        self.at_close = correlation.at_close
        self.ordered = correlation.ordered
        self.valued = self.type == "value_count"
        self.numbered = self.type.startswith("value_") and not self.valued
        self.temporal = not self.valued and not self.numbered and self.type != "event_count"
        kind = "Q" if self.valued else "d" if self.numbered else ""
        self.row = Struct(f"<qB{kind}{ID_BYTES}s")
        self.size = self.row.size
        self.value = Struct(f"<{TAG_AT + 1}x{kind or 'x'}{ID_BYTES - (not kind)}x")
        self.need = _need(correlation)
        self.begins = _beginners(correlation)

    def signature(self) -> bytes:
        """Return what a state must have been made under to be gone on with."""
        each = self.correlation
        said = (each.type, each.parts, each.group_by, each.timespan_ns, each.lateness_ns, each.bounds, each.terms)
        return blake2b(msgspec.msgpack.encode((*said, each.percentile)), digest_size=16).digest()

    def rows_of(self, part: int, match: Match, time_ns: int, *, late: bool) -> list[bytes]:
        """Return the rows of an event, one for each of its values; none where it lacks one."""
        tag = part | LATE if late else part
        identifier = match.id.encode()
        if not self.valued and not self.numbered:
            return [self.row.pack(time_ns, tag, identifier)]
        reference = self.correlation.parts[part]
        fields = match.fields
        if self.valued:
            combined = _combined([fields.get(name, ()) for name in reference.value])
            return [self.row.pack(time_ns, tag, _hashed(values), identifier) for values in combined]
        numbers = [number_of(text) for text in fields.get(reference.value[0], ())]
        # A sum that slides must only grow with each event.
        least = -math.inf if self.at_close else 0.0
        usable = [number for number in numbers if number is not None and number >= least]
        return [self.row.pack(time_ns, tag, number, identifier) for number in usable]

    def groups_of(self, reference: Reference, fields: Fields) -> list[bytes]:
        """Return the groups that an event belongs to, encoded; none where it lacks a field."""
        if len(reference.group) == 1:
            values = fields.get(reference.group[0], ())
            return [msgspec.msgpack.encode((value,)) for value in values[:VALUES_LIMIT]]
        return [msgspec.msgpack.encode(each) for each in _combined([fields.get(name, ()) for name in reference.group])]

    def time_at(self, rows: State, place: int) -> int:
        """Return the time of a row."""
        time: int = TIME.unpack_from(rows, place * self.size)[0]
        return time

    def first_from(self, rows: State, time_ns: int) -> int:
        """Return the place of the first row of this time or later."""
        low, high = 0, len(rows) // self.size
        while low < high:
            middle = (low + high) // 2
            if self.time_at(rows, middle) < time_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def place_of(self, rows: State, row: bytes) -> int:
        """Return where a row belongs: behind those of its time; in order of its rule where that matters."""
        time_ns: int = TIME.unpack_from(row)[0]
        place = self.first_from(rows, time_ns + 1)
        if self.ordered:
            part = row[TAG_AT] & PART
            while place and self.time_at(rows, place - 1) == time_ns:
                if rows[(place - 1) * self.size + TAG_AT] & PART <= part:
                    break
                place -= 1
        return place

    def ids_of(self, rows: State) -> list[str]:
        """Return the ids of rows, oldest first."""
        size, at = self.size, self.size - ID_BYTES
        starts = range(at, len(rows), size)
        return [bytes(rows[start : start + ID_BYTES]).rstrip(b"\0").decode() for start in starts]

    def is_late(self, rows: State) -> bool:
        """Whether any of the rows was late."""
        return any(tag & LATE for tag in rows[TAG_AT :: self.size])

    def numbers(self, rows: State) -> list[float]:
        """Return the values of rows."""
        return [number for (number,) in self.value.iter_unpack(rows)]

    def measure(self, rows: State) -> int | float:
        """Return what is counted in a window's rows; with conditions over rules, 1 where one holds and 0 else."""
        if self.temporal:
            return self._met(bytes(rows[TAG_AT :: self.size]).translate(_PARTS))
        if self.valued:
            return len(set(self.value.iter_unpack(rows)))
        if self.type == "event_count":
            return len(rows) // self.size
        return whole(self._computed(self.numbers(rows)))

    def _computed(self, numbers: list[float]) -> float:
        if self.type == "value_sum":
            return math.fsum(numbers)
        if self.type == "value_avg":
            return math.fsum(numbers) / len(numbers)
        numbers.sort()
        below, part = divmod((len(numbers) - 1) * (self.correlation.percentile or 0), 100)
        above = min(below + 1, len(numbers) - 1)
        return (numbers[below] * (100 - part) + numbers[above] * part) / 100

    def _met(self, parts: bytes) -> int:
        if not self.correlation.terms:
            if self.ordered and self.need == len(self.correlation.parts):
                return self.need if in_order(parts, tuple(range(self.need))) else 0
            return longest(parts) if self.ordered else len(set(parts))
        there = set(parts)
        for term in self.correlation.terms:
            met = there.issuperset(term.required) and there.isdisjoint(term.forbidden)
            if met and (not self.ordered or in_order(parts, term.required)):
                return 1
        return 0

    def holds(self, measure: float) -> bool:
        """Whether what was counted is as asked for."""
        bounds = self.correlation.bounds
        return all(bound.holds(measure) for bound in bounds) if bounds else measure > 0


def _need(correlation: Correlation) -> int:
    """Return how many rows are needed at least, where it slides and counts rows, values or rules; else 1."""
    if correlation.at_close or correlation.type == "value_sum":
        return 1
    if correlation.terms:
        return min(len(term.required) for term in correlation.terms)
    above = (
        math.floor(each.number) + 1 if each.operator == "gt" else math.ceil(each.number) for each in correlation.bounds
    )
    return max((1, *above))


def _beginners(correlation: Correlation) -> frozenset[int]:
    """Return the rules whose events begin a window."""
    if correlation.terms:
        return frozenset(place for term in correlation.terms for place in term.required)
    return frozenset(range(len(correlation.parts)))


def longest(parts: bytes) -> int:
    """Return how many rules of a sequence are met in their order, at most."""
    best: dict[int, int] = {}
    for part in parts:
        before = max((length for other, length in best.items() if other < part), default=0)
        best[part] = max(best.get(part, 0), before + 1)
    return max(best.values(), default=0)


def in_order(parts: bytes, required: tuple[int, ...]) -> bool:
    """Whether all of these rules are met one after the other."""
    place = -1
    for part in required:
        place = parts.find(part, place + 1)
        if place < 0:
            return False
    return True


def number_of(text: str) -> float | None:
    """Return the number that a text spells."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if abs(number) <= NUMBER_LIMIT else None


def whole(number: float) -> int | float:
    """Return a whole number as one."""
    return int(number) if number.is_integer() else number


def _combined(values: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return all combinations of the values of several fields, as many as are counted."""
    made: list[tuple[str, ...]] = []
    for each in product(*values):
        if len(made) == VALUES_LIMIT:
            break
        made.append(each)
    return made


def _hashed(values: tuple[str, ...]) -> int:
    """Return 64 bits that stand for a value: two of a group that are taken for one are not to be feared by chance."""
    digest = blake2b(msgspec.msgpack.encode(values), digest_size=8).digest()
    return int.from_bytes(digest, "little")
