"""Values as queries write them: numbers, addresses, and instants with Elasticsearch's date mathematics."""

import calendar
import re
from datetime import UTC, datetime, timedelta, tzinfo
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from parsers.timestamps import LAST_SECOND, rfc3339

SECOND_NS: Final = 1_000_000_000
BEFORE_ALL: Final = "0"
AFTER_ALL: Final = ":"
"""What compares below and above every instant that a document holds."""

_LENGTHS: Final = {"s": 1, "m": 60, "h": 3600, "H": 3600, "d": 86400, "w": 7 * 86400}
_number = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_instant = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_milliseconds = re.compile(r"\d{5,14}", re.ASCII)
_mathematics = re.compile(r"(now|.+\|\|)((?:[+-]\d{0,6}[yMwdhHms]|/[yMwdhHms])*)", re.ASCII)
_step = re.compile(r"([+-])(\d*)([yMwdhHms])|/([yMwdhHms])")


def number(text: str) -> str:
    """Return a number's text; raise ValueError."""
    if not _number.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    if abs(float(text)) >= 1e28:
        raise ValueError(f"{text!r} is out of range")
    return text


def address_range(text: str) -> tuple[str, str]:
    """Return the first and last address that a text (an address or a network) means, as `address_key` writes them."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which no stored address has")
    network = ip_network(text, strict=False)
    return address_key(network[0]), address_key(network[-1])


def address_key(address: IPv4Address | IPv6Address | str) -> str:
    """Return 32 hexadecimal digits that sort as Elasticsearch sorts addresses; raise ValueError."""
    if isinstance(address, str):
        address = ip_address(address)
    if isinstance(address, IPv4Address):
        return f"{0xFFFF << 32 | int(address):032x}"
    if address.scope_id:
        raise ValueError(f"{str(address)!r} has a zone, which no stored address has")
    return f"{int(address):032x}"


def instant_range(text: str, now_ns: int) -> tuple[str, str]:
    """Return the first and last nanosecond that a text means, as documents write them; raise ValueError.

    `2026-11-23` means the whole day; `now-1h` one instant; `now/d` the whole day; `2026-11-23||+1d` a millisecond, for
    that is what Elasticsearch makes of it. A range takes the first for `>=` and `<`, the last for `>` and `<=`.
    """
    found = _mathematics.fullmatch(text)
    if found is None:
        first, last = _span(text)
        return _rendered(first), _rendered(last)
    anchor, steps = found.groups()
    if anchor == "now":
        start, precision = now_ns, 1
    else:
        start, precision = _span(anchor.removesuffix("||"))[0], 1_000_000
    first, last = (_walked(start, steps, up=up) for up in (False, True))
    return _rendered(first), _rendered(last if "/" in steps else last + precision - 1)


def moved_back(text: str) -> str:
    """Return `15m` as `now-15m`, anything else as it is."""
    return f"now-{text}" if re.fullmatch(r"\d+[yMwdhHms]", text, re.ASCII) else text


def _rendered(instant: int) -> str:
    if instant < 0:
        return BEFORE_ALL
    return rfc3339(instant) if instant < (LAST_SECOND + 1) * SECOND_NS else AFTER_ALL


def _span(text: str) -> tuple[int, int]:
    if _milliseconds.fullmatch(text):
        return int(text) * 1_000_000, int(text) * 1_000_000 + 999_999
    found = _instant.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no time: write for example 2026-11-23, 2026-11-23T10:00:00Z (RFC 3339) or now-1h"
        )
    *parts, fraction, zone = found.groups()
    given = [int(part) for part in parts if part]
    try:
        start = datetime(*[*given, *[0] * (6 - len(given))], tzinfo=_zone(zone))  # type: ignore[arg-type, misc]
        first = _nanoseconds(start)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time: there is no such day or hour") from None
    if fraction:
        # A document's fraction is finer than a query's: what is written covers all that begins so.
        first += int(fraction.ljust(9, "0"))
        return first, first + 10 ** (9 - len(fraction)) - 1
    return first, first + {3: 86400, 4: 3600, 5: 60, 6: 1}[len(given)] * SECOND_NS - 1


def _nanoseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * SECOND_NS


def _zone(text: str | None) -> tzinfo:
    if text is None or text == "Z":
        return UTC
    zone = datetime.strptime(text.replace(":", ""), "%z").tzinfo
    return zone or UTC


def _walked(instant: int, steps: str, *, up: bool) -> int:
    """Take the steps one by one; rounding goes to the unit's first or, going up, its last nanosecond."""
    try:
        for sign, amount, unit, rounding in _step.findall(steps):
            if rounding:
                instant = _rounded(instant, rounding, up=up)
            else:
                count = int(amount or 1) * (1 if sign == "+" else -1)
                instant = _added(instant, count, unit)
    except (OverflowError, ValueError):
        raise ValueError("the date mathematics leaves the calendar") from None
    return instant


def _added(instant: int, count: int, unit: str) -> int:
    if unit in _LENGTHS:
        return instant + count * _LENGTHS[unit] * SECOND_NS
    day, fraction = _day(instant)
    month = day.year * 12 + day.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(month, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return _nanoseconds(day.replace(year=year, month=month + 1, day=min(day.day, last))) + fraction


def _rounded(instant: int, unit: str, *, up: bool) -> int:
    if unit in "yM":
        day, _ = _day(instant)
        start = day.replace(day=1, month=1 if unit == "y" else day.month)
        first = _nanoseconds(start)
        following = _added(first, 1, unit)
    else:
        width = _LENGTHS[unit] * SECOND_NS
        monday = 4 * 86400 * SECOND_NS if unit == "w" else 0  # the first Monday of Unix time
        first = (instant - monday) // width * width + monday
        following = first + width
    return following - 1 if up else first


def _day(instant: int) -> tuple[datetime, int]:
    """Return the midnight before an instant, and the nanoseconds since."""
    days, fraction = divmod(instant, 86400 * SECOND_NS)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days), fraction
