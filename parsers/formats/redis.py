r"""Redis, Valkey and KeyDB: the server's log.

    7:M 29 Nov 2026 02:00:00.123 * Ready to accept connections
    7:M 29 Nov 2026 02:00:00.123 - Accepted 192.0.2.7:51234
    7:signal-handler (1795917600) Received SIGTERM scheduling shutdown...

Behind the process stand its role (Master, Slave, Child, X for sentinel), the time, and a mark for the level (`.` debug,
`-` verbose, `*` notice, `#` warning). Valkey's ISO times are known; its logfmt is `logfmt`. Verbose is our `info`: it lies
between debug and notice. Not handled: lines of versions before 3 (no year), the banner, errors of the configuration (which
have no head), and within a crash's report the lines without one. Failed logins are not in this log
(Redis keeps them in `ACL LOG`). Source: Redis's `server.c` (`serverLogRaw`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import Time, clf, epoch, iso
from parsers.values import Value, address, integer, made, mapped, port, text, to_address

_LEVELS: Final = {".": "debug", "-": "info", "*": "notice", "#": "warn"}
_ROLES: Final = {"M": ["master"], "S": ["replica"], "C": ["child"], "X": ["sentinel"]}
_INFO: Final = {"event.category": ["database"], "event.type": ["info"]}
_ATTACK: Final = {
    "event.category": ["intrusion_detection"],
    "event.type": ["denied"],
    "event.action": "cross_protocol_request",
}
_OPENED: Final = {"event.category": ["network"], "event.type": ["connection", "start"], "event.action": "connection"}
_CLOSED: Final = {"event.category": ["network"], "event.type": ["connection", "end"], "event.action": "disconnection"}
_PEER: Final = {"source.address": made(to_address, "peer"), "source.ip": address("peer"), "source.port": port("peer")}
_DAY_FIRST: Final = r"(?P<time>\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3})"
_ISO: Final = r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d))"


def _tables(pattern: str, constants: Mapping[str, Any], fields: dict[str, Value]) -> list[Table]:
    """Return the tables of a kind of message: one for each form of time."""
    forms: tuple[tuple[str, Callable[..., Time]], ...] = ((_DAY_FIRST, clf), (_ISO, iso))
    return [
        Table(
            dataset="redis.log",
            pattern=rf"(?P<pid>\d{{1,10}}):(?P<role>[MSCX]) {form} (?P<mark>[.*#-]) (?P<text>{pattern})",
            time=read("time"),
            message=text("text"),
            constants=constants,
            fields={
                "log.level": mapped("mark", _LEVELS),
                "process.pid": integer("pid"),
                "service.node.roles": mapped("role", _ROLES, kind="keyword[]"),
                **fields,
            },
        )
        for form, read in forms
    ]


_TABLES: Final = (
    *_tables(r"Accepted (?P<peer>[\da-fA-F.:\[\]]{2,64})", _OPENED, _PEER),
    *_tables(
        r"Client closed connection (?:id=\d{1,19} )?addr=(?P<peer>[\da-fA-F.:\[\]]{2,64}) .*",
        _CLOSED,
        _PEER,
    ),
    *_tables(
        r"Possible SECURITY ATTACK detected\. .{0,512}?(?:Connection from (?P<peer>[\da-fA-F.:\[\]]{2,64}) )?aborted\.",
        _ATTACK,
        _PEER,
    ),
    *_tables(r".*", _INFO, {}),
    Table(
        dataset="redis.log",
        pattern=r"(?P<pid>\d{1,10}):signal-handler \((?P<time>\d{9,11})\) (?P<text>.*)",
        time=epoch("time"),
        message=text("text"),
        constants=_INFO,
        fields={"process.pid": integer("pid")},
    ),
)


def _sniff(line: str) -> bool:
    pid, mark, rest = line[:32].partition(":")
    return bool(mark) and pid.isdigit() and (rest[1:2] == " " or rest.startswith("signal-handler "))


FORMAT = Format(
    title="Redis server log",
    tables=_TABLES,
    sniff=_sniff,
    marks=(":",),
    images=("redis", "valkey", "keydb", "redis-stack-server"),
)
