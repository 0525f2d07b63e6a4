"""Lucene query syntax, as Kibana's search bar takes it, to SQL over the local store.

Understood: terms, phrases, `*` and `?`, ranges, AND OR NOT + -, nested groups, field groups, `_exists_:`. Operators
combine as in Lucene's classic parser with the default operator OR: `a AND b OR c` asks for a and b, and c is welcome.
What would need scoring or is not supported (fuzzy, proximity, regular expressions) is an error with its column, never a
different result. Every value is a bound parameter.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import msgspec
from luqum import tree
from luqum.exceptions import ParseError
from luqum.parser import lexer, parser

from collector.errors import QueryError
from collector.store.values import instant_range, number
from parsers.ecs_types import KEYWORD_OBJECTS, field_type, nearest_field

DEFAULT_FIELD: Final = "message"

FREE_KEYS: Final = ("tidewaiter.fields.", "tidewaiter.metadata.", *KEYWORD_OBJECTS)
"""Objects whose keys applications and operators choose."""

READINGS_LIMIT: Final = 6
"""Parts of a name below such an object that are read in every way; a longer name is read as nested."""

_escape = re.compile(r"\\(.)", re.DOTALL)
_column = re.compile(r"position (\d+)|at (\d+)")


class Condition(msgspec.Struct, frozen=True):
    """A boolean SQL expression that is never NULL, and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


_REFUSED: Final = {
    tree.Fuzzy: "fuzzy terms (~)",
    tree.Proximity: "proximity (~)",
    tree.Regex: "regular expressions (/…/)",
}

EVERYTHING: Final = Condition("TRUE")
NOTHING: Final = Condition("FALSE")


def translate(query: str, *, now_ns: int) -> Condition:
    """Translate a query; raise QueryError. `now_ns` is what `now` means in it."""
    if not query.strip():
        return EVERYTHING
    try:
        root = parser.parse(query, lexer=lexer)
    except ParseError as error:
        found = _column.search(str(error))
        column = int(found[1] or found[2]) + 1 if found else len(query)
        raise QueryError(f"cannot be read: {error}", column) from error
    return _Translator(now_ns).clauses(root, None)


class _Translator:
    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def clauses(self, node: tree.Item, field: str | None) -> Condition:
        """Combine a flat sequence of clauses as Lucene's classic parser does."""
        sequence = list(_flattened(node, ""))
        required: list[Condition] = []
        welcome: list[Condition] = []
        prohibited: list[Condition] = []
        kinds = _kinds(sequence)
        for (_, item), kind in zip(sequence, kinds, strict=True):
            inner = item.a if isinstance(item, tree.Not | tree.Prohibit | tree.Plus) else item
            {"must": required, "should": welcome, "not": prohibited}[kind].append(self._clause(inner, field))
        if not required and welcome:
            required = [_joined(" OR ", welcome)]
        return _joined(" AND ", [*required, *(_not(condition) for condition in prohibited)])

    def _clause(self, node: tree.Item, field: str | None) -> Condition:
        if isinstance(node, tree.Group | tree.FieldGroup):
            return self.clauses(node.expr, field)
        if isinstance(node, tree.BaseOperation | tree.Not | tree.Prohibit | tree.Plus):
            return self.clauses(node, field)
        if isinstance(node, tree.Boost):
            return self._clause(node.expr, field)
        if isinstance(node, tree.SearchField):
            return self._field(node)
        if isinstance(node, tree.Word | tree.Phrase | tree.Range | tree.From | tree.To):
            return self._value(field or DEFAULT_FIELD, node)
        what = _REFUSED.get(type(node), type(node).__name__)
        raise QueryError(f"{what} cannot be searched in the local store", _place(node))

    def _field(self, node: tree.SearchField) -> Condition:
        name = _unescaped(node.name)
        inner = node.expr
        if isinstance(inner, tree.Prohibit) and isinstance(inner.a, tree.Word):
            inner = tree.Word(f"-{inner.a.value}", pos=inner.pos)
        if name == "_exists_":
            return self._exists(inner)
        if name == "*" and isinstance(inner, tree.Word) and inner.value == "*":
            return EVERYTHING
        kind = field_type(name)
        if kind is None:
            near = nearest_field(name)
            hint = f"; did you mean {near}?" if near else ""
            raise QueryError(f"no document has a field {name!r}{hint}", _place(node))
        return self._clause(inner, name)

    def _exists(self, node: tree.Item) -> Condition:
        if not isinstance(node, tree.Word | tree.Phrase):
            raise QueryError("_exists_ takes the name of a field", _place(node))
        name = _unescaped(node.value.strip('"'))
        if field_type(name) is None:
            raise QueryError(f"no document has a field {name!r}", _place(node))
        values = _values(name)
        is_object = " OR ".join(["coalesce(json_type(document, ?) = 'OBJECT', FALSE)"] * len(values.parameters))
        return Condition(f"len({values.sql}) > 0 OR {is_object}", values.parameters * 2)

    def _value(self, field: str, node: tree.Item) -> Condition:
        if isinstance(node, tree.Word):
            _refuse_c_operators(node)
            if node.value == "*":
                return self._exists(tree.Word(field.replace("\\", "\\\\")))
        kind = field_type(field)
        try:
            return _BY_TYPE.get(kind or "keyword", _Keyword)(field, self._now_ns).condition(node)
        except ValueError as error:
            raise QueryError(f"{field}: {error}", _place(node)) from error


