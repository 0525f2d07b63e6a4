"""Records of logging daemons: a program's line, and beside it what the daemon knows of the program.

- Fluent Bit's and Fluentd's `systemd` inputs send journald's own fields: `MESSAGE`, `SYSLOG_IDENTIFIER`, `_PID`, …
- With the lines of a container, which Docker's `journald` driver writes: also `CONTAINER_ID_FULL`, `CONTAINER_NAME`, …
- Their syslog parsers (`syslog-rfc3164`, `syslog-rfc5424`) make `message`, `ident`, `pid`, `host`, `pri`.

The host is what the daemon calls itself: a claim, so it is `log.syslog.hostname`. What has no place here stays under
`tidewaiter.fields`. A parser that knows a line by its program gets the head of syslog back that the daemon took away.

Any program may write `CONTAINER_ID` to journald. It is believed where `_COMM` and `_UID`, which journald itself adds,
call the writer an engine of root's; `_COMM` alone is what a process calls itself. A record with `log`, a pod's map or a
runtime's stream, or of a tag that names a container's file, is none of a daemon: what a container's labels and the
objects that it prints are called there, it chose itself.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from parsers.flattened import text_of
from parsers.formats import accounts, cron, dockerd, login, logind, sshd, su, sudo
from parsers.values import to_integer
from pipelines.normalize.identity import is_of_containers

HEADED: Final = frozenset(
    {
        *accounts.PROGRAMS, *cron.PROGRAMS, *dockerd.PROGRAMS, *login.PROGRAMS, *logind.PROGRAMS, *sshd.PROGRAMS,
        *su.PROGRAMS, *sudo.PROGRAMS, "kernel", "unix_chkpwd",
    }
)  # fmt: skip
"""Programs whose lines are known by a head that names them."""

LEVELS: Final = ("emergency", "alert", "critical", "error", "warn", "notice", "info", "debug")
"""`log.level` of severities 0 to 7 (RFC 5424 section 6.2.1), by the names that parsers give."""

NAME_CHARACTERS: Final = 64
"""A longer name of a program is none that a head could hold."""

ENGINES: Final = ("dockerd", "conmon")
"""Programs that write containers' lines to journald, as root; those of other users are not told from imitations."""

_OF_JOURNAL: Final = frozenset({"SYSLOG_IDENTIFIER", "_TRANSPORT", "_PID"})
_OF_ENGINES: Final = frozenset({"CONTAINER_ID_FULL", "CONTAINER_ID"})
_ONLY_JOURNAL: Final = _OF_JOURNAL | _OF_ENGINES
_OF_SYSLOG: Final = frozenset({"ident", "host"})
_OF_CONTAINERS: Final = ("log", "container_id", "kubernetes", "stream", "logtag", "_p")
"""Keys of Docker's drivers, of Fluent Bit's parsers of runtimes' files, and of its filter for pods."""

_STREAMS: Final = {3: "stderr", 6: "stdout"}
"""By what priority Docker's driver tells a container's outputs apart."""

_UNIT_END: Final = ".service"


class Daemon(msgspec.Struct, frozen=True):
    """What a daemon says beside a line: fields, and the head that the line's parser needs.

    Of a container's line it is only who wrote it, in the keys that Docker's other drivers use: then `engine_tag` is the
    tag that the Engine made, and `image` what it calls the image.
    """

    fields: dict[str, Any] = {}
    head: str = ""
    engine_tag: str | None = None
    image: str = ""


def daemon_of(fields: dict[str, Any], tag: bytes) -> Daemon | None:
    """Take what a daemon says out of the fields of a record of this tag; None where no daemon sent it."""
    if not may_be_daemons(fields) or not fields.keys().isdisjoint(_OF_CONTAINERS):
        return None
    if is_of_containers(text_of(tag)[0]):
        return None
    if "MESSAGE" not in fields:
        return _of_syslog(fields) if fields.keys() >= _OF_SYSLOG and "message" in fields else None
    of_container = not fields.keys().isdisjoint(_OF_ENGINES)
    if of_container and _is_engines(fields):
        return _of_container(fields)
    return _of_journal(fields, headed=not of_container) if not fields.keys().isdisjoint(_OF_JOURNAL) else None


def may_be_daemons(fields: Mapping[str, Any]) -> bool:
    """Tell whether a record may be a daemon's, by the keys beside its line."""
    return not fields.keys().isdisjoint(_ONLY_JOURNAL) or fields.keys() >= _OF_SYSLOG


