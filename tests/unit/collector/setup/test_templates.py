"""The templates map all that parsers can produce, for all data streams that parsers can choose."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from collector.setup.templates import is_ours, objects, streams
from parsers.ecs_types import OWN_FLATTENED
from parsers.format import datasets, formats
from pipelines.settings import Settings

DATA: Final = Path(__file__).parents[3] / "data"
FIELDS: Final[dict[str, Any]] = json.loads((DATA / "ecs_compact.json").read_text())["fields"]
OBJECTS: Final = objects(version="0.1.0", retention_s=86400)
INTEGRATIONS_PRIORITY: Final = 200
BUILT_IN_PRIORITY: Final = 100


def mapped(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The types of all leaves below some properties, by dotted name."""
    found: dict[str, str] = {}
    for key, about in properties.items():
        name = f"{prefix}{key}"
        found |= mapped(about["properties"], f"{name}.") if "properties" in about else {name: about["type"]}
    return found


def component(name: str) -> dict[str, str]:
    """The types that a component template maps."""
    return mapped(OBJECTS[f"_component_template/{name}"]["template"]["mappings"]["properties"])


def test_every_field_of_every_table_is_mapped_as_ecs_says() -> None:
    """Text that no mapping knows would become a keyword, a number a long, an address no address."""
    tables = [table for each in formats().values() for table in each.tables]
    produced = {leaf.field for table in tables for leaf in [*table.event.leaves(), *table.roots.leaves()]}
    known = component("tidewaiter@ecs")

    assert len(produced) > 200
    assert {name: FIELDS[name]["type"] for name in produced} == {name: known.get(name) for name in produced}


def test_every_mapped_field_has_its_type_of_ecs() -> None:
    """The mappings hold nothing but ECS, unchanged."""
    known = component("tidewaiter@ecs")

    assert {name: FIELDS[name]["type"] for name in known} == known


def test_what_may_hold_anything_is_one_field() -> None:
    """Keys that nobody knows are flattened, for all of our own objects of that kind."""
    known = component("tidewaiter@mappings")

    assert [name for name in OWN_FLATTENED if known.get(name) != "flattened"] == []


def test_every_data_stream_has_one_template() -> None:
    """Each dataset of each table, and our own five, match the patterns of exactly one index template."""
    patterns = {path: body["index_patterns"] for path, body in OBJECTS.items() if path.startswith("_index_template/")}
    names = streams(Settings(version="0.1.0", namespace="prod"))
    found = {
        name: [path for path, globs in patterns.items() if any(fnmatchcase(name, glob) for glob in globs)]
        for name in names
    }

    assert len(names) == len(set(names)) == len(datasets()) + 5
    assert "logs-nginx.access-prod" in names
    assert {name: paths for name, paths in found.items() if len(paths) != 1} == {}


def test_templates_of_products_give_way_to_integrations() -> None:
    """Between what Elasticsearch brings and what integrations install; ours alone stands as high as these."""
    priorities = {path: body["priority"] for path, body in OBJECTS.items() if path.startswith("_index_template/")}

    assert BUILT_IN_PRIORITY < priorities["_index_template/tidewaiter-parsers"] < INTEGRATIONS_PRIORITY
    assert OBJECTS["_index_template/tidewaiter"]["index_patterns"] == ["logs-tidewaiter.*-*"]


def test_a_template_without_our_object_is_not_ours() -> None:
    """What an index would get tells whether it takes what may hold anything."""
    ours = OBJECTS["_component_template/tidewaiter@mappings"]["template"]

    assert is_ours(ours)
    assert not is_ours({"settings": {}})
    assert not is_ours({"mappings": {"properties": {"tidewaiter": {"properties": {"app": {"type": "object"}}}}}})
