"""Our templates as OpenSearch takes them."""

import json
from typing import Any

from collector.setup.opensearch import for_opensearch
from collector.setup.templates import is_ours, objects

OBJECTS = objects(version="0.1.0", retention_s=86400, server="opensearch")


def keys(value: Any) -> set[str]:
    """All keys, however deep."""
    if isinstance(value, list):
        return {key for each in value for key in keys(each)}
    return {*value, *(key for each in value.values() for key in keys(each))} if isinstance(value, dict) else set()


def test_what_opensearch_lacks_is_left_out() -> None:
    """It refuses a template for one unknown word."""
    words = json.dumps(OBJECTS)

    assert "flattened" not in words
    assert "constant_keyword" not in words
    assert {"ignore_missing_component_templates", "ignore_dynamic_beyond_limit", "depth_limit"}.isdisjoint(
        keys(OBJECTS)
    )
    assert "template" not in OBJECTS["_index_template/tidewaiter"]  # it would hold the retention alone


def test_all_else_is_as_for_elasticsearch() -> None:
    """The same objects, patterns and fields; both are known again as ours."""
    elasticsearch = objects(version="0.1.0", retention_s=86400)
    mappings = OBJECTS["_component_template/tidewaiter@mappings"]["template"]

    assert list(elasticsearch) == list(OBJECTS)
    assert all(
        elasticsearch[path].get("index_patterns") == body.get("index_patterns") for path, body in OBJECTS.items()
    )
    assert is_ours(mappings)


def test_a_dynamic_template_of_several_paths_becomes_several() -> None:
    """OpenSearch takes one path each; a field may be called like a word of a mapping."""
    template = {
        "mappings": {
            "dynamic_templates": [{"labels": {"path_match": ["a.*", "b.*"], "mapping": {"type": "keyword"}}}],
            "properties": {"type": {"type": "flattened"}},
        }
    }
    made = for_opensearch({"template": template})["template"]["mappings"]

    assert ["a.*", "b.*"] == [each["path_match"] for item in made["dynamic_templates"] for each in item.values()]
    assert 2 == len({name for item in made["dynamic_templates"] for name in item})
    assert {"type": {"type": "flat_object"}} == made["properties"]
