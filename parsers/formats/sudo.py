r"""sudo: which command whom it was run for, and what was refused.

    Nov 29 02:00:00 web1 sudo:    alice : TTY=pts/0 ; PWD=/srv/home/alice ; USER=root ; COMMAND=/usr/bin/id -u
    <81>Nov 29 02:00:01 sudo[77]:      bob : command not allowed ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls
    Nov 29 02:00:02 web1 sudo: @cee:{"sudo":{"accept":{"submituser":"bob","command":"/usr/bin/id","runuser":"root",…

`user.*` is who asked, `user.effective.*` for whom it ran. COMMAND is last: what follows it is text, also ` ; USER=root`
in an argument, and ` ; EXIT=0` of the events that `log_exit_status` adds. `process.args` splits at blanks and keeps
what stands in single quotes together (sudo 1.9 quotes so). Of a long line the continuations (`(command continued)`)
give their user. Both forms of `log_format` are known (`sudo`, `json`). Source: sudo's lib/eventlog, sudoers(5).
"""

import re
from functools import lru_cache
from typing import Any, Final

from parsers.auth import BECAME, FAILED, REASON, TERMINAL, USER_NAME, auth_table, named, other_table, to_terminal
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.table import at_path, json_object
from parsers.values import Value, made

PROGRAMS: Final = ("sudo", "sudoedit", "sudoreplay")

_FIELD = r"(?:HOST|TTY|CHROOT|PWD|USER|GROUP|TSID|ENV|COMMAND)="
_ARGUMENT = re.compile(r"(?:'(?:[^'\\]|\\.)*'|\\.|[^\s'\\])+", re.DOTALL)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\\(.)", re.DOTALL)
COMMAND_LIMIT: Final = 8192
"""Characters of a command whose arguments are kept apart; sudo's lines have 960."""


def to_arguments(command: str) -> list[str] | None:
    """Split a command as sudo wrote it: at blanks, not within single quotes; a backslash hides the next character."""
    if len(command) > COMMAND_LIMIT:
        return None
    words = _ARGUMENT.findall(command)
    return [_QUOTED.sub(lambda part: part[1] if part[1] is not None else part[2], word) for word in words] or None


def _to_count(command: str) -> int | None:
    found = to_arguments(command)
    return len(found) if found else None


_RAN = {
    **REASON,
    **BECAME,
    "user.effective.group.name": named("group"),
    "process.command_line": named("command"),
    "process.args": made(to_arguments, "command", kind="keyword[]"),
    "process.args_count": made(_to_count, "command", kind="long"),
    "process.working_directory": named("directory"),
    **TERMINAL,
}
_METHOD = {"tidewaiter.auth.method": made(lambda reason: "password" if "password" in reason else None, "reason")}

_PLACES = (
    r"(?:HOST=[^;]{1,256} ; )?(?:TTY=(?P<terminal>[^;]{1,256}) ; )?(?:CHROOT=.{1,4096}? ; )?(?:PWD=(?P<directory>.{1,4096}?) ; )?"
    r"(?:USER=(?P<target>[^;]{1,256}) ; )?(?:GROUP=(?P<group>[^;]{1,256}) ; )?(?:TSID=[^;]{1,64} ; )?(?:ENV=.{0,4096}? ; )?"
)

COMMAND = auth_table(
    PROGRAMS,
    rf" *(?P<user>\S{{1,256}}) : {_PLACES}COMMAND=(?P<command>.*)",
    {"event.category": ["process"], "event.type": ["start"], "event.action": "sudo", "event.outcome": "success"},
    {name: value for name, value in _RAN.items() if name != "event.reason"},
)

REFUSED = auth_table(
    PROGRAMS,
    rf" *(?P<user>\S{{1,256}}) : (?P<reason>(?!{_FIELD}).{{1,512}}?) ; (?={_FIELD}){_PLACES}(?:COMMAND=(?P<command>.*))?",
    {**FAILED, "event.action": "sudo"},
    {**_RAN, **_METHOD},
)

CONTINUED = auth_table(
    PROGRAMS,
    r" *(?P<user>\S{1,256}) : (?:\(command continued\) .*|[^;\r]{1,1024})",
    {},
    USER_NAME,
)


@lru_cache(maxsize=16)
def _event(found: str) -> dict[str, Any]:
    """Return what is in the object of an event: its fields, with the time as the line's head has it."""
    whole = json_object(found) or {}
    inner = whole.get("sudo")
    kinds = [each for each in inner.values() if isinstance(each, dict)] if isinstance(inner, dict) else []
    return kinds[0] if len(kinds) == 1 else {}


def _text(name: str) -> Value:
    def convert(found: str) -> str | None:
        value = at_path(_event(found), name)
        return value if isinstance(value, str) and value else None

    return made(convert, "object")


def _arguments(found: str) -> list[str] | None:
    value = at_path(_event(found), "runargv")
    return value if isinstance(value, list) and value and all(isinstance(each, str) for each in value) else None


def _terminal(found: str) -> str | None:
    value = at_path(_event(found), "ttyname")
    return to_terminal(value) if isinstance(value, str) and value else None


_JSON = {
    "event.reason": _text("reason"),
    "user.name": _text("submituser"),
    "user.effective.name": _text("runuser"),
    "user.effective.group.name": _text("rungroup"),
    "process.command_line": made(lambda found: " ".join(_arguments(found) or ()) or None, "object"),
    "process.args": made(_arguments, "object", kind="keyword[]"),
    "process.args_count": made(lambda found: len(_arguments(found) or ()) or None, "object", kind="long"),
    "process.executable": _text("command"),
    "process.working_directory": _text("runcwd"),
    "tidewaiter.auth.terminal": made(_terminal, "object"),
}

ACCEPT_JSON = auth_table(
    PROGRAMS,
    r'@cee: ?(?P<object>\{"sudo":\{"accept":.*\})',
    {"event.category": ["process"], "event.type": ["start"], "event.action": "sudo", "event.outcome": "success"},
    {name: value for name, value in _JSON.items() if name != "event.reason"},
)

REJECT_JSON = auth_table(
    PROGRAMS, r'@cee: ?(?P<object>\{"sudo":\{"(?:reject|alert)":.*\})', {**FAILED, "event.action": "sudo"}, _JSON
)

OTHER = other_table(PROGRAMS)


def _sniff(line: str) -> bool:
    return sniff_head(line, PROGRAMS) and "sudo" in line[:400]


FORMAT: Final = Format(
    title="sudo", tables=(COMMAND, REFUSED, ACCEPT_JSON, REJECT_JSON, CONTINUED, OTHER), sniff=_sniff, marks=("sudo",)
)
