"""The chunk path of formats: many lines at once, by flat code made from each table's tree of fields.

For a table with a pattern, code is generated once: it matches a line, looks up what was made of each group's text
before, and fills in templates. Only what `parsers.canonical` encoded is put into them. A value that is `sure` is
encoded anew each time; all others are encoded once per text and kept, by the very functions that the plain way calls,
so the two cannot differ. For keyed tables see `parsers.shapes`. Held equal to the plain way by
`tests/property/test_formats_agree.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from parsers.canonical import encode, encode_text
from parsers.format import formats
from parsers.shapes import Shapes
from parsers.splice import Memory, Spliced, spliced
from parsers.table import TEXT_LIMIT, Branch, Leaf, Payload, Table, first_of, read_time, unique
from parsers.times import Instant
from parsers.values import Value
from parsers.written import compiled

Run = Callable[[Sequence[str], int], list[Spliced | None]]


def parse_lines(name: str, lines: Sequence[str], near_s: int, *, objects: bool) -> list[Spliced | None]:
    """Parse lines by a format's tables, in their order; None for each that is of none of them.

    `objects`: all begin with a brace; else none does.
    """
    made: list[Spliced | None] = [None] * len(lines)
    runs = _runs(name, objects)
    if not runs:
        return made
    left = [at for at, sniffed in enumerate(map(formats()[name].sniff, lines)) if sniffed]
    for run in runs:
        if not left:
            break
        for at, found in zip(left, run([lines[at] for at in left], near_s), strict=True):
            made[at] = found
        left = [at for at in left if made[at] is None]
    return made


@cache
def _runs(name: str, objects: bool) -> tuple[Run, ...]:
    """Return a format's functions: one per pattern, one for all keyed tables that follow one another."""
    runs: list[Run] = []
    tables = [table for table in formats()[name].tables if table.of_objects == objects]
    for (keyed, _), grouped in groupby(tables, key=lambda table: (table.pattern is None, table.pairs)):
        group = list(grouped)
        runs += [Shapes(group)] if keyed else map(_generated, group)
    return tuple(runs)


class _Code:
    """The parts of one table's function while it is written: names of its memories, and what it needs of each match."""

    def __init__(self, table: Table) -> None:
        self.names: dict[str, Any] = {"match": table.match, "accept": table.accept, "limit": TEXT_LIMIT}
        self.groups: dict[str, str] = {}
        self.sure: dict[str, None] = {}

    def group(self, source: str) -> str:
        """Name the variable that holds a group's text."""
        return self.groups.setdefault(source, f"g{len(self.groups)}")

    def key(self, sources: Iterable[str]) -> str:
        """Say what a memory of these groups is asked with."""
        variables = [self.group(source) for source in dict.fromkeys(sources)]
        return ", ".join(variables)

    def looked_up(self, sources: Iterable[str], make: Callable[[Mapping[str, Any]], Any]) -> str:
        """Say how the function gets what `make` makes of these groups."""
        wanted = tuple(dict.fromkeys(sources))
        return f"{self.named(Memory(lambda key: make(_groups(wanted, key))))}[{self.key(wanted)}]"

    def members(self, branch: Branch, *, led: bool) -> tuple[bytes, list[str]]:
        """Return a template of a branch's members and what fills it; `led`: a comma stands before each."""
        template, filling = b"", list[str]()
        for name, member in branch.members.items():
            comma = b"," if led or template else b""
            key = comma + encode(name) + b":"
            if not member.sure:
                filling.append(self.fragment(name, member))
                template += b"%b"
            elif isinstance(member, Branch):
                inside, more = self.members(member, led=False)
                template += key.replace(b"%", b"%%") + b"{" + inside + b"}"
                filling += more
            elif member.value is None:
                template += (key + encode(member.constant)).replace(b"%", b"%%")
            else:
                (source,) = member.value.sources
                self.sure[self.group(source)] = None
                template += key.replace(b"%", b"%%") + b"%b"
                filling.append(f"text({self.group(source)})")
        return template, filling

    def fragment(self, name: str, member: Leaf | Branch) -> str:
        """Say how a member is made that may be missing: with a comma before it, or nothing."""
        key = b"," + encode(name) + b":"
        if isinstance(member, Branch):
            inside = " + ".join(self.fragment(inner, each) for inner, each in member.members.items())
            return f"wrapped({self.named(key)}, {inside})"
        if member.value is None:
            return self.named(key + encode(member.constant))
        if len(member.value.sources) == 1:
            (source,) = member.value.sources
            return f"{self.named(Memory(_of_text(key, member.value)))}[{self.group(source)}]"
        return self.looked_up(member.value.sources, _of_groups(key, member.value))

    def listed(self, kind: str, values: list[Value]) -> str:
        """Say how a list of `related` is made: with a comma behind it, or nothing."""
        key = encode(kind) + b":"
        if len(values) == 1 and len(values[0].sources) == 1:
            return f"{self.named(Memory(_one_listed(key, values[0])))}[{self.group(values[0].sources[0])}]"
        return self.looked_up(_all_sources([values]), _listed(key, values))

    def named(self, value: Any) -> str:
        """Give the function a value, under a name of its own."""
        name = f"m{len(self.names)}"
        self.names[name] = value
        return name

    def filled(self, branch: Branch) -> str:
        """Say how the function makes a branch's members."""
        template, filling = self.members(branch, led=True)
        name = f"t{len(self.names)}"
        if not filling:
            self.names[name] = template.replace(b"%%", b"%")
            return name
        self.names[name] = template
        return f"{name} % ({', '.join(filling)},)"


