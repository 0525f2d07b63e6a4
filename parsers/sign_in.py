"""Lines of web applications that say who signed in or failed to, as two tables for objects of any logger.

A line is one when it has a user's name under a known key, and an event, an action or a message that is a phrase for
signing in and nothing else (`user.login.failed`, `Login succeeded`, `failed login attempt for alice`). The outcome is
the phrase's, else that of a key which says one. A phrase must match wholly, so what a user types as a name decides
nothing.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from parsers.json_keys import FIELDS, MESSAGE, TIME
from parsers.table import Table, at_path
from parsers.values import otherwise, text

PHRASE_CHARACTERS: Final = 256
"""A longer text is no phrase."""

_SUCCESS: Final = "success|successful|successfully|succeeded|ok|accepted|granted"
_FAILURE: Final = (
    "fail|failed|failure|error|denied|rejected|refused|invalid|unauthorized|bad credentials|bad password|wrong password"
    "|invalid credentials|invalid password"
)
_GAP: Final = r"[ ._:/-]{1,3}"
_PHRASE: Final = re.compile(
    rf"(?:(?P<first>{_SUCCESS}|{_FAILURE}|unsuccessful){_GAP})?"
    rf"(?:(?:user|account|admin|password|web|auth|authentication|security|audit){_GAP}){{0,2}}"
    r"(?P<verb>log(?:ged)?[ _-]?[io]n|sign(?:ed)?[ _-]?[io]n|authentication|authenticated|authenticate|auth)"
    rf"(?:{_GAP}(?:attempt|event|request))?"
    rf"(?:{_GAP}(?P<last>{_SUCCESS}|{_FAILURE}))?"
    r"[.!]?(?: for .*)?",
    re.IGNORECASE | re.DOTALL,
)
_PHRASES: Final = ("event.action", "action", "event_type", "eventType", "event_name", "event", "message", "msg")
_OUTCOMES: Final = ("event.outcome", "outcome", "result", "success", "status")
_NAMES: Final = FIELDS["user.name"]
_NAME_KEYS: Final = frozenset({key for source in _NAMES.sources for key in (source, source.partition(".")[0])})
"""Most lines have none of them, and that is found soon."""
_GOOD: Final = frozenset({*_SUCCESS.split("|"), "true"})
_BAD: Final = frozenset({*_FAILURE.split("|"), "unsuccessful", "false"})


def sign_in(found: Mapping[str, Any]) -> str | None:
    """Return `success` or `failure` of an object that tells of somebody's signing in, else None."""
    if _NAME_KEYS.isdisjoint(found):
        return None
    phrases = [phrase for key in _PHRASES if (phrase := _phrase(at_path(found, key)))]
    if not phrases or not any(_NAMES.convert(at_path(found, key)) for key in _NAMES.sources):
        return None
    words = [word for phrase in phrases for word in (phrase["first"], phrase["last"])]
    words += [at_path(found, key) for key in _OUTCOMES]
    if any(phrase["verb"].lower() in _DONE for phrase in phrases):
        words.append("success")
    return next((told for word in words if (told := _outcome(word))), None)


_DONE: Final = frozenset(
    {"authenticated", "logged in", "logged on", "signed in", "signed on", "logged_in", "signed_in"}
)
"""Verbs that say by themselves that it succeeded."""


def _phrase(value: Any) -> "re.Match[str] | None":
    return _PHRASE.fullmatch(value) if isinstance(value, str) and len(value) <= PHRASE_CHARACTERS else None


def _outcome(word: Any) -> str | None:
    if not isinstance(word, str | bool):
        return None
    name = str(word).lower()
    return "success" if name in _GOOD else "failure" if name in _BAD else None


def _table(outcome: str, kind: str) -> Table:
    return Table(
        requires=(),
        needs=("user.name",),
        accept=lambda found: sign_in(found) == outcome,
        time=TIME,
        message=MESSAGE,
        constants={"event.category": ["authentication"], "event.type": [kind], "event.outcome": outcome},
        fields=FIELDS
        | {
            "event.action": otherwise(text("event.action", "action", "event_type", "eventType", "event_name"), "login"),
            "event.reason": text("event.reason", "reason", "failure_reason"),
        },
    )


SIGN_INS: Final = (_table("success", "start"), _table("failure", "info"))
"""Before the table of access lines: a request that signs somebody in is first of all that."""
