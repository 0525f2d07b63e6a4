"""The head that syslog daemons put before a program's text, as part of the patterns of such programs' formats.

RFC 3164 section 4.1 and what files hold: `[<PRI>]Nov 29 02:00:00 [HOST] PROGRAM[PID]: TEXT`, with an RFC 3339 time
in rsyslog's and systemd's newer files. In a container the program's own standard error has the text alone, or the
program before it. Its groups and fields are the same in every format (`protocols/syslog-and-audit.md` section 5).
"""

import re
from collections.abc import Iterable
from typing import Final

from parsers.times import bsd
from parsers.values import NOTHING, Value, integer, made, otherwise, text, to_integer

HEAD_TIME: Final = bsd("stamp")
"""The time of a line with a head."""


def headed(programs: Iterable[str], pattern: str, *, bare: bool = False) -> str:
    """Return the pattern of a line of these programs; what `pattern` matches is also the group `text`.

    With `bare`, the program's name may be missing: only for texts that no other program writes.
    """
    names = "|".join(map(re.escape, programs))
    program = rf"(?P<program>{names})(?:\[(?P<pid>\d{{1,10}})\])?: "
    return (
        r"(?:(?:<(?P<priority>\d{1,3})>)?"
        r"(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)) "
        r"(?:(?P<hostname>[^\s:\[]{1,255}) )?)?"
        rf"(?:{program}){'?' if bare else ''}(?P<text>{pattern})"
    )


def head_fields(program: str) -> dict[str, Value]:
    """Fields of the head; `program` is the process's name where the line does not say it."""
    return {
        "process.name": otherwise(text("program"), program),
        "process.pid": integer("pid"),
        "log.syslog.hostname": text("hostname", absent=NOTHING),
        "log.syslog.priority": integer("priority"),
        "log.syslog.facility.code": made(lambda value: _part(value, 3), "priority", kind="long"),
        "log.syslog.severity.code": made(lambda value: _part(value, 0), "priority", kind="long"),
    }


def _part(priority: str, shift: int) -> int | None:
    """Return facility (shift 3) or severity (0) of a priority (RFC 5424 section 6.2.1)."""
    number = to_integer(priority)
    if number is None or number > 191:
        return None
    return number >> 3 if shift else number & 7
