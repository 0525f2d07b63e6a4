r"""Plain text behind a time or a level, in the shapes that logging libraries and servers give it.

    2026-11-29T02:00:00.123Z  INFO 7 --- [shop] [main] com.example.Cart : cart saved
    2026-11-29 02:00:00,123 [main] WARN  com.example.Cart - cart is empty
    [2026-11-29 02:00:00 +0000] [7] [INFO] Listening at: http://0.0.0.0:8000
    I, [2026-11-29T02:00:00.123456 #7]  INFO -- shop: cart saved
    ERROR: connection refused

Known are Spring Boot, log4j, logback, JBoss and Quarkus, Tomcat, Python's logging (also Flask, Celery, gunicorn, uvicorn,
loguru), Ruby's Logger, Rust's env_logger and tracing, Go's log, zap's, zerolog's and logrus's console forms, NestJS, pino-pretty,
log4js, Java's own, .NET's console and NLog, Monolog,
PHP and php-fpm, and any `TIME LEVEL text`, `[LEVEL] text`, `LEVEL: text` and `TIME text`. What stands in front goes into
fields and out of `message`; where it is a time of day without a date, the message is the line as it came. A time without
a zone is UTC. Not handled: times as words (`2 minutes ago`), numbers of days before months.
Sources: the libraries' own pages.
"""

from collections.abc import Callable, Mapping
from typing import Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import Time, bsd, clf, ctime, epoch, iso, twelve_hours
from parsers.values import (
    NOTHING,
    Value,
    integer,
    level,
    mapped,
    text,
)

_DAY: Final = r"(?:19[7-9]\d|[2-9]\d{3})[-/.](?:0[1-9]|1[0-2])[-/.](?:0[1-9]|[12]\d|3[01])"
_CLOCK: Final = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d{1,9})?"
_ZONES: Final = "[ECMP][SD]T|[CEW]ES?T|BST|IST|JST|KST|MSK|SGT|HKT|AE[SD]T"
"""Zones by letters, which mean several things or none: such a line keeps its time in its message."""
_TIME: Final = rf"(?P<time>{_DAY}[T ]{_CLOCK}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?)(?! (?:{_ZONES})\b)"
_NAMED_MONTH: Final = (
    rf"(?P<time>[0-3]?\d[-/ ](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[-/ ][2-9]\d{{3}}[: ]{_CLOCK})"
)
_WORDS: Final = (
    "trace|trce|trc|finest|finer|debug|dbug|dbg|information|info|inf|notice|warning|warn|wrn|error|erro|err|fail|severe"
    "|critical|crit|alert|emergency|emerg|fatal|ftl|panic|dpanic"
)
_LEVEL: Final = rf"(?P<level>(?i:{_WORDS})(?:[+-]\d{{1,2}})?)"
"""With slog's steps between levels (`INFO+2`)."""

_LOUD: Final = rf"(?P<level>{_WORDS.upper()})"
_NAME: Final = r"[\w.$/:-]{1,256}"
_REST: Final = r"(?P<text>.+)"

_THREE: Final = "(?P<level>TRC|DBG|INF|WRN|ERR|FTL|PNC)"
"""Levels of zerolog and its kin."""

_LEVEL_FIELD: Final = level("level")
_LOGGER: Final = text("logger", absent=NOTHING)
_MESSAGE: Final = text("text")


def _table(
    pattern: str,
    fields: Mapping[str, Value] | None = None,
    *,
    read: Callable[..., Time] = iso,
    whole: bool = False,
) -> Table:
    """Return the table of a pattern; its groups time, level, logger, pid, thread, file and line are the usual fields."""
    usual = {
        "level": ("log.level", _LEVEL_FIELD),
        "logger": ("log.logger", _LOGGER),
        "pid": ("process.pid", integer("pid")),
        "thread": ("process.thread.name", text("thread")),
        "file": ("log.origin.file.name", text("file", absent=NOTHING)),
        "line": ("log.origin.file.line", integer("line")),
    }
    timed = "(?P<time>" in pattern
    return Table(
        pattern=pattern,
        time=read("time") if timed else None,
        message=None if whole else _MESSAGE,
        fields=dict(field for group, field in usual.items() if f"(?P<{group}>" in pattern) | dict(fields or {}),
    )


