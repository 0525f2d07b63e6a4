"""Values as queries write them: numbers, and instants with date mathematics."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from parsers.timestamps import rfc3339

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_instant = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:[T ](?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)"
    r"(?:[.,](?P<fraction>\d{1,9}))?)?)?(?P<zone>Z|[+-]\d\d:?\d\d)?)?)?)?"
)
_mathematics = re.compile(r"(now|.+\|\|)((?:[+-]\d+[smhdw])*)(?:/([smhd]))?")
_step = re.compile(r"([+-]\d+)([smhdw])")
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")


def number(text: str) -> str:
    """Return a number's text; raise ValueError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    if not value.is_finite() or abs(value) >= Decimal(10) ** 28:
        raise ValueError(f"{text!r} is out of range")
    return str(value)


def instant_range(text: str, now_ns: int) -> tuple[str, str]:
    """Return the first and last nanosecond that a text means, as documents write them; raise ValueError.

    `2026-11-23` means the whole day; `now-1h` one instant; `now/d` the whole day; `2026-11-23||+1d` the next day.
    """
    found = _mathematics.fullmatch(text)
    if found is None:
        first, last = _span(text)
        return rfc3339(first), rfc3339(last)
    anchor, steps, rounding = found.groups()
    first, last = (now_ns, now_ns) if anchor == "now" else _span(anchor.removesuffix("||"))
    for amount, unit in _step.findall(steps):
        moved = timedelta(**{_UNITS[unit]: int(amount)}) // timedelta(microseconds=1) * 1000
        first, last = first + moved, last + moved
    if rounding:
        first, last = _rounded(first, rounding)
    if first < 0:
        raise ValueError(f"{text!r} is before 1970")
    return rfc3339(first), rfc3339(last)


def _span(text: str) -> tuple[int, int]:
    found = _instant.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time; write for example 2026-11-23, 2026-11-23T10:00:00Z or now-1h")
    given = [int(found[part]) for part in _PARTS if found[part]]
    try:
        start = datetime(*[*given, *[1, 1, 0, 0, 0][len(given) - 1 :]], tzinfo=_zone(found["zone"]))  # type: ignore[arg-type, misc]
    except (ValueError, TypeError):
        raise ValueError(f"{text!r} is no time") from None
    first = int(start.timestamp()) * 1_000_000_000
    fraction = found["fraction"] or ""
    if fraction:
        first += int(fraction.ljust(9, "0"))
        return first, first + 10 ** (9 - len(fraction)) - 1
    lengths = {3: 86400, 4: 3600, 5: 60, 6: 1}
    if len(given) in lengths:
        return first, first + lengths[len(given)] * 1_000_000_000 - 1
    following = start.replace(year=start.year + 1) if len(given) == 1 else _next_month(start)
    return first, int(following.timestamp()) * 1_000_000_000 - 1


def _next_month(start: datetime) -> datetime:
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def _zone(text: str | None) -> object:
    if text is None or text == "Z":
        return UTC
    return datetime.strptime(text.replace(":", ""), "%z").tzinfo


def _rounded(instant: int, unit: str) -> tuple[int, int]:
    width = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] * 1_000_000_000
    first = instant // width * width
    return first, first + width - 1
