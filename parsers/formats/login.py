r"""login: who logged in on a terminal, or failed to; util-linux's and shadow's.

    Nov 29 02:00:00 web1 login[300]: LOGIN ON tty1 BY alice FROM host.example.net
    Nov 29 02:00:01 web1 login[301]: FAILED LOGIN (2) on '/dev/tty1' FOR 'alice', Authentication failure
    Nov 29 02:00:02 web1 login[302]: FAILED LOGIN 1 FROM tty1 FOR guest, User not known to the underlying authentication module

What was typed as a name can hold anything: it ends at the last comma. The terminal stays in `message`. Source:
util-linux's login.c, shadow's login.c.
"""

from typing import Final

from parsers.auth import ABSENT, FAILED, LOGIN, OTHER_TEXT, auth_table, host_fields
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.values import made, text

PROGRAMS: Final = ("login",)

_USER_NAME = {"user.name": text("user", absent=ABSENT)}
_ACTION = {"event.action": "user_login"}
_REASON = {"event.reason": text("reason", absent=ABSENT)}
_SESSION = {**LOGIN, "event.category": ["authentication", "session"], **_ACTION}
_HOST = r"(?P<address>[^\s']{1,255})"
_TERMINAL = r"(?:/dev/)?(?:tty[A-Za-z0-9]{0,32}|pts/\d{1,9}|console|hvc\d{1,4})"

OPENED = auth_table(
    PROGRAMS,
    rf"(?:LOGIN ON \S{{1,256}} BY (?P<user>\S{{1,256}})|DIALUP AT \S{{1,256}} BY (?P<dialled>\S{{1,256}}))(?: FROM {_HOST})?",
    _SESSION,
    {"user.name": text("user", "dialled", absent=ABSENT), **host_fields()},
)

ROOT = auth_table(
    PROGRAMS,
    rf"(?P<whom>ROOT) LOGIN (?:ON \S{{1,256}}(?: FROM {_HOST})?| ?on '[^']{{1,256}}'(?: from '(?P<named>[^\s']{{1,255}})')?)",
    _SESSION,
    {"user.name": made(lambda _: "root", "whom"), **host_fields()},
)

REFUSED_SHADOW = auth_table(
    PROGRAMS,
    rf"FAILED LOGIN \(\d{{1,9}}\)(?: on '[^']{{1,256}}')?(?: from '{_HOST}')? FOR '(?P<user>.{{0,512}})', (?P<reason>[^,]{{1,200}})",
    {**FAILED, **_ACTION},
    {**_REASON, **_USER_NAME, **host_fields()},
)

REFUSED = auth_table(
    PROGRAMS,
    rf"FAILED LOGIN (?:\d{{1,9}}|SESSION) FROM (?:{_TERMINAL}|{_HOST}) FOR (?P<user>.{{0,512}}), (?P<reason>[^,]{{1,200}})",
    {**FAILED, **_ACTION},
    {**_REASON, **_USER_NAME, **host_fields()},
)

TOO_MANY = auth_table(
    PROGRAMS,
    rf"TOO MANY LOGIN TRIES \(\d{{1,9}}\)(?: FROM (?:{_TERMINAL}|{_HOST}) FOR (?P<user>.{{0,512}}), [^,]{{1,200}}"
    r"|(?: on '[^']{1,256}')?(?: from '(?P<named>[^\s']{1,255})')? FOR '(?P<typed>.{0,512})')",
    {**FAILED, **_ACTION, "event.reason": "too many login tries"},
    {"user.name": text("user", "typed", absent=ABSENT), **host_fields()},
)

OTHER = auth_table(PROGRAMS, OTHER_TEXT + ".*")


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("login[" in head or "login: " in head or " login " in head)


FORMAT: Final = Format(title="login", tables=(OPENED, ROOT, REFUSED_SHADOW, REFUSED, TOO_MANY, OTHER), sniff=_sniff)
