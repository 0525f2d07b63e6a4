"""Types of the fields a document may have: ECS's, and ours under `tidewaiter.`.

`data/ecs_types.json` is derived from the schema's `ecs_compact.json` (ECS 9.4.0, Apache-2.0): names by type.
"""

import difflib
import json
from functools import cache
from importlib.resources import files
from typing import Final

OWN_PREFIX: Final = "tidewaiter."
"""Below it every leaf is a keyword."""

KEYWORD_OBJECTS: Final = ("container.labels.", "labels.")
"""Objects whose keys are free and whose values are keywords."""

_SEARCHED_AS: Final = {
    "constant_keyword": "keyword",
    "wildcard": "keyword",
    "flattened": "keyword",
    "scaled_float": "float",
    "match_only_text": "text",
}


@cache
def _types() -> dict[str, str]:
    content = json.loads(files("parsers").joinpath("data/ecs_types.json").read_text(encoding="utf-8"))
    return {name: _SEARCHED_AS.get(kind, kind) for kind, names in content["types"].items() for name in names}


def field_type(name: str) -> str | None:
    """Return keyword, text, long, float, date, ip, boolean, object, …; None for a name no document can have."""
    if name.startswith((OWN_PREFIX, *KEYWORD_OBJECTS)):
        return "keyword"
    known = _types()
    if name in known:
        return known[name]
    is_object = any(other.startswith(f"{name}.") for other in known) or f"{name}." == OWN_PREFIX
    return "object" if is_object else None


def nearest_field(name: str) -> str | None:
    """Return the known field that is spelt most like `name`."""
    found = difflib.get_close_matches(name, _types(), n=1, cutoff=0.6)
    return found[0] if found else None
