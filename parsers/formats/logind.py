r"""systemd-logind: sessions of users, begun and ended.

    Nov 29 02:00:00 web1 systemd-logind[410]: New session 12 of user alice.
    <38>Nov 29 02:00:01 systemd-logind[410]: New session '13' of user 'bob' with class 'user' and type 'tty'.
    Nov 29 02:00:02 web1 systemd-logind[410]: Session 12 logged out. Waiting for processes to exit.

The session's number stays in `message`. Other texts (seats, buttons, power) give their head. Source: systemd's
src/login/logind-session.c.
"""

from typing import Final

from parsers.auth import CLOSED, OPENED, USER_NAME, auth_table, other_table
from parsers.format import Format
from parsers.syslog_head import sniff_head

PROGRAMS: Final = ("systemd-logind", "elogind", "elogind-daemon")

BEGUN = auth_table(
    PROGRAMS,
    r"New session '?[^\s']{1,64}'? of user '?(?P<user>[^\s']{1,256}?)'?(?:\.| with class '[^\s']{1,64}' and type '[^\s']{1,64}'\.)",
    {**OPENED, "event.action": "session-started"},
    USER_NAME,
)

ENDED = auth_table(
    PROGRAMS,
    r"(?:Session '?[^\s']{1,64}'? logged out\.[^\r]{0,200}|Removed session '?[^\s']{1,64}'?\.)",
    {**CLOSED, "event.action": "session-ended"},
)

OTHER = other_table(PROGRAMS)


def _sniff(line: str) -> bool:
    return sniff_head(line, PROGRAMS) and "logind" in line[:400]


FORMAT: Final = Format(title="systemd-logind", tables=(BEGUN, ENDED, OTHER), sniff=_sniff)
