r"""PostgreSQL: the server log on standard error with the usual line prefixes, and its JSON form (`jsonlog`).

    2026-11-29 02:00:00.123 UTC [7] FATAL:  password authentication failed for user "alice"
    2026-11-29 02:00:00 UTC [7]: [3-1] user=alice,db=shop,app=psql,client=192.0.2.7 LOG:  duration: 1.139 ms  statement: select 1
    2026-11-29 02:00:00 UTC:192.0.2.7(51234):alice@shop:[7]:ERROR:  division by zero
    {"timestamp":"2026-11-29 02:00:00.123 UTC","user":"alice","dbname":"shop","pid":7,"remote_host":"192.0.2.7","error_severity":"ERROR","state_code":"22012","message":"division by zero"}

Prefixes known: `%m [%p] ` (the default), with `%q%u@%d `, the one of pgBadger (`%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h `,
without `app` and `client` too), that of RDS (`%t:%r:%u@%d:[%p]:`). With `log_connections` and `log_disconnections`,
connections, logins and their ends are events of their own; failed logins always are. CloudNativePG's JSON (`record`) is known. A prefix that names a database stays
in `message`. DETAIL, HINT, STATEMENT and CONTEXT are lines of their own, as PostgreSQL writes them, and so is each further
line of a statement: PostgreSQL begins it with a tab, which says enough only where a rule or a label asks for this parser. With
`log_error_verbosity=verbose` the SQLSTATE is `error.code`. Not handled: other prefixes, zones other than UTC, GMT and
numbers, csvlog. Source: PostgreSQL's manual, "Error Reporting and Logging".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from parsers.format import Format
from parsers.table import Table, at_path
from parsers.times import iso
from parsers.values import (
    Value,
    address,
    duration,
    either,
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

_STATE: Final = r"(?=[A-Z]{0,4}\d)[\dA-Z]{5}"
"""A SQLSTATE, which stands there with `log_error_verbosity=verbose`; every one has a digit."""

_FAILURES: Final = (
    r'(?:[Pp]assword|Peer|Ident|"?trust"?|LDAP|PAM|RADIUS|GSSAPI|SSPI|BSD|SCRAM|OAuth bearer|[Cc]ertificate) authentication'
    r' failed for user "(?P<name>.{0,256})"'
    r'|(?:no pg_hba\.conf entry|pg_hba\.conf rejects connection) for host "(?P<from>[^"]{0,255})",'
    r' user "(?P<entered>.{0,256})", database "[^"]{0,256}"(?:, [^"]{0,64})?'
    r'|(?:no pg_hba\.conf entry for|pg_hba\.conf rejects) replication connection (?:from|for) host "(?P<standby>[^"]{0,255})",'
    r' user "(?P<replica>.{0,256})"(?:, [^"]{0,64})?'
    r'|role "(?P<unknown>.{0,256})" (?:does not exist|is not permitted to log in)'
)
_DURATION: Final = re.compile(r"duration: (\d{1,15}\.\d{1,6}) ms(?:  .*)?", re.DOTALL)
_SESSION: Final = re.compile(r"disconnection: session time: (\d{1,9}):(\d\d):(\d\d)\.(\d{3}) .*", re.DOTALL)

_METHOD: Final = re.compile(
    r'([\w"]{1,16}(?: bearer)?) authentication failed for user "'
    r'|connection authenticated: (?:identity|user)=".{1,255}" method=([\w-]{1,32}) \(',
    re.DOTALL,
)
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


def method_of(value: Any) -> str | None:
    """Return how somebody was to prove who it is: of a failure, or of `identity="alice" method=scram-sha-256`."""
    found = _METHOD.match(value) if isinstance(value, str) else None
    return (found[1] or found[2]).strip('"').lower() if found else None


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
    told = rf"(?P<level>{levels}):  (?:(?P<state>{_STATE}): )?(?P<text>{pattern})"
    usual = {
        "error.code": text("state", absent={"", "00000"}),
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
        rf'.{{0,200}}? (?P<level>FATAL):  (?:{_STATE}: )?(?P<text>[\w"]{{1,16}} authentication failed for user "(?P=name)"))'
    ),
    time=iso("time"),
    message=text("whole"),
    constants=_REFUSED,
    fields={
        "event.reason": text("text"),
        "log.level": mapped("level", _LEVELS),
        "process.pid": integer("pid"),
        "user.name": text("name", absent={""}),
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
            "tidewaiter.auth.method": made(method_of, "text"),
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
        {"user.name": text("name", "trusted"), "tidewaiter.auth.method": made(method_of, "text")},
    ),
    *_tables(
        rf"disconnection: session time: \d{{1,9}}:\d\d:\d\d\.\d{{3}} user=(?P<name>[^=]{{0,63}}) database=[^=]{{0,63}} {_WHERE}",
        "LOG",
        _LOGOUT,
        _PEER | {"event.duration": made(session_duration, "text", kind="long"), "user.name": text("name", absent={""})},
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

_FURTHER: Final = Table(dataset="postgresql.log", pattern="\t.+", constants=_INFO, fields={})
"""A further line of a statement or a DETAIL, which the server begins with a tab."""


class _Keys(msgspec.Struct, frozen=True):
    """Where a JSON line has what: jsonlog's own keys, or those of who wraps it."""

    time: str
    severity: str
    message: str
    code: str
    pid: str
    user: str
    host: str
    port: str