def _generated(table: Table) -> Run:
    """Write and compile a table's function: one match, some look-ups and at most two templates a line."""
    code = _Code(table)
    related = {kind: values for kind, values in table.related.items() if kind != "hosts"}
    hosts = table.related.get("hosts", [])
    parts = [
        "dataset",
        code.filled(table.event),
        f"times[{code.key(table.time.sources)}]" if table.time else "None",
        _message(code, table.message),
        code.filled(table.roots),
        " + ".join(code.listed(kind, values) for kind, values in related.items()) or "b''",
        code.looked_up(_all_sources([hosts]), _hosts(hosts)) if hosts else "()",
        "b''",
    ]
    names = ", ".join(code.groups)
    lines = [
        "def run(lines, near_s):",
        "    times = clock(near_s)",
        "    made = []",
        "    add = made.append",
        "    for line in lines:",
        "        found = match(line) if len(line) <= limit else None",
        "        if found is None" + (" or not accept(found.groupdict()):" if table.accept else ":"),
        "            add(None)",
        "            continue",
    ]
    if code.groups:
        lines.append(f"        {', '.join(code.groups.values())} = found.group({', '.join(map(repr, code.groups))})")
    if code.sure:
        lines += [
            f"        if not ({' and '.join(code.sure)}):",
            "            add(plain(line, near_s))",
            "            continue",
        ]
    lines += [f"        add(new(Spliced, ({', '.join(parts)})))", "    return made"]
    names_known = {
        **code.names,
        "dataset": table.dataset,
        "clock": _clock(table),
        "plain": lambda line, near_s: _spliced_by(table, line, near_s),
        "text": encode_text,
        "wrapped": _wrapped,
        "new": tuple.__new__,
        "Spliced": Spliced,
    }
    run: Run = compiled(lines, f"table {table.dataset} {names}", names_known, "run")
    return run


def _clock(table: Table) -> Callable[[int], Mapping[Any, Instant | None]]:
    """Return what gives the memory of times near a second: forms without a year depend on it."""
    time = table.time
    if time is None:
        return lambda near_s: {}
    sources = tuple(dict.fromkeys(time.sources))
    near: dict[int, Memory] = {}

    def at(near_s: int) -> Memory:
        if near_s not in near:
            near.clear()
            near[near_s] = Memory(lambda key: read_time(time, _groups(sources, key), near_s))
        return near[near_s]

    return at


def _spliced_by(table: Table, line: str, near_s: int) -> Spliced | None:
    parsed = table.parse(Payload(line), near_s)
    return None if parsed is None else spliced(parsed)


def _groups(sources: Sequence[str], key: Any) -> Mapping[str, Any]:
    return {sources[0]: key} if len(sources) == 1 else dict(zip(sources, key, strict=True))


def _of_text(key: bytes, value: Value) -> Callable[[Any], bytes]:
    """Return what makes a leaf with its name of its one group's text, or nothing."""
    ((_, convert),) = value.tries
    without = b"" if value.default is None else key + encode(value.default)

    def make(raw: str | None) -> bytes:
        found = None if raw is None else convert(raw)
        return without if found is None else key + encode(found)

    return make


def _of_groups(key: bytes, value: Value) -> Callable[[Mapping[str, Any]], bytes]:
    """Return what makes a leaf with its name of several groups' texts, or nothing."""

    def make(groups: Mapping[str, Any]) -> bytes:
        found = first_of(value, groups)
        return b"" if found is None else key + encode(found)

    return make


def _wrapped(key: bytes, inside: bytes) -> bytes:
    """Return an object with its name of members that each stand behind a comma, or nothing."""
    return b"%b{%b}" % (key, inside[1:]) if inside else b""


def _one_listed(key: bytes, value: Value) -> Callable[[Any], bytes]:
    """Return what makes a list of one group's value, or nothing."""
    make = _of_text(b"", value)

    def listed(raw: str | None) -> bytes:
        made = make(raw)
        return b"%b[%b]," % (key, made) if made else b""

    return listed


def _listed(key: bytes, values: list[Value]) -> Callable[[Mapping[str, Any]], bytes]:
    """Return what makes a list of several groups' values, or nothing."""

    def make(groups: Mapping[str, Any]) -> bytes:
        found = unique([first_of(value, groups) for value in values])
        return b"%b%b," % (key, encode(found)) if found else b""

    return make


def _hosts(hosts: list[Value]) -> Callable[[Mapping[str, Any]], tuple[str, ...]]:
    return lambda groups: tuple(unique([first_of(value, groups) for value in hosts]))


def _message(code: "_Code", message: Value | None) -> str:
    if message is None:
        return "line"
    if message.sure:
        return f"{code.group(message.sources[0])} or line"
    return f"{code.looked_up(message.sources, lambda groups: first_of(message, groups))} or line"


def _all_sources(lists: Iterable[list[Value]]) -> list[str]:
    return [source for values in lists for value in values for source in value.sources]
