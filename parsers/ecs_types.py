"""Fields a document may have, and how the values of each are searched: ECS's, and ours under `tidewaiter.`.

`data/ecs_types.json` is derived from the schema's `ecs_compact.json` (ECS 9.4.0, Apache-2.0), from the root folder:

    python -c "import json; from parsers.ecs_types import derive; \
        print(json.dumps(derive(json.load(open('ecs_compact.json'))), separators=(',', ':')))" \
        > parsers/data/ecs_types.json
"""

import difflib
import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from parsers.own_fields import OWN_FIELDS

OWN_OBJECT: Final = "tidewaiter"
"""Below it every leaf is a keyword that `parsers.own_fields` does not name."""

LABELS: Final = (
    "container.labels",
    "labels",
    *(name for name, field in OWN_FIELDS.items() if field.type == "labels"),
)
"""Objects whose keys are free, hold no dots, and have keywords as values."""

AUDIT_FLATTENED: Final = tuple(name for name, field in OWN_FIELDS.items() if field.type == "flattened")
"""The same, of Kubernetes audit events."""

OWN_FLATTENED: Final = (
    "tidewaiter.app",
    "tidewaiter.fields",
    "tidewaiter.metadata",
    "tidewaiter.claimed",
    "tidewaiter.invalid",
)
"""Objects that may hold anything; every leaf is a keyword, and a key may hold dots."""

PRODUCT_OBJECTS: Final = ("falco", "tetragon", "hubble", "trivy", "grype")
"""Root objects in which what a security product said is kept whole, under its own names; flattened like those above."""

_SEARCHED_AS: Final = {
    "constant_keyword": "keyword",
    "wildcard": "keyword",
    "integer": "long",
    "double": "float",
    "scaled_float": "float",
    "match_only_text": "text",
}


class Field(msgspec.Struct, frozen=True):
    """Where a field's values lie in a document and how they are searched.

    `type` is keyword, text, long, float, date, ip, boolean, flattened, object, or what ECS calls a type that cannot be
    searched (nested, geo_point). `path` holds the keys down to the value, or to the flattened object, within which
    `key` names a leaf (None: any leaf).
    """

    type: str
    path: tuple[str, ...]
    key: str | None = None


def derive(compact: dict[str, Any]) -> dict[str, Any]:
    """Return what this module reads, made from `ecs_compact.json`."""
    types: dict[str, list[str]] = {}
    texts = []
    for name, about in sorted(compact["fields"].items()):
        types.setdefault(about["type"], []).append(name)
        if "text" in about.get("multi_fields", {}):
            texts.append(name)
    return {"ecs_version": compact["ecs_version"], "types": types, "texts": texts}


class _Known(msgspec.Struct, frozen=True):
    types: dict[str, str]
    texts: frozenset[str]
    objects: frozenset[str]
    flattened: tuple[str, ...]


@cache
def _known() -> _Known:
    content = json.loads(files("parsers").joinpath("data/ecs_types.json").read_text(encoding="utf-8"))
    types = {name: _SEARCHED_AS.get(kind, kind) for kind, names in content["types"].items() for name in names}
    types |= {name: field.type for name, field in OWN_FIELDS.items() if field.type not in ("labels", "flattened")}
    objects = {name[:at] for name in types for at, character in enumerate(name) if character == "."}
    flattened = (*OWN_FLATTENED, *AUDIT_FLATTENED, *PRODUCT_OBJECTS, *content["types"]["flattened"])
    return _Known(types, frozenset(content["texts"]), frozenset({*objects, *LABELS, OWN_OBJECT}), flattened)


def field_named(name: str) -> Field | None:
    """Return what is known of a field, None for a name that no document can have."""
    known = _known()
    path = tuple(name.split("."))
    for root in known.flattened:
        if name == root:
            return Field("flattened", path)
        if name.startswith(f"{root}."):
            return Field("flattened", tuple(root.split(".")), name[len(root) + 1 :])
    for root in LABELS:
        if name.startswith(f"{root}."):
            return Field("keyword", (*root.split("."), name[len(root) + 1 :]))
    if name in known.types:
        return Field(known.types[name], path)
    if name in known.objects:
        return Field("object", path)
    if name.startswith(f"{OWN_OBJECT}."):
        return Field("keyword", path)
    parent = name.removesuffix(".text")
    return Field("text", tuple(parent.split("."))) if parent != name and parent in known.texts else None


def nearest_field(name: str) -> str | None:
    """Return the known field that is spelt most like `name`."""
    found = difflib.get_close_matches(name, _known().types, n=1, cutoff=0.6)
    return found[0] if found else None