_OWN: Final = _Keys(
    "timestamp", "error_severity", "message", "state_code", "pid", "user", "remote_host", "remote_port"
)  # fmt: skip
_CLOUDNATIVE: Final = _Keys(
    "record.log_time", "record.error_severity", "record.message", "record.sql_state_code", "record.process_id",
    "record.user_name", "record.connection_from", "record.connection_from",
)  # fmt: skip


def _says(keys: _Keys, pattern: str, *levels: str) -> Accept:
    matches = re.compile(pattern, re.DOTALL).fullmatch

    def accept(found: Mapping[str, Any]) -> bool:
        told = at_path(found, keys.message)
        return at_path(found, keys.severity) in levels and isinstance(told, str) and matches(told) is not None

    return accept


def _json(keys: _Keys) -> Iterator[Table]:
    """Yield the tables of JSON lines: one for each kind of message, as for text."""
    method = {"tidewaiter.auth.method": made(method_of, keys.message)}
    reason = {"event.reason": text(keys.message), **method}
    kinds: tuple[tuple[Mapping[str, Any], Accept | None, Mapping[str, Value]], ...] = (
        (_REFUSED, _says(keys, _FAILURES, "FATAL"), reason),
        (_CONNECTED, _says(keys, "connection received: .*", "LOG"), {}),
        (_LOGIN, _says(keys, "(?:replication )?connection authorized: .*", "LOG"), {}),
        (_IDENTIFIED, _says(keys, "connection authenticated: .*", "LOG"), method),
        (_LOGOUT, _says(keys, "disconnection: .*", "LOG"), {}),
        (_ERROR, _says(keys, ".*", "ERROR", "FATAL", "PANIC"), {}),
        (_INFO, None, {}),
    )
    for constants, accept, fields in kinds:
        yield Table(
            dataset="postgresql.log",
            requires=(keys.severity, keys.message, keys.time, keys.pid),
            accept=accept,
            time=iso(keys.time),
            message=text(keys.message),
            constants=constants,
            fields={
                "event.duration": either(
                    made(statement_duration, keys.message, kind="long"),
                    made(session_duration, keys.message, kind="long"),
                ),
                "log.level": mapped(keys.severity, _LEVELS),
                "error.code": text(keys.code, absent={"00000", ""}),
                "process.pid": integer(keys.pid),
                "user.name": text(keys.user, absent=_ABSENT),
                "source.address": made(to_address, keys.host),
                "source.ip": address(keys.host),
                "source.port": port(keys.port),
                **fields,
            },
        )


def _sniff(line: str) -> bool:
    if line[:1] == "{":
        return '"error_severity"' in line
    return line[4:5] == "-" and ":  " in line and (" [" in line[19:40] or ":[" in line[19:400])


FORMAT = Format(
    title="PostgreSQL server log",
    tables=(*_TEXT, _FURTHER, *_json(_OWN), *_json(_CLOUDNATIVE)),
    sniff=_sniff,
    marks=(":  ",),
    object_marks=('"error_severity"',),
    images=("postgres", "postgresql", "timescaledb", "postgis"),
)
