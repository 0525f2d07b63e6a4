r"""MySQL and MariaDB: the error log, also as MySQL 8's JSON sink writes it.

    2026-11-29T02:00:00.123456Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections.
    2026-11-29T02:00:00.123456Z 8 [Note] [MY-010926] [Server] Access denied for user 'alice'@'192.0.2.7' (using password: YES)
    2026-11-29  2:00:00 4 [Warning] Access denied for user 'alice'@'localhost' (using password: YES)

Also MySQL 5.7's lines (without code and subsystem) and those of the images' entry points. Refused logins (logged at
`log_error_verbosity=3` or `log_warnings=2`), refused databases and aborted connections are events of their own. A name
can hold quotes: the last of the kind end it. Known too: the old form of the time (`261129  2:00:00`), in which MariaDB
still writes of its crashes, and the version at start. What follows in a crash's report, and the parts of a deadlock's, are
plain lines. Not handled: the slow log and the general log.
Source: MySQL's reference manual, "The Error Log"; MariaDB's "Error Log".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import iso, short_date
from parsers.values import NOTHING, Value, address, identifier, integer, mapped, text

_LEVELS: Final = {
    "Note": "notice",
    "System": "info",
    "Warning": "warn",
    "Warn": "warn",
    "ERROR": "error",
    "Error": "error",
}
_HOSTLESS: Final = {"", "localhost", "connecting host"}
_NOBODY: Final = {"", "unauthenticated", "connecting"}

_HEAD: Final = (
    r"(?P<time>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d)| [ \d]\d:\d\d:\d\d(?:[+-]\d\d:\d\d)?)"
    r"|\d{6} [ \d]\d:\d\d:\d\d)"
    r" (?:(?P<thread>\d{1,19}) )?\[(?P<level>Note|System|Warning|Warn|ERROR|Error)\] "
    r"(?:\[(?P<code>MY-\d{6})\] \[(?P<provider>[\w-]{1,64})\] )?"
)
_REFUSED: Final = {
    "event.category": ["authentication"],
    "event.type": ["info"],
    "event.action": "login",
    "event.outcome": "failure",
}
_DENIED: Final = {
    "event.category": ["database"],
    "event.type": ["access"],
    "event.action": "use_database",
    "event.outcome": "failure",
}
_ABORTED: Final = {"event.category": ["session"], "event.type": ["end"], "event.action": "aborted_connection"}
_PERSON: Final = {
    "user.name": text("user", absent=_NOBODY),
    "source.address": text("host", absent=_HOSTLESS),
    "source.ip": address("host"),
}
_USER_AT_HOST: Final = r"'(?P<user>.{0,128})'@'(?P<host>[^']{0,255})'"
_ACCOUNT_AT_HOST: Final = r"'(?P<user>.{0,128}?)'@'(?P<host>[^']{0,255})'"
"""Who is in: here the database's name, not the user's, is what a client can choose."""


def _table(pattern: str, constants: Mapping[str, Any], fields: Mapping[str, Value]) -> Table:
    """Return the table of a kind of message."""
    return Table(
        dataset="mysql.error",
        pattern=rf"{_HEAD}(?P<text>{pattern})",
        time=short_date("time"),
        message=text("text"),
        constants=constants,
        fields={
            "log.level": mapped("level", _LEVELS),
            "event.code": text("code", absent=NOTHING),
            "event.provider": text("provider", absent=NOTHING),
            "process.thread.id": integer("thread"),
            **fields,
        },
    )


_JSON: Final = Table(
    dataset="mysql.error",
    requires=("err_code", "prio", "label", "msg"),
    time=iso("time"),
    message=text("msg"),
    constants={"event.category": ["database"], "event.type": ["info"]},
    fields={
        "event.code": identifier("err_code"),
        "event.provider": text("subsystem"),
        "log.level": mapped("label", _LEVELS),
        "log.origin.file.name": text("source_file"),
        "log.origin.file.line": integer("source_line"),
        "log.origin.function": text("function"),
        "process.thread.id": integer("thread"),
    },
)

_CRASHED: Final = Table(
    dataset="mysql.error",
    pattern=r"(?P<time>(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\dZ? UTC) - (?P<text>mysqld got (?:signal|exception) .*)",
    time=iso("time"),
    message=text("text"),
    constants={"event.category": ["database"], "event.type": ["error"], "log.level": "error"},
    fields={},
)
_VERSION: Final = Table(
    dataset="mysql.error",
    pattern=r"Version: '(?P<version>[^'\s]{1,128})'  socket: '[^']{0,1024}'  port: \d{1,5}  .*",
    constants={"event.category": ["database"], "event.type": ["info"]},
    fields={"service.version": text("version")},
)

_TABLES: Final = (
    _table(
        rf"Access denied for user {_USER_AT_HOST} \(using password: (?P<with>YES|NO)\)",
        _REFUSED,
        {
            **_PERSON,
            "event.reason": text("text"),
            "tidewaiter.auth.method": mapped("with", {"YES": "password", "NO": "none"}),
        },
    ),
    _table(
        rf"Access denied for user {_ACCOUNT_AT_HOST} to database '.{{0,255}}'",
        _DENIED,
        {**_PERSON, "event.reason": text("text")},
    ),
    _table(
        r"Host '(?P<host>[^']{1,255})' is (?:not allowed to connect to this \w{1,32} server|blocked because of .{1,255})",
        _REFUSED,
        {"source.address": text("host"), "source.ip": address("host"), "event.reason": text("text")},
    ),
    _table(
        r"Aborted connection \d{1,19} to db: '.{0,255}' user: '(?P<user>.{0,128})' host: '(?P<host>[^']{0,255})' \((?P<reason>[^']{1,512})\)\.?",
        _ABORTED,
        {**_PERSON, "event.reason": text("reason")},
    ),
    _table(
        r".*",
        {"event.category": ["database"]},
        {"event.type": mapped("level", {"ERROR": ["error"], "Error": ["error"]}, default=["info"], kind="keyword[]")},
    ),
    _CRASHED,
    _VERSION,
    _JSON,
)


def _sniff(line: str) -> bool:
    if line[:1] == "{":
        return '"err_code"' in line
    if line[:6].isdigit():
        return line[6:7] == " " and line[12:13] == ":" and " [" in line[14:20]
    if line.startswith("Version: '") or " UTC - mysqld got " in line[:48]:
        return True
    return line[4:5] == "-" and line[:4].isdigit() and " [" in line[19:60] and line[19:80].count("] ") > 0


FORMAT = Format(
    title="MySQL and MariaDB error log",
    tables=_TABLES,
    sniff=_sniff,
    images=("mysql", "mariadb", "percona", "mysql-server"),
)
