"""The chunk path of keyed tables: objects of one shape as columns.

A shape is the keys of a JSON object in their order, with the types of their values, and those of the objects in it. For
objects of one shape everything is known but the values: which keys a table's fields come from, which keys are left
over. So a plan is made once of a shape and a table, and objects go through it as columns. One with a value that does
not convert as the others' do goes the plain way, as do shapes that are rare.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final

import orjson

from parsers import slabs
from parsers.plans import Columns, Plan, has_needed, may_have
from parsers.slabs import Slab
from parsers.table import JSON_LIMIT, Parsed, Payload, Table, json_object

SHAPES_LIMIT: Final = 256
"""Shapes of a format that have plans; when there are more, all are forgotten."""

LINES_BEFORE: Final = 16
"""Lines of a shape before a plan is made of it: that costs as much as some lines by the plain way."""

RARE_LIMIT: Final = 4096
"""Shapes that are counted; then counting begins anew."""

Shape = tuple[Any, ...]
Object = dict[str, Any]
Accept = Callable[[Mapping[str, Any]], bool]


class Shapes:
    """Keyed tables of one format, all for JSON or all for pairs, over many lines."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Know no shape yet."""
        self._tables = tables
        self._pairs = tables[0].pairs
        self._plain_only = any(table.finish is not None for table in tables)
        self._known: dict[Shape, list[_Way]] = {}
        self._counted: dict[Shape, int] = {}

    def __call__(self, lines: Sequence[str], places: Sequence[int], near_s: int) -> tuple[list[Slab], Sequence[int]]:
        """Parse lines; return slabs and the places of lines that none of the tables takes."""
        run = _Run(lines, near_s)
        if self._plain_only:
            run.one_by_one += places
        else:
            self._by_ways(run, list(map(lines.__getitem__, places)), places)
        parsed = {at: each for at in run.one_by_one if (each := self._plain(lines[at], near_s)) is not None}
        made = [*run.made, *slabs.several("", parsed)] if parsed else run.made
        if sum(len(slab.places) for slab in made) == len(places):
            return made, ()
        return made, slabs.without(places, (at for slab in made for at in slab.places))

    def _by_ways(self, run: "_Run", texts: Sequence[str], places: Sequence[int]) -> None:
        """Let objects go the ways of their shapes."""
        objects = [Payload(text).pairs for text in texts] if self._pairs else _objects(texts)
        for mine, found, columns in _by_shape(objects, places):
            ways = self._ways(shape_of(found[0]), len(mine))
            if ways is None:
                run.one_by_one += mine
            else:
                run.go(ways, mine, found, columns)

    def _plain(self, line: str, near_s: int) -> Parsed | None:
        payload = Payload(line)
        return next((found for table in self._tables if (found := table.parse(payload, near_s)) is not None), None)

    def _ways(self, shape: Shape, lines: int) -> "list[_Way] | None":
        """Return the ways of a shape's objects, None where it is rare so far."""
        known = self._known.get(shape)
        if known is not None:
            return known
        if len(self._counted) >= RARE_LIMIT:
            self._counted.clear()
        seen = self._counted[shape] = self._counted.get(shape, 0) + lines
        if seen < LINES_BEFORE:
            return None
        del self._counted[shape]
        if len(self._known) >= SHAPES_LIMIT:
            self._known.clear()
        ways = self._known[shape] = [_Way(table) for table in self._tables]
        return ways


class _Way:
    """A table that objects of one shape may be of; `plan` is made of the first that is, and None before."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.plan: Plan | None = None


class _Run:
    """Objects on their way through the tables; `one_by_one` are the places of those that go the plain way."""

    def __init__(self, lines: Sequence[str], near_s: int) -> None:
        self._lines = lines
        self._near_s = near_s
        self.made: list[Slab] = []
        self.one_by_one: list[int] = []

    def go(self, ways: list[_Way], places: list[int], found: list[Object], columns: Columns) -> None:
        """Let objects of one shape go through the tables that they may be of; a table that they never are of goes."""
        for way in list(ways):
            table = way.table
            if way.plan is None and not may_have(table, found[0]):
                ways.remove(way)
                continue
            mine = [True] * len(found) if table.accept is None else list(map(table.accept, found))
            taken, objects = list(compress(places, mine)), list(compress(found, mine))
            if not taken:
                continue
            sample = next((each for each in objects if has_needed(table, each)), None) if way.plan is None else None
            if way.plan is None and sample is None:
                continue
            way.plan = way.plan or Plan(table, sample or {})
            self._planned(way.plan, taken, objects, columns if len(taken) == len(found) else Columns(objects))
            if False not in mine:
                return
            places, found = _others(places, mine), _others(found, mine)
            columns = Columns(found)

    def _planned(self, plan: Plan, places: list[int], found: list[Object], columns: Columns) -> None:
        slab, odd = plan.slab(places, columns, list(map(self._lines.__getitem__, places)), self._near_s)
        if odd:
            self.one_by_one += compress(places, odd)
            places, found = _others(places, odd), _others(found, odd)
            if not places:
                return
            texts = list(map(self._lines.__getitem__, places))
            slab, _ = plan.slab(places, Columns(found), texts, self._near_s)
        if slab is not None:
            self.made.append(slab)


def _objects(texts: Sequence[str]) -> list[Object | None]:
    """Decode lines that begin with a brace; None for what is no JSON."""
    if max(map(len, texts)) <= JSON_LIMIT:
        try:
            return list(map(orjson.loads, texts))
        except (ValueError, RecursionError):
            pass
    return list(map(json_object, texts))


def _by_shape(
    objects: Sequence[Object | None], places: Sequence[int]
) -> Iterator[tuple[list[int], list[Object], Columns]]:
    """Group objects by their shapes; those of a group all have the same keys with the same types of values."""
    by_keys: dict[tuple[str, ...], tuple[list[int], list[Object]]] = defaultdict(lambda: ([], []))
    for at, each in zip(places, objects, strict=True):
        if each is not None:
            mine, found = by_keys[tuple(each)]
            mine.append(at)
            found.append(each)
    for mine, found in by_keys.values():
        columns = Columns(found)
        if columns.uniform:
            yield mine, found, columns
            continue
        by_shape: dict[Shape, tuple[list[int], list[Object]]] = defaultdict(lambda: ([], []))
        for at, each in zip(mine, found, strict=True):
            places_of, objects_of = by_shape[shape_of(each)]
            places_of.append(at)
            objects_of.append(each)
        for places_of, objects_of in by_shape.values():
            yield places_of, objects_of, Columns(objects_of)


def shape_of(found: Mapping[str, Any]) -> Shape:
    """Return an object's shape."""
    types = tuple(map(type, found.values()))
    if dict in types:
        inner = [shape_of(value) for value in found.values() if type(value) is dict]
        return (*found, *types, *inner)
    return (*found, *types)


def _others(column: Sequence[Any], taken: Sequence[bool]) -> list[Any]:
    return [each for each, mine in zip(column, taken, strict=True) if not mine]