_SPRING = _table(
    rf"{_TIME} {{1,2}}{_LEVEL} {{1,2}}(?P<pid>\d{{1,10}}) --- (?:\[(?P<application>[^\]]{{0,256}})\] )?"
    r"\[ {0,64}(?![0-9a-f]{32}-)(?P<thread>[^\] ][^\]]{0,255})\] "
    r"(?:\[(?:(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})| {0,64})\] )?"
    rf"(?P<logger>{_NAME}) {{0,40}}: {_REST}",
    {
        "service.name": text("application", absent=NOTHING),
        "trace.id": text("trace", absent=NOTHING),
        "span.id": text("span", absent=NOTHING),
    },
)
_LOGBACK = _table(rf"{_TIME} \[(?P<thread>[^\]]{{1,256}})\] {_LEVEL} {{1,3}}(?P<logger>{_NAME}) {{1,2}}(?:-|:) {_REST}")
_LOG4J = _table(rf"{_TIME} {_LEVEL} {{1,3}}\[(?P<thread>[^\]]{{1,256}})\] (?P<logger>{_NAME}) {{1,2}}(?:-|:) {_REST}")
_JBOSS = _table(rf"{_TIME} {_LEVEL} {{1,3}}\[(?P<logger>{_NAME})\] \((?P<thread>[^)]{{1,256}})\) {_REST}")
_TOMCAT = _table(rf"{_NAMED_MONTH} {_LOUD} \[(?P<thread>[^\]]{{1,256}})\] (?P<logger>{_NAME}) {_REST}", read=clf)
_CLOCK_ONLY = _table(rf"{_CLOCK} \[(?P<thread>[^\]]{{1,256}})\] {_LEVEL} {{1,3}}(?P<logger>{_NAME}) -.+", whole=True)
_PYTHON_DASHES = _table(rf"{_TIME} - (?P<logger>{_NAME}) - {_LOUD} - {_REST}")
_PYTHON_BASIC = _table(rf"{_LOUD}:(?P<logger>[\w.-]{{1,256}}):{_REST}")
_FLASK = _table(rf"\[{_TIME}\] {_LOUD} in (?P<logger>[\w.]{{1,256}}): {_REST}")
_CELERY = _table(rf"\[{_TIME}: {_LOUD}/(?P<process>[\w-]{{1,128}})\] {_REST}", {"process.name": text("process")})
_GUNICORN = _table(rf"\[{_TIME}\] \[(?P<pid>\d{{1,10}})\] \[{_LOUD}\] {_REST}")
_LOGURU = _table(
    rf"{_TIME} \| (?P<level>{_WORDS.upper()}|SUCCESS) {{0,8}} \| (?P<logger>[\w.]{{1,256}}):(?P<function>[\w.<>]{{1,256}}):(?P<line>\d{{1,9}}) - {_REST}",
    {"log.origin.function": text("function")},
)
_RUBY = _table(
    rf"[DIWEFA], \[{_TIME} #(?P<pid>\d{{1,10}})\] {{1,3}}(?P<level>{_WORDS.upper()}|ANY) -- (?P<logger>[^:]{{0,256}}): {_REST}"
)
_ENV_LOGGER = _table(rf"\[{_TIME} {_LOUD} {{1,2}}(?P<logger>{_NAME})\] {_REST}")
_TRACING = _table(rf"{_TIME} {{1,3}}{_LOUD} (?P<logger>\w{{1,128}}(?:::\w{{1,128}}){{0,16}}): {_REST}")
"""With spans before the logger, these stay in the message."""
_ZAP = _table(
    rf"{_TIME}\t{_LEVEL}\t(?:(?P<logger>[\w./-]{{1,256}})\t)?(?:(?P<file>[^\s:]{{1,512}}):(?P<line>\d{{1,9}})\t)?{_REST}"
)
_ZEROLOG = _table(rf"{_TIME} {_THREE} (?P<file>[^\s:]{{1,512}}\.go):(?P<line>\d{{1,9}}) > {_REST}")
_KITCHEN = _table(rf"\d{{1,2}}:\d\d[AP]M {_THREE}(?: .+)?", whole=True)
_LOGRUS = _table(
    rf"(?P<level>TRAC|DEBU|INFO|WARN|ERRO|FATA|PANI)\[(?:\d{{4,9}}|{_TIME})\]"
    rf"(?:(?P<file>[^\s:]{{1,512}}):(?P<line>\d{{1,9}}) (?P<function>[^\s()]{{1,256}})\(\))? ?{_REST}",
    {"log.origin.function": text("function", absent=NOTHING)},
)
"""For terminals: the number counts seconds since the start."""
_GO_FILE = _table(rf"{_TIME} (?P<file>[^\s:]{{1,512}}\.go):(?P<line>\d{{1,9}}): {_REST}")
_DOTNET = _table(
    r"(?P<level>trce|dbug|info|warn|fail|crit): (?P<logger>[\w.`+<>,\[\] -]{1,256})\[(?P<code>-?\d{1,10})\]\s{1,8}"
    rf"{_REST}",
    {"event.code": text("code")},
)
_NLOG = _table(rf"{_TIME}\|{_LEVEL}\|(?P<logger>[^|]{{1,256}})\|{_REST}")
_LOG4JS = _table(rf"\[{_TIME}\] \[(?P<level>{_WORDS.upper()}|MARK)\] (?P<logger>{_NAME}) - {_REST}")
_PINO_NAME: Final = r"\((?:(?P<logger>[^/()]{1,128})/)?(?P<pid>\d{1,10})(?: on [^()]{1,255})?\): "
_PINO = _table(rf"\[{_TIME}\] {_LOUD} {_PINO_NAME}{_REST}")
_PINO_CLOCK = _table(rf"\[{_CLOCK}(?: [+-]\d{{4}})?\] {_LOUD} {_PINO_NAME}.+", whole=True)
_SERILOG = _table(rf"\[{_CLOCK} (?P<level>VRB|DBG|INF|WRN|ERR|FTL)\] .+", whole=True)
_MONOLOG = _table(rf"\[{_TIME}\] (?P<logger>[\w-]{{1,128}})\.{_LOUD}: {_REST}")
_PHP_FPM = _table(rf"\[{_NAMED_MONTH}\] {_LOUD}: {_REST}", read=clf)
_PHP_SAYS: Final = (
    r"(?P<text>PHP (?:(?P<level>Warning|Notice|Fatal|Parse|Recoverable fatal)(?: error)?|Deprecated): .+)"
)
_PHP_LEVEL: Final = {
    "log.level": mapped("level", {"Warning": "warn", "Notice": "notice", "Fatal": "fatal"}, default="error")
}
_PHP = _table(rf"(?:\[{_NAMED_MONTH}(?: UTC)?\] )?{_PHP_SAYS}", _PHP_LEVEL, read=clf)
_CTIME: Final = r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] "
_PHP_SERVER = _table(_CTIME + _PHP_SAYS, _PHP_LEVEL, read=ctime)
_CTIME_ALONE = _table(_CTIME + _REST, read=ctime)
_TIMED = _table(
    rf"\[?{_TIME}\]?(?:[ \t]{{1,4}}|[ ]?[|:-][ ]?)(?:\[ {{0,8}})?{_LEVEL}"
    rf" {{0,8}}\]?(?::|\s?[|-])?[ \t]{{1,8}}{_REST}"
)
_LEVEL_FIRST = _table(rf"\[?{_LOUD} {{0,8}}\]?(?: ?[|:-])? {{1,8}}\[?{_TIME}\]?(?: ?[|:-])? {{1,8}}{_REST}")
_STAMPED = _table(
    rf"(?P<time>[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}) (?:\[ {{0,8}})?{_LEVEL} {{0,8}}\]?:? {{1,8}}{_REST}",
    read=bsd,
)
_NAMED = _table(rf"\[(?P<logger>[A-Za-z][\w. -]{{0,63}})\] {_TIME}(?: \[?{_LEVEL}\]?:?)? {_REST}")
"""With the prefix of Go's log."""
_MONTH_FIRST = _table(rf"{_NAMED_MONTH} {{1,4}}{_REST}", read=clf)
_EPOCH = _table(rf"(?P<time>1[5-9]\d{{8}}): {_REST}", read=epoch)
_NPM = _table(rf"(?P<level>verbose|silly): {_REST}")
_BARE = _table(rf"(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL) {{1,8}}{_REST}")
_BRACKETS = _table(rf"\[{_LEVEL} {{0,8}}\]:? {{1,4}}{_REST}")
_THROWN = _table(r"(?P<level>Error): .+", whole=True)
"""JavaScript's class of errors, with its stack perhaps: the line stays whole."""
_COLON = _table(rf"{_LEVEL}:[ \t]{{1,8}}{_REST}")
_TIME_ALONE = _table(rf"\[?{_TIME}\]?(?: ?[|:-])? {{1,2}}{_REST}")

