"""The chunk path of keyed tables: one function per shape of object, written when many lines have had that shape.

A shape is the keys of a JSON object in their order, with the types of their values, and those of the objects in it. For
objects of one shape everything is known but the values: which table takes them, which key each field comes from, which
keys are left over. So a document's fields are one template. A value that does not convert as the shape's others do goes
the plain way, as do shapes that are rare: what senders choose never makes us compile without end.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from parsers.canonical import encode, encode_text
from parsers.flattened import DEPTH_LIMIT, bent, key_text
from parsers.splice import Memory, Spliced, spliced
from parsers.table import Branch, Payload, Table, json_object, unique
from parsers.values import LONG_LIMIT, Convert, Value, to_integer, to_text
from parsers.written import compiled

SHAPES_LIMIT: Final = 256
"""Shapes of a format that have functions of their own; others go the plain way."""

LINES_BEFORE: Final = 16
"""Lines of a shape before its function is written: that costs as much as some two hundred lines by the plain way."""

RARE_LIMIT: Final = 4096
"""Shapes that are counted; then counting begins anew."""

Shape = tuple[Any, ...]
Chain = tuple[str, ...]
"""The keys down to a value."""

Write = Callable[[dict[str, Any], str, int], Spliced | None]


class Unsuited(Exception):
    """An object of a shape for which no function can be written."""


class Shapes:
    """Keyed tables of one format, all for JSON or all for pairs, as a function over many lines."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Know no shape yet."""
        self._tables = tables
        self._pairs = tables[0].pairs
        self._written: dict[Shape, Write | None] = {}
        self._counted: dict[Shape, int] = {}

    def __call__(self, lines: Sequence[str], near_s: int) -> list[Spliced | None]:
        """Parse lines; None for each that is of none of the tables."""
        read = (lambda line: Payload(line).pairs) if self._pairs else json_object
        written = self._written
        made: list[Spliced | None] = []
        for line in lines:
            found = read(line)
            if found is None:
                made.append(None)
                continue
            write = written.get(shape_of(found), self._count)
            each = write(found, line, near_s) if write else None
            made.append(self._plain(line, near_s) if each is None else each)
        return made

    def _plain(self, line: str, near_s: int) -> Spliced | None:
        payload = Payload(line)
        for table in self._tables:
            parsed = table.parse(payload, near_s)
            if parsed is not None:
                return spliced(parsed)
        return None

    def _count(self, found: dict[str, Any], line: str, near_s: int) -> Spliced | None:
        """Take note of an object of a shape that has no function, and write one where it is common."""
        if len(self._written) >= SHAPES_LIMIT:
            return None
        shape = shape_of(found)
        if len(self._counted) >= RARE_LIMIT:
            self._counted.clear()
        seen = self._counted[shape] = self._counted.get(shape, 0) + 1
        if seen >= LINES_BEFORE:
            del self._counted[shape]
            try:
                self._written[shape] = _Function(self._tables, found).compiled()
            except Unsuited:
                self._written[shape] = None
        return None


def shape_of(found: Mapping[str, Any]) -> Shape:
    """Return an object's shape."""
    types = tuple(map(type, found.values()))
    if dict in types:
        inner = [shape_of(value) for value in found.values() if type(value) is dict]
        return (*found, *types, *inner)
    return (*found, *types)


def chain_of(found: Mapping[str, Any], path: str) -> Chain | None:
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


