r"""MongoDB: the server's structured log (version 4.4 and newer).

    {"t":{"$date":"2026-11-29T02:00:00.123+00:00"},"s":"I","c":"NETWORK","id":22943,"ctx":"listener","msg":"Connection accepted","attr":{"remote":"192.0.2.7:51234","connectionId":7,"connectionCount":1}}
    {"t":{"$date":"2026-11-29T02:00:00.123+00:00"},"s":"I","c":"ACCESS","id":20249,"ctx":"conn7","msg":"Authentication failed","attr":{"mechanism":"SCRAM-SHA-256","principalName":"alice","authenticationDatabase":"admin","remote":"192.0.2.7:51234","error":"AuthenticationFailed"}}

Component, context and id stand as `log.logger`, `process.thread.name` and `event.code`; attributes without a field stay under
`tidewaiter.app`. Connections and logins, told by their ids, are events of their own. Not handled: plain text of versions
before 4.4, the audit log of the Enterprise edition. Source: MongoDB's manual, "Log Messages".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.json_keys import port_behind
from parsers.table import Table
from parsers.times import any_time
from parsers.values import (
    Value,
    duration,
    identifier,
    made,
    mapped,
    text,
    to_address,
)

_LEVELS: Final = {
    "F": "fatal", "E": "error", "W": "warn", "I": "info", "D": "debug",
    **{f"D{number}": "debug" for number in range(1, 6)},
}  # fmt: skip
_CONNECTED: Final = frozenset({22943})
_DISCONNECTED: Final = frozenset({22944})
_LOGGED_IN: Final = frozenset({20250, 5286306})
_REFUSED: Final = frozenset({20249, 5286307})
_PEER: Final = ("attr.remote", "attr.client")


def _table(ids: frozenset[int], constants: Mapping[str, Any], fields: Mapping[str, Value] | None = None) -> Table:
    """Return the table of messages with these ids; none: of any."""
    return Table(
        dataset="mongodb.log",
        requires=("t.$date", "s", "c", "msg"),
        accept=(lambda found: type(found.get("id")) is int and found["id"] in ids) if ids else None,
        time=any_time("t.$date"),
        message=text("msg"),
        constants=constants,
        fields={
            "event.code": identifier("id"),
            "event.duration": duration("attr.durationMillis", unit="ms"),
            "log.level": mapped("s", _LEVELS),
            "log.logger": text("c"),
            "process.thread.name": text("ctx"),
            "error.message": text("attr.error", "attr.error.errmsg"),
            "error.type": text("attr.error.codeName"),
            "error.code": identifier("attr.error.code"),
            "user.name": text("attr.principalName", "attr.user"),
            "source.address": made(to_address, *_PEER),
            "source.ip": made(to_address, *_PEER, kind="ip"),
            "source.port": made(port_behind, *_PEER, kind="long"),
            **(fields or {}),
        },
    )


_MECHANISM: Final = {"tidewaiter.auth.method": text("attr.mechanism")}

_TABLES: Final = (
    _table(
        _CONNECTED,
        {"event.category": ["network"], "event.type": ["connection", "start"], "event.action": "connection"},
    ),
    _table(
        _DISCONNECTED,
        {"event.category": ["network"], "event.type": ["connection", "end"], "event.action": "disconnection"},
    ),
    _table(
        _LOGGED_IN,
        {
            "event.category": ["authentication", "session"],
            "event.type": ["start"],
            "event.action": "login",
            "event.outcome": "success",
        },
        _MECHANISM,
    ),
    _table(
        _REFUSED,
        {
            "event.category": ["authentication"],
            "event.type": ["info"],
            "event.action": "login",
            "event.outcome": "failure",
        },
        {"event.reason": text("attr.error", "attr.error.errmsg"), **_MECHANISM},
    ),
    _table(
        frozenset(),
        {"event.category": ["database"]},
        {"event.type": mapped("s", {"F": ["error"], "E": ["error"]}, default=["info"], kind="keyword[]")},
    ),
)


def _sniff(line: str) -> bool:
    return line.startswith('{"t":{"$date":')


FORMAT = Format(
    title="MongoDB server log", tables=_TABLES, sniff=_sniff, images=("mongo", "mongodb", "mongodb-community-server")
)
