"""What holds of every table: its fields are ECS's, with values that fit; its categories and types are allowed.

`problems` returns sentences, none for a good table; a test runs it over all formats, and `tidewaiter parsers` need not.
"""

import re
from collections.abc import Iterator
from typing import Any

from parsers.ecs_types import PRODUCT_OBJECTS, field_named
from parsers.field_tree import Leaf
from parsers.format import Format
from parsers.own_fields import AUTH_FIELDS
from parsers.table import KEPT, Table

FITS = {
    "keyword": ("keyword",),
    "text": ("keyword",),
    "flattened": ("keyword",),
    "long": ("long",),
    "float": ("float", "long"),
    "ip": ("ip",),
    "boolean": ("boolean",),
    "date": ("date",),
}
"""Type of an ECS field as it is searched -> kinds of values that it takes."""


def problems(name: str, fmt: Format, taxonomy: dict[str, Any], lists: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with a format. `taxonomy` is ECS's of `event.*`, `lists` its fields that must be lists."""
    for number, table in enumerate(fmt.tables):
        for problem in _problems(table, taxonomy, lists):
            yield f"{name}, table {number}: {problem}"


def _problems(table: Table, taxonomy: dict[str, Any], lists: frozenset[str]) -> Iterator[str]:
    yield from _sources(table)
    if table.whole is not None and (table.whole not in PRODUCT_OBJECTS or not table.of_objects):
        yield f"{table.whole}: no product's own object"
    for leaf in table.leaves:
        yield from _field(leaf, lists)
    for name in table.produces:
        known = field_named(name)
        if known is None or name.partition(".")[0] in KEPT - {"tidewaiter", "related"}:
            yield f"{name}: not a field that findings may have"
    categories = table.constants.get("event.category", [])
    allowed = {kind for category in categories for kind in taxonomy["expected_event_types"].get(category, [])}
    for field in ("event.kind", "event.category", "event.type", "event.outcome"):
        given = table.constants.get(field, [])
        for value in given if isinstance(given, list) else [given]:
            if value not in taxonomy[field]:
                yield f"{field}: {value!r} is not ECS's"
            if field == "event.type" and value not in allowed:
                yield f"event.type {value!r} is not expected of {categories}"


def _field(leaf: Leaf, lists: frozenset[str]) -> Iterator[str]:
    known = field_named(leaf.field)
    if leaf.field.partition(".")[0] in KEPT and leaf.field not in AUTH_FIELDS:
        yield f"{leaf.field}: no parser may write it"
    elif known is None or known.type in ("object", "nested"):
        yield f"{leaf.field}: not a field of ECS"
    elif leaf.value is not None:
        kind = leaf.value.kind
        if kind.removesuffix("[]") not in FITS.get(known.type, ()):
            yield f"{leaf.field} is {known.type}, its value {kind}"
        if _is_list(leaf.field, lists) and not kind.endswith("[]"):
            yield f"{leaf.field} must be a list"
    elif _is_list(leaf.field, lists) and not isinstance(leaf.constant, list):
        yield f"{leaf.field} must be a list"


def _is_list(field: str, lists: frozenset[str]) -> bool:
    return field in lists or (field in AUTH_FIELDS and AUTH_FIELDS[field].is_list)


def _sources(table: Table) -> Iterator[str]:
    if table.pattern is None:
        return
    groups = re.compile(table.pattern).groupindex
    values = [leaf.value for leaf in table.leaves if leaf.value is not None]
    used = {source for value in values for source in value.sources}
    used |= set(table.message.sources if table.message else ()) | set(table.time.sources if table.time else ())
    yield from (f"no group {source!r}" for source in sorted(used - set(groups)))
