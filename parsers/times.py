"""Times as logs write them -> (second, nanosecond) since the Unix epoch, or None for what no calendar has.

Every reader takes the text and `near_s`, the Unix second of receipt: a form without a year means the year that brings
it nearest to that. A form without a zone is UTC: containers run in UTC unless told otherwise. A leap second is the
second before it. What is before 1970 or beyond the year 9999 is None.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from parsers.timestamps import LAST_SECOND

Instant = tuple[int, int]
"""(second, nanosecond) since the Unix epoch."""

DAY_S: Final = 86400
NANOSECOND_DIGITS: Final = 9
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}


class Time(msgspec.Struct, frozen=True):
    """Where a table's time stands: the first of these groups or keys that `read` understands."""

    sources: tuple[str, ...]
    read: Callable[[Any, int], Instant | None]
    form: str


_ISO = re.compile(
    r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)(?:[T ]|, ?)(\d\d| \d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?"
    r" ?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?(?: [A-Z]{3,4})?(?: m=[+-][\d.]+)?"
)
_SHORT_DATE = re.compile(r"(\d\d)(\d\d)(\d\d) (\d\d| \d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?")
_CLF = re.compile(r"(\d{1,2})[/ -]([A-Za-z]{3})[/ -](\d{4})[: ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([+-]\d{4}))?")
_CTIME = re.compile(
    r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([A-Z]{3,4}))? (\d{4})"
)
_BSD = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")
_TWELVE_HOURS = re.compile(
    r"(?:(\d{1,2})/(\d{1,2})/|([A-Z][a-z]{2}) (\d{1,2}), )(\d{4}),? (\d{1,2}):(\d\d):(\d\d)[ \u202f]([AP])M"
)
_KLOG = re.compile(r"(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")


def iso(*sources: str) -> Time:
    """RFC 3339 and its kin: `T` or blank, point or comma, `Z`, `+01:00`, `+0100`, `UTC` or nothing."""
    return Time(sources, _read_iso, "2026-11-29T02:00:00.123Z")


def short_date(*sources: str) -> Time:
    """A year of this century by two digits, `261129  2:00:00` (MySQL's old form); also RFC 3339 in its place."""
    return Time(sources, _read_short_date, "261129 02:00:00 or 2026-11-29T02:00:00.123Z")


def clf(*sources: str) -> Time:
    """Common log format: `29/Nov/2026:02:00:00 +0000`, also with blanks and fractions (HAProxy, Redis)."""
    return Time(sources, _read_clf, "29/Nov/2026:02:00:00 +0000")


def ctime(*sources: str) -> Time:
    """The C library's: `Sun Nov 29 02:00:00.123456 2026`; also RFC 3339 and its kin in its place (httpd)."""
    return Time(sources, _read_ctime, "Sun Nov 29 02:00:00 2026")


def bsd(*sources: str) -> Time:
    """RFC 3164's, without year and zone: `Nov 29 02:00:00`; also RFC 3339 in its place (RFC 5424, rsyslog)."""
    return Time(sources, _read_bsd, "Nov 29 02:00:00")


def klog(*sources: str) -> Time:
    """Kubernetes components' `1129 02:00:00.123456`, month and day before the time."""
    return Time(sources, _read_klog, "1129 02:00:00.123456")


def twelve_hours(*sources: str) -> Time:
    """A clock of twelve hours, month first: `11/29/2026, 2:00:00 AM` (NestJS), `Nov 29, 2026 2:00:00 AM` (Java)."""
    return Time(sources, _read_twelve_hours, "11/29/2026, 2:00:00 AM")


def epoch(*sources: str) -> Time:
    """A number since 1970 in seconds, milliseconds, microseconds or nanoseconds, told apart by its size."""
    return Time(sources, _read_epoch, "1795917600.123")


def any_time(*sources: str) -> Time:
    """What JSON loggers write: an RFC 3339 text, a number (also as text), an object of seconds and nanoseconds."""
    return Time(sources, read_any, "2026-11-29T02:00:00Z or 1795917600123")


def read_any(value: Any, near_s: int) -> Instant | None:
    """Read a text, a number, or log4j2's and protobuf's object of two integers."""
    if isinstance(value, str):
        return _read_iso(value, near_s) or _read_epoch(value, near_s)
    if isinstance(value, dict):
        seconds, nanos = value.get("epochSecond", value.get("seconds")), value.get("nanoOfSecond", value.get("nanos"))
        return _read_parts(seconds, nanos)
    return _read_epoch(value, near_s)


