"""What lines of one table give to their documents, as columns: the one form in which parsers hand on what they found.

A slab has a template for each part of a document, with a place (`%b`) for each value that varies by line, and a column
of encoded values for each place. Only what `parsers.canonical` encoded is filled in.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import msgspec
import orjson

from parsers.canonical import encode
from parsers.cells import Cells, Times, of_values
from parsers.field_tree import Branch
from parsers.flattened import flattened
from parsers.table import Parsed, unique
from parsers.values import Value


class Filled(msgspec.Struct, frozen=True):
    """A template and the columns that fill its places."""

    template: bytes = b""
    columns: tuple[Sequence[bytes], ...] = ()

    def rows(self, size: int) -> list[bytes]:
        """Return what each line has."""
        if not self.columns:
            return [self.template.replace(b"%%", b"%")] * size
        return list(map(self.template.__mod__, zip(*self.columns, strict=True)))

    def kept(self, keep: Sequence[bool]) -> "Filled":
        """Return that of the lines to keep."""
        return Filled(self.template, tuple(list(compress(column, keep)) for column in self.columns))


class Slab(msgspec.Struct):
    """Lines that one table of the parser `parser` took: their `places`, ascending, and what they give.

    `event` are the members of `event` behind kind, module and dataset, each behind a comma; so are `fields`, the
    document's own; `related` are members of `related`, each before a comma, without hosts; `rest` is the member `app`
    of `tidewaiter`, before a comma; `own` its other members, each behind a comma. `hosts` are columns of hosts that
    come before the stream's own. `times` and `messages` are None where no line has one of its own; a line without a
    time has second 0.
    """

    parser: str
    places: Sequence[int]
    dataset: str | None = None
    event: Filled = Filled()
    times: Times | None = None
    messages: Sequence[str] | None = None
    fields: Filled = Filled()
    related: Filled = Filled()
    hosts: tuple[Sequence[bytes | None], ...] = ()
    rest: Filled = Filled()
    own: Filled = Filled()

    def without(self, places: set[int]) -> "Slab":
        """Return the slab without the lines at these places."""
        keep = [at not in places for at in self.places]
        return Slab(
            self.parser,
            list(compress(self.places, keep)),
            self.dataset,
            self.event.kept(keep),
            None if self.times is None else (list(compress(self.times[0], keep)), list(compress(self.times[1], keep))),
            None if self.messages is None else list(compress(self.messages, keep)),
            self.fields.kept(keep),
            self.related.kept(keep),
            tuple(list(compress(column, keep)) for column in self.hosts),
            self.rest.kept(keep),
            self.own.kept(keep),
        )


Find = Callable[[Value], Cells | None]
"""Gives a value's column; None where no line has it."""


class Layout:
    """How an object's members stand in a template, each behind a comma; made once of a table's tree."""

    def __init__(self, branch: Branch) -> None:
        """Join what is constant."""
        self._steps: list[_Constant | _Leaf | _Object] = []
        for name, member in branch.members.items():
            key = b",%b:" % encode(name)
            if isinstance(member, Branch):
                inner = Layout(member)
                if inner.constant is None:
                    self._steps.append(_Object(key, literal(key + b"{"), inner))
                else:
                    self._add(literal(key + b"{") + inner.constant[1:] + b"}")
            elif member.value is None:
                self._add(literal(key + encode(member.constant)))
            else:
                self._steps.append(_Leaf(key, literal(key) + b"%b", member.value))

    @property
    def constant(self) -> bytes | None:
        """The whole, where nothing of it varies."""
        match self._steps:
            case []:
                return b""
            case [_Constant() as only]:
                return only.text
        return None

    def filled(self, find: Find) -> Filled:
        """Lay out the members that some lines have."""
        template = list[bytes]()
        columns = list[Sequence[bytes]]()
        self._fill(find, template, columns)
        return Filled(b"".join(template), tuple(columns))

    def _fill(self, find: Find, template: list[bytes], columns: list[Sequence[bytes]]) -> None:
        for step in self._steps:
            if type(step) is _Leaf:
                made = find(step.value)
                if made is not None and made.whole:
                    template.append(step.whole)
                    columns.append(made.values)  # type: ignore[arg-type]
                elif made is not None:
                    template.append(b"%b")
                    key = step.key
                    columns.append([b"" if each is None else key + each for each in made.values])
            elif type(step) is _Object:
                _within(step, find, template, columns)
            else:
                template.append(step.text)  # type: ignore[union-attr]

    def _add(self, constant: bytes) -> None:
        if self._steps and isinstance(last := self._steps[-1], _Constant):
            self._steps[-1] = _Constant(last.text + constant)
        else:
            self._steps.append(_Constant(constant))


class _Constant(msgspec.Struct, frozen=True):
    text: bytes


class _Leaf(msgspec.Struct, frozen=True):
    key: bytes
    whole: bytes
    value: Value


class _Object(msgspec.Struct, frozen=True):
    key: bytes
    opened: bytes
    layout: Layout


