r"""PostgreSQL: the server log on standard error with the usual line prefixes, and its JSON form (`jsonlog`).

    2026-11-29 02:00:00.123 UTC [7] FATAL:  password authentication failed for user "alice"
    2026-11-29 02:00:00 UTC [7]: [3-1] user=alice,db=shop,app=psql,client=192.0.2.7 LOG:  duration: 1.139 ms  statement: select 1
    2026-11-29 02:00:00 UTC:192.0.2.7(51234):alice@shop:[7]:ERROR:  division by zero
    {"timestamp":"2026-11-29 02:00:00.123 UTC","user":"alice","dbname":"shop","pid":7,"remote_host":"192.0.2.7","error_severity":"ERROR","state_code":"22012","message":"division by zero"}

Prefixes known: `%m [%p] ` (the default), with `%q%u@%d `, the one of pgBadger (`%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h `,
without `app` and `client` too), that of RDS (`%t:%r:%u@%d:[%p]:`). With `log_connections` and `log_disconnections`,
connections, logins and their ends are events of their own; failed logins always are. A prefix that names a database stays
in `message`. DETAIL, HINT, STATEMENT and CONTEXT are lines of their own, as PostgreSQL writes them. Not handled: other
prefixes, zones other than UTC, GMT and numbers, csvlog. Source: PostgreSQL's manual, "Error Reporting and Logging".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import (
    Value,
    address,
    duration,
    either,
    identifier,
    integer,
    made,
    mapped,
    port,
    text,
    to_address,
    to_integer,
    to_nanoseconds,
    to_port,
)

Accept = Callable[[Mapping[str, Any]], bool]

_LEVELS: Final = {
    **{f"DEBUG{number}": "debug" for number in range(1, 6)},
    "DEBUG": "debug", "LOG": "info", "INFO": "info", "NOTICE": "notice", "WARNING": "warn", "ERROR": "error",
    "FATAL": "fatal", "PANIC": "fatal",
}  # fmt: skip
_ABSENT: Final = {"", "-", "[unknown]", "[local]"}

_STAMP: Final = r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? (?:UTC|GMT|[+-]\d\d(?::?\d\d)?))"
_NAME: Final = r"[^\s,=@]{0,63}"
_EXTRA: Final = (
    rf"(?:\[\d{{1,10}}-\d{{1,10}}\] )?(?:user=(?P<user>{_NAME}),db={_NAME}(?:,app=[^,=]{{0,64}})?"
    rf"(?:,(?:client|host)=(?P<client>[^\s,=]{{0,255}}))?|(?P<role>{_NAME})@{_NAME}|\[\d{{1,10}}-\d{{1,10}}\])"
)
_HEAD: Final = rf"{_STAMP} \[(?P<pid>\d{{1,10}})\]:? (?:(?=(?P<whole>.+)){_EXTRA} )?"
"""Where there is more than time and process, the message is `whole`: the database's name has no field."""
_HEAD_RDS: Final = rf"{_STAMP}:(?P<client>[^\s@]{{0,255}}):(?P<user>{_NAME})@{_NAME}:\[(?P<pid>\d{{1,10}})\]:"
"""Amazon's; the message is the whole line, for the same reason."""

_FAILURES: Final = (
    r'(?:[Pp]assword|Peer|Ident|"?trust"?|LDAP|PAM|RADIUS|GSSAPI|SSPI|BSD|SCRAM|OAuth bearer|[Cc]ertificate) authentication'
    r' failed for user "(?P<name>.{0,256})"'
    r'|(?:no pg_hba\.conf entry|pg_hba\.conf rejects connection) for host "(?P<from>[^"]{0,255})",'
    r' user "(?P<entered>.{0,256})", database "[^"]{0,256}"(?:, [^"]{0,64})?'
    r'|(?:no pg_hba\.conf entry for|pg_hba\.conf rejects) replication connection (?:from|for) host "(?P<standby>[^"]{0,255})",'
    r' user "(?P<replica>.{0,256})"(?:, [^"]{0,64})?'
    r'|role "(?P<unknown>.{0,256})" (?:does not exist|is not permitted to log in)'
)
_BY_TEXT: Final = re.compile(_FAILURES, re.DOTALL)
_DURATION: Final = re.compile(r"duration: (\d{1,15}\.\d{1,6}) ms(?:  .*)?", re.DOTALL)
_SESSION: Final = re.compile(r"disconnection: session time: (\d{1,9}):(\d\d):(\d\d)\.(\d{3}) .*", re.DOTALL)

