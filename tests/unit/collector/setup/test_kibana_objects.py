"""What `setup kibana` installs: whole, consistent, and about fields that documents have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from collector.setup.kibana_objects import (
    DASHBOARD,
    OVERVIEW,
    SEARCHES,
    WIDTH,
    ndjson,
    rules,
    saved_objects,
)
from collector.setup.kibana_query import Query, Term, fields_of, kql
from collector.setup.templates import objects
from parsers.ecs_types import field_named

PLACEABLE = {"search", "lens"}
OBJECTS = saved_objects()
TEMPLATES = objects(version="0.1.0", retention_s=86400)

DASHBOARD_KEYS = {
    *("title", "description", "kibanaSavedObjectMeta", "timeRestore", "timeFrom", "timeTo", "refreshInterval"),
    *("controlGroupInput", "panelsJSON", "optionsJSON", "hits", "version"),
}
"""Kibana refuses a dashboard of that shape with any other (`reference/elasticsearch.md` section 5.1)."""


def of_type(type_: str) -> list[dict[str, Any]]:
    """The objects of a type."""
    return [each for each in OBJECTS if each["type"] == type_]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels."""
    (dashboard,) = of_type("dashboard")
    found: list[dict[str, Any]] = json.loads(dashboard["attributes"]["panelsJSON"])
    return found


def texts(value: Any) -> Iterator[tuple[str, Any]]:
    """Every text in an object that is JSON itself, decoded, by its key."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if key.endswith("JSON"):
            yield key, json.loads(item)
        yield from texts(item)


def queries() -> Iterator[tuple[str, Query]]:
    """Every query, by what it is of."""
    yield from ((each.title, each.query) for each in SEARCHES)
    yield from ((each.shown.title, each.shown.query) for each in OVERVIEW if not isinstance(each.shown, str))


def test_every_line_is_an_object_and_every_text_in_it_parses() -> None:
    """Kibana reads one object a line, and texts within them as JSON."""
    lines = ndjson(OBJECTS).splitlines()

    assert [json.loads(line)["id"] for line in lines] == [each["id"] for each in OBJECTS]
    assert {key for each in OBJECTS for key, _ in texts(each)} == {"searchSourceJSON", "panelsJSON", "optionsJSON"}


def test_the_same_objects_are_the_same_bytes() -> None:
    """An import over itself changes nothing."""
    assert ndjson(saved_objects()) == ndjson(OBJECTS)
    assert saved_objects() == [json.loads(line) for line in ndjson(OBJECTS).splitlines()]


def test_ids_are_unique_and_ours() -> None:
    """An import touches nothing that somebody else made."""
    names = [each["id"] for each in OBJECTS]

    assert len(set(names)) == len(names)
    assert all(name.startswith("tidewaiter-") for name in names)


def test_every_reference_is_to_an_object_before_it() -> None:
    """One that leads nowhere makes Kibana refuse the file."""
    seen: set[tuple[str, str]] = set()
    for each in OBJECTS:
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= seen
        seen.add((each["type"], each["id"]))


def test_what_refers_by_name_has_a_reference_of_that_name() -> None:
    """Searches name their data view, panels their search, charts their layers' data view."""
    for search in of_type("search"):
        source = json.loads(search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        assert source["indexRefName"] in {each["name"] for each in search["references"]}
    (dashboard,) = of_type("dashboard")
    names = {each["name"] for each in dashboard["references"]}
    for panel in panels():
        index = panel["panelIndex"]
        if panel["type"] == "search":
            assert f"{index}:{panel['panelRefName']}" in names
            continue
        chart = panel["embeddableConfig"]["attributes"]
        layers = chart["state"]["datasourceStates"]["formBased"]["layers"]
        assert {each["name"] for each in chart["references"]} == {
            f"indexpattern-datasource-layer-{id_}" for id_ in layers
        }
        assert {f"{index}:{each['name']}" for each in chart["references"]} <= names


def test_the_dashboard_has_only_what_its_shape_allows() -> None:
    """Kibana forbids unknown attributes there."""
    (dashboard,) = of_type("dashboard")

    assert set(dashboard["attributes"]) <= DASHBOARD_KEYS
    assert dashboard["id"] == DASHBOARD
    assert {panel["type"] for panel in panels()} == PLACEABLE


def test_panels_stand_side_by_side() -> None:
    """None lies on another, none reaches beyond the grid, and each has its own index."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        grid = panel["gridData"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert grid["i"] == panel["panelIndex"]
        assert grid["x"] + grid["w"] <= WIDTH
        assert not cells & taken
        taken |= cells
    assert len({panel["panelIndex"] for panel in panels()}) == len(panels())


def test_the_columns_that_charts_show_are_there() -> None:
    """The looks of a chart name columns of its data, and terms are ordered by one."""
    for panel in panels():
        if panel["type"] != "lens":
            continue
        state = panel["embeddableConfig"]["attributes"]["state"]
        (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
        named = set(re.findall(r'"(count|time|distinct|by-\d)"', json.dumps(state["visualization"])))
        ordered = {
            each["params"]["orderBy"]["columnId"] for each in layer["columns"].values() if "orderBy" in each["params"]
        }
        assert named == set(layer["columnOrder"]) == set(layer["columns"])
        assert ordered <= set(layer["columns"])


def test_every_field_exists_and_can_be_counted() -> None:
    """In searches, columns and charts: of ECS or ours, and none that only full text has where values are split."""
    named = {field for _, query in queries() for field in fields_of(query)}
    named |= {column for each in SEARCHES for column in each.columns}
    split = {
        column.field
        for each in OVERVIEW
        if not isinstance(each.shown, str)
        for column in each.shown.columns
        if column.field is not None
    }

    assert {name for name in named | split if field_named(name) is None} == set()
    kinds = {name: found.type for name in split if (found := field_named(name)) is not None}
    assert {name for name, kind in kinds.items() if kind not in ("keyword", "ip", "date", "long")} == set()


def test_the_alerts_rule_reads_our_alerts_only() -> None:
    """Other products' alerts have rules of their own."""
    (rule,) = rules()

    assert rule["index"] == ["logs-tidewaiter.alerts-*"]
    assert rule["query"] == "event.kind: alert"
    assert [each["value"] for each in rule["severity_mapping"]] == ["21", "47", "73", "99"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ((), ""),
        (((Term("event.kind", ("alert",)),),), "event.kind: alert"),
        (((Term("tags", ("_a", "_b")),),), "tags: (_a or _b)"),
        (((Term("event.module"),),), "event.module: *"),
        (((Term("a", ("1",)), Term("b", ("2",))), (Term("c", ("3",)),)), "(a: 1 and b: 2) or (c: 3)"),
    ],
)
def test_queries_are_written_in_kibanas_language(query: Query, text: str) -> None:
    """Alternatives in parentheses, values behind their field."""
    assert kql(query) == text
