"""How objects of one shape become columns of a table: made once, from a sample that the table takes.

The plan says for each field of the table from which key it comes and by which conversion, and where what is left over
stands. Whether an object does as the sample did is checked by columns: one that does not is `odd`, and goes the plain
way.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from parsers.canonical import encode, encode_text
from parsers.cells import Converter, Times, converter, instants, number_cells
from parsers.field_tree import Branch, Leaf
from parsers.flattened import DEPTH_LIMIT, bent, key_text
from parsers.slabs import Filled, Layout, Lists, Slab, joined, literal
from parsers.table import Table
from parsers.values import Convert, OfObject, Value, to_integer, to_text
from parsers.ways import Ways

Chain = tuple[str, ...]
"""The keys down to a value."""

Object = Mapping[str, Any]
Source = tuple[Chain, Convert]

_FLAGS: Final = {True: b"true", False: b"false", None: b"null"}


class Plan:
    """The plan of one shape and table."""

    def __init__(self, table: Table, sample: Object) -> None:
        """Find where the sample has the table's fields from."""
        self._table = table
        self._sample = sample
        self._ways = Ways()
        self._checks: list[int] = []
        self._sources: dict[Value, Source] = {}
        self._optional: set[Value] = set()
        self._taken: set[Chain] = set()
        self._needed = {table.fields[name] for name in table.needs}
        self._anchors = self._find_anchors()
        for value in (table.message, *(leaf.value for leaf in table.leaves)):
            if value is not None and value not in self._sources:
                self._find(value)
        self._sure = [self._number(*source) for value, source in self._sources.items() if value not in self._optional]
        for value in (table.message, *(leaf.value for leaf in table.leaves)):
            if value is not None and self._has(value):
                self._ways.add(value, self._ways_to(value))
        self._time, self._no_times = self._find_time()
        self._event, self._fields = Layout(self._pruned(table.event)), Layout(self._pruned(table.roots))
        self._own = Layout(self._pruned(table.own))
        self._related = Lists(
            {kind: [value for value in values if self._has(value)] for kind, values in table.related.items()}
        )
        self._left = self._rest(sample, (), 1)

    def slab(
        self, places: Sequence[int], columns: "Columns", texts: Sequence[str], near_s: int
    ) -> tuple[Slab | None, list[bool]]:
        """Return the slab of objects of the shape, or none and which are odd where some are."""
        odd = [False] * len(places)
        finder = self._ways.over(columns.raws, len(places))
        for number in self._checks:
            if (made := finder.cells(number)) is not None:
                odd = _either(odd, [each is not None for each in made.values])
        for number in self._sure:
            made = finder.cells(number)
            if made is None:
                return None, [True] * len(places)
            if not made.whole:
                odd = _either(odd, [each is None for each in made.values])
        times = self._times(columns, near_s, odd)
        if True in odd:
            return None, odd
        find = finder.find
        table = self._table
        return Slab(
            "",
            places,
            table.dataset,
            self._event.filled(find),
            times,
            self._messages(columns, texts),
            joined((self._fields.filled(find), self._whole_of(columns))),
            self._related.filled(find),
            self._related.hosts(find),
            self._left_of(columns),
            self._own.filled(find),
        ), []

    def _find(self, value: Value) -> None:
        """Find where the sample has a value from."""
        optional = self._find_optional(value)
        if optional is not None:
            self._sources[value] = optional
            self._optional.add(value)
            return
        for chain, convert in _sources(value, self._sample):
            if convert(at(self._sample, chain)) is not None:
                self._sources[value] = chain, convert
                self._taken.add(chain)
                return
            self._checks.append(self._number(chain, convert))

    def _number(self, chain: Chain, convert: Convert) -> int:
        return self._ways.number(chain, self._converter(chain, convert))

    def _converter(self, chain: Chain, convert: Convert) -> Converter:
        kind: type = type(at(self._sample, chain))
        return converter(convert, kind)

    def _ways_to(self, value: Value) -> list[tuple[Chain, Converter]]:
        source = self._sources.get(value)
        return [(source[0], self._converter(*source))] if source else []

    def _find_optional(self, value: Value) -> Source | None:
        """Return the one source of a value that may convert or not.

        Its key is taken by another field all the same, or no key is left over, for the object is kept whole.
        """
        present = _sources(value, self._sample)
        if len(present) != 1 or value in self._needed:
            return None
        if self._table.whole is not None and value is not self._table.message:
            return present[0]
        if value.default is not None:
            return None
        chain, convert = present[0]
        return (chain, convert) if chain in self._anchors and self._anchors[chain] is not value else None

    def _find_anchors(self) -> dict[Chain, Value]:
        """Return for each key the field that must take it; where that does not convert, the object is odd."""
        values = [self._table.message, *(leaf.value for leaf in self._table.leaves)]
        found: dict[Chain, tuple[bool, Value]] = {}
        for value in values:
            for path, convert in value.tries if value else ():
                chain = chain_of(self._sample, path)
                if chain is None or value is None or isinstance(raw := at(self._sample, chain), dict):
                    continue
                if convert(raw) is not None:
                    whole = (convert is to_text and type(raw) is str) or (convert is to_integer and type(raw) is int)
                    if chain not in found or (whole and not found[chain][0]):
                        found[chain] = whole, value
                    break
        return {chain: value for chain, (_, value) in found.items()}

    def _find_time(self) -> tuple[Chain | None, list[Chain]]:
        """Return the key of the time, and those before it that must be none."""
        time, before = self._table.time, list[Chain]()
        for path in time.sources if time else ():
            chain = chain_of(self._sample, path)
            if chain is None or time is None:
                continue
            if time.read(at(self._sample, chain), 0):
                self._taken.add(chain)
                return chain, before
            before.append(chain)
        return None, before

    def _times(self, columns: "Columns", near_s: int, odd: list[bool]) -> Times | None:
        """Read the column of the time, and mark in `odd` the objects that have it elsewhere."""
        time = self._table.time
        if time is None:
            return None
        for chain in self._no_times:
            raws = columns.raws[chain]
            odd[:] = _either(odd, [second > 0 for second in instants(time.read, raws, near_s, type(raws[0]))[0]])
        if self._time is None:
            return None
        raws = columns.raws[self._time]
        found = instants(time.read, raws, near_s, type(raws[0]))
        if 0 in found[0]:
            odd[:] = _either(odd, [second == 0 for second in found[0]])
        return found

    def _messages(self, columns: "Columns", texts: Sequence[str]) -> Sequence[str] | None:
        message = self._table.message
        source = self._sources.get(message) if message else None
        if source is None:
            return None
        chain, convert = source
        raws = columns.raws[chain]
        if convert is to_text and all(raws):
            return raws
        return [convert(raw) or text for raw, text in zip(raws, texts, strict=True)]

    def _has(self, value: Value | None) -> bool:
        return value is not None and (value in self._sources or value.default is not None)

    def _pruned(self, branch: Branch) -> Branch:
        """Return a tree without what objects of the shape do not have."""
        kept: dict[str, Leaf | Branch] = {}
        for name, member in branch.members.items():
            if isinstance(member, Branch):
                inner = self._pruned(member)
                if inner.members:
                    kept[name] = inner
            elif member.value is None or self._has(member.value):
                kept[name] = member
        return Branch(kept)

    def _rest(self, found: Object, above: Chain, depth: int) -> tuple[bytes, list[tuple[Chain, int]]]:
        """Lay out what no field took, as `parsers.flattened` bends it: a template, and what keys and depths fill it."""
        made: dict[str, tuple[bytes, list[tuple[Chain, int]]]] = {}
        taken = self._taken if self._table.whole is None else frozenset()
        for key, value in found.items():
            chain = (*above, key)
            if chain in taken:
                continue
            if type(value) is dict and depth < DEPTH_LIMIT:
                inside, filling = self._rest(value, chain, depth + 1)
                if (
                    value
                    and not inside
                    and self._table.whole is None
                    and any(taken[: len(chain)] == chain for taken in self._taken)
                ):
                    continue
                made[key_text(key)] = b"{" + inside + b"}", filling
            else:
                made[key_text(key)] = b"%b", [(chain, depth)]
        template = b",".join(literal(encode(key) + b":") + inside for key, (inside, _) in made.items())
        return template, [each for _, filling in made.values() for each in filling]

    def _left_of(self, columns: "Columns") -> Filled:
        template, filling = self._left
        if not template or self._table.whole is not None:
            return Filled()
        return Filled(b'"app":{' + template + b"},", tuple(columns.left(chain, depth) for chain, depth in filling))

    def _whole_of(self, columns: "Columns") -> Filled:
        """Lay out the product's own object, where the table keeps one."""
        name, (template, filling) = self._table.whole, self._left
        if name is None:
            return Filled()
        return Filled(
            literal(b",%b:{" % encode(name)) + template + b"}",
            tuple(columns.left(chain, depth) for chain, depth in filling),
        )


