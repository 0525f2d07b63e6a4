"""Correlations that more events can only make truer: which events complete one, as each event comes.

An event completes the correlation where the window of one timespan that ends with it holds what is asked for. One that
comes late can complete those behind it as well; so the events that ever complete it do not depend on their order.
"""

from typing import Final, NamedTuple

from pipelines.correlate.compact import compacted
from pipelines.correlate.keys import LEVELS
from pipelines.correlate.match import ID_BYTES
from pipelines.correlate.plan import Plan, State

APPENDED_BYTES: Final = 4096
"""Larger states are appended to where they are; smaller ones are bytes, which take less."""


class Completion(NamedTuple):
    """An event that completes the correlation: its time and id, and its window's first row and the one behind it."""

    time_ns: int
    id: str
    start: int
    end: int
    measure: int | float


def with_row(plan: Plan, rows: State, row: bytes, time_ns: int, watermark_ns: int) -> tuple[State, int]:
    """Return a group's rows with another at its place, without those that no window can reach; and that place."""
    size = plan.size
    if rows and plan.time_at(rows, 0) < watermark_ns - plan.timespan_ns:
        gone = plan.first_from(rows, watermark_ns - plan.timespan_ns)
        rows = rows[gone * size :]
    count = len(rows) // size
    if not count or plan.time_at(rows, count - 1) < time_ns:
        if type(rows) is bytes and len(rows) > APPENDED_BYTES:
            rows = bytearray(rows)
        rows += row
        return rows, count
    place = plan.place_of(rows, row)
    return rows[: place * size] + row + rows[place * size :], place


def completions(plan: Plan, rows: State, place: int) -> list[Completion]:
    """Return which events the row at a place completes the correlation with, by their times."""
    size = plan.size
    count = len(rows) // size
    time_ns = plan.time_at(rows, place)
    first = place
    while first and plan.time_at(rows, first - 1) == time_ns:
        first -= 1
    if first == count - 1:
        start = plan.first_from(rows, time_ns - plan.timespan_ns)
        made = _completed(plan, rows, start, count, place)
        return [made] if made is not None else []
    # What does not hold in all that these windows reach holds in none of them: a flood costs one look an event.
    reach = plan.first_from(rows, time_ns - plan.timespan_ns), plan.first_from(rows, time_ns + plan.timespan_ns + 1)
    if _completed(plan, rows, *reach, place) is None:
        return []
    return _late(plan, rows, place, first)


def _late(plan: Plan, rows: State, place: int, first: int) -> list[Completion]:
    """Return the same where rows of its time or later are there already: those that it completes, and itself."""
    size = plan.size
    count = len(rows) // size
    until_ns = plan.time_at(rows, place) + plan.timespan_ns
    found = []
    start = 0
    while first < count and (time_ns := plan.time_at(rows, first)) <= until_ns:
        end = first
        while end < count and plan.time_at(rows, end) == time_ns:
            end += 1
        while plan.time_at(rows, start) < time_ns - plan.timespan_ns:
            start += 1
        if end - start >= plan.need:
            made = _completed(plan, rows, start, end, place)
            if made is not None:
                alone = place in range(first, end) and _held_without(plan, rows, start, end, place)
                if alone:
                    found.append(made)
                elif not _held_without(plan, rows, start, end, place):
                    found += [made._replace(id=_id_at(plan, rows, each)) for each in range(first, end)]
        first = end
    return found


def _completed(plan: Plan, rows: State, start: int, end: int, place: int) -> Completion | None:
    if end - start < plan.need:
        return None
    if plan.type == "event_count":
        measure: int | float = end - start
    else:
        measure = plan.measure(rows[start * plan.size : end * plan.size])
    if not plan.holds(measure):
        return None
    return Completion(plan.time_at(rows, end - 1), _id_at(plan, rows, place), start, end, measure)


def _held_without(plan: Plan, rows: State, start: int, end: int, place: int) -> bool:
    """Whether a window held what is asked for before this row came."""
    if end - start - 1 < plan.need:
        return False
    if plan.type == "event_count":
        return plan.holds(end - start - 1)
    size = plan.size
    return plan.holds(plan.measure(rows[start * size : place * size] + rows[(place + 1) * size : end * size]))


def _id_at(plan: Plan, rows: State, place: int) -> str:
    at = (place + 1) * plan.size
    return bytes(rows[at - ID_BYTES : at]).rstrip(b"\0").decode()


def settled(plan: Plan, rows: State, watermark_ns: int) -> tuple[State, int]:
    """Return the rows that are kept, and how many were cut that a window might have needed."""
    kept, cut = compacted(plan, rows, watermark_ns)
    return (bytes(kept) if len(kept) <= APPENDED_BYTES and type(kept) is bytearray else kept), cut


def level_of(plan: Plan, rows: State, found: list[Completion]) -> int:
    """Return how far a group is, from 0 to LEVELS - 1: how many of the events that are needed are there."""
    if found:
        return LEVELS - 1
    return min(LEVELS - 1, LEVELS * (len(rows) // plan.size) // (plan.need or 1))
