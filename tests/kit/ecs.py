"""Holds documents against the Elastic Common Schema: every field known and of its type, or ours."""

import ipaddress
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from parsers.ecs_types import PRODUCT_OBJECTS
from parsers.own_fields import (
    ALERT_FIELDS,
    BALANCE_FIELDS,
    LETTER_FIELDS,
    OWN_FIELDS,
    REPORT_FIELDS,
    TRAIL_FIELDS,
    OwnField,
)

OWN_OBJECT = "tidewaiter"
"""The one root object that is ours."""

_FILLED = TRAIL_FIELDS | REPORT_FIELDS | LETTER_FIELDS | BALANCE_FIELDS | ALERT_FIELDS
OF_TRAILS = {name.split(".")[1] for name in _FILLED} - {"container"}
"""What of it trails, reports, dead letters, the books and alerts fill."""


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


_TYPES: dict[str, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "constant_keyword": lambda value: isinstance(value, str),
    "wildcard": lambda value: isinstance(value, str),
    "match_only_text": lambda value: isinstance(value, str),
    "date": lambda value: isinstance(value, str) and value.endswith("Z"),
    "long": _is_integer,
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "ip": _is_address,
}


class Schema:
    """The fields of one ECS version and the values it allows."""

    def __init__(self, folder: Path) -> None:
        self._fields: dict[str, dict[str, Any]] = json.loads((folder / "ecs_compact.json").read_text())["fields"]
        self._own = {"tidewaiter.container.stream", "tidewaiter.container.pieces", "tidewaiter.container.partial"}
        self._fields |= {name: _as_ecs(field) for name, field in OWN_FIELDS.items()}
        self._fields |= {name: {"type": "flattened"} for name in PRODUCT_OBJECTS}
        self._objects = {name.rpartition(".")[0] for name in self._fields}
        self._objects |= {prefix for name in list(self._objects) for prefix in _prefixes(name)}

    def problems(self, document: dict[str, Any]) -> list[str]:
        """Return what is wrong with a document, empty when it is valid."""
        found = [f"{name} is missing" for name in ("@timestamp", "ecs") if name not in document]
        for key, value in document.items():
            if key != OWN_OBJECT:
                found += self._check(key, value)
        own = document.get(OWN_OBJECT, {})
        for key, value in own.get("container", {}).items():
            if f"{OWN_OBJECT}.container.{key}" not in self._own:
                found += self._check(f"{OWN_OBJECT}.container.{key}", value)
        for key in OF_TRAILS & own.keys():
            found += self._check(f"{OWN_OBJECT}.{key}", own[key])
        return found

    def _check(self, name: str, value: Any) -> Iterator[str]:
        field = self._fields.get(name)
        if field and field["type"] == "object" and field.get("object_type") == "keyword":
            if not isinstance(value, dict) or any(
                not isinstance(item, str) or "." in key for key, item in value.items()
            ):
                yield f"{name} is no object of keywords with dot-safe keys"
        elif field and field["type"] == "flattened":
            if not isinstance(value, dict):
                yield f"{name} is no object"
        elif isinstance(value, dict):
            if name not in self._objects:
                yield f"{name} is no ECS object"
            for key, item in value.items():
                yield from self._check(f"{name}.{key}", item)
        elif field is None:
            yield f"{name} is no ECS field"
        else:
            yield from self._check_leaf(name, field, value)

    def _check_leaf(self, name: str, field: dict[str, Any], value: Any) -> Iterator[str]:
        is_list = isinstance(value, list)
        if is_list != ("array" in field.get("normalize", [])):
            yield f"{name} must {'not ' if is_list else ''}be a list"
        for item in value if is_list else [value]:
            if not _TYPES[field["type"]](item):
                yield f"{name} is no {field['type']}: {item!r}"
            allowed = field.get("allowed_values")
            if allowed and item not in allowed:
                yield f"{name} may not be {item!r}"


def _as_ecs(field: OwnField) -> dict[str, Any]:
    """Say of a field of ours what the schema says of its own."""
    kind = {"type": "object", "object_type": "keyword"} if field.type == "labels" else {"type": field.type}
    return {**kind, "normalize": ["array"] if field.is_list else []}


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])