class _Function:
    """The parts of one shape's function while it is written from a sample of it."""

    def __init__(self, tables: Sequence[Table], sample: dict[str, Any]) -> None:
        self._sample = sample
        self._names: dict[str, Any] = {
            "text": encode_text, "encode": encode, "bent": bent, "new": tuple.__new__, "Spliced": Spliced,
            "flags": {True: b"true", False: b"false"}, "low": -LONG_LIMIT, "high": LONG_LIMIT,
        }  # fmt: skip
        self._lines: list[str] = []
        self._taken: set[Chain] = set()
        self._sources: dict[Value, tuple[Chain, Convert] | None] = {}
        self._table = self._choose(tables)
        self._needed = [self._table.fields[name] for name in self._table.needs]
        self._anchors = self._find_anchors()

    def compiled(self) -> Write:
        """Write and compile it."""
        table, event = self._table, self._members(self._table.event, led=True)
        fields = self._members(table.roots, led=True)
        related = {kind: values for kind, values in table.related.items() if kind != "hosts"}
        parts = [
            "dataset",
            self._filled(*event),
            self._time(),
            self._message(),
            self._filled(*fields),
            self._listed(related),
            self._hosts(table.related.get("hosts", [])),
            self._filled(*self._rest(self._sample, (), 1)),
        ]
        self._names["dataset"] = table.dataset
        body = [*self._lines, f"return new(Spliced, ({', '.join(parts)}))"]
        lines = ["def write(o, line, near_s):", *(f"    {line}" for line in body)]
        write: Write = compiled(lines, f"shape of {len(self._sample)} keys", self._names, "write")
        return write

    def _choose(self, tables: Sequence[Table]) -> Table:
        for table in tables:
            if self._has_all(table):
                if table.accept is None:
                    return table
                self._lines.append(f"if not {self._named(table.accept)}(o): return None")
                if table.accept(self._sample):
                    return table
                self._lines[-1] = self._lines[-1].replace("if not ", "if ")
        raise Unsuited

    def _has_all(self, table: Table) -> bool:
        """Tell whether the sample has what a table requires and needs; raise Unsuited where only its values lack it."""
        if any(chain_of(self._sample, path) is None for path in table.requires):
            return False
        for name in table.needs:
            tries = table.fields[name].tries
            there = [(chain, convert) for path, convert in tries if (chain := chain_of(self._sample, path))]
            if not there:
                return False
            if all(convert(_at(self._sample, chain)) is None for chain, convert in there):
                raise Unsuited
        return True

    def _named(self, value: Any) -> str:
        name = f"n{len(self._names)}"
        self._names[name] = value
        return name

    def _raw(self, chain: Chain) -> str:
        return "o" + "".join(f"[{key!r}]" for key in chain)

    def _source(self, value: Value) -> tuple[Chain, Convert] | None:
        """Return where the sample has a value from, and its conversion; that others of this shape do is checked."""
        if value in self._sources:
            return self._sources[value]
        found = self._optional(value)
        if found is not None:
            return found
        for path, convert in value.tries:
            chain = chain_of(self._sample, path)
            if chain is None or _never(convert, type(raw := _at(self._sample, chain))):
                continue
            if convert(raw) is not None:
                found = (chain, convert)
                break
            self._lines.append(f"if {self._converted(chain, convert)} is not None: return None")
        self._sources[value] = found
        return found

    def _optional(self, value: Value) -> tuple[Chain, Convert] | None:
        """Return the one source of a value that may convert or not: another field takes its key all the same."""
        present = [
            (chain, convert)
            for path, convert in value.tries
            if (chain := chain_of(self._sample, path)) and not _never(convert, type(_at(self._sample, chain)))
        ]
        if len(present) != 1 or value.default is not None or value in self._needed:
            return None
        chain, convert = present[0]
        return (chain, convert) if chain in self._anchors and self._anchors[chain] is not value else None

    def _spliced(self, chain: Chain, convert: Convert) -> bool:
        """Tell whether a value is spliced as it stands: a text, or an integer."""
        kind = type(_at(self._sample, chain))
        return (convert is to_text and kind is str) or (convert is to_integer and kind is int)

    def _find_anchors(self) -> dict[Chain, Value]:
        """Return for each key the field that must take it; where that does not convert, the line goes the plain way."""
        leaves = [*self._table.event.leaves(), *self._table.roots.leaves()]
        values = [self._table.message, *(leaf.value for leaf in leaves)]
        found: dict[Chain, tuple[bool, Value]] = {}
        for value in values:
            for path, convert in value.tries if value else ():
                chain = chain_of(self._sample, path)
                if chain is None or value is None or isinstance(raw := _at(self._sample, chain), dict):
                    continue
                if convert(raw) is not None:
                    spliced_first = self._spliced(chain, convert)
                    if chain not in found or (spliced_first and not found[chain][0]):
                        found[chain] = spliced_first, value
                    break
        return {chain: value for chain, (_, value) in found.items()}

    def _converted(self, chain: Chain, convert: Convert) -> str:
        """Say how a value is converted and encoded, None where it does not convert."""
        return self._looked_up(lambda key: _encoded(convert(key)), [chain])

    def _value(self, value: Value) -> str | None:
        """Say how a field's encoded value is made; None where objects of this shape have none."""
        source = self._source(value)
        if source is None:
            return None if value.default is None else self._named(encode(value.default))
        chain, convert = source
        self._taken.add(chain)
        raw, variable = self._raw(chain), f"v{len(self._lines)}"
        spliced = self._spliced(chain, convert)
        if spliced and convert is to_text:
            self._lines += [f"{variable} = {raw}", f"if not {variable}: return None"]
            return f"text({variable})"
        if spliced:
            self._lines += [f"{variable} = {raw}", f"if not low <= {variable} < high: return None"]
            return f"b'%d' % {variable}"
        self._lines += [f"{variable} = {self._converted(chain, convert)}", f"if {variable} is None: return None"]
        return variable

    def _looked_up(self, make: Callable[[Any], Any], chains: Sequence[Chain]) -> str:
        """Say how to get what `make` makes of these values (of one itself, of several their tuple)."""
        key = ", ".join(map(self._raw, chains))
        if any(isinstance(_at(self._sample, chain), list | dict) for chain in chains):
            return f"{self._named(make)}({key if len(chains) == 1 else f'({key})'})"
        return f"{self._named(Memory(make))}[{key}]"

    def _members(self, branch: Branch, *, led: bool) -> tuple[bytes, list[str]]:
        template, filling = b"", list[str]()
        for name, member in branch.members.items():
            comma = b"," if led or template else b""
            key = _literal(comma + encode(name) + b":")
            if isinstance(member, Branch):
                inside, more = self._members(member, led=False)
                if inside:
                    template, filling = template + key + b"{" + inside + b"}", filling + more
            elif member.value is None:
                template += key + _literal(encode(member.constant))
            elif (led or template) and (source := self._optional(member.value)):
                template, filling = template + b"%b", [*filling, self._fragment(key, *source)]
            elif (made := self._value(member.value)) is not None:
                template, filling = template + key + b"%b", [*filling, made]
        return template, filling

    def _fragment(self, key: bytes, chain: Chain, convert: Convert) -> str:
        """Say how a member is made that may be missing."""
        name = key.replace(b"%%", b"%")

        def make(raw: Any) -> bytes:
            found = convert(raw)
            return b"" if found is None else name + encode(found)

        return self._looked_up(make, [chain])

    def _filled(self, template: bytes, filling: list[str]) -> str:
        if not filling:
            return self._named(template.replace(b"%%", b"%"))
        return f"{self._named(template)} % ({', '.join(filling)},)"

    def _time(self) -> str:
        time = self._table.time
        for path in time.sources if time else ():
            chain = chain_of(self._sample, path)
            if chain is None or time is None:
                continue
            read = f"{self._named(time.read)}({self._raw(chain)}, near_s)"
            if time.read(_at(self._sample, chain), 0):
                self._taken.add(chain)
                self._lines += [f"time = {read}", "if not time: return None"]
                return "time"
            self._lines.append(f"if {read}: return None")
        return "None"

    def _message(self) -> str:
        message = self._table.message
        source = self._source(message) if message else None
        if source is None:
            return "line"
        chain, convert = source
        self._taken.add(chain)
        made = self._raw(chain) if self._spliced(chain, convert) else self._looked_up(convert, [chain])
        self._lines += [f"message = {made}", "if not message: return None"]
        return "message"

    def _listed(self, related: Mapping[str, list[Value]]) -> str:
        """Say how the lists of `related` are made, each by itself: their values vary apart."""
        return " + ".join(made for kind, values in related.items() if (made := self._list(kind, values))) or "b''"

    def _list(self, kind: str, values: list[Value]) -> str:
        present = self._present(values)
        chains = list(dict.fromkeys(chain for chain, _ in present))
        key = encode(kind) + b":"
        if not chains:
            return ""

        def make(raw: Any) -> bytes:
            given = dict(zip(chains, raw if len(chains) > 1 else (raw,), strict=True))
            found = unique([convert(given[chain]) for chain, convert in present])
            return b"%b%b," % (key, encode(found)) if found else b""

        return self._looked_up(make, chains)

    def _hosts(self, hosts: list[Value]) -> str:
        present = self._present(hosts)
        if not present:
            return "()"

        def make(key: Any) -> tuple[str, ...]:
            raw = key if len(present) > 1 else (key,)
            return tuple(unique([convert(each) for (_, convert), each in zip(present, raw, strict=True)]))

        return self._looked_up(make, [chain for chain, _ in present])

    def _present(self, values: list[Value]) -> list[tuple[Chain, Convert]]:
        """Return the sources of those of these values that objects of this shape have."""
        if any(value.default is not None for value in values):
            raise Unsuited
        return [source for value in values if (source := self._source(value))]

    def _rest(self, found: Mapping[str, Any], above: Chain, depth: int) -> tuple[bytes, list[str]]:
        """Lay out what no field took, as `parsers.flattened` bends it."""
        members: dict[str, tuple[bytes, list[str]]] = {}
        for key, value in found.items():
            chain = (*above, key)
            if chain in self._taken:
                continue
            if type(value) is dict and depth < DEPTH_LIMIT:
                inside, filling = self._rest(value, chain, depth + 1)
                if value and not inside and any(taken[: len(chain)] == chain for taken in self._taken):
                    continue
                members[key_text(key)] = b"{" + inside + b"}", filling
            else:
                members[key_text(key)] = b"%b", [self._left(chain, value, depth)]
        template = b",".join(_literal(encode(key) + b":") + inside for key, (inside, _) in members.items())
        return template, [each for _, filling in members.values() for each in filling]

    def _left(self, chain: Chain, value: Any, depth: int) -> str:
        raw = self._raw(chain)
        if type(value) is str:
            return f"text({raw})"
        if type(value) is bool:
            return f"flags[{raw}]"
        return f"encode(bent({raw}, {depth}))"


def _never(convert: Convert, kind: type) -> bool:
    """Tell whether a conversion is known to take nothing of this type; none takes an object."""
    if kind is dict:
        return True
    return (convert is to_text and kind is not str) or (convert is to_integer and kind in (bool, list))


def _at(found: Any, chain: Chain) -> Any:
    for key in chain:
        found = found[key]
    return found


def _encoded(value: Any) -> bytes | None:
    return None if value is None else encode(value)


def _literal(encoded: bytes) -> bytes:
    return encoded.replace(b"%", b"%%")