class _Keyword:
    """Conditions on a field compared as text; the other types differ in how a value is read."""

    def __init__(self, field: str, now_ns: int) -> None:
        self.field = field
        self.now_ns = now_ns

    def condition(self, node: tree.Item) -> Condition:
        if isinstance(node, tree.Range):
            low = self.bound(node.low, node.include_low, is_low=True)
            high = self.bound(node.high, node.include_high, is_low=False)
            return self.any_value(" AND ".join(part.sql for part in (low, high)), (*low.parameters, *high.parameters))
        if isinstance(node, tree.From | tree.To):
            bound = self.bound(node.a, node.include, is_low=isinstance(node, tree.From))
            return self.any_value(bound.sql, bound.parameters)
        if isinstance(node, tree.Phrase):
            return self.phrase(_unescaped(node.value[1:-1]))
        if node.has_wildcard():
            return self.like(node.value)
        return self.term(_unescaped(node.value))

    def any_value(self, sql: str, parameters: tuple[Any, ...]) -> Condition:
        """Hold for any element: to Lucene a list is a set of values."""
        values = _values(self.field)
        return Condition(
            f"len(list_filter({values.sql}, lambda x: coalesce({sql}, FALSE))) > 0", (*values.parameters, *parameters)
        )

    def term(self, text: str) -> Condition:
        return self.any_value("x = ?", (text,))

    def phrase(self, text: str) -> Condition:
        return self.term(text)

    def like(self, pattern: str) -> Condition:
        return self.any_value("regexp_full_match(x, ?, 's')", (wildcard_regex(pattern),))

    def bound(self, node: tree.Item, include: bool, *, is_low: bool) -> Condition:
        text = _unescaped(node.value.strip('"'))
        if text == "*":
            return EVERYTHING
        return Condition(f"x {'>' if is_low else '<'}{'=' if include else ''} ?", (text,))


class _Text(_Keyword):
    """A text is searched by its words; several words of one term are alternatives, of one phrase neighbours."""

    def term(self, text: str) -> Condition:
        return self.any_value("list_has_any(tw_tokens(x), tw_tokens(?))", (text,))

    def phrase(self, text: str) -> Condition:
        return self.any_value("len(tw_tokens(?)) > 0 AND contains(tw_words(x), tw_words(?))", (text, text))

    def like(self, pattern: str) -> Condition:
        fits = "len(list_filter(tw_tokens(x), lambda word: regexp_full_match(word, ?, 's'))) > 0"
        return self.any_value(fits, (wildcard_regex(pattern.lower()),))

    def bound(self, node: tree.Item, include: bool, *, is_low: bool) -> Condition:
        raise ValueError("a range over the words of a text cannot be searched in the local store")


class _Number(_Keyword):
    def term(self, text: str) -> Condition:
        return self.any_value("try_cast(x AS DECIMAL(38, 9)) = ?::DECIMAL(38, 9)", (number(text),))

    def like(self, pattern: str) -> Condition:
        raise ValueError("wildcards are for text")

    def bound(self, node: tree.Item, include: bool, *, is_low: bool) -> Condition:
        text = _unescaped(node.value.strip('"'))
        if text == "*":
            return EVERYTHING
        sign = f"{'>' if is_low else '<'}{'=' if include else ''}"
        return Condition(f"try_cast(x AS DECIMAL(38, 9)) {sign} ?::DECIMAL(38, 9)", (number(text),))


class _Date(_Keyword):
    """Instants are text of fixed width, so they compare as text. A day is a span, as in Elasticsearch."""

    def term(self, text: str) -> Condition:
        first, last = instant_range(text, self.now_ns)
        return self.any_value("x >= ? AND x <= ?", (first, last))

    def like(self, pattern: str) -> Condition:
        raise ValueError("wildcards are for text")

    def bound(self, node: tree.Item, include: bool, *, is_low: bool) -> Condition:
        text = _unescaped(node.value.strip('"'))
        if text == "*":
            return EVERYTHING
        first, last = instant_range(text, self.now_ns)
        if is_low:
            return Condition("x >= ?", (first,)) if include else Condition("x > ?", (last,))
        return Condition("x <= ?", (last,)) if include else Condition("x < ?", (first,))


