"""The chunk path of formats: many lines at once, a table's groups as columns.

All lines are matched, then each conversion goes over its column (`parsers.cells`), and the table's tree of fields says
how the encoded columns stand in a document (`parsers.slabs`). For keyed tables see `parsers.shapes`. Held equal to the
plain way by `tests/property/test_formats_agree.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from itertools import compress, groupby
from typing import Any

from parsers.cells import Times, converter, instants
from parsers.format import Format, formats, is_object
from parsers.literals import required_texts
from parsers.shapes import Shapes
from parsers.slabs import Layout, Lists, Slab, without
from parsers.table import PATTERN_FLAGS, TEXT_LIMIT, Table, first_of
from parsers.values import Value
from parsers.ways import Ways

Run = Callable[[Sequence[str], Sequence[int], int], tuple[list[Slab], Sequence[int]]]
"""Parses the lines at some places of a column; returns slabs and the places of lines that it does not take."""


def parse_lines(
    name: str, lines: Sequence[str], places: Sequence[int], near_s: int, *, objects: bool, asked: bool = False
) -> tuple[list[Slab], Sequence[int]]:
    """Parse lines at these places by a format's tables, in their order; return slabs and the places that are left.

    `objects`: all of them begin with a brace; else none does. `asked`: as of `Format.parse`.
    """
    fmt = formats()[name]
    if not (fmt.of_objects if objects else fmt.of_texts):
        return [], places
    likely = places if asked else _likely(fmt, lines, places, objects=objects)
    if not likely:
        return [], places
    found, left = list[Slab](), likely
    for run in _runs(name, objects):
        made, left = run(lines, left, near_s)
        found += made
        if not left:
            break
    for slab in found:
        slab.parser = name
    if len(likely) == len(places):
        return found, left
    return found, without(places, [at for slab in found for at in slab.places]) if found else places


def _likely(fmt: Format, lines: Sequence[str], places: Sequence[int], *, objects: bool) -> Sequence[int]:
    """Return the places of lines that may be of a format."""
    if objects and fmt.sniff is is_object:
        return places
    likely = places
    if marks := fmt.marks_of(objects=objects):
        likely = holding(marks, lines, places)
    sniffed = list(map(fmt.sniff, map(lines.__getitem__, likely)))
    return likely if all(sniffed) else list(compress(likely, sniffed))


def holding(texts: Sequence[str], lines: Sequence[str], places: Sequence[int]) -> Sequence[int]:
    """Return the places of lines that hold one of a few texts."""
    match texts:
        case [only]:
            return [at for at in places if only in lines[at]]
        case [first, second]:
            return [at for at in places if first in (line := lines[at]) or second in line]
        case [first, second, third]:
            return [at for at in places if first in (line := lines[at]) or second in line or third in line]
    return places


@cache
def _runs(name: str, objects: bool) -> tuple[Run, ...]:
    """Return a format's functions: one per pattern, one for all keyed tables that follow one another."""
    runs: list[Run] = []
    tables = [table for table in formats()[name].tables if table.of_objects == objects]
    for (keyed, _), grouped in groupby(tables, key=lambda table: (table.pattern is None, table.pairs)):
        group = list(grouped)
        runs += [Shapes(group)] if keyed else map(Pattern, group)
    return tuple(runs)


class Pattern:
    """A table with a pattern, over many lines."""

    def __init__(self, table: Table) -> None:
        """Find the groups that the table uses."""
        self._table = table
        self._texts = required_texts(table.pattern or "", PATTERN_FLAGS)
        values = [table.message, *(leaf.value for leaf in table.leaves)]
        sources = [source for value in values if value for source in value.sources]
        self._groups = tuple(dict.fromkeys([*sources, *(table.time.sources if table.time else ())]))
        self._ways = Ways()
        for value in values:
            if value is not None:
                self._ways.add(value, [(source, converter(convert, str)) for source, convert in value.tries])
        self._event, self._fields, self._own = Layout(table.event), Layout(table.roots), Layout(table.own)
        self._related = Lists(table.related)

    @cached_property
    def _numbers(self) -> list[tuple[str, int]]:
        """The groups with their places; a pattern is compiled for the first line that may match, not before."""
        numbers = self._table.compiled.groupindex
        return [(name, numbers[name] - 1) for name in self._groups]

    def __call__(self, lines: Sequence[str], places: Sequence[int], near_s: int) -> tuple[list[Slab], Sequence[int]]:
        """Parse lines."""
        likely = holding(self._texts, lines, places)
        if not likely:
            return [], places
        match = self._table.match
        texts = list(map(lines.__getitem__, likely))
        if max(map(len, texts)) > TEXT_LIMIT:
            matches = [match(text) if len(text) <= TEXT_LIMIT else None for text in texts]
        else:
            matches = list(map(match, texts))
        accept = self._table.accept
        if accept is not None:
            matches = [each if each is not None and accept(each.groupdict()) else None for each in matches]
        if None in matches:
            likely = [at for at, each in zip(likely, matches, strict=True) if each is not None]
            if not likely:
                return [], places
            matches = [each for each in matches if each is not None]
            texts = list(map(lines.__getitem__, likely))
        slab = self._slab(likely, texts, matches, near_s)
        return [slab], () if len(likely) == len(places) else without(places, likely)

    def _slab(self, places: Sequence[int], texts: Sequence[str], matches: Sequence[Any], near_s: int) -> Slab:
        table = self._table
        # All groups by one call of C: to ask for those that are used costs more.
        columns = list(zip(*map(re.Match.groups, matches), strict=True))
        raws = {name: columns[number] for name, number in self._numbers}
        find = self._ways.over(raws, len(texts)).find
        return Slab(
            "",
            places,
            table.dataset,
            self._event.filled(find),
            _times(table, raws, near_s),
            _messages(table.message, raws, texts),
            self._fields.filled(find),
            self._related.filled(find),
            self._related.hosts(find),
            own=self._own.filled(find),
        )


def _times(table: Table, raws: Mapping[str, Sequence[str | None]], near_s: int) -> Times | None:
    """Return the column of a table's time: of each line that of the first source that can be read."""
    found: Times | None = None
    for source in table.time.sources if table.time else ():
        each = instants(table.time.read, raws[source], near_s, str)  # type: ignore[union-attr]
        if found is not None:
            kept = [second > 0 for second in found[0]]
            each = tuple(
                [own if good else more for good, own, more in zip(kept, mine, others, strict=True)]
                for mine, others in zip(found, each, strict=True)
            )  # type: ignore[assignment]
        found = each
        if 0 not in found[0]:
            break
    return found


def _messages(
    message: Value | None, raws: Mapping[str, Sequence[str | None]], texts: Sequence[str]
) -> Sequence[str] | None:
    """Return the column of a table's message, a line as it came where it has none."""
    if message is None:
        return None
    if message.sure:
        column = raws[message.sources[0]]
        return column if all(column) else [own or text for own, text in zip(column, texts, strict=True)]  # type: ignore[return-value]
    sources = list(dict.fromkeys(message.sources))
    rows = zip(*(raws[source] for source in sources), strict=True)
    found = (first_of(message, dict(zip(sources, row, strict=True))) for row in rows)
    return [own or text for own, text in zip(found, texts, strict=True)]
