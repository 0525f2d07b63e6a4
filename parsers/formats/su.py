r"""su: who became whom, or tried to; util-linux's (also `runuser`) and shadow's.

    Nov 29 02:00:00 web1 su[231]: (to root) alice on pts/0
    <37>Nov 29 02:00:01 su[232]: FAILED SU (to root) bob on pts/1
    Nov 29 02:00:02 web1 su[233]: + pts/0 alice:root

`user.*` is who asked, `user.effective.*` who it became. The terminal stays in `message`: ECS has no name for it. Source:
util-linux's su-common.c, shadow's su.c.
"""

from typing import Final

from parsers.auth import ABSENT, FAILED, LOGIN, OTHER_TEXT, auth_table
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.values import text

PROGRAMS: Final = ("su", "runuser")

_FIELDS = {"user.name": text("user", absent=ABSENT), "user.effective.name": text("target", absent=ABSENT)}

BECAME = auth_table(
    PROGRAMS,
    r"\(to (?P<target>[^)]{1,256})\) (?P<user>.{0,256}) on \S{1,256}",
    {**LOGIN, "event.action": "su"},
    _FIELDS,
)

REFUSED = auth_table(
    PROGRAMS,
    r"FAILED (?:SU|RUNUSER) \(to (?P<target>[^)]{1,256})\) (?P<user>.{0,256}) on \S{1,256}",
    {**FAILED, "event.action": "su"},
    _FIELDS,
)

SHADOW_BECAME = auth_table(
    PROGRAMS,
    r"(?:\+ \S{1,256} (?P<user>[^:\s]{1,256}):(?P<target>[^:\s]{1,256})"
    r"|Successful su for (?P<became>\S{1,256}) by (?P<by>\S{1,256}))",
    {**LOGIN, "event.action": "su"},
    {"user.name": text("user", "by", absent=ABSENT), "user.effective.name": text("target", "became", absent=ABSENT)},
)

SHADOW_REFUSED = auth_table(
    PROGRAMS,
    r"(?:- \S{1,256} (?P<user>[^:\s]{1,256}):(?P<target>[^:\s]{1,256})"
    r"|FAILED su for (?P<became>\S{1,256}) by (?P<by>\S{1,256}))",
    {**FAILED, "event.action": "su"},
    {"user.name": text("user", "by", absent=ABSENT), "user.effective.name": text("target", "became", absent=ABSENT)},
)

OTHER = auth_table(PROGRAMS, OTHER_TEXT + ".*")


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("su[" in head or "su: " in head or "runuser" in head or " su " in head)


FORMAT: Final = Format(
    title="su and runuser", tables=(BECAME, REFUSED, SHADOW_BECAME, SHADOW_REFUSED, OTHER), sniff=_sniff
)