def put_under(said: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parser's fields with those of the daemon that it does not have itself."""
    made = dict(said)
    for name, value in fields.items():
        below = made.get(name)
        made[name] = put_under(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return made


def _is_engines(fields: Mapping[str, Any]) -> bool:
    """Tell by what journald noted whether an engine wrote a record."""
    return fields.get("_COMM") in ENGINES and fields.get("_UID") == "0"


def _of_container(fields: dict[str, Any]) -> Daemon:
    """Rename the keys of Docker's driver to those of its others.

    Its labels and variables can replace these keys, one by one: where the two ids are not of one container, the short
    one is taken for the Engine's tag, which is held against the other.
    """
    whole, short = _text(fields, "CONTAINER_ID_FULL"), _text(fields, "CONTAINER_ID")
    name, tag, image = (_text(fields, key) for key in ("CONTAINER_NAME", "CONTAINER_TAG", "IMAGE_NAME"))
    priority = _number(fields, "PRIORITY")
    for key, value in (
        ("container_id", whole or short),
        ("container_name", name),
        ("source", _STREAMS.get(priority or 0)),
    ):
        if value:
            fields.setdefault(key, value)
    if whole and short and not whole.startswith(short):
        tag = short
    return Daemon(engine_tag=tag or short or "", image=image or "")


def _of_journal(fields: dict[str, Any], *, headed: bool) -> Daemon:
    """Take journald's keys. Not `headed`: it says of itself that a container wrote it, so it is read as no program's.

    Which of a container's outputs it says is kept then, so that it is no line of the host's either.
    """
    name = _text(fields, "SYSLOG_IDENTIFIER") or _text(fields, "_COMM")
    pid = _number(fields, "_PID")
    written = _number(fields, "SYSLOG_PID")
    severity = _number(fields, "PRIORITY")
    if not headed and severity in _STREAMS:
        fields.setdefault("source", _STREAMS[severity])
    unit = fields.get("_SYSTEMD_UNIT")
    service = None
    if isinstance(unit, str) and unit.endswith(_UNIT_END) and unit != _UNIT_END:
        service = str(fields.pop("_SYSTEMD_UNIT")).removesuffix(_UNIT_END)
    process = {
        "name": name,
        "pid": pid if pid is not None else written,
        "executable": _text(fields, "_EXE"),
        "command_line": _text(fields, "_CMDLINE"),
        "user": _some({"id": _text(fields, "_UID")}),
    }
    syslog = _syslog(
        name,
        _text(fields, "_HOSTNAME"),
        severity=severity,
        facility=_number(fields, "SYSLOG_FACILITY"),
    )
    daemon = _daemon(process, syslog, service)
    return daemon if headed else Daemon(daemon.fields)


def _of_syslog(fields: dict[str, Any]) -> Daemon:
    name, host = _text(fields, "ident"), _text(fields, "host")
    priority = _number(fields, "pri")
    if priority is not None and priority > 191:
        priority = None
    codes = divmod(priority, 8) if priority is not None else (None, None)
    syslog = _syslog(name, host, severity=codes[1], facility=codes[0])
    return _daemon({"name": name, "pid": _number(fields, "pid")}, syslog, None)


def _daemon(process: dict[str, Any], syslog: dict[str, Any], service: str | None) -> Daemon:
    code = syslog.get("severity", {}).get("code")
    found = {
        "service": _some({"name": service}),
        "process": _some(process),
        "log": _some({"level": LEVELS[code] if code is not None else None, "syslog": syslog}),
    }
    name, pid = process["name"], process["pid"]
    head = ""
    if name in HEADED and len(name) <= NAME_CHARACTERS:
        head = f"{name}[{pid}]: " if pid is not None else f"{name}: "
    return Daemon(_some(found), head)


def _syslog(name: str | None, host: str | None, *, severity: int | None, facility: int | None) -> dict[str, Any]:
    known = severity is not None and 0 <= severity < len(LEVELS)
    return _some(
        {
            "appname": name,
            "hostname": host,
            "severity": {"code": severity} if known else None,
            "facility": {"code": facility} if facility is not None and 0 <= facility <= 23 else None,
        }
    )


def _some(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value not in (None, "", {})}


def _text(fields: dict[str, Any], key: str) -> str | None:
    """Take a text; anything else stays where it is."""
    if not isinstance(fields.get(key), str):
        return None
    value: str = fields.pop(key)
    return value or None


def _number(fields: dict[str, Any], key: str) -> int | None:
    """Take a number, which journald and syslog write as texts; anything else stays where it is."""
    value = fields.get(key)
    number = to_integer(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if number is None or number < 0:
        return None
    del fields[key]
    return number