def _within(step: _Object, find: Find, template: list[bytes], columns: list[Sequence[bytes]]) -> None:
    """Lay out members as an object behind its key; nothing where no line has any of them."""
    start, first = len(template), len(columns)
    template.append(step.opened)
    step.layout._fill(find, template, columns)  # noqa: SLF001 - one class with it
    if len(template) == start + 1:
        template.pop()
        return
    head = template[start + 1]
    if head.startswith(b","):
        template[start + 1] = head[1:]
        template.append(b"}")
        return
    # What comes first may be missing, so where the commas stand differs by line.
    rows = Filled(b"".join(template[start + 1 :]), tuple(columns[first:])).rows(0)
    template[start:] = [b"%b"]
    columns[first:] = [[b"%b{%b}" % (step.key, row[1:]) if row else b"" for row in rows]]


class Lists:
    """The lists of `related`: how they stand in a template, each before a comma, and the columns of hosts."""

    def __init__(self, values: Mapping[str, Sequence[Value]]) -> None:
        """Know the keys."""
        self._lists = [(b"%b:[" % encode(kind), each) for kind, each in values.items() if kind != "hosts" and each]
        self._hosts = values.get("hosts", ())

    def filled(self, find: Find) -> Filled:
        """Lay out the lists that some lines have."""
        return joined(_behind(key, _listed(values, find), b"],") for key, values in self._lists)

    def hosts(self, find: Find) -> tuple[Sequence[bytes | None], ...]:
        """Return the columns of hosts."""
        return tuple(made.values for value in self._hosts if (made := find(value)) is not None)


def joined(parts: Iterable[Filled]) -> Filled:
    """Put parts one behind the other."""
    found = [part for part in parts if part.template]
    columns = tuple(column for part in found for column in part.columns)
    return Filled(b"".join(part.template for part in found), columns)


def several(parser: str, found: Mapping[int, Parsed]) -> list[Slab]:
    """Make slabs of lines that were parsed one by one, by their places."""
    by_dataset: dict[str | None, list[int]] = {}
    for at in sorted(found):
        by_dataset.setdefault(found[at].dataset, []).append(at)
    return [_slab(parser, dataset, places, found) for dataset, places in by_dataset.items()]


def _slab(parser: str, dataset: str | None, places: list[int], found: Mapping[int, Parsed]) -> Slab:
    each = [found[at] for at in places]
    hosts_of = [parsed.related.get("hosts", []) for parsed in each]
    most = max(map(len, hosts_of))
    return Slab(
        parser,
        places,
        dataset,
        _one([_commas(parsed.event) for parsed in each]),
        (
            [parsed.time[0] if parsed.time else 0 for parsed in each],
            [parsed.time[1] if parsed.time else 0 for parsed in each],
        ),
        [parsed.message for parsed in each],
        _one([_commas(parsed.fields) for parsed in each]),
        _one([_related(parsed) for parsed in each]),
        tuple([encode(names[at]) if at < len(names) else None for names in hosts_of] for at in range(most)),
        _one([b'"app":%b,' % encode(flattened(parsed.rest)) if parsed.rest else b"" for parsed in each]),
        _one([_commas(parsed.own) for parsed in each]),
    )


def _one(column: list[bytes]) -> Filled:
    return Filled(b"%b", (column,)) if any(column) else Filled()


def _commas(value: Mapping[str, Any]) -> bytes:
    return b",%b" % encode(value)[1:-1] if value else b""


def _related(parsed: Parsed) -> bytes:
    lists = {kind: values for kind, values in parsed.related.items() if kind != "hosts"}
    return encode(lists)[1:-1] + b"," if lists else b""


def _behind(key: bytes, made: Cells | None, end: bytes) -> Filled:
    """Put a key before values and `end` behind them, and nothing where there is none."""
    if made is None:
        return Filled()
    if made.whole:
        return Filled(literal(key) + b"%b" + end, (made.values,))  # type: ignore[arg-type]
    return Filled(b"%b", ([b"" if each is None else b"%b%b%b" % (key, each, end) for each in made.values],))


def _listed(values: Sequence[Value], find: Find) -> Cells | None:
    """Make the inside of a list of each line's values, each once."""
    found = [made for value in values if (made := find(value)) is not None]
    if not found:
        return None
    if any(value.kind.endswith("[]") for value in values):
        return of_values([_flat(row) for row in zip(*(made.values for made in found), strict=True)])
    if len(found) == 1:
        return found[0]
    rows = (dict.fromkeys(filter(None, row)) for row in zip(*(made.values for made in found), strict=True))
    return of_values([b",".join(row) or None for row in rows])


def _flat(row: Sequence[bytes | None]) -> bytes | None:
    found = unique([orjson.loads(each) for each in row if each is not None])
    return encode(found)[1:-1] or None


def literal(encoded: bytes) -> bytes:
    """Return bytes as they stand in a template."""
    return encoded.replace(b"%", b"%%")


def without(places: Sequence[int], taken: Iterable[int]) -> list[int]:
    """Return the places that are not taken."""
    gone = set(taken)
    return [at for at in places if at not in gone]
