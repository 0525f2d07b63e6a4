"""Correlations that are judged when their window has closed, for more events could make them untrue.

A group's state is a header and the rows of its open window and of those behind. The header has the time at which the
window begins, as far as is known, and what stands for rows that are final and not kept any more.
"""

import math
from struct import Struct
from typing import Final, NamedTuple

from pipelines.correlate.compact import SAMPLE_LIMIT, distinct, sampled
from pipelines.correlate.match import IDS_LIMIT, Held
from pipelines.correlate.plan import PART, TAG_AT, TIME, Plan, State, whole

_HEADER: Final = Struct("<qQdB")
NOT_BEGUN: Final = -(1 << 63)
_LATE: Final = 1
_CUT: Final = 2

FOLD_LIMIT: Final = 256
"""Rows of a group from which on those that are final are put together."""
OPEN_LIMIT: Final = 1024
"""Rows of a group that are not final; of more, also these are put together with its window."""
HALVINGS_LIMIT: Final = 62


class Header(NamedTuple):
    """Where the window begins, and what stands for rows that are not kept: their number, and flags.

    `total` is their sum; of a percentile, how often a half of them was left out.
    """

    begin_ns: int
    gone: int
    total: float
    flags: int


_EMPTY: Final = Header(NOT_BEGUN, 0, 0.0, 0)


def _read(state: State) -> tuple[Header, State]:
    return Header(*_HEADER.unpack_from(state)), state[_HEADER.size :]


def due_ns(plan: Plan, state: State) -> int:
    """Return the journal time from which on a group is to be looked at: its window has closed, or there is none."""
    begin_ns = TIME.unpack_from(state)[0]
    if begin_ns == NOT_BEGUN:
        return int(TIME.unpack_from(state, _HEADER.size)[0]) + plan.lateness_ns + 1
    return int(begin_ns) + plan.timespan_ns + plan.lateness_ns + 1


def with_row(plan: Plan, state: State | None, row: bytes, watermark_ns: int) -> tuple[State, int]:
    """Return a group's state with another row, and how many rows were cut."""
    header, rows = (_EMPTY, b"") if state is None else _read(state)
    place = plan.place_of(rows, row) * plan.size
    rows = rows[:place] + row + rows[place:]
    time_ns = TIME.unpack_from(row)[0]
    begins = row[TAG_AT] & PART in plan.begins
    if begins and (header.begin_ns == NOT_BEGUN or time_ns < header.begin_ns):
        header = header._replace(begin_ns=time_ns)
    cut = 0
    if len(rows) > _limit(plan) * plan.size:
        header, rows, cut = _folded(plan, header, rows, watermark_ns)
    return _HEADER.pack(*header) + rows, cut


def _limit(plan: Plan) -> int:
    return SAMPLE_LIMIT if plan.type in ("value_percentile", "value_median") else FOLD_LIMIT + _most(plan)


def _most(plan: Plan) -> int:
    """Return how many values or rules matter: beyond the largest number that is compared with, all counts are alike."""
    return 2 + int(max((bound.number for bound in plan.correlation.bounds), default=PART)) if plan.valued else PART + 1


def _folded(plan: Plan, header: Header, rows: State, watermark_ns: int) -> tuple[Header, State, int]:
    size = plan.size
    flooded = len(rows) - plan.first_from(rows, watermark_ns) * size > OPEN_LIMIT * size
    final_ns = rows_end = (1 << 63) - 1 if flooded else watermark_ns
    if header.begin_ns == NOT_BEGUN or header.begin_ns >= final_ns:
        # Nothing before the watermark can be in a window: a window that begins later has none of it.
        kept = rows[plan.first_from(rows, min(final_ns, watermark_ns)) * size :]
        return header, kept, 0
    rows_end = min(final_ns, header.begin_ns + plan.timespan_ns + 1)
    start, end = (plan.first_from(rows, time_ns) * size for time_ns in (header.begin_ns, rows_end))
    window, behind = rows[start:end], rows[end:]
    header, kept, cut = _reduced(plan, header, window)
    if flooded and not cut:
        cut = (len(window) - len(kept)) // size
    return header._replace(flags=header.flags | (_CUT if cut else 0)), kept + behind, cut


def _reduced(plan: Plan, header: Header, window: State) -> tuple[Header, State, int]:
    """Return what stands for rows of the window, and which of them are kept."""
    size = plan.size
    count = len(window) // size
    late = _LATE if plan.is_late(window) else 0
    if plan.type in ("value_percentile", "value_median"):
        halvings, kept = int(header.total), window
        while len(kept) > SAMPLE_LIMIT // 2 * size and halvings < HALVINGS_LIMIT:
            halvings += 1
            kept = sampled(plan, kept, halvings)
        gone = count - len(kept) // size
        return Header(header.begin_ns, header.gone + gone, halvings, header.flags | late), kept, gone
    if plan.valued or plan.temporal:
        kept = distinct(plan, window, _most(plan))
        total = header.total
    else:
        kept = window[max(0, len(window) - IDS_LIMIT * size) :]
        total = header.total
        if plan.numbered:
            total += math.fsum(plan.numbers(window[: len(window) - len(kept)]))
    gone = count - len(kept) // size
    return Header(header.begin_ns, header.gone + gone, total, header.flags | late), kept, 0


def closed(plan: Plan, state: State, watermark_ns: int) -> tuple[State | None, Held | None]:
    """Return what is left of a group whose time is due, and its window where what is asked for holds."""
    header, rows = _read(state)
    size = plan.size
    if header.begin_ns == NOT_BEGUN:
        rows = rows[plan.first_from(rows, watermark_ns) * size :]
        return (_HEADER.pack(*_EMPTY) + rows, None) if rows else (None, None)
    end_ns = header.begin_ns + plan.timespan_ns
    start, end = plan.first_from(rows, header.begin_ns) * size, plan.first_from(rows, end_ns + 1) * size
    found = _judged(plan, header, rows[start:end], end_ns)
    rows = rows[end:]
    if not rows:
        return None, found
    begin_ns = next(
        (
            plan.time_at(rows, place)
            for place in range(len(rows) // size)
            if rows[place * size + TAG_AT] & PART in plan.begins
        ),
        NOT_BEGUN,
    )
    return _HEADER.pack(*_EMPTY._replace(begin_ns=begin_ns)) + rows, found


def _judged(plan: Plan, header: Header, window: State, end_ns: int) -> Held | None:
    count = header.gone + len(window) // plan.size
    if plan.type == "event_count":
        measure: int | float = count
    elif plan.type in ("value_sum", "value_avg"):
        total = header.total + math.fsum(plan.numbers(window))
        measure = whole(total / count if plan.type == "value_avg" else total)
    else:
        measure = plan.measure(sampled(plan, window, int(header.total)) or window)
    if not plan.holds(measure):
        return None
    ids = tuple(dict.fromkeys(plan.ids_of(window)))
    late = bool(header.flags & _LATE) or plan.is_late(window)
    return Held(end_ns, ids[-1], count, measure, ids[-IDS_LIMIT:], late, bool(header.flags & _CUT))
