r"""login: who logged in on a terminal, or failed to; util-linux's and shadow's.

    Nov 29 02:00:00 web1 login[300]: LOGIN ON tty1 BY alice FROM host.example.net
    Nov 29 02:00:01 web1 login[301]: FAILED LOGIN (2) on '/dev/tty1' FOR 'alice', Authentication failure
    Nov 29 02:00:02 web1 login[302]: FAILED LOGIN 1 FROM tty1 FOR guest, User not known to the underlying authentication module

What was typed as a name can hold anything: it ends at the last comma. shadow's says
nothing of a login that succeeds, but for root: PAM does. Source: util-linux's login.c, shadow's login.c.
"""

from typing import Final

from parsers.auth import (
    FAILED,
    LOGIN,
    REASON,
    TERMINAL,
    USER_NAME,
    auth_table,
    host_fields,
    named,
    other_table,
    to_terminal,
)
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.values import made

PROGRAMS: Final = ("login",)

_ACTION = {"event.action": "user_login"}
_SESSION = {**LOGIN, "event.category": ["authentication", "session"], **_ACTION}
_HOST = r"(?P<address>[^\s']{1,255})"
_TERMINAL = r"(?:/dev/)?(?:tty[A-Za-z0-9]{0,32}|pts/\d{1,9}|console|hvc\d{1,4})"

OPENED = auth_table(
    PROGRAMS,
    rf"(?:LOGIN ON (?P<terminal>\S{{1,256}}) BY (?P<user>\S{{1,256}})|DIALUP AT \S{{1,256}} BY (?P<dialled>\S{{1,256}}))(?: FROM {_HOST})?",
    _SESSION,
    {"user.name": named("user", "dialled"), **host_fields(), **TERMINAL},
)

ROOT = auth_table(
    PROGRAMS,
    rf"(?P<whom>ROOT) LOGIN (?:ON (?P<terminal>\S{{1,256}})(?: FROM {_HOST})?"
    r"| ?on '(?P<on>[^']{1,256})'(?: from '(?P<named>[^\s']{1,255})')?)",
    _SESSION,
    {
        "user.name": made(lambda _: "root", "whom"),
        **host_fields(),
        "tidewaiter.auth.terminal": made(to_terminal, "terminal", "on"),
    },
)

REFUSED_SHADOW = auth_table(
    PROGRAMS,
    rf"FAILED LOGIN \(\d{{1,9}}\)(?: on '(?P<terminal>[^']{{1,256}})')?(?: from '{_HOST}')? FOR '(?P<user>.{{0,512}})', (?P<reason>[^,]{{1,200}})",
    {**FAILED, **_ACTION},
    {**REASON, **USER_NAME, **host_fields(), **TERMINAL},
)

REFUSED = auth_table(
    PROGRAMS,
    rf"FAILED LOGIN (?:\d{{1,9}}|SESSION) FROM (?:(?P<terminal>{_TERMINAL})|{_HOST}) FOR (?P<user>.{{0,512}}), (?P<reason>[^,]{{1,200}})",
    {**FAILED, **_ACTION},
    {**REASON, **USER_NAME, **host_fields(), **TERMINAL},
)

TOO_MANY = auth_table(
    PROGRAMS,
    rf"TOO MANY LOGIN TRIES \(\d{{1,9}}\)(?: FROM (?:{_TERMINAL}|{_HOST}) FOR (?P<user>.{{0,512}}), [^,]{{1,200}}"
    r"|(?: on '[^']{1,256}')?(?: from '(?P<named>[^\s']{1,255})')? FOR '(?P<typed>.{0,512})')",
    {**FAILED, **_ACTION, "event.reason": "too many login tries"},
    {"user.name": named("user", "typed"), **host_fields()},
)

OTHER = other_table(PROGRAMS)


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("login[" in head or "login: " in head or " login " in head)


FORMAT: Final = Format(title="login", tables=(OPENED, ROOT, REFUSED_SHADOW, REFUSED, TOO_MANY, OTHER), sniff=_sniff)
