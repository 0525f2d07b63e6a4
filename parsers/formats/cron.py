r"""cron: commands that were run, and crontabs that were edited; Debian's cron, cronie, anacron and BusyBox's crond.

    Nov 29 02:00:01 web1 CRON[501]: (root) CMD (run-parts /etc/cron.hourly)
    <78>Nov 29 02:00:02 crontab[502]: (alice) AUTH (crontab command not allowed)
    crond: USER root pid 17 cmd run-parts /etc/periodic/15min

`user.name` is whom a command ran for or who used `crontab`. Other texts
of these programs give their head. Source: cron's misc.c and crontab.c, cronie's, BusyBox's crond.c.
"""

from typing import Any, Final

from parsers.auth import ABSENT, REASON, SYSLOG, auth_table, named, other_table
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.values import mapped, text

PROGRAMS: Final = ("cron", "crond", "CRON", "CROND", "crontab", "anacron", "/usr/sbin/cron", "/USR/SBIN/CRON")

_USER_NAME = {"user.name": text("user", absent=ABSENT | {"*system*", "CRON"})}
_RAN: Final[dict[str, Any]] = {"event.category": ["process"], "event.type": ["start"], "event.action": "cron_command"}

COMMAND = auth_table(
    PROGRAMS,
    r"\((?P<user>[^()\s]{1,256})\) CMD \((?:\[\d{1,10}\] )?(?P<command>.*)\)",
    _RAN,
    {**_USER_NAME, "process.command_line": named("command")},
    dataset=SYSLOG,
)

ENDED = auth_table(
    PROGRAMS,
    r"\((?P<user>[^()\s]{1,256})\) (?:END|CMDEND) \((?:\[\d{1,10}\] )?(?P<command>.*)\)",
    {**_RAN, "event.type": ["end"]},
    {**_USER_NAME, "process.command_line": named("command")},
    dataset=SYSLOG,
)

BUSYBOX = auth_table(
    ("crond",),
    r"USER (?P<user>\S{1,256}) pid +\d{1,10} cmd (?P<command>.*)",
    _RAN,
    {**_USER_NAME, "process.command_line": named("command")},
    dataset=SYSLOG,
)

EDITED = auth_table(
    PROGRAMS,
    r"\((?P<user>[^()\s]{1,256})\) (?P<what>BEGIN EDIT|END EDIT|LIST|REPLACE|DELETE|RELOAD) \([^()]{1,4096}\)",
    {"event.category": ["configuration"], "event.outcome": "success"},
    {
        "event.type": mapped(
            "what",
            {
                "BEGIN EDIT": ["access"],
                "END EDIT": ["access"],
                "LIST": ["access"],
                "REPLACE": ["change"],
                "DELETE": ["deletion"],
                "RELOAD": ["access"],
            },
            kind="keyword[]",
        ),
        "event.action": mapped(
            "what",
            {
                "BEGIN EDIT": "crontab_edit_begin",
                "END EDIT": "crontab_edit_end",
                "LIST": "crontab_list",
                "REPLACE": "crontab_replace",
                "DELETE": "crontab_delete",
                "RELOAD": "crontab_reload",
            },
        ),
        **_USER_NAME,
    },
    dataset=SYSLOG,
)

DENIED = auth_table(
    PROGRAMS,
    r"\((?P<user>[^()\s]{1,256})\) AUTH \((?P<reason>[^()]{1,256})\)",
    {
        "event.category": ["configuration"],
        "event.type": ["access"],
        "event.outcome": "failure",
        "event.action": "crontab_denied",
    },
    {**REASON, **_USER_NAME},
    dataset=SYSLOG,
)

OTHER = other_table(PROGRAMS, dataset=SYSLOG)


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("cron" in head or "CRON" in head)


FORMAT: Final = Format(title="cron and crontab", tables=(COMMAND, ENDED, BUSYBOX, EDITED, DENIED, OTHER), sniff=_sniff)
