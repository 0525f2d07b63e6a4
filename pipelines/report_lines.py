"""Lines that may be reports go the plain way on the chunk path too, one by one: each may become several documents.

They are told by what each such line holds (`Format.marks`), so a message without any costs a look at its bytes: 0.01 us
a line without objects, 0.1 us a line of JSON, measured over 2,000 lines of 110 characters. One with colours may hold a
mark that a colour stands in, so such lines are looked at without theirs.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from parsers.colours import ESCAPE
from parsers.format import formats
from pipelines.parse import text_to_parse


@cache
def _marks() -> tuple[str, ...]:
    return tuple(
        mark for each in formats().values() if each.is_finished_by_code for mark in each.marks_of(objects=True)
    )


def places_of_reports(lines: Sequence[str]) -> list[int]:
    """Return the places of lines that may be reports."""
    together = "".join(lines)
    if "{" not in together:
        return []
    within = [mark for mark in (*_marks(), ESCAPE) if mark in together]
    if not within:
        return []
    found = {at for mark in within for at, line in enumerate(lines) if mark in line}
    return [at for at in sorted(found) if any(mark in text_to_parse(lines[at]) for mark in _marks())]


def are_of_reports(names: Iterable[str]) -> bool:
    """Tell whether one of these formats is of reports: where it is asked for, its marks are not."""
    return any(formats()[name].is_finished_by_code for name in names)
