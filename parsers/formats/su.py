r"""su: who became whom, or tried to; util-linux's (also `runuser`) and shadow's.

    Nov 29 02:00:00 web1 su[231]: (to root) alice on pts/0
    <37>Nov 29 02:00:01 su[232]: FAILED SU (to root) bob on pts/1
    Nov 29 02:00:02 web1 su[233]: + pts/0 alice:root

`user.*` is who asked, `user.effective.*` who it became. Source: util-linux's su-common.c, shadow's su.c.
"""

from typing import Final

from parsers.auth import BECAME, FAILED, LOGIN, TERMINAL, auth_table, named, other_table
from parsers.format import Format
from parsers.syslog_head import sniff_head

PROGRAMS: Final = ("su", "runuser")

_SU: Final = {"event.action": "su"}
_BY_NAME: Final = r"\(to (?P<target>[^)]{1,256})\) (?P<user>.{0,256}) on (?P<terminal>\S{1,256})"
_SHADOW: Final = r"(?P<user>[^:\s]{1,256}):(?P<target>[^:\s]{1,256})"
_FOR: Final = r"su for (?P<became>\S{1,256}) by (?P<by>\S{1,256})"
_FIELDS: Final = {**BECAME, **TERMINAL}
_NOT: Final = {**FAILED, **_SU, "event.reason": "refused by PAM"}
_SHADOW_NOT: Final = {**FAILED, **_SU, "event.reason": "refused"}
_SHADOW_FIELDS: Final = {"user.name": named("user", "by"), "user.effective.name": named("target", "became"), **TERMINAL}

DONE = auth_table(PROGRAMS, _BY_NAME, {**LOGIN, **_SU}, _FIELDS)

REFUSED = auth_table(PROGRAMS, rf"FAILED (?:SU|RUNUSER) {_BY_NAME}", _NOT, _FIELDS)

SHADOW_DONE = auth_table(
    PROGRAMS, rf"(?:\+ (?P<terminal>\S{{1,256}}) {_SHADOW}|Successful {_FOR})", {**LOGIN, **_SU}, _SHADOW_FIELDS
)

SHADOW_REFUSED = auth_table(
    PROGRAMS, rf"(?:- (?P<terminal>\S{{1,256}}) {_SHADOW}|FAILED {_FOR})", _SHADOW_NOT, _SHADOW_FIELDS
)

OTHER = other_table(PROGRAMS)


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("su[" in head or "su: " in head or "runuser" in head or " su " in head)


FORMAT: Final = Format(title="su and runuser", tables=(DONE, REFUSED, SHADOW_DONE, SHADOW_REFUSED, OTHER), sniff=_sniff)
