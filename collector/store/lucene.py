"""Lucene query syntax, as Kibana's search bar takes it, to SQL over the local store.

Understood: terms, phrases, `*` and `?`, ranges, AND OR NOT && || ! + -, nested groups, field groups, `_exists_:`.
Operators combine as in Lucene's classic parser with the default operator OR: `a AND b OR c` asks for a and b, and c is
welcome. A boost (`^2`) changes the order of Kibana's hits, never which they are: it is read over. What would need
scoring or is not supported (fuzzy, proximity, regular expressions) is an error with its column, never a different
result.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from luqum import tree

from collector.errors import QueryError
from collector.store.conditions import EVERYTHING, Condition, exists, joined, matches
from collector.store.syntax import characters, column_of, parse, unescaped
from parsers.ecs_types import Field, field_named, nearest_field

DEFAULT_FIELD: Final = "message"
"""What a word without a field is searched in."""

_REFUSED: Final = {
    tree.Fuzzy: "fuzzy terms (~)",
    tree.Proximity: "proximity (~)",
    tree.Regex: "regular expressions (/…/; write \\/ for a slash)",
}
_NEGATIONS: Final = (tree.Not, tree.Prohibit)
_SIGNED: Final = (*_NEGATIONS, tree.Plus)


class Wanted(msgspec.Struct, frozen=True):
    """What a query asks: of documents as `lines`, and in other words, but the same, of `sealed` ones."""

    lines: Condition
    sealed: Condition


def translate(query: str, *, now_ns: int) -> Wanted:
    """Translate a query; raise QueryError. `now_ns` is what `now` means in it."""
    root = parse(query)
    if root is None:
        return Wanted(EVERYTHING, EVERYTHING)
    lines, sealed = (_Translator(now_ns, sealed=sealed).clauses(root, None) for sealed in (False, True))
    return Wanted(lines, sealed)


class _Translator:
    def __init__(self, now_ns: int, *, sealed: bool) -> None:
        self._now_ns = now_ns
        self._sealed = sealed

    def clauses(self, node: tree.Item, field: str | None) -> Condition:
        """Combine a flat sequence of clauses as Lucene's classic parser does (QueryParserBase.addClause)."""
        required: list[Condition] = []
        welcome: list[Condition] = []
        prohibited: list[Condition] = []
        sequence = list(_flattened(node, ""))
        self._refuse_adjacent(sequence, field)
        for (_, item), kind in zip(sequence, _kinds(sequence), strict=True):
            inner = item.a if isinstance(item, _SIGNED) else item
            if isinstance(inner, _SIGNED):
                raise QueryError("one operator at a time: use parentheses", column_of(inner))
            {"must": required, "should": welcome, "not": prohibited}[kind].append(self._clause(inner, field))
        if not required and welcome:
            required = [joined(" OR ", welcome)]
        if prohibited:
            unwanted = joined(" OR ", prohibited)
            required.append(Condition(f"NOT ({unwanted.sql})", unwanted.parameters))
        return joined(" AND ", required)

    def _refuse_adjacent(self, sequence: list[tuple[str, tree.Item]], field: str | None) -> None:
        """Raise QueryError where plain words side by side are one value to Elasticsearch, and so not alternatives."""
        is_text = self._known(field or DEFAULT_FIELD, sequence[0][1]).type == "text"
        for index, (conjunction, item) in enumerate(sequence[1:], start=1):
            if conjunction or not _is_plain(item) or not _is_plain(sequence[index - 1][1]):
                continue
            if not is_text:
                raise QueryError("write OR between values, or quote them", column_of(item))
            ends_in_and = sequence[index + 1 :] and sequence[index + 1][0] == "AND"
            if ends_in_and and not item.value.isalnum():
                raise QueryError("put what stands beside AND in parentheses, or quote it", column_of(item))

    def _clause(self, node: tree.Item, field: str | None) -> Condition:
        if isinstance(node, tree.Boost):
            return self._clause(_unboosted(node), field)
        if isinstance(node, tree.Group | tree.FieldGroup):
            return self.clauses(node.expr, field)
        if isinstance(node, tree.SearchField):
            return self._field(node)
        if isinstance(node, tree.Word) and node.value == "*" and field is None:
            return EVERYTHING
        if isinstance(node, tree.Word | tree.Phrase | tree.Range | tree.From | tree.To):
            return self._value(field or DEFAULT_FIELD, node)
        what = _REFUSED.get(type(node), type(node).__name__)
        raise QueryError(f"{what} cannot be searched in the local store", column_of(node))

    def _field(self, node: tree.SearchField) -> Condition:
        inner = _unboosted(node.expr)
        if isinstance(inner, tree.SearchField):
            raise QueryError("quote or escape a value that holds a colon", column_of(inner))
        if node.name == "*" and isinstance(inner, tree.Word) and inner.value == "*":
            return EVERYTHING
        if any(plain and character in "*?" for character, plain in characters(node.name, node)):
            raise QueryError("name one field: wildcards in field names cannot be searched", column_of(node))
        name = unescaped(node.name, node)
        if name == "_exists_":
            return self._exists(inner)
        self._known(name, node)
        if isinstance(inner, tree.Prohibit):
            return self._value(name, inner)
        if isinstance(inner, _SIGNED):
            raise QueryError("write NOT, + or - before the field's name", column_of(inner))
        return self._clause(inner, name)

    def _exists(self, node: tree.Item) -> Condition:
        if isinstance(node, tree.Phrase):
            name = unescaped(node.value[1:-1], node)
        elif isinstance(node, tree.Word):
            if any(plain and character in "*?" for character, plain in characters(node.value, node)):
                raise QueryError("_exists_ takes the name of one field", column_of(node))
            name = unescaped(node.value, node)
        else:
            raise QueryError("_exists_ takes the name of one field", column_of(node))
        return exists(self._known(name, node), sealed=self._sealed)

    def _known(self, name: str, node: tree.Item) -> Field:
        field = field_named(name) if name.isprintable() else None
        if field is None:
            near = nearest_field(name)
            hint = f"; did you mean {near}?" if near else ""
            raise QueryError(f"no document has a field {name!r}{hint}", column_of(node))
        return field

    def _value(self, name: str, node: tree.Item) -> Condition:
        field = self._known(name, node)
        if isinstance(node, tree.Word) and node.value == "*":
            return exists(field, sealed=self._sealed)
        return matches(field, name, node, self._now_ns, sealed=self._sealed)