def _read_iso(text: Any, near_s: int) -> Instant | None:
    """Read RFC 3339 and its kin."""
    found = _ISO.fullmatch(text) if isinstance(text, str) else None
    return _fields_of(found) if found else None


def _fields_of(found: "re.Match[str]") -> Instant | None:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    return _instant((int(year), int(month), int(day)), (hour, minute, second or "0"), fraction, zone)


def _read_short_date(text: Any, near_s: int) -> Instant | None:
    found = _SHORT_DATE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return _read_iso(text, near_s)
    year, month, day, hour, minute, second, fraction = found.groups()
    return _instant((2000 + int(year), int(month), int(day)), (hour, minute, second), fraction, None)


def _read_clf(text: Any, near_s: int) -> Instant | None:
    found = _CLF.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    day, month, year, hour, minute, second, fraction, zone = found.groups()
    return _instant((int(year), _MONTHS.get(month.lower(), 0), int(day)), (hour, minute, second), fraction, zone)


def _read_ctime(text: Any, near_s: int) -> Instant | None:
    found = _CTIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return _read_iso(text, near_s)
    month, day, hour, minute, second, fraction, _zone, year = found.groups()
    return _instant((int(year), _MONTHS.get(month.lower(), 0), int(day)), (hour, minute, second), fraction, None)


def _read_bsd(text: Any, near_s: int) -> Instant | None:
    found = _BSD.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return _read_iso(text, near_s)
    month, day, hour, minute, second, fraction = found.groups()
    return _nearest(_MONTHS.get(month.lower(), 0), int(day), (hour, minute, second), fraction, near_s)


def _read_twelve_hours(text: Any, near_s: int) -> Instant | None:
    found = _TWELVE_HOURS.fullmatch(text) if isinstance(text, str) else None
    if not found or not 1 <= int(found[6]) <= 12:
        return None
    month = int(found[1]) if found[1] else _MONTHS.get(found[3].lower(), 0)
    hour = int(found[6]) % 12 + (12 if found[9] == "P" else 0)
    return _instant((int(found[5]), month, int(found[2] or found[4])), (str(hour), found[7], found[8]), None, None)


def _read_klog(text: Any, near_s: int) -> Instant | None:
    found = _KLOG.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    month, day, hour, minute, second, fraction = found.groups()
    return _nearest(int(month), int(day), (hour, minute, second), fraction, near_s)


def _read_epoch(value: Any, near_s: int) -> Instant | None:
    text = repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not (found := re.fullmatch(r"(\d{9,19})(?:\.(\d{1,9})\d*)?", text)):
        return None
    whole, fraction = found[1], found[2] or ""
    # 12 digits of seconds are beyond the year 9999, 12 of milliseconds in 1973: the sizes do not meet.
    digits = next(kept for kept in (0, 3, 6, 9) if len(whole) <= 11 + kept)
    seconds, below = int(whole[: len(whole) - digits]), whole[len(whole) - digits :]
    instant = (seconds, int((below + fraction)[:9].ljust(9, "0")))
    return instant if 0 < seconds <= LAST_SECOND else None


def _read_parts(seconds: Any, nanos: Any) -> Instant | None:
    if type(seconds) is not int or type(nanos) is not int:
        return None
    return (seconds, nanos) if 0 < seconds <= LAST_SECOND and 0 <= nanos < 10**9 else None


def _nearest(month: int, day: int, clock: tuple[str, str, str], fraction: str | None, near_s: int) -> Instant | None:
    year = datetime.fromtimestamp(near_s, UTC).year
    found = [_instant((each, month, day), clock, fraction, None) for each in (year, year - 1, year + 1)]
    return min((each for each in found if each), key=lambda each: abs(each[0] - near_s), default=None)


def _instant(
    day: tuple[int, int, int], clock: tuple[str, str, str], fraction: str | None, zone: str | None
) -> Instant | None:
    hour, minute, second = map(int, clock)
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(*day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    at = days * DAY_S + hour * 3600 + minute * 60 + min(second, 59) - _offset_s(zone)
    return (at, int((fraction or "0").ljust(9, "0"))) if 0 < at <= LAST_SECOND else None


def _offset_s(zone: str | None) -> int:
    if not zone or zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -offset if zone[0] == "-" else offset


FRACTIONS: Final[dict[Callable[[Any, int], Instant | None], str]] = {
    _read_iso: ".,", _read_short_date: ".,", read_any: ".,",
    _read_clf: ".", _read_ctime: ".", _read_bsd: ".", _read_klog: ".",
}  # fmt: skip
"""Readers of forms in which a fraction of up to nine digits behind `:MM:SS` changes nothing else, by its points."""