class _Address(_Keyword):
    """Addresses stand in documents in their canonical form."""

    def term(self, text: str) -> Condition:
        network = ip_network(text, strict=False)
        if network.num_addresses == 1:
            return self.any_value("x = ?", (str(network[0]),))
        return self.any_value("tw_ipv4(x) BETWEEN ? AND ?", (_ipv4(network[0]), _ipv4(network[-1])))

    def like(self, pattern: str) -> Condition:
        raise ValueError("wildcards are for text; write a network such as 192.0.2.0/24")

    def bound(self, node: tree.Item, include: bool, *, is_low: bool) -> Condition:
        text = _unescaped(node.value.strip('"'))
        if text == "*":
            return EVERYTHING
        sign = f"{'>' if is_low else '<'}{'=' if include else ''}"
        return Condition(f"tw_ipv4(x) {sign} ?", (_ipv4(ip_address(text)),))


def _ipv4(address: IPv4Address | IPv6Address) -> int:
    if isinstance(address, IPv6Address):
        raise ValueError("networks and ranges of IPv6 cannot be searched in the local store")  # noqa: TRY004
    return int(address)


class _Boolean(_Keyword):
    def term(self, text: str) -> Condition:
        if text not in ("true", "false"):
            raise ValueError("is true or false")
        return super().term(text)


_BY_TYPE: Final[dict[str, Callable[[str, int], _Keyword]]] = {
    "text": _Text,
    "long": _Number,
    "integer": _Number,
    "float": _Number,
    "date": _Date,
    "ip": _Address,
    "boolean": _Boolean,
}


def wildcard_regex(pattern: str) -> str:
    """Return a regular expression for literals, `*` and `?`, with Lucene's escapes."""
    made, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            at += 1
            made += re.escape(pattern[at])
        else:
            made += {"*": ".*", "?": "."}.get(character, re.escape(character))
        at += 1
    return made


def _flattened(node: tree.Item, conjunction: str) -> Iterator[tuple[str, tree.Item]]:
    """Yield (conjunction before, clause) in the order of the text; groups stay whole."""
    if isinstance(node, tree.AndOperation | tree.OrOperation | tree.UnknownOperation):
        own = {tree.AndOperation: "AND", tree.OrOperation: "OR"}.get(type(node), "")
        for place, child in enumerate(node.children):
            yield from _flattened(child, own if place else conjunction)
    else:
        yield conjunction, node


def _kinds(sequence: list[tuple[str, tree.Item]]) -> list[str]:
    """Return must, should or not for each clause (QueryParserBase.addClause of Lucene, default operator OR)."""
    kinds: list[str] = []
    for conjunction, item in sequence:
        if conjunction == "AND" and kinds and kinds[-1] != "not":
            kinds[-1] = "must"
        if isinstance(item, tree.Not | tree.Prohibit):
            kinds.append("not")
        else:
            kinds.append("must" if isinstance(item, tree.Plus) or conjunction == "AND" else "should")
    return kinds


def _refuse_c_operators(node: tree.Word) -> None:
    for written, meant in (("&&", "AND"), ("||", "OR"), ("!", "NOT")):
        if node.value == written or (written == "!" and node.value.startswith("!")):
            raise QueryError(f"write {meant} for {written}, or escape it", _place(node))


def _joined(operator: str, conditions: list[Condition]) -> Condition:
    if not conditions:
        return EVERYTHING
    sql = operator.join(f"({condition.sql})" for condition in conditions)
    return Condition(sql, tuple(value for condition in conditions for value in condition.parameters))


def _not(condition: Condition) -> Condition:
    return Condition(f"NOT ({condition.sql})", condition.parameters)


def _unescaped(text: str) -> str:
    return _escape.sub(r"\1", text)


def _values(field: str) -> Condition:
    """Return SQL for the list of a field's values.

    Keys of flattened objects and labels may hold dots themselves, so each way to read the rest of the name is tried.
    """
    free = next((prefix for prefix in FREE_KEYS if field.startswith(prefix)), "")
    fixed = [part for part in free.split(".") if part]
    rest = field[len(free) :].split(".")
    ways = list(_readings(rest)) if free and len(rest) <= READINGS_LIMIT else [rest]
    paths = tuple("$." + ".".join(_quoted(part) for part in [*fixed, *way]) for way in ways)
    values = ", ".join(["tw_values(document, ?)"] * len(paths))
    return Condition(f"flatten([{values}])", paths)


def _readings(parts: list[str]) -> Iterator[list[str]]:
    for cuts in itertools.product((False, True), repeat=len(parts) - 1):
        way = [parts[0]]
        for part, is_cut in zip(parts[1:], cuts, strict=True):
            if is_cut:
                way.append(part)
            else:
                way[-1] += f".{part}"
        yield way


def _quoted(key: str) -> str:
    if '"' in key or "\\" in key:
        raise QueryError(f"a field's name cannot hold quotation marks or backslashes: {key!r}")
    return f'"{key}"'


def _place(node: tree.Item) -> int | None:
    place = getattr(node, "pos", None)
    return place + 1 if place is not None else None