_CONNECTED: Final = {"event.category": ["network"], "event.type": ["connection", "start"], "event.action": "connection"}
_LOGIN: Final = {
    "event.category": ["authentication", "session"],
    "event.type": ["start"],
    "event.action": "login",
    "event.outcome": "success",
}
_IDENTIFIED: Final = {
    "event.category": ["authentication"],
    "event.type": ["info"],
    "event.action": "authentication",
    "event.outcome": "success",
}
_REFUSED: Final = {
    "event.category": ["authentication"],
    "event.type": ["info"],
    "event.action": "login",
    "event.outcome": "failure",
}
_LOGOUT: Final = {"event.category": ["session"], "event.type": ["end"], "event.action": "logout"}
_ERROR: Final = {"event.category": ["database"], "event.type": ["error"]}
_INFO: Final = {"event.category": ["database"], "event.type": ["info"]}


def statement_duration(value: Any) -> int | None:
    """Return the nanoseconds of `duration: 1.139 ms  statement: …`."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    return to_nanoseconds(found[1], 1_000_000) if found else None


def session_duration(value: Any) -> int | None:
    """Return the nanoseconds of `disconnection: session time: 1:02:03.456 …`."""
    found = _SESSION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds, thousandths = map(int, found.groups())
    return to_integer(((hours * 60 + minutes) * 60 + seconds) * 10**9 + thousandths * 10**6)


def client_port(value: Any) -> int | None:
    """Return the port of `192.0.2.7(51234)` (`%r`)."""
    return to_port(value.rpartition("(")[2].removesuffix(")")) if isinstance(value, str) and "(" in value else None


def client_host(value: Any) -> str | None:
    """Return the host of `192.0.2.7(51234)` or `192.0.2.7`; a local socket has none."""
    name = value.partition("(")[0] if isinstance(value, str) else ""
    return name if name not in _ABSENT else None


def _tables(pattern: str, levels: str, constants: Mapping[str, Any], fields: dict[str, Value]) -> list[Table]:
    """Return the tables of a kind of message: one for each head."""
    told = rf"(?P<level>{levels}):  (?P<text>{pattern})"
    usual = {
        "log.level": mapped("level", _LEVELS),
        "process.pid": integer("pid"),
        "source.address": made(client_host, "client"),
        "source.ip": address("client"),
    }
    named = text("user", "role", absent=_ABSENT)
    rds = {"user.name": text("user", absent=_ABSENT), "source.ip": made(_client_ip, "client", kind="ip")}
    return [
        Table(
            dataset="postgresql.log",
            pattern=f"{_HEAD}{told}",
            time=iso("time"),
            message=text("whole", "text"),
            constants=constants,
            fields=usual | {"user.name": named} | fields,
        ),
        Table(
            dataset="postgresql.log",
            pattern=f"{_HEAD_RDS}{told}",
            time=iso("time"),
            constants=constants,
            fields=usual | rds | {"source.port": made(client_port, "client", kind="long")} | fields,
        ),
    ]


def _client_ip(value: Any) -> str | None:
    return to_address(client_host(value))


_PEER: Final = {
    "source.address": text("host", absent=_ABSENT),
    "source.ip": address("host"),
    "source.port": port("port"),
}
_WHERE: Final = r"host=(?P<host>[^\s=]{1,255})(?: port=(?P<port>\d{1,5}))?"

_ODD_NAME: Final = Table(
    dataset="postgresql.log",
    pattern=(
        rf"{_STAMP} \[(?P<pid>\d{{1,10}})\]:? (?P<whole>(?:\[\d{{1,10}}-\d{{1,10}}\] )?(?:user=)?(?P<name>.{{1,63}})(?:,db=|@)"
        r'.{0,200}? (?P<level>FATAL):  (?P<text>[\w"]{1,16} authentication failed for user "(?P=name)"))'
    ),
    time=iso("time"),
    message=text("whole"),
    constants=_REFUSED,
    fields={
        "event.reason": text("text"),
        "log.level": mapped("level", _LEVELS),
        "process.pid": integer("pid"),
        "user.name": text("name"),
    },
)
"""A failed login of a name with blanks, commas and the like, which could imitate the rest of the prefix."""

_TEXT: Final = (
    *_tables(
        _FAILURES,
        "FATAL",
        _REFUSED,
        {
            "event.reason": text("text"),
            "user.name": text("name", "entered", "replica", "unknown"),
            "source.address": either(text("from", "standby", absent=_ABSENT), made(client_host, "client")),
            "source.ip": either(address("from", "standby"), made(_client_ip, "client", kind="ip")),
        },
    ),
    _ODD_NAME,
    *_tables(rf"connection received: {_WHERE}", "LOG", _CONNECTED, _PEER),
    *_tables(
        r"connection authorized: user=(?P<name>[^\s=]{1,63})(?: database=[^\s=]{1,63})?(?: application_name=[^=]{0,64}?)?"
        r"(?: (?:SSL|GSS) .{1,255})?|replication connection authorized: user=(?P<replicating>[^\s=]{1,63})(?: .{0,255})?",
        "LOG",
        _LOGIN,
        {"user.name": text("name", "replicating")},
    ),
    *_tables(
        r'connection authenticated: (?:identity="(?P<name>.{1,255})" method=[\w-]{1,32}|user="(?P<trusted>.{1,255})" method=trust)'
        r" \(.{1,1024}:\d{1,9}\)",
        "LOG",
        _IDENTIFIED,
        {"user.name": text("name", "trusted")},
    ),
    *_tables(
        rf"disconnection: session time: \d{{1,9}}:\d\d:\d\d\.\d{{3}} user=(?P<name>[^=]{{0,63}}) database=[^=]{{0,63}} {_WHERE}",
        "LOG",
        _LOGOUT,
        _PEER | {"event.duration": made(session_duration, "text", kind="long"), "user.name": text("name")},
    ),
    *_tables(
        r"duration: (?P<ms>\d{1,15}\.\d{1,6}) ms(?:  .*)?", "LOG", _INFO, {"event.duration": duration("ms", unit="ms")}
    ),
    *_tables(r".*", "ERROR|FATAL|PANIC", _ERROR, {}),
    *_tables(r".*", r"DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING", _INFO, {}),
    Table(
        dataset="postgresql.log",
        pattern=rf"{_HEAD}(?P<text>(?:DETAIL|HINT|STATEMENT|QUERY|CONTEXT|LOCATION|BACKTRACE):  .*)",
        time=iso("time"),
        message=text("whole", "text"),
        constants=_INFO,
        fields={
            "process.pid": integer("pid"),
            "user.name": text("user", "role", absent=_ABSENT),
            "source.address": made(client_host, "client"),
            "source.ip": made(_client_ip, "client", kind="ip"),
        },
    ),
)


def _says(pattern: "re.Pattern[str]", *levels: str) -> Accept:
    def accept(found: Mapping[str, Any]) -> bool:
        told = found["message"]
        return found["error_severity"] in levels and isinstance(told, str) and pattern.fullmatch(told) is not None

    return accept


def _json(
    constants: Mapping[str, Any], accept: Accept | None = None, fields: Mapping[str, Value] | None = None
) -> Table:
    """Return the table of a kind of JSON line."""
    return Table(
        dataset="postgresql.log",
        requires=("error_severity", "message", "timestamp", "pid"),
        accept=accept,
        time=iso("timestamp"),
        message=text("message"),
        constants=constants,
        fields={
            "event.duration": either(
                made(statement_duration, "message", kind="long"), made(session_duration, "message", kind="long")
            ),
            "log.level": mapped("error_severity", _LEVELS),
            "error.code": identifier("state_code"),
            "process.pid": integer("pid"),
            "user.name": text("user", absent=_ABSENT),
            "source.address": text("remote_host", absent=_ABSENT),
            "source.ip": address("remote_host"),
            "source.port": port("remote_port"),
        }
        | dict(fields or {}),
    )


_JSON: Final = (
    _json(_REFUSED, _says(_BY_TEXT, "FATAL"), {"event.reason": text("message")}),
    _json(_CONNECTED, _says(re.compile("connection received: .*", re.DOTALL), "LOG")),
    _json(_LOGIN, _says(re.compile("(?:replication )?connection authorized: .*", re.DOTALL), "LOG")),
    _json(_IDENTIFIED, _says(re.compile("connection authenticated: .*", re.DOTALL), "LOG")),
    _json(_LOGOUT, _says(_SESSION, "LOG")),
    _json(_ERROR, lambda found: found["error_severity"] in ("ERROR", "FATAL", "PANIC")),
    _json(_INFO),
)


def _sniff(line: str) -> bool:
    if line[:1] == "{":
        return '"error_severity"' in line
    return line[4:5] == "-" and ":  " in line and (" [" in line[19:40] or ":[" in line[19:400])


FORMAT = Format(
    title="PostgreSQL server log",
    tables=(*_TEXT, *_JSON),
    sniff=_sniff,
    images=("postgres", "postgresql", "timescaledb", "postgis"),
)
