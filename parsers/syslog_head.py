"""The head that syslog daemons put before a program's text, as part of the patterns of such programs' formats.

RFC 3164 section 4.1 and what files and sockets hold of it: `[<PRI>]Nov 29 02:00:00 [HOST] PROGRAM[PID]: TEXT`, with an
RFC 3339 time in rsyslog's and systemd's newer files; and RFC 5424 without structured data, as rsyslog forwards it:
`<PRI>1 2026-11-29T02:00:00Z HOST PROGRAM PID - - TEXT`. In a container the program's own standard error has the text
alone, or the program before it. Its groups and fields are the same in every format (`protocols/syslog-and-audit.md`
section 5).
"""

import re
from collections.abc import Iterable
from typing import Final

from parsers.times import bsd
from parsers.values import NOTHING, Value, integer, made, otherwise, text

HEAD_TIME: Final = bsd("stamp")
"""The time of a line with a head."""

PROGRAM: Final = r"[^\s:\[<>]{1,64}"
"""The name of any program; gdm's ends with a bracket (`gdm-password][7]: `)."""

STAMP: Final = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{4}-\d\d-\d\dT[\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)"
"""The times of a head."""

PRIORITY: Final = r"(?P<priority>1[0-8]\d|19[01]|\d{1,2})"
"""The number in angle brackets: facility times 8 and severity (RFC 5424 section 6.2.1)."""

HOST: Final = r"[^\s\[]{0,254}[^\s:\[]"
"""A host's name or address; what ends with a colon is a program."""


def headed(programs: Iterable[str] | None, pattern: str, *, bare: bool = False) -> str:
    """Return the pattern of a line of these programs (None: of any); what `pattern` matches is also the group `text`.

    With `bare`, the program's name may be missing: only for texts that no other program writes. Lines that rsyslog
    wrote once for several (`message repeated 3 times: [ TEXT]`) match too, and `text` has all of it.
    """
    names = PROGRAM if programs is None else "|".join(map(re.escape, programs))
    program = rf"(?P<program>{names})(?:(?:\[(?P<pid>\d{{1,10}})\])?: | (?P<process>-|\d{{1,10}}) - - \ufeff?)"
    return (
        rf"(?:(?:<{PRIORITY}>(?:1 )?)?(?P<stamp>{STAMP}) (?:(?P<hostname>{HOST}) )?)?"
        rf"(?:{program}){'?' if bare else ''}"
        rf"(?P<text>(?P<repeated>message repeated \d{{1,9}} times: \[ )?{pattern}(?(repeated)\]))"
    )


def sniff_head(line: str, programs: tuple[str, ...]) -> bool:
    """Whether a line may begin with a head, or with the name of one of these programs."""
    return (
        line[:1] == "<"
        or line[3:4] == line[6:7] == " "
        or (line[4:5] == line[7:8] == "-" and line[10:11] == "T")
        or line.startswith(programs)
    )


def head_fields(program: str | None = None) -> dict[str, Value]:
    """Fields of the head; `program` is the process's name where the line does not say it."""
    return {
        "process.name": otherwise(text("program"), program) if program else text("program", absent=NOTHING),
        "process.pid": integer("pid", "process"),
        "log.syslog.hostname": text("hostname", absent=NOTHING),
        **priority_fields(),
    }


def priority_fields() -> dict[str, Value]:
    """Fields of PRIORITY."""
    return {
        "log.syslog.priority": integer("priority"),
        "log.syslog.facility.code": made(lambda value: int(value) >> 3, "priority", kind="long"),
        "log.syslog.severity.code": made(lambda value: int(value) & 7, "priority", kind="long"),
    }
