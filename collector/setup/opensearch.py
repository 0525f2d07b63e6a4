"""Our templates as OpenSearch takes them: pure. What it lacks is left out, what it calls otherwise is renamed."""

from typing import Any, Final

OPTIONAL: Final = "@custom"
"""The end of a component template's name that need not be there; OpenSearch knows none such."""

LIFECYCLE: Final = "lifecycle"
"""Retention: OpenSearch has policies of its own (Index State Management), which an operator attaches."""

UNKNOWN: Final = frozenset({"ignore_dynamic_beyond_limit", "synthetic_source_keep"})

FLAT_OBJECT: Final = {"type": "flat_object"}
"""It has neither `ignore_above` nor a limit of its depth."""

RENAMED: Final = {"flattened": FLAT_OBJECT, "constant_keyword": {"type": "keyword"}}
"""Types by Elasticsearch's names: a `constant_keyword` there has no value before the first document."""


def for_opensearch(body: dict[str, Any]) -> dict[str, Any]:
    """Return a template, component or index, for OpenSearch 2 or later."""
    made = {key: value for key, value in body.items() if key != "ignore_missing_component_templates"}
    if "composed_of" in made:
        made["composed_of"] = [name for name in made["composed_of"] if not name.endswith(OPTIONAL)]
    template = {key: _converted(value) for key, value in made.get("template", {}).items() if key != LIFECYCLE}
    if template:
        made["template"] = template
    else:
        made.pop("template", None)
    return made


def _converted(value: Any) -> Any:
    """Return settings or mappings, converted all through."""
    if isinstance(value, list):
        return [each for item in value for each in _templates(item)]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if isinstance(kind, str) and kind in RENAMED:  # a field may be called `type`, too
        return RENAMED[kind]
    return {key: _converted(each) for key, each in value.items() if key not in UNKNOWN}


def _templates(item: Any) -> list[Any]:
    """Return a dynamic template once for each path: OpenSearch takes one path only."""
    if not isinstance(item, dict):
        return [item]
    ((name, about),) = item.items() if len(item) == 1 else ((None, None),)
    if name is None or not isinstance(about, dict) or not isinstance(about.get("path_match"), list):
        return [_converted(item)]
    return [
        {f"{name}-{number}": {**_converted(about), "path_match": path}}
        for number, path in enumerate(about["path_match"])
    ]
