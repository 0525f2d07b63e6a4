"""The templates of our data streams: ECS mappings, our own fields, settings and retention. Pure data.

`data/ecs_mappings.json` is derived from the component templates of ECS 9.4.0 (Apache-2.0): the field sets that
documents of a collector fill, without what only endpoints fill (most of a process's kin, `*.pe`, `*.entity`, …).
"""

import hashlib
import json
from importlib.resources import files
from typing import Any, Final

from collector.setup.opensearch import FLAT_OBJECT, for_opensearch
from parsers.ecs_types import LABELS, OWN_FLATTENED, OWN_OBJECT, PRODUCT_OBJECTS
from parsers.flattened import MAPPING_DEPTH_LIMIT, VALUE_LIMIT
from parsers.format import datasets
from parsers.own_fields import KUBERNETES, OWN_FIELDS
from pipelines.settings import Settings

OWN_PATTERN: Final = "logs-tidewaiter.*-*"
OWN_PRIORITY: Final = 200
"""Above the template `logs` that Elasticsearch brings (100)."""

PARSERS_PRIORITY: Final = 155
"""Of the products' data streams: above `logs`, and below an integration's own template (200), which wins where it is.

Not a round number, for Elasticsearch refuses a second template of one priority whose patterns overlap.
"""

FIELDS_LIMIT: Final = 3000
"""Fields of one index: those of `data/ecs_mappings.json` with room for labels; what is beyond stays unmapped."""

CUSTOM: Final = "tidewaiter@custom"
"""A component template that operators may make; it is merged last and never touched by us."""

DAY_S: Final = 86_400

COMMAND_LIMIT: Final = 8_191
"""Characters of a command line that is found whole (a term has 32,766 bytes at most); a longer one by its words."""

_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_IP: Final = {"type": "ip"}
_FLATTENED: Final = {"type": "flattened", "ignore_above": VALUE_LIMIT, "depth_limit": MAPPING_DEPTH_LIMIT}


def objects(*, version: str, retention_s: float, server: str = "elasticsearch") -> dict[str, dict[str, Any]]:
    """Return every object by its API path, in the order of installation, as an output's `server` takes them."""
    days = max(1, round(retention_s / DAY_S))
    made: dict[str, dict[str, Any]] = {
        "_component_template/tidewaiter@settings": {"template": {"settings": _settings()}},
        "_component_template/tidewaiter@ecs": {"template": {"settings": _fields_limit(), "mappings": _ecs()}},
        "_component_template/tidewaiter@mappings": {"template": {"mappings": _own()}},
        "_index_template/tidewaiter": _index_template([OWN_PATTERN], OWN_PRIORITY, days),
        "_index_template/tidewaiter-parsers": _index_template(
            [f"logs-{dataset}-*" for dataset in datasets()], PARSERS_PRIORITY, days
        ),
    }
    if server == "opensearch":
        made = {path: for_opensearch(body) for path, body in made.items()}
    for body in made.values():
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        body["_meta"] = {"managed_by": "tidewaiter", "tidewaiter_version": version, "content": digest}
    return made


def streams(settings: Settings) -> list[str]:
    """Return the names of all data streams that documents can go to."""
    own = (settings.container_stream, *settings.own_streams.values())
    return [str(stream) for stream in (*own, *map(settings.stream_of, datasets()))]


def is_ours(template: dict[str, Any]) -> bool:
    """Tell whether an index made from this template (settings, mappings) maps our own object as our templates do."""
    found = template.get("mappings", {}).get("properties", {}).get(OWN_OBJECT, {}).get("properties", {})
    types = {found.get(name.removeprefix(f"{OWN_OBJECT}."), {}).get("type") for name in OWN_FLATTENED}
    return types in ({"flattened"}, {FLAT_OBJECT["type"]})


def _index_template(patterns: list[str], priority: int, days: int) -> dict[str, Any]:
    return {
        "index_patterns": patterns,
        "priority": priority,
        "data_stream": {},
        "composed_of": ["tidewaiter@settings", "tidewaiter@ecs", "tidewaiter@mappings", CUSTOM],
        "ignore_missing_component_templates": [CUSTOM],
        "template": {"lifecycle": {"data_retention": f"{days}d"}},
    }


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


def _watched(root: str) -> dict[str, Any]:
    """Map what watchers and trails fill below an object; labels are left to the dynamic templates."""
    types = {"keyword": _KEYWORD, "ip": _IP, "labels": {"type": "object"}, "flattened": _FLATTENED}
    made: dict[str, Any] = {}
    for name, field in OWN_FIELDS.items():
        if name.startswith(f"{root}."):
            *path, leaf = name.removeprefix(f"{root}.").split(".")
            properties = made
            for key in path:
                properties = properties.setdefault(key, {"properties": {}})["properties"]
            properties[leaf] = types.get(field.type, {"type": field.type})
    return made


def _command_line() -> dict[str, Any]:
    """Map commands as ECS does, bounded: there are Elasticsearches that keep such values as terms."""
    words = {"text": {"type": "match_only_text"}}
    return {"type": "wildcard", "ignore_above": COMMAND_LIMIT, "fields": words}


def _own() -> dict[str, Any]:
    """Map our own object, and what ECS leaves open; unknown text becomes a keyword, never text with a sub-field."""
    return {
        "dynamic_templates": [
            {
                "labels": {
                    "path_match": [f"{name}.*" for name in LABELS],
                    "match_mapping_type": "*",
                    "mapping": _KEYWORD,
                }
            },
            {"texts": {"match_mapping_type": "string", "mapping": _KEYWORD}},
        ],
        "properties": {
            # ECS sets no bounds, and Elasticsearch refuses a document with a value of 32 KiB in it.
            "log": {"properties": {"syslog": {"properties": {"structured_data": _FLATTENED}}}},
            **dict.fromkeys(PRODUCT_OBJECTS, _FLATTENED),
            "process": {"properties": {"command_line": _command_line()}},
            KUBERNETES: {"properties": _watched(KUBERNETES)},
            "tidewaiter": {
                "properties": {
                    "tag": _KEYWORD,
                    **{name.removeprefix(f"{OWN_OBJECT}."): _FLATTENED for name in OWN_FLATTENED},
                    "origin": {"properties": dict.fromkeys(("input", "transport", "peer", "auth", "host"), _KEYWORD)},
                    "container": {
                        "properties": {
                            "stream": _KEYWORD,
                            "pieces": {"type": "long"},
                            "partial": {"properties": dict.fromkeys(("message", "id", "ordinal", "last"), _KEYWORD)},
                            **_watched(f"{OWN_OBJECT}.container"),
                        }
                    },
                    **{name: mapping for name, mapping in _watched(OWN_OBJECT).items() if name != "container"},
                }
            },
        },
    }
