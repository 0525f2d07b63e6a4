"""Which rows no window to come can need, so that a group stays small however many events it has.

Rows before the watermark are final: only windows that reach beyond it can still change. Of these rows it is enough to
keep the newest so many as are asked for, of each value or rule the newest, or the chains of rules that began last:
whatever holds with all of them holds with these. Beyond twice ROWS_LIMIT rows behind the watermark the same is done to
them, which can leave out a completion between two others; the caller counts what was cut.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from pipelines.correlate.plan import PART, TAG_AT, TIME, Plan, State

ROWS_LIMIT: Final = 256
"""Rows of a group behind the watermark that are kept whatever they say."""
SUMS_LIMIT: Final = 256
"""Rows of a sum that slides; of more, neighbours become one at the later one's time."""
SAMPLE_LIMIT: Final = 4096
"""Values of a window of which a percentile is exact; of more, a half, a quarter, … is kept, chosen by their ids."""


def limit_of(plan: Plan) -> int:
    """Return the number of rows from which on it is worth to look for those that are not needed."""
    return 2 * (SUMS_LIMIT if plan.type == "value_sum" else plan.need + 16)


def compacted(plan: Plan, rows: State, watermark_ns: int) -> tuple[State, int]:
    """Return the rows that windows which slide can still need, and how many were cut that one might have needed."""
    size = plan.size
    count = len(rows) // size
    limit = limit_of(plan)
    if count <= limit:
        return rows, 0
    final = plan.first_from(rows, watermark_ns)
    # What was cut last leaves the half of each limit at most, so that each event pays for a part of this only.
    if final <= limit and count - final <= 2 * ROWS_LIMIT + plan.need:
        return rows, 0
    final *= size
    kept = _needed(plan, rows[:final])
    open_rows = bytes(rows[final:])
    cut = (final - len(kept)) // size if plan.type == "value_sum" else 0
    if count - final // size > 2 * ROWS_LIMIT + plan.need:
        fewer = _needed(plan, open_rows)
        cut += (len(open_rows) - len(fewer)) // size
        open_rows = fewer
    return kept + open_rows, cut


def _needed(plan: Plan, rows: State) -> bytes:
    size = plan.size
    if plan.type == "event_count":
        return bytes(rows[max(0, len(rows) - plan.need * size) :])
    if plan.type == "value_sum":
        return _summed(plan, rows)
    starts = _chained(plan, rows) if plan.ordered else _newest(plan, rows, plan.need if plan.valued else PART + 1)
    return b"".join(rows[start * size : (start + 1) * size] for start in starts)


def _newest(plan: Plan, rows: State, most: int) -> list[int]:
    """Return the places of the newest row of each value or rule, so many of them."""
    seen: dict[bytes, int] = {}
    at, end = (TAG_AT + 1, TAG_AT + 9) if plan.valued else (TAG_AT, TAG_AT + 1)
    for place in range(len(rows) // plan.size - 1, -1, -1):
        start = place * plan.size
        value = bytes(rows[start + at : start + end])
        seen.setdefault(value if plan.valued else bytes((value[0] & PART,)), place)
        if len(seen) == most:
            break
    return sorted(seen.values())


def _chained(plan: Plan, rows: State) -> list[int]:
    """Return the places of rows that are in the chain which began last, for each rule and number of rules."""
    parts = [tag & PART for tag in rows[TAG_AT :: plan.size]]
    found: set[int] = set()
    for sequence in _sequences(plan):
        found.update(_chain_rows(parts, sequence))
    for term in plan.correlation.terms:
        for part in term.forbidden:
            if part in parts:
                found.add(len(parts) - 1 - parts[::-1].index(part))
    return sorted(found)


def _sequences(plan: Plan) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Yield rules in order, and whether none of them may be left out."""
    terms = plan.correlation.terms
    if terms:
        yield from ((term.required, True) for term in terms)
    else:
        count = len(plan.correlation.parts)
        yield tuple(range(count)), not plan.at_close and plan.need == count


def _chain_rows(parts: list[int], sequence: tuple[tuple[int, ...], bool]) -> set[int]:
    order, whole = sequence
    places = {part: place for place, part in enumerate(order)}
    # By the last rule and the number of rules: the rows of the chain that began last.
    best: dict[tuple[int, int], tuple[int, ...]] = {}
    for row, part in enumerate(parts):
        place = places.get(part)
        if place is None:
            continue
        longer = [
            (length + 1, chain)
            for (last, length), chain in best.items()
            if last < place and (not whole or last == place - 1 == length - 1)
        ]
        if place == 0 or not whole:
            longer.append((1, ()))
        for length, chain in longer:
            made = (*chain, row)
            before = best.get((place, length))
            if before is None or made[0] >= before[0]:
                best[place, length] = made
    return {row for chain in best.values() for row in chain}


def _summed(plan: Plan, rows: State) -> bytes:
    """Return rows of which neighbours are put together until they are few: at the later time, so they leave later."""
    unpacked = list(plan.row.iter_unpack(rows))
    while len(unpacked) > SUMS_LIMIT:
        pairs = [
            (right[0], left[1] | right[1], left[2] + right[2], right[3])
            for left, right in zip(unpacked[::2], unpacked[1::2], strict=False)
        ]
        unpacked = pairs + unpacked[len(pairs) * 2 :]
    return b"".join(plan.row.pack(*each) for each in unpacked)


def distinct(plan: Plan, rows: State, most: int) -> bytes:
    """Return the newest rows of so many values, or of each rule; in chains, of each that there is."""
    places = set(_newest(plan, rows, most))
    if plan.ordered:
        places.update(_chained(plan, rows))
    return b"".join(rows[place * plan.size : (place + 1) * plan.size] for place in sorted(places))


def sampled(plan: Plan, rows: State, halvings: int) -> bytes:
    """Return the rows that are left when so often a half was left out: whichever came when, the same."""
    if not halvings:
        return bytes(rows)
    size = plan.size
    mask = (1 << halvings) - 1
    each = (bytes(rows[start : start + size]) for start in range(0, len(rows), size))
    return b"".join(row for row in each if _scattered(row[TIME.size :]) & mask == 0)


def _scattered(name: bytes) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
