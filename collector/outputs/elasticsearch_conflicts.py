"""A document that one field keeps from being stored gets a second try with that field's value moved aside.

    "http": {"response": {"status_code": "none"}}  ->  "tidewaiter": {"invalid": {"http.response.status_code": "none"}}

and the tag `_mapping_conflict`. All other bytes of the document stay as they are. Pure.
"""

import re
from typing import Final

import msgspec

TAG: Final = "_mapping_conflict"

FIELDS_LIMIT: Final = 4
"""So many fields of a document are moved aside, one after the other; one more, and it is refused."""

PLACE: Final = ("tidewaiter", "invalid")

_CONFLICT: Final = re.compile(
    r"failed to parse field \[([^\[\]]+)\] of type \["
    r"|object mapping (?:for )?\[([^\[\]]+)\] tried to parse field \["
    r"|mapper \[([^\[\]]+)\] cannot be changed from type \["
    r"|[Ee]xisting mapping for \[([^\[\]]+)\] must be of type object but found \["
    r'|immense term in field="([^"]+)"'
)
"""What Elasticsearch and OpenSearch say of a field; the words of the document, if any, stand behind."""

_KEPT: Final = frozenset({"@timestamp", "event", "event.id", "event.ingested", "tidewaiter"})
"""Without these a document is none, or no longer ours."""

_KEPT_BELOW: Final = ("data_stream.", "tidewaiter.invalid")

_Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(_Members).decode
_values = msgspec.json.Decoder(list[msgspec.Raw]).decode


def field_of(reason: str) -> str | None:
    """Return the field that a reason names as the one in conflict with the mapping."""
    found = _CONFLICT.search(reason)
    return next(filter(None, found.groups())) if found is not None else None


def moved_aside(document: bytes, field: str) -> bytes | None:
    """Return a document without the value of a field, which stands aside as text; None where that cannot be done."""
    if field in _KEPT or f"{field}.".startswith(_KEPT_BELOW) or field.startswith(_KEPT_BELOW):
        return None
    try:
        root = _members(document)
        value = _taken(root, field.split("."))
        if value is None:
            return None
        own = _members(root.get(PLACE[0], b"{}"))
        aside = _members(own.get(PLACE[1], b"{}"))
        if len(aside) == FIELDS_LIMIT:
            return None
        aside[field] = msgspec.Raw(value) if value[:1] == b'"' else _raw(value.decode())
        own[PLACE[1]] = _raw(aside)
        root[PLACE[0]] = _raw(own)
        tags = _values(root.get("tags", b"[]"))
        root["tags"] = _raw(tags if _raw(TAG) in tags else [*tags, _raw(TAG)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.json.encode(root)


def _taken(members: _Members, names: list[str]) -> bytes | None:
    """Take the value out of its object, and return it; a key may hold dots, and a name may be that of a sub-field."""
    for length in range(len(names), 0, -1):
        key = ".".join(names[:length])
        found = members.get(key)
        if found is None:
            continue
        content = bytes(found)
        if length == len(names) or content[:1] != b"{":
            del members[key]
            return content
        inner = _members(content)
        taken = _taken(inner, names[length:])
        members[key] = _raw(inner)
        return taken
    return None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
