r"""RabbitMQ: the broker's log.

    2026-11-29 02:00:00.123456+00:00 [info] <0.673.0> accepting AMQP connection <0.673.0> (192.0.2.7:51234 -> 192.0.2.80:5672)
    2026-11-29 02:00:00.123456+00:00 [error] <0.701.0> PLAIN login refused: user 'alice' - invalid credentials

The Erlang process stands as `process.thread.name`. Connections, logins and refused logins are events of their own, and so
are users made, changed and removed, without who did it: RabbitMQ does not log that. It
writes a refused login's peer in the line before (which has the same process and time), or in the same after multiline
joining. Lines before 3.9 (no zone: UTC) are known; the JSON formatter's are `json`. Not handled: the banner at start.
Source: RabbitMQ's "Logging" guide.
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import Value, integer, level, made, text, to_address

_HEAD: Final = (
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,6}(?:[+-]\d\d:\d\d)?)"
    r" \[(?P<level>debug|info|notice|warning|error|critical|alert|emergency)\] (?P<process><\d{1,10}\.\d{1,10}\.\d{1,10}>) "
)
_ENDS: Final = (
    r"(?:<[\d.]{1,64}> )?\(?(?P<source>[\da-fA-F.:\[\]]{2,64}):(?P<source_port>\d{1,5}) -> "
    r"(?P<destination>[\da-fA-F.:\[\]]{2,64}):(?P<destination_port>\d{1,5})"
)
_PEERS: Final = {
    "source.address": made(to_address, "source"),
    "source.ip": made(to_address, "source", kind="ip"),
    "source.port": integer("source_port"),
    "destination.address": made(to_address, "destination"),
    "destination.ip": made(to_address, "destination", kind="ip"),
    "destination.port": integer("destination_port"),
}
_OPENED: Final = {"event.category": ["network"], "event.type": ["connection", "start"], "event.action": "connection"}
_CLOSED: Final = {"event.category": ["network"], "event.type": ["connection", "end"], "event.action": "disconnection"}
_FAILED: Final = {"event.category": ["network"], "event.type": ["connection"]}
_LOGIN: Final = {
    "event.category": ["authentication", "session"],
    "event.type": ["start"],
    "event.action": "login",
    "event.outcome": "success",
}
_REFUSED: Final = {
    "event.category": ["authentication"],
    "event.type": ["info"],
    "event.action": "login",
    "event.outcome": "failure",
}
_USER: Final = r"'(?P<user>[^\n]{0,255})'"
_ACCOUNT: Final = {"user.name": text("user", absent={""}), "user.target.name": text("user", absent={""})}
"""As shadow's tools are read: the account, and for want of an actor it is the user as well."""


def _of_account(kind: str, action: str) -> Mapping[str, Any]:
    """Return the constants of what was done to an account."""
    return {
        "event.category": ["iam"],
        "event.type": ["user", kind],
        "event.action": action,
        "event.outcome": "success",
    }


def _table(pattern: str, constants: Mapping[str, Any], fields: Mapping[str, Value]) -> Table:
    """Return the table of a kind of message."""
    return Table(
        dataset="rabbitmq.log",
        pattern=rf"{_HEAD}(?P<text>{pattern})",
        time=iso("time"),
        message=text("text"),
        constants=constants,
        fields={"log.level": level("level"), "process.thread.name": text("process"), **fields},
    )


_TABLES: Final = (
    _table(rf"accepting (?:AMQP|MQTT|STOMP|stream) connection {_ENDS}(?: .*|\))?", _OPENED, _PEERS),
    _table(
        rf"connection {_ENDS}(?: - [^\n]{{0,512}})?\)?: user '(?P<user>[^\n]{{0,255}})' authenticated and granted access to vhost '[^\n]{{0,255}}'",
        _LOGIN,
        {**_PEERS, "user.name": text("user", absent={""})},
    ),
    _table(
        rf"(?:Error on AMQP connection {_ENDS}[^\n]{{0,1024}}\n[ ]{{0,8}})?(?P<reason>(?:(?P<method>[\w-]{{1,64}}) login refused|HTTP access denied):"
        r" user '(?P<user>[^\n]{0,255})' (?:- [^'\n]{1,255}|can only connect via localhost[^'\n]{0,64}))",
        _REFUSED,
        {
            **_PEERS,
            "user.name": text("user", absent={""}),
            "event.reason": text("reason"),
            "tidewaiter.auth.method": text("method"),
        },
    ),
    _table(rf"closing (?:AMQP|MQTT|STOMP|stream) connection {_ENDS}.*", _CLOSED, _PEERS),
    _table(rf"Error on (?:AMQP|MQTT|STOMP|stream) connection {_ENDS}.*", _FAILED, _PEERS),
    _table(rf"Created user {_USER}", _of_account("creation", "user-added"), _ACCOUNT),
    _table(rf"Deleted user {_USER}", _of_account("deletion", "user-deleted"), _ACCOUNT),
    _table(
        rf"Successfully (?:changed|cleared) password for user {_USER}",
        _of_account("change", "password-changed"),
        _ACCOUNT,
    ),
    _table(
        r"Successfully (?:set|cleared) (?:topic |user )?(?:permissions|tags|limits) for (?:user )?"
        r"'(?P<user>[^\n]{0,255}?)'(?: (?:in|to) [^\n]*)?",
        _of_account("change", "user-changed"),
        _ACCOUNT,
    ),
    _table(r".*", {}, {}),
)


def _sniff(line: str) -> bool:
    return line[4:5] == "-" and "] <" in line[22:60]


FORMAT = Format(title="RabbitMQ log", tables=_TABLES, sniff=_sniff, images=("rabbitmq",))
