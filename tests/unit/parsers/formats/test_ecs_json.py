"""The list of fields that ECS as JSON may set."""

import json
from pathlib import Path
from typing import Final

from parsers.formats.ecs_json import _CATEGORIES, _LISTS, _OUTCOMES, _TYPES, FIELDS, FORMAT, spelled_out
from parsers.table import KEPT, Payload

DATA: Final = Path(__file__).parents[3] / "data"
TAXONOMY: Final = json.loads((DATA / "event_taxonomy.json").read_text())


def test_a_name_with_alternatives_is_each_of_them() -> None:
    """Also with alternatives at several places."""
    assert ["a.b", "a.c", "d"] == spelled_out("a.{b,c} d")
    assert ["a.c", "a.d", "b.c", "b.d"] == spelled_out("{a,b}.{c,d}")


def test_the_allowed_values_are_those_of_ecs() -> None:
    """Category, type and outcome."""
    assert _CATEGORIES == set(TAXONOMY["event.category"])
    assert _TYPES == set(TAXONOMY["event.type"])
    assert _OUTCOMES == set(TAXONOMY["event.outcome"])


def test_lists_are_those_that_ecs_wants_as_lists() -> None:
    """And no others of the fields that are taken."""
    about = json.loads((DATA / "ecs_compact.json").read_text())["fields"]
    wanted = {name for name in FIELDS if "array" in about[name].get("normalize", ())}

    assert {*_LISTS, "event.category", "event.type"} == wanted


def test_a_line_cannot_say_who_it_is_or_that_it_is_an_alert() -> None:
    """Such objects and fields stay the application's."""
    kept = {"event.kind", "event.module", "event.dataset", "event.id", "event.ingested", "event.original"}

    assert {name for name in FIELDS if name in kept or name.split(".")[0] in {*KEPT, "rule", "threat"}} == set()


def test_an_address_with_a_port_stays_whole() -> None:
    """ECS's `ip` has no place for the port, which would be lost."""
    line = '{"@timestamp":"2026-11-29T02:00:00Z","ecs.version":"1","source":{"ip":"192.0.2.7:443"}}'
    parsed = FORMAT.parse(Payload(line), 0)

    assert parsed is not None
    assert ({}, {"ip": "192.0.2.7:443"}) == (parsed.fields, parsed.rest["source"])