class Columns:
    """The values of objects with the same keys, by these; `uniform`: of objects of one shape."""

    def __init__(self, found: Sequence[Object]) -> None:
        """Lay objects with the same keys out; inner ones only as far as all of them have the same keys."""
        self.raws: dict[Chain, Sequence[Any]] = {}
        self.uniform = True
        self._unfold(found, ())

    def _unfold(self, found: Sequence[Any], above: Chain) -> None:
        for key, raws in zip(found[0], zip(*map(dict.values, found), strict=True), strict=True):
            self.raws[*above, key] = raws
            kinds = set(map(type, raws))
            if len(kinds) > 1 or (dict in kinds and len(set(map(tuple, raws))) > 1):
                self.uniform = False
            elif dict in kinds:
                self._unfold(raws, (*above, key))

    def left(self, chain: Chain, depth: int) -> list[bytes]:
        """Return a column of what no field took."""
        raws = self.raws[chain]
        kind = type(raws[0])
        if kind is str:
            return list(map(encode_text, raws))
        if kind in (int, float):
            return number_cells(raws)
        if kind in (bool, type(None)):
            return list(map(_FLAGS.__getitem__, raws))
        return [encode(bent(raw, depth)) for raw in raws]


def may_have(table: Table, sample: Object) -> bool:
    """Tell whether objects of a sample's shape may be of a table, as far as keys and types say."""
    if any(chain_of(sample, path) is None for path in table.requires):
        return False
    return all(any(_sources(table.fields[name], sample)) for name in table.needs)


