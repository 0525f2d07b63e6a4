r"""Access lines of the web servers that frameworks bring along.

    192.0.2.7 - - [29/Nov/2026 02:00:00] "GET /cart?id=7 HTTP/1.1" 200 -
    [29/Nov/2026 02:00:00] "GET /cart HTTP/1.1" 200 512
    192.0.2.7 -  29/Nov/2026:02:00:00 +0000 "GET /index.php" 200
    INFO:     192.0.2.7:50001 - "GET /cart HTTP/1.1" 200 OK
    [GIN] 2026/11/29 - 02:00:00 | 200 |     1.234ms |       192.0.2.7 | GET      "/cart"
    GET /cart 200 2.108 ms - 512

Known are Werkzeug (Flask) and Python's http.server, Django's runserver, uvicorn, daphne, aiohttp, php-fpm and PHP's own
server, Rack (Puma, WEBrick), morgan (Express) in its forms dev, short and tiny, Gin, Fiber and chi. What looks the same as nginx's or
httpd's lines (gunicorn, Tomcat, morgan's combined) is taken for those. Where a line has no date, its time is the
sender's. Source: the servers' own code.
"""

from collections.abc import Mapping
from typing import Final

from parsers.access import WEB_ACCESS, access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import Time, clf, ctime, iso
from parsers.values import NOTHING, Value, address, duration, level, made, port, text, to_nanoseconds

_CLIENT: Final = r"(?P<client>\d{1,3}(?:\.\d{1,3}){3}|[\da-fA-F:.]{2,45})"
_PORT: Final = r"(?::(?P<port>\d{1,5}))?"
_METHOD: Final = r"(?P<method>[A-Z]{3,32})"
_VERSION: Final = r"HTTP/(?P<version>\d(?:\.\d)?)"
_REQUEST: Final = rf'"(?:{_METHOD} (?P<target>[^\s"]*)(?: {_VERSION})?|.{{0,4096}})"'
_STATUS: Final = r"(?P<status>[1-5]\d\d)"
_BYTES: Final = r"(?:-|(?P<bytes>\d{1,18}))"
_CLF: Final = r"(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}[: ]\d\d:\d\d:\d\d(?: [+-]\d{4})?)"
_SPOKEN: Final = r"(?P<took>[\d.]{1,16}(?:ns|us|\u00b5s|\u03bcs|ms|s|m)(?:[\d.]{1,16}s)?)"


def _table(pattern: str, fields: Mapping[str, Value] | None = None, time: Time | None = None) -> Table:
    more = {"source.port": port("port")} if "(?P<port>" in pattern else {}
    own = {**more, **(fields or {})}
    return Table(pattern=pattern, time=time, constants=WEB_ACCESS, fields=access_fields(pattern) | own)


def _spoken() -> dict[str, Value]:
    """Fields of a duration with its unit, as Go writes it."""
    return {"event.duration": made(lambda found: to_nanoseconds(found, 1), "took", kind="long")}


COMMON = _table(
    rf"{_CLIENT}{_PORT} - (?P<user>[^\s\"\[]{{0,255}}) \[{_CLF}(?: UTC)?\] {_REQUEST} {_STATUS} {_BYTES}(?: (?P<seconds>\d{{1,9}}\.\d{{3,6}}))?",
    {"event.duration": duration("seconds")},
    clf("time"),
)

AIOHTTP = _table(
    rf'{_CLIENT} \[{_CLF}\] {_REQUEST} {_STATUS} {_BYTES} "(?P<referrer>[^"]*+)" "(?P<agent>[^"]*+)"', None, clf("time")
)

PHP_FPM = _table(
    rf'{_CLIENT} - (?P<user>[^\s"]{{0,255}}) {_CLF} "{_METHOD} (?P<target>[^\s"]*)" {_STATUS}', None, clf("time")
)

DJANGO = _table(
    rf'\[{_CLF}\] "{_METHOD} (?P<target>[^\s"]*) {_VERSION}" {_STATUS} (?P<bytes>\d{{1,18}})', None, clf("time")
)