_NEST = _table(
    rf"\[Nest\] (?P<pid>\d{{1,10}}) {{1,2}}- "
    r"(?P<time>\d{1,2}/\d{1,2}/\d{4}, \d{1,2}:\d\d:\d\d[ \u202f][AP]M)"
    rf" {{1,16}}(?P<level>LOG|ERROR|WARN|DEBUG|VERBOSE|FATAL) \[(?P<logger>[^\]]{{1,255}})\] {_REST}",
    read=twelve_hours,
)
_JAVA = _table(
    r"(?P<time>[A-Z][a-z]{2} \d{1,2}, \d{4} \d{1,2}:\d\d:\d\d[ \u202f][AP]M) (?P<logger>[\w.$]{1,255}) (?P<function>[\w$<>]{1,255})"
    r"(?:\n(?P<level>SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): .*)?",
    {"log.origin.function": text("function")},
    read=twelve_hours,
    whole=True,
)
"""Java's own logging puts the level at the beginning of a second line."""
_PHP_ALONE = _table(rf"\[{_NAMED_MONTH}(?: UTC)?\] {_REST}", read=clf)

_TABLES: Final = (
    _SPRING, _LOGBACK, _LOG4J, _JBOSS, _TOMCAT, _CLOCK_ONLY, _PYTHON_DASHES, _FLASK, _CELERY, _GUNICORN, _PYTHON_BASIC,
    _LOGURU, _RUBY, _ENV_LOGGER, _TRACING, _ZAP, _GO_FILE, _DOTNET, _NLOG, _SERILOG, _MONOLOG, _PHP_FPM,
    _PHP, _LOG4JS, _PINO, _ZEROLOG, _LEVEL_FIRST, _TIMED, _BRACKETS, _THROWN, _COLON, _TIME_ALONE, _PHP_ALONE, _NEST, _JAVA,
    _LOGRUS, _KITCHEN, _PINO_CLOCK, _STAMPED, _NAMED, _PHP_SERVER, _CTIME_ALONE, _MONTH_FIRST, _EPOCH, _NPM, _BARE,
)  # fmt: skip
"""Narrow shapes before wide ones."""


_STARTS: Final = frozenset(
    [
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "May",
        "Jun",
        "Jul",
        "Aug",
        "Sep",
        "Oct",
        "Nov",
        "Dec",
        "DEB",
        "INF",
        "WAR",
        "ERR",
        "CRI",
        "FAT",
        "TRA",
        "PAN",
        "SEV",
        "NOT",
    ]
)
"""Months and levels."""


def _sniff(line: str) -> bool:
    first = line[:1]
    return first.isdigit() or first == "[" or ":" in line[:20] or line[1:4] == ", [" or line[:3] in _STARTS


FORMAT = Format(title="text with a level or a time in front", tables=_TABLES, sniff=_sniff, rank=7)