def has_needed(table: Table, found: Object) -> bool:
    """Tell whether an object has a value of each field that the table needs."""
    return all(
        any(convert(at(found, chain)) is not None for chain, convert in _sources(table.fields[name], found))
        for name in table.needs
    )


def _sources(value: Value, found: Object) -> list[Source]:
    return [
        (chain, convert)
        for path, convert in value.tries
        if (chain := chain_of(found, path)) is not None and not never(convert, type(at(found, chain)))
    ]


def chain_of(found: Object, path: str) -> Chain | None:
    """Return the keys down to a path's value, as `parsers.table.at_path` goes; None where there is none."""
    if path in found:
        return (path,) if found[path] is not None else None
    head, dot, rest = path.partition(".")
    while dot:
        inner = found.get(head)
        if isinstance(inner, dict):
            below = chain_of(inner, rest)
            return None if below is None else (head, *below)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def at(found: Any, chain: Chain) -> Any:
    """Return the value that a chain of keys leads to."""
    for key in chain:
        found = found[key]
    return found


def never(convert: Convert, kind: type) -> bool:
    """Tell whether a conversion is known to take nothing of this type; only OfObject takes an object."""
    if kind is dict or isinstance(convert, OfObject):
        return not (kind is dict and isinstance(convert, OfObject))
    return (convert is to_text and kind is not str) or (convert is to_integer and kind in (bool, list))


def _either(one: list[bool], other: list[bool]) -> list[bool]:
    return [mine or more for mine, more in zip(one, other, strict=True)]
