r"""A parser is a table: a pattern or an object's keys, an ECS field per group or key, constants. This is its reading.

From a table come two paths with the same output: `Table.parse`, one payload at a time, clear and slow (the reference),
and `parsers.columns`, flat code for many lines at once, made from the same tree of fields. A format
(`parsers.formats.NAME`) is one table or several, tried in order.

    ACCESS = Table(
        dataset="nginx.access",
        pattern=r'(?P<client>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<method>[A-Z]+) …',
        time=clf("time"),
        constants={"event.category": ["web"], "event.type": ["access"]},
        fields={"source.ip": address("client"), "user.name": text("user", absent=NOTHING)},
    )
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec
import orjson

from parsers.field_tree import Branch, Leaf, branch_of
from parsers.flattened import flattened
from parsers.logfmt import logfmt_pairs
from parsers.times import Instant, Time
from parsers.values import OfObject, Value

KEPT: Final = frozenset(
    {
        "agent",
        "container",
        "data_stream",
        "ecs",
        "host",
        "kubernetes",
        "observer",
        "orchestrator",
        "related",
        "tags",
        "tidewaiter",
    }
)
"""Objects that no parser may write: identity is the connection's and the Engine's word (P5), `related` is derived."""

OWN: Final = "tidewaiter"
"""The object of our own fields."""

TEXT_LIMIT: Final = 1 << 16
"""Characters of a line that patterns are tried on; a longer one is of no text format."""

PATTERN_FLAGS: Final = re.DOTALL | re.ASCII

JSON_LIMIT: Final = 1 << 20
"""Characters of a line that is read as JSON."""


class Payload:
    """One line, and what several tables want to know of it, found once."""

    def __init__(self, text: str, *, limit: int = JSON_LIMIT) -> None:
        """Keep the text; nothing is looked for yet. Of more characters than the limit it is not read as JSON."""
        self.text = text
        self._limit = limit

    @cached_property
    def object(self) -> dict[str, Any] | None:
        """The JSON object that the whole line is, else None."""
        return json_object(self.text, self._limit)

    @cached_property
    def pairs(self) -> dict[str, Any] | None:
        """What the line's `key=value` pairs say, if it is nothing else, else None."""
        return logfmt_pairs(self.text) if len(self.text) <= TEXT_LIMIT else None


def json_object(text: str, limit: int = JSON_LIMIT) -> dict[str, Any] | None:
    """Decode a line that is one JSON object (RFC 8259), else None; of equal keys the last wins."""
    if not text.startswith("{") or len(text) > limit:
        return None
    try:
        found = orjson.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Finding(msgspec.Struct, frozen=True):
    """One of the things that a report tells of: a document of its own, beside that of the report.

    `event` and `fields` are nested, as those of `Parsed`; `own` stands under `tidewaiter.finding`.
    """

    message: str
    event: dict[str, Any]
    fields: dict[str, Any]
    own: dict[str, Any]


class Parsed(msgspec.Struct):
    """What a parser found in one payload.

    `dataset` is where its documents go, None: where the stream's plain lines go. `event` and `fields` are nested, in
    canonical order; `message` is the document's. `time` is the line's own. `rest` holds an object's other keys.
    `related` lists addresses, users, hosts and hashes by the names of ECS; `own` are members of `tidewaiter`. Of a
    report, `report` is what stands under `tidewaiter.report`, and `findings` become documents of their own.
    """

    dataset: str | None
    message: str
    event: dict[str, Any]
    fields: dict[str, Any]
    time: Instant | None = None
    related: dict[str, list[str]] = {}
    rest: dict[str, Any] = {}
    own: dict[str, Any] = {}
    report: dict[str, Any] = {}
    findings: list[Finding] = []