def _flattened(node: tree.Item, conjunction: str) -> Iterator[tuple[str, tree.Item]]:
    """Yield (conjunction before, clause) in the order of the text; groups stay whole.

    luqum lets AND bind closer than OR; Lucene's classic parser knows no precedence, only neighbours.
    """
    if isinstance(node, tree.AndOperation | tree.OrOperation | tree.UnknownOperation):
        own = {tree.AndOperation: "AND", tree.OrOperation: "OR"}.get(type(node), "")
        for index, child in enumerate(node.children):
            yield from _flattened(child, own if index else conjunction)
    elif isinstance(node, tree.Boost) and isinstance(node.expr, _SIGNED):
        yield conjunction, _unboosted(node)
    else:
        yield conjunction, node


def _is_plain(node: tree.Item) -> bool:
    return isinstance(node, tree.Word) and not any(
        plain and character in "*?" for character, plain in characters(node.value, node)
    )


def _kinds(sequence: list[tuple[str, tree.Item]]) -> list[str]:
    """Return must, should or not for each clause."""
    kinds: list[str] = []
    for conjunction, item in sequence:
        if conjunction == "AND" and kinds and kinds[-1] != "not":
            kinds[-1] = "must"
        if isinstance(item, _NEGATIONS):
            kinds.append("not")
        else:
            kinds.append("must" if isinstance(item, tree.Plus) or conjunction == "AND" else "should")
    return kinds


def _unboosted(node: tree.Item) -> tree.Item:
    while isinstance(node, tree.Boost):
        if node.implicit_force:
            raise QueryError("^ takes a number", column_of(node))
        node = node.expr
    return node