PHP_OWN = _table(
    r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] "
    rf"(?:\[(?P<bracketed>[\da-fA-F:.]{{2,45}})\]|{_CLIENT}):(?P<port>\d{{1,5}}) \[{_STATUS}\]: {_METHOD} (?P<target>[^\s\"]+)(?: - (?P<reason>.{{1,1024}}))?",
    {
        "event.reason": text("reason", absent=NOTHING),
        "source.address": text("client", "bracketed", absent=NOTHING),
        "source.ip": address("client", "bracketed"),
    },
    ctime("time"),
)

UVICORN = _table(
    rf"(?P<level>[A-Z]{{4,8}}): {{1,8}}{_CLIENT}:(?P<port>\d{{1,5}}) - "
    rf'"{_METHOD} (?P<target>[^\s"]*) {_VERSION}" {_STATUS}(?: [\w \'-]{{1,40}})?',
    {"log.level": level("level")},
)

MORGAN_SHORT = _table(
    rf"{_CLIENT} (?P<user>\S{{1,255}}) {_METHOD} (?P<target>\S{{1,8192}}) {_VERSION} {_STATUS} {_BYTES} - (?P<ms>[\d.]{{1,16}}) ms",
    {"event.duration": duration("ms", unit="ms")},
)

_MORGAN: Final = rf"{_METHOD} (?P<target>\S{{1,8192}}) {_STATUS}"
MORGAN_DEV = _table(rf"{_MORGAN} (?P<ms>[\d.]{{1,16}}) ms - {_BYTES}", {"event.duration": duration("ms", unit="ms")})
MORGAN_TINY = _table(rf"{_MORGAN} {_BYTES} - (?P<ms>[\d.]{{1,16}}) ms", {"event.duration": duration("ms", unit="ms")})

GIN = _table(
    rf"\[GIN\] (?P<time>\d{{4}}/\d\d/\d\d - \d\d:\d\d:\d\d) \| {{0,4}}{_STATUS} {{0,4}}\| {{0,16}}{_SPOKEN} {{0,4}}\| {{0,40}}{_CLIENT} {{0,4}}\|"
    rf" {{0,4}}{_METHOD} {{1,12}}\"?(?P<target>[^\s\"]{{1,8192}})\"?",
    _spoken(),
    Time(("time",), lambda found, near_s: iso().read(found.replace(" - ", " "), near_s), "2026/11/29 - 02:00:00"),
)

FIBER = _table(
    rf"\[?(?:\d\d:\d\d:\d\d)\]? (?:\| )?{_STATUS} (?:\| |- ) {{0,16}}{_SPOKEN} (?:\| {{0,40}}{_CLIENT} {{0,40}}\| )?{_METHOD} {{0,12}}(?:\| )?(?P<target>/\S{{0,8192}})(?: \| .{{0,1024}})?",
    _spoken(),
)

CHI = _table(
    rf'(?P<time>\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d) (?:\[(?P<id>[^\]\s]{{1,255}})\] )?"{_METHOD} (?P<target>[^\s"]*) {_VERSION}"'
    rf" from {_CLIENT}{_PORT} - {_STATUS} (?P<bytes>\d{{1,18}})B in {_SPOKEN}",
    {**_spoken(), "http.request.id": text("id", absent=NOTHING)},
    iso("time"),
)


def _sniff(line: str) -> bool:
    first = line[:1]
    if first.isdigit() or first in ":[":
        return (
            " - " in line[:64] or '] "' in line[:80] or "| " in line[:24] or "]: " in line[40:100] or " from " in line
        )
    return line.endswith(" ms") or " ms - " in line[-32:] or ' - "' in line[:72]


FORMAT: Final = Format(
    title="Access lines of frameworks' web servers",
    tables=(
        COMMON, AIOHTTP, PHP_FPM, DJANGO, PHP_OWN, UVICORN, MORGAN_SHORT, MORGAN_DEV, MORGAN_TINY, GIN, FIBER, CHI,
    ),
    sniff=_sniff,
    rank=4,
)  # fmt: skip
