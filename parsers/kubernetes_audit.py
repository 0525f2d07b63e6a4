"""Kubernetes audit events (`audit.k8s.io`), as API servers post and write them.

    {"level":"Metadata","auditID":"7c1f…","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/shop/pods/web-0/exec?command=sh",
     "verb":"get","user":{"username":"alice","groups":["dev"]},"sourceIPs":["203.0.113.9","192.0.2.5"],…}

Of one request there are up to three events, told apart by `stage` and held together by `auditID`. Unknown keys are left
out. `parsers.kubernetes_audit_document` makes fields of them. Source: `k8s.io/apiserver`, pkg/apis/audit/v1.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw, field

from parsers.canonical import encode

NOTHING: Final = (b"", b"null")
"""How an object is written that is not there."""

Named = Annotated[str, msgspec.Meta(min_length=1)]


class User(msgspec.Struct, omit_defaults=True):
    """Who asked, or as whom."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class AuthenticationMetadata(msgspec.Struct, omit_defaults=True):
    """What the API server notes of how somebody was let impersonate."""

    constraint: str = field(name="impersonationConstraint", default="")


class ObjectRef(msgspec.Struct, omit_defaults=True):
    """What a request is about; nothing for those about no resource."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = field(name="apiGroup", default="")
    api_version: str = field(name="apiVersion", default="")
    resource_version: str = field(name="resourceVersion", default="")
    subresource: str = ""


class ResponseStatus(msgspec.Struct, omit_defaults=True):
    """What the API server answered."""

    status: str = ""
    message: str = ""
    reason: str = ""
    code: Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)] = 0


class Event(msgspec.Struct, omit_defaults=True):
    """One event; `level` says how much it holds. Times are RFC 3339 texts."""

    audit_id: Named = field(name="auditID")
    kind: str = ""
    api_version: str = field(name="apiVersion", default="")
    level: str = ""
    stage: str = ""
    uri: str = field(name="requestURI", default="")
    verb: str = ""
    user: User | None = None
    impersonated: User | None = field(name="impersonatedUser", default=None)
    authentication: AuthenticationMetadata | None = field(name="authenticationMetadata", default=None)
    addresses: list[str] | None = field(name="sourceIPs", default=None)
    user_agent: str = field(name="userAgent", default="")
    about: ObjectRef | None = field(name="objectRef", default=None)
    response: ResponseStatus | None = field(name="responseStatus", default=None)
    request_object: Raw = field(name="requestObject", default_factory=Raw)
    response_object: Raw = field(name="responseObject", default_factory=Raw)
    received: str = field(name="requestReceivedTimestamp", default="")
    staged: str = field(name="stageTimestamp", default="")
    annotations: dict[str, str] | None = None


class EventList(msgspec.Struct):
    """What an API server posts."""

    items: list[Event] | None
    kind: str = ""
    api_version: str = field(name="apiVersion", default="")


class RawList(msgspec.Struct):
    """The same, of which nothing but the list's end is looked for."""

    items: Raw


decode_list: Final = msgspec.json.Decoder(EventList).decode
decode_raw_list: Final = msgspec.json.Decoder(RawList).decode
decode_raw: Final = msgspec.json.Decoder(Raw).decode
decode_event: Final = msgspec.json.Decoder(Event).decode
"""Each raises msgspec.DecodeError (ValidationError where it is JSON), UnicodeDecodeError or RecursionError."""


def event_of(found: Mapping[str, Any]) -> Event | None:
    """Return the event that a decoded object is, None for any other."""
    bodies = ("requestObject", "responseObject")
    try:
        event = msgspec.convert({name: value for name, value in found.items() if name not in bodies}, Event)
    except msgspec.ValidationError:
        return None
    event.request_object, event.response_object = (
        Raw(encode(found[name]) if name in found else b"") for name in bodies
    )
    return event