class Table(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A parser's declaration: a `pattern` for lines of text, or `requires` for lines that are JSON objects.

    With `pairs`, lines of logfmt are read as such objects, of texts.

    `pattern` must match the whole line; its named groups are the sources of `fields`. `requires` names the keys (dots
    go into objects) that an object must have to be this table's; the sources of `fields` are keys, in order of
    preference, and keys that no field took stay together under `tidewaiter.app`. With `whole`, the name of a product's
    own object, all keys stand together under that instead, taken or not. With `finish`, a function completes what was
    found of an object, where a table cannot say it; `produces` names the fields that it may add. `message` names the
    group or keys of the document's `message` (none: the line as it came). `needs` names fields without whose values an
    object is not this table's, `accept` is a further condition on the groups or the object. `constants` and `fields`
    map ECS names to values; `event.kind`, `event.module` and `event.dataset` come by themselves. What ECS has no name
    for is one of `parsers.own_fields.AUTH_FIELDS`.
    """

    fields: Mapping[str, Value]
    dataset: str | None = None
    pattern: str | None = None
    requires: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    pairs: bool = False
    whole: str | None = None
    finish: Callable[[Mapping[str, Any], Parsed], None] | None = None
    produces: tuple[str, ...] = ()
    accept: Callable[[Mapping[str, Any]], bool] | None = None
    constants: Mapping[str, Any] = {}
    message: Value | None = None
    time: Time | None = None

    @property
    def of_objects(self) -> bool:
        """Whether its lines are JSON objects."""
        return self.pattern is None and not self.pairs

    def parse(self, payload: Payload, near_s: int) -> Parsed | None:
        """Parse one payload by the plain path, or return None where it is not this table's."""
        if payload.text.startswith("{") != self.of_objects:
            return None
        return self._parse_text(payload, near_s) if self.pattern is not None else self._parse_object(payload, near_s)

    @cached_property
    def compiled(self) -> "re.Pattern[str]":
        """The compiled pattern."""
        return re.compile(self.pattern or "", PATTERN_FLAGS)

    @cached_property
    def match(self) -> Callable[[str], "re.Match[str] | None"]:
        """What matches a whole line."""
        return self.compiled.fullmatch

    @cached_property
    def event(self) -> Branch:
        """What parsed lines have in `event` behind kind, module and dataset."""
        return self._tree.members.get("event", Branch({}))  # type: ignore[return-value]

    @cached_property
    def roots(self) -> Branch:
        """All other fields."""
        return Branch({name: member for name, member in self._tree.members.items() if name not in ("event", OWN)})

    @cached_property
    def own(self) -> Branch:
        """Fields under `tidewaiter`."""
        return self._tree.members.get(OWN, Branch({}))  # type: ignore[return-value]

    @cached_property
    def leaves(self) -> list[Leaf]:
        """All fields: of `event`, of the document's own, and those under `tidewaiter`."""
        return [leaf for branch in (self.event, self.roots, self.own) for leaf in branch.leaves()]

    @cached_property
    def related(self) -> dict[str, list[Value]]:
        """The values that belong into `related`, by its fields."""
        found: dict[str, list[Value]] = {}
        for leaf in self._tree.leaves():
            kind = related_kind(leaf.field)
            if kind and leaf.value is not None:
                found.setdefault(kind, []).append(leaf.value)
        return {kind: found[kind] for kind in RELATED if kind in found}

    @cached_property
    def _by_head(self) -> dict[str, list[str]]:
        """The paths of all values by their first keys."""
        values = [leaf.value for leaf in self._tree.leaves() if leaf.value is not None]
        found: dict[str, list[str]] = {}
        for value in [*values, self.message] if self.message else values:
            for source in value.sources:
                found.setdefault(source.partition(".")[0], []).append(source)
        return found

    @cached_property
    def _tree(self) -> Branch:
        leaves = {name: Leaf(name, None, constant) for name, constant in self.constants.items()}
        leaves |= {name: Leaf(name, value) for name, value in self.fields.items()}
        return branch_of({tuple(name.split(".")): leaf for name, leaf in leaves.items()})

    def _parse_text(self, payload: Payload, near_s: int) -> Parsed | None:
        found = self.match(payload.text) if len(payload.text) <= TEXT_LIMIT else None
        if found is None:
            return None
        groups = found.groupdict()
        if self.accept is not None and not self.accept(groups):
            return None

        def take(value: Value) -> Any:
            return first_of(value, groups)

        message = payload.text if self.message is None else take(self.message) or payload.text
        return self._parsed(take, message, read_time(self.time, groups, near_s))

    def _parse_object(self, payload: Payload, near_s: int) -> Parsed | None:
        found = payload.pairs if self.pairs else payload.object
        if found is None or any(at_path(found, path) is None for path in self.requires):
            return None
        if self.accept is not None and not self.accept(found):
            return None
        # Of the many keys that a table knows an object has few.
        there = {source for key in found for source in self._by_head.get(key.partition(".")[0], ())}
        taken: set[str] = set()

        def take(value: Value) -> Any:
            for source, convert in value.tries:
                at = at_path if isinstance(convert, OfObject) else scalar_at
                raw = at(found, source) if source in there else None
                if raw is not None and (made := convert(raw)) is not None:
                    taken.add(source)
                    return made
            return value.default

        if any(take(self.fields[name]) is None for name in self.needs):
            return None
        time = None
        for source in self.time.sources if self.time else ():
            raw = at_path(found, source)
            if self.time and raw is not None and (time := self.time.read(raw, near_s)):
                taken.add(source)
                break
        message = payload.text if self.message is None else take(self.message) or payload.text
        parsed = self._parsed(take, message, time)
        if self.finish is not None:
            self.finish(found, parsed)
        elif self.whole is None:
            parsed.rest = without(found, taken)
        else:
            parsed.fields[self.whole] = flattened(found)
        return parsed

    def _parsed(self, take: Callable[[Value], Any], message: str, time: Instant | None) -> Parsed:
        event, fields = self.event.build(take), self.roots.build(take)
        related = {kind: unique([take(value) for value in values]) for kind, values in self.related.items()}
        return Parsed(
            dataset=self.dataset,
            message=message,
            event=event,
            fields=fields,
            time=time,
            related={kind: values for kind, values in related.items() if values},
            own=self.own.build(take),
        )


RELATED: Final = ("ip", "user", "hash", "hosts")
"""The lists of `related`, in canonical order: a stream's own host comes last."""


def related_kind(field: str) -> str | None:
    """Return the list of `related` that a field's value belongs to."""
    parent, _, last = field.rpartition(".")
    if last in ("ip", "forwarded_ip"):
        return "ip"
    if last == "name" and _USER.fullmatch(parent):
        return "user"
    if (
        last == "domain" and parent in ("source", "destination", "client", "server", "url")
    ) or field == "log.syslog.hostname":
        return "hosts"
    return "hash" if parent.rpartition(".")[2] == "hash" else None


_USER: Final = re.compile(r"user(?:\.(?:target|effective|changes))?|.+[._]user")


def first_of(value: Value, groups: Mapping[str, Any]) -> Any:
    """Return the first of a value's sources that converts, None where none does."""
    for source, convert in value.tries:
        raw = groups[source]
        if raw is not None and (made := convert(raw)) is not None:
            return made
    return value.default


def read_time(time: Time | None, groups: Mapping[str, Any], near_s: int) -> Instant | None:
    """Return a line's own time."""
    for source in time.sources if time else ():
        raw = groups[source]
        if raw is not None and time and (found := time.read(raw, near_s)):
            return found
    return None


def at_path(found: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path, whether its keys are nested or one key with dots; None where there is none."""
    if path in found:
        return found[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = found.get(head)
        if isinstance(inner, dict):
            return at_path(inner, rest)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def scalar_at(found: Mapping[str, Any], path: str) -> Any:
    """Return the text, number, boolean or list at a path; None where there is none: an object is never a value."""
    value = at_path(found, path)
    return None if isinstance(value, dict) else value


def without(found: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return a copy without the values at these paths, and without objects that this makes empty."""
    if not taken:
        return found
    made = dict(found)
    for path in taken:
        _drop(made, path)
    return made


def _drop(found: dict[str, Any], path: str) -> None:
    if path in found:
        del found[path]
        return
    head, dot, rest = path.partition(".")
    while dot:
        inner = found.get(head)
        if isinstance(inner, dict):
            found[head] = kept = dict(inner)
            _drop(kept, rest)
            if not kept:
                del found[head]
            return
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"


def unique(values: list[Any]) -> list[Any]:
    """Return values, lists among them made flat, each once, without None."""
    flat = [each for value in values if value is not None for each in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(flat))
