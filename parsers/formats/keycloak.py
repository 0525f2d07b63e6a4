r"""Keycloak: events of users and administrators, as text and as JSON.

    2026-11-29 02:00:00,123 WARN  [org.keycloak.events] (executor-thread-1) type="LOGIN_ERROR", realmId="r1", realmName="shop", clientId="web", userId="null", ipAddress="192.0.2.7", error="invalid_user_credentials", username="alice"
    2026-11-29 02:00:00,123 INFO  [org.keycloak.events] (executor-thread-1) operationType="CREATE", realmId="r1", clientId="admin", userId="u1", ipAddress="192.0.2.7", resourceType="USER", resourcePath="users/u2"
    {"timestamp":"2026-11-29T02:00:00.123Z","level":"WARN","loggerName":"org.keycloak.events","message":"type=\"LOGIN_ERROR\", realmId=\"r1\"","threadName":"executor-thread-1"}

Values are quoted (version 21 and newer; quotes in them are escaped) or bare. Realm, client and details without a field stay
in `message`. All other lines of Keycloak are `text` or `json`. Successful events appear when the logger's success level is
`info`. Not handled: event listeners of other makers. Source: Keycloak's "Configuring auditing to track events".
"""

import re
from typing import Any, Final

from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import Value, integer, level, made, text, to_address

_VALUE: Final = r"""(?:"(?:[^"\\]|\\.){0,4096}"|'[^']{0,4096}'|[^\s"',]{0,4096})"""
_EVENT: Final = rf"(?:type|operationType)={_VALUE}(?:, [\w.-]{{1,64}}={_VALUE}){{2,64}}"
_PAIR: Final = re.compile(rf"([\w.-]{{1,64}})=({_VALUE})(?:, |\Z)", re.DOTALL)
_WHOLE: Final = re.compile(_EVENT, re.DOTALL | re.ASCII)
_ABSENT: Final = frozenset({"", "null"})
_OPERATIONS: Final = {"CREATE": "creation", "UPDATE": "change", "DELETE": "deletion"}
_TYPES: Final = {
    "LOGIN": ["start"], "CLIENT_LOGIN": ["start"], "IDENTITY_PROVIDER_LOGIN": ["start"], "LOGOUT": ["end"],
    "REGISTER": ["user", "creation"], "UPDATE_PASSWORD": ["user", "change"], "UPDATE_PROFILE": ["user", "change"],
    "UPDATE_EMAIL": ["user", "change"], "UPDATE_CREDENTIAL": ["user", "change"], "DELETE_ACCOUNT": ["user", "deletion"],
}  # fmt: skip
_SIGN_IN: Final = re.compile(
    r"(?:CLIENT_|IDENTITY_PROVIDER_)?(?:FIRST_|POST_)?(?:LOGIN|LOGOUT)|CODE_TO_TOKEN|REFRESH_TOKEN|TOKEN_EXCHANGE"
    r"|INTROSPECT_TOKEN|IMPERSONATE|PERMISSION_TOKEN|USER_DISABLED_BY_(?:TEMPORARY|PERMANENT)_LOCKOUT"
)


def said(event: Any) -> dict[str, str]:
    """Return what an event says, by key; the first of equal keys, as the details come last and are senders' choice."""
    found: dict[str, str] = {}
    for pair in _PAIR.finditer(event) if isinstance(event, str) else ():
        value = pair[2]
        if value[:1] in ('"', "'"):
            value = value[1:-1].replace('\\"', '"')
        if value not in _ABSENT:
            found.setdefault(pair[1], value)
    return found


def _field(key: str, source: str) -> Value:
    return made(lambda event: said(event).get(key), source)


def category(event: Any) -> list[str]:
    """Return `authentication` for signing in and out and for tokens, `iam` for accounts and what administrators do."""
    kind = said(event).get("type", "").removesuffix("_ERROR")
    return ["authentication"] if _SIGN_IN.fullmatch(kind) else ["iam"]


def event_type(event: Any) -> list[str]:
    """Return ECS's types of an event."""
    found = said(event)
    if "operationType" in found:
        return ["admin", _OPERATIONS.get(found["operationType"], "info")]
    return _TYPES.get(found.get("type", ""), ["info"])


def outcome(event: Any) -> str:
    """Return `failure` of events that say an error."""
    found = said(event)
    return "failure" if "error" in found or found.get("type", "").endswith("_ERROR") else "success"


def _fields(source: str) -> dict[str, Value]:
    """Fields of an event that stands under this group or key."""
    return {
        "event.category": made(category, source, kind="keyword[]"),
        "event.type": made(event_type, source, kind="keyword[]"),
        "event.action": made(lambda event: said(event).get("type") or said(event).get("operationType"), source),
        "event.outcome": made(outcome, source),
        "event.reason": _field("error", source),
        "tidewaiter.auth.method": _field("auth_method", source),
        "log.level": level("level"),
        "user.id": _field("userId", source),
        "user.name": _field("username", source),
        "source.address": _field("ipAddress", source),
        "source.ip": made(lambda event: to_address(said(event).get("ipAddress")), source, kind="ip"),
    }


_TEXT: Final = Table(
    dataset="keycloak.log",
    pattern=(
        r"(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d,\d{3}(?:Z|[+-]\d\d:?\d\d)?) (?P<level>[A-Z]{4,8}) {1,2}"
        rf"\[(?P<logger>org\.keycloak\.events)\] \((?P<thread>[^)]{{1,255}})\) (?P<text>{_EVENT})"
    ),
    time=iso("time"),
    message=text("text"),
    fields=_fields("text") | {"log.logger": text("logger"), "process.thread.name": text("thread")},
)
_JSON: Final = Table(
    dataset="keycloak.log",
    requires=("timestamp", "loggerName", "level", "message"),
    accept=lambda found: (
        found["loggerName"] == "org.keycloak.events"
        and isinstance(found["message"], str)
        and _WHOLE.fullmatch(found["message"]) is not None
    ),
    time=iso("timestamp"),
    message=text("message"),
    fields=_fields("message")
    | {
        "log.logger": text("loggerName"),
        "process.pid": integer("processId"),
        "process.thread.id": integer("threadId"),
        "process.thread.name": text("threadName"),
    },
)


def _sniff(line: str) -> bool:
    return "org.keycloak.events" in line[:400]


FORMAT = Format(title="Keycloak events", tables=(_TEXT, _JSON), sniff=_sniff, images=("keycloak",))
