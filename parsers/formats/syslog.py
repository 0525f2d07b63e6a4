r"""Syslog: a line of any program with the head of RFC 3164 or RFC 5424.

    Nov 29 02:00:00 web1 kernel: [12345.678] eth0: link up
    <30>Nov 29 02:00:01 web[812]: hello
    <165>1 2026-11-29T02:00:02.123456Z web1 app 42 ID47 [ex@32473 k="a\"b\]c"] started

The rest is `message`. Without a host the head must have a priority or a process's number, and a time with a year must
have an offset in figures, as rsyslog and journalctl write it: much else begins with a time, a word and a colon. Lines of
programs that have a format of their own are left to it. Text of RFC 5424 gives its structured data as an object. Not known: Cisco's forms. Source: RFC 3164 section 4, RFC 5424
section 6.
"""

import re
from typing import Any, Final

from parsers.auth import SYSLOG
from parsers.flattened import flattened
from parsers.format import Format
from parsers.formats import accounts, cron, login, logind, sshd, su, sudo
from parsers.syslog_head import HEAD_TIME, HOST, PRIORITY, PROGRAM, STAMP, head_fields, priority_fields
from parsers.table import Table
from parsers.values import NOTHING, integer, made, text, to_integer

_NO_LEVEL = r"(?!(?i:trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal|panic)\b)"
_OWN = [*sshd.PROGRAMS, *sudo.PROGRAMS, *su.PROGRAMS, *login.PROGRAMS, *accounts.PROGRAMS, *cron.PROGRAMS]
_OWN += [*logind.PROGRAMS, "haproxy", "audispd", "audisp-syslog", "audisp-remote", "unix_chkpwd"]
_NAMES = "|".join(map(re.escape, _OWN))
_PAM = r"(?:message repeated \d{1,9} times: \[ )?(?:pam_[a-z]|PAM \d)"
_NOT_OWN = rf"(?!(?:{_NAMES})(?:\[\d|: ))"
_TEXT = rf"(?P<text>(?!{_PAM}|(?:\[[ \d.]{{1,24}}\] )?audit: type=).*)"
_NOT_OWN_5424 = rf"(?!(?:{_NAMES}) (?:-|\d{{1,10}}) - - |\S{{1,255}} (?:-|\d{{1,10}}) - - \ufeff?{_PAM})"
"""In a stream that shows syslog first, lines that have a format of their own must be left to that."""

_OF_FILES = (
    r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?[+-]\d\d:?\d\d"
)
_TAG = rf"{_NOT_OWN}(?P<program>{PROGRAM})(?:\[(?P<pid>\d{{1,10}})\])?"

_HEAD = {**head_fields(), "process.pid": integer("pid")}
_OF_PROCESS = {name: value for name, value in _HEAD.items() if name.startswith("process.")}

WITH_HOST = Table(
    dataset=SYSLOG,
    pattern=(
        rf"(?:<{PRIORITY}>)?(?P<stamp>{_OF_FILES}) {_NO_LEVEL}(?P<hostname>{HOST}) {_NO_LEVEL}{_TAG}: "
        rf"{_TEXT}"
    ),
    time=HEAD_TIME,
    message=text("text"),
    fields=_HEAD,
)

WITH_PRIORITY = Table(
    dataset=SYSLOG,
    pattern=rf"<{PRIORITY}>(?P<stamp>{STAMP}) {_TAG}: {_TEXT}",
    time=HEAD_TIME,
    message=text("text"),
    fields={**_OF_PROCESS, **priority_fields()},
)
"""As programs write it to /dev/log, and Docker's logging driver sends it."""

WITH_PID = Table(
    dataset=SYSLOG,
    pattern=rf"(?P<stamp>{_OF_FILES}) {_NOT_OWN}(?P<program>{PROGRAM})\[(?P<pid>\d{{1,10}})\]: {_TEXT}",
    time=HEAD_TIME,
    message=text("text"),
    fields=_OF_PROCESS,
)

_NAME = r"[^\s\]\"=]{1,255}"
_PARAMETER = rf"({_NAME})=\"((?:[^\"\\]|\\.)*)\""
_ELEMENT = re.compile(rf"\[({_NAME})((?: +{_PARAMETER})*) *\]", re.DOTALL)
_PAIR = re.compile(_PARAMETER, re.DOTALL)
_ESCAPED = re.compile(r"\\([\"\\\]])")


PARAMETERS_LIMIT: Final = 1024
"""Elements and parameters of structured data; where there are more, it stays a text under its first element's name."""


def to_structured(found: str) -> dict[str, Any] | None:
    r"""Return structured data by element and name; a name's further values make a list; `\"`, `\\`, `\]` are escapes."""
    if found.count("[") + found.count('="') > PARAMETERS_LIMIT:
        first = _ELEMENT.match(found)
        return flattened({first[1]: found}) if first is not None else None
    elements: dict[str, dict[str, Any]] = {}
    for element in _ELEMENT.finditer(found):
        values: dict[str, list[str]] = {}
        for pair in _PAIR.finditer(element[2]):
            values.setdefault(pair[1], []).append(_ESCAPED.sub(r"\1", pair[2]))
        kept = elements.setdefault(element[1], {})
        kept.update({name: each[0] if len(each) == 1 else each for name, each in values.items()})
    return flattened(elements) or None


RFC_5424 = Table(
    dataset=SYSLOG,
    pattern=(
        rf"<{PRIORITY}>(?P<version>[1-9]\d{{0,2}}) (?:-|(?P<stamp>\d{{4}}-\d\d-\d\dT\S{{8,24}})) "
        rf"(?P<hostname>\S{{1,255}}) {_NOT_OWN_5424}(?P<program>\S{{1,255}}) (?P<pid>\S{{1,128}}) (?P<code>\S{{1,255}}) "
        rf"(?P<structured>-|(?:\[{_NAME}(?: +{_NAME}=\"(?:[^\"\\]|\\.)*\")* *\])+)(?: \ufeff?(?P<text>.*))?"
    ),
    time=HEAD_TIME,
    message=text("text"),
    fields={
        "process.name": text("program", absent=NOTHING),
        "process.pid": integer("pid"),
        "log.syslog.hostname": text("hostname", absent=NOTHING),
        **priority_fields(),
        "log.syslog.version": text("version"),
        "log.syslog.procid": made(lambda found: found if found != "-" and to_integer(found) is None else None, "pid"),
        "log.syslog.msgid": text("code", absent=NOTHING),
        "log.syslog.structured_data": made(to_structured, "structured"),
    },
)


def _sniff(line: str) -> bool:
    if line[:1] == "<":
        return ">" in line[2:5]
    return (line[3:4] == " " and line[9:10] == line[12:13] == ":") or (line[10:11] == "T" and ": " in line[25:400])


FORMAT: Final = Format(
    title="Syslog of any program", tables=(WITH_HOST, WITH_PRIORITY, RFC_5424, WITH_PID), sniff=_sniff, rank=6
)
