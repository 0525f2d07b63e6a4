r"""Logins to applications: plain lines that name a user and how the attempt ended.

    login failed for user "x" from 192.0.2.1
    2026-11-29 02:00:00,123 WARNING app.auth: Failed authentication attempt for alice from 192.0.2.7:51234: wrong password
    user 'bob' logged in from 192.0.2.8

Known are such sentences with the words login, logon, sign-in or authentication, with a name in quotation marks or
without blanks, an address at the end, and before them a time, a level and a logger's name with a colon; Gitea, Vaultwarden,
phpMyAdmin and WordPress's plugins write so. A sentence with anything else stays as it is: a name without quotation
marks that has a blank, an address before the name. Applications that log JSON or logfmt are read by those formats.
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.auth import ABSENT, FAILED, LOGIN
from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import Value, address, level, port, text

_BEFORE = (
    r"(?:\[?(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z| ?[+-]\d\d:?\d\d)?)\]?,? )?"
    r"(?:\[?(?P<level>(?i:trace|debug|info|notice|warn|warning|error|critical|fatal))\]?:? )?"
    r"(?:\[?(?P<logger>[A-Za-z][\w.$/-]{0,127})\]?(?::| -) )?"
)
_NAME = r"(?:\"(?P<double>.{1,256})\"|'(?P<single>.{1,256})'|<(?P<angle>[^<>\s]{1,256})>|(?P<plain>[^\s\"'<>()\[\],:;]{1,128}))"
_ADDRESS = (
    r"(?: (?:from|by)(?: (?:ip|IP|host|address|client))?:? \(?(?:\[(?P<bracketed>[0-9A-Fa-f:.]{2,45})\]"
    r"|(?P<address>\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}))(?::(?P<port>\d{1,5}))?\)?)"
)
_WHY = r"(?:[:;,] ?(?P<reason>[^\r\"']{1,256})|\.)?"
_WHAT = r"(?i:login|log-in|logon|log-on|sign-in|sign in|authentication)"
_WHOSE = r"(?:(?i:user|username|account|for user) ?:? ?)"

_USER = {"user.name": text("double", "single", "angle", "plain", absent=ABSENT)}
_FIELDS = {
    "event.reason": text("reason", absent=ABSENT),
    **_USER,
    "source.address": text("address", "bracketed", absent=ABSENT),
    "source.ip": address("address", "bracketed"),
    "source.port": port("port"),
    "log.level": level("level"),
    "log.logger": text("logger", absent=ABSENT),
}


def _table(sentence: str, constants: dict[str, Any], fields: Mapping[str, Value] = _FIELDS) -> Table:
    return Table(
        pattern=rf"{_BEFORE}(?P<text>{sentence})",
        time=iso("time"),
        message=text("text"),
        constants={**constants, "event.action": "user_login"},
        fields=fields,
    )


_NOT = (
    rf"(?i:(?:(?:user|web|admin|invalid|unsuccessful) )?"
    rf"(?:failed {_WHAT}(?: attempt)?|{_WHAT} (?:attempt )?(?:failed|failure|failures|rejected|denied)))"
)
_DONE = rf"(?i:(?:successful {_WHAT}|{_WHAT} (?:successful|succeeded|success|accepted)))"
_OF_USER = rf"(?: for | by |: ){_WHOSE}{_NAME}{_ADDRESS}?{_WHY}"
_FROM_THERE = rf" for {_NAME}{_ADDRESS}{_WHY}"

NOT_USER = _table(_NOT + _OF_USER, FAILED)
OF_USER = _table(_DONE + _OF_USER, LOGIN)
NOT_THERE = _table(_NOT + _FROM_THERE, FAILED)
FROM_THERE = _table(_DONE + _FROM_THERE, LOGIN)
"""Where no word says that it is a user, an address must follow: `login failed for maintenance` names nobody."""

USER_NOT = _table(
    rf"(?i:user) {_NAME} (?i:failed to (?:log in|login|sign in|authenticate)|{_WHAT} (?:failed|rejected|denied)){_ADDRESS}?{_WHY}",
    FAILED,
)
USER = _table(
    rf"(?i:user) {_NAME} (?i:(?:has )?(?:successfully )?(?:logged in|signed in|authenticated)(?: successfully)?){_ADDRESS}?{_WHY}",
    LOGIN,
)
PHPMYADMIN_NOT = _table(rf"user denied: {_NAME} \((?P<reason>[a-z-]{{1,64}})\){_ADDRESS}", FAILED)
PHPMYADMIN = _table(
    rf"user authenticated: {_NAME}{_ADDRESS}",
    LOGIN,
    {name: value for name, value in _FIELDS.items() if name != "event.reason"},
)
VAULTWARDEN_NOT = Table(
    pattern=(
        r"(?:\[(?P<time>[\d-]{10} [\d:.]{8,18})\]\[(?P<logger>[\w:]{1,128})\]\[(?P<level>[A-Z]{4,5})\] )?"
        r"(?P<text>(?P<reason>Username or password is incorrect)\. Try again\. IP: (?P<address>[0-9A-Fa-f:.]{2,45})\. "
        r"Username: (?P<plain>.{1,256})\.)"
    ),
    time=iso("time"),
    message=text("text"),
    constants={**FAILED, "event.action": "user_login"},
    fields={
        "event.reason": text("reason"),
        "user.name": text("plain"),
        "source.address": text("address"),
        "source.ip": address("address"),
        "log.level": level("level"),
        "log.logger": text("logger", absent=ABSENT),
    },
)
"""The name is the last of the line, so it cannot imitate the address before it."""


def _sniff(line: str) -> bool:
    return any(word in line for word in _WHOM) and any(word in line for word in _WORDS)


_WHOM: Final = (" for ", "user", "User", " account")


_WORDS: Final = (
    "ogin",
    "ogon",
    "og in",
    "ogged in",
    "uthentic",
    "ign in",
    "ign-in",
    "igned in",
    "user denied",
    "incorrect",
)

FORMAT: Final = Format(
    title="Logins to applications",
    tables=(NOT_USER, OF_USER, NOT_THERE, FROM_THERE, USER_NOT, USER, PHPMYADMIN_NOT, PHPMYADMIN, VAULTWARDEN_NOT),
    sniff=_sniff,
    rank=6,
)
