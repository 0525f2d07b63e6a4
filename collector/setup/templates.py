"""The templates of our data streams: ECS mappings, our own fields, settings and retention. Pure data.

`data/ecs_mappings.json` is derived from the component templates of ECS 9.4.0 (Apache-2.0): the field sets that
documents of a collector fill, without what only endpoints fill (`process.parent`, `*.pe`, `*.entity`, …).
"""

import hashlib
import json
from importlib.resources import files
from typing import Any, Final

from parsers.flattened import MAPPING_DEPTH_LIMIT, VALUE_LIMIT

PATTERN: Final = "logs-tidewaiter.*-*"
PRIORITY: Final = 200
"""Above the template `logs` that Elasticsearch brings (100)."""

FIELDS_LIMIT: Final = 3000
"""Fields of one index: those of `data/ecs_mappings.json` with room for labels; what is beyond stays unmapped."""

CUSTOM: Final = "tidewaiter@custom"
"""A component template that operators may make; it is merged last and never touched by us."""

DAY_S: Final = 86_400

_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_FLATTENED: Final = {"type": "flattened", "ignore_above": VALUE_LIMIT, "depth_limit": MAPPING_DEPTH_LIMIT}


def objects(*, version: str, retention_s: float) -> dict[str, dict[str, Any]]:
    """Return every object by its API path, in the order of installation."""
    days = max(1, round(retention_s / DAY_S))
    made: dict[str, dict[str, Any]] = {
        "_component_template/tidewaiter@settings": {"template": {"settings": _settings()}},
        "_component_template/tidewaiter@ecs": {"template": {"settings": _fields_limit(), "mappings": _ecs()}},
        "_component_template/tidewaiter@mappings": {"template": {"mappings": _own()}},
        "_index_template/tidewaiter": {
            "index_patterns": [PATTERN],
            "priority": PRIORITY,
            "data_stream": {},
            "composed_of": ["tidewaiter@settings", "tidewaiter@ecs", "tidewaiter@mappings", CUSTOM],
            "ignore_missing_component_templates": [CUSTOM],
            "template": {"lifecycle": {"data_retention": f"{days}d"}},
        },
    }
    for body in made.values():
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        body["_meta"] = {"managed_by": "tidewaiter", "tidewaiter_version": version, "content": digest}
    return made


def _settings() -> dict[str, Any]:
    return {
        "index": {
            "codec": "best_compression",
            "query": {"default_field": ["message"]},
            "mapping": {
                "ignore_malformed": True,
                "total_fields": {"limit": FIELDS_LIMIT, "ignore_dynamic_beyond_limit": True},
            },
        }
    }


def _fields_limit() -> dict[str, Any]:
    """Stand beside the mappings as well: Elasticsearch checks each component template by itself."""
    return {"index": {"mapping": {"total_fields": {"limit": FIELDS_LIMIT}}}}


def _ecs() -> dict[str, Any]:
    content = json.loads(files("collector.setup").joinpath("data/ecs_mappings.json").read_text(encoding="utf-8"))
    properties: dict[str, Any] = content["properties"]
    return {"date_detection": False, "properties": properties}


def _own() -> dict[str, Any]:
    """Map our own object, and what ECS leaves open; unknown text becomes a keyword, never text with a sub-field."""
    return {
        "dynamic_templates": [
            {
                "labels": {
                    "path_match": ["container.labels.*", "labels.*"],
                    "match_mapping_type": "*",
                    "mapping": _KEYWORD,
                }
            },
            {"texts": {"match_mapping_type": "string", "mapping": _KEYWORD}},
        ],
        "properties": {
            "tidewaiter": {
                "properties": {
                    "tag": _KEYWORD,
                    "fields": _FLATTENED,
                    "metadata": _FLATTENED,
                    "claimed": _FLATTENED,
                    "origin": {"properties": dict.fromkeys(("input", "transport", "peer", "auth", "host"), _KEYWORD)},
                    "container": {
                        "properties": {
                            "stream": _KEYWORD,
                            "pieces": {"type": "long"},
                            "partial": {"properties": dict.fromkeys(("message", "id", "ordinal", "last"), _KEYWORD)},
                        }
                    },
                }
            }
        },
    }
