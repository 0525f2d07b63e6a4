"""Conditions on one field, by its type: what a value, a wildcard or a range of a query means in SQL.

Every condition holds for a document when it holds for any of the field's values, for to Lucene a list is a set of
values. Values are bound parameters; SQL text is made of nothing but our own words. The functions `tw_…` are macros of
`collector.store.sql`. A field is read from the document, or with `sealed` from its column where it has one
(`collector.store.columns`); either way the condition is the same.
"""

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from luqum import tree

from collector.errors import QueryError
from collector.store.columns import BY_PATH, Column
from collector.store.sql import quoted
from collector.store.syntax import characters, column_of, refuse_ambiguous, unescaped
from collector.store.values import address_key, address_range, instant_range, number
from collector.store.words import lower, plain_runs, within_word, words_of
from parsers.ecs_types import Field

RUNS_LIMIT: Final = 4
"""To look for more runs in a text costs more than to take it apart."""

Sign = Literal[">", ">=", "<", "<="]


class Condition(msgspec.Struct, frozen=True):
    """A boolean SQL expression that is never NULL, and its parameters.

    `alternatives` is set where it can be asked together with others of the same field.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    alternatives: "Alternatives | None" = None


class Alternatives(msgspec.Struct, frozen=True):
    """What a value of one field may be: any of `texts`, or what passes any of `tests` (the value is {x} in those).

    One condition for all of them: DuckDB takes tens of megabytes for each that reads a document.
    """

    field: "_Keyword"
    texts: tuple[str, ...] = ()
    tests: tuple[Condition, ...] = ()

    def condition(self) -> Condition:
        """Return the condition that holds for a document with such a value."""
        tests = [*self.tests, self.field.one_of(self.texts)] if self.texts else list(self.tests)
        made = self.field.any_value(tests)
        return Condition(made.sql, made.parameters, self)


EVERYTHING: Final = Condition("TRUE")


def joined(operator: Literal[" AND ", " OR "], conditions: list[Condition]) -> Condition:
    """Combine conditions; none at all is no restriction."""
    if not conditions:
        return EVERYTHING
    if operator == " OR ":
        conditions = _asked_together(conditions)
    sql = operator.join(f"({condition.sql})" for condition in conditions)
    return Condition(sql, tuple(value for condition in conditions for value in condition.parameters))


def _asked_together(conditions: list[Condition]) -> list[Condition]:
    """Return as many conditions as there are fields, and those that stand for themselves."""
    alone = [condition for condition in conditions if condition.alternatives is None]
    together: dict[tuple[str, ...], Alternatives] = {}
    for condition in conditions:
        more = condition.alternatives
        if more is not None:
            name = (*more.field.field.path, more.field.field.key or "")
            known = together.get(name, Alternatives(more.field))
            together[name] = Alternatives(more.field, known.texts + more.texts, known.tests + more.tests)
    return alone + [alternatives.condition() for alternatives in together.values()]


def exists(field: Field, *, sealed: bool) -> Condition:
    """Hold for documents in which the field has a value."""
    column = _column(field) if sealed else None
    if column is not None:
        return Condition(f"len({column.name}) > 0" if column.listed else f"{column.name} IS NOT NULL")
    if field.type == "flattened":
        values = _leaves(field)
        return Condition(f"len({values.sql}) > 0", values.parameters)
    if field.type in ("object", "nested", "geo_point"):
        return Condition("tw_has_leaf(document, ?)", (_dollar_path(field),))
    return Condition(f"len(tw_values({_value(field)})) > 0")


def matches(field: Field, name: str, node: tree.Item, now_ns: int, *, sealed: bool) -> Condition:
    """Translate a word, phrase or range; raise QueryError for what this type of field does not have."""
    make = _BY_TYPE.get(field.type)
    if make is None:
        raise QueryError(
            f"{name} is of type {field.type} and has no value to compare: name a field in it", column_of(node)
        )
    try:
        return make(field, now_ns, _column(field) if sealed else None).condition(node)
    except ValueError as error:
        raise QueryError(f"{name}: {error}", column_of(node)) from error


class _Keyword:
    """Conditions on a field compared as text, exactly; the other types differ in how a value is read."""

    slash_is_text = False
    read = "{v}"
    """How a value {v}, which is a text, is read; what comes of it is {x} in tests."""

    may_be_unread = False
    """Whether reading a text may give NULL."""

    def __init__(self, field: Field, now_ns: int, column: Column | None) -> None:
        self.field = field
        self.now_ns = now_ns
        self.column = column

    def condition(self, node: tree.Item) -> Condition:
        if isinstance(node, tree.Range):
            low = self.bound(node.low, ">=" if node.include_low else ">")
            high = self.bound(node.high, "<=" if node.include_high else "<")
            return self.tested(joined(" AND ", [low, high]))
        if isinstance(node, tree.From):
            return self.tested(self.bound(node.a, ">=" if node.include else ">"))
        if isinstance(node, tree.To):
            return self.tested(self.bound(node.a, "<=" if node.include else "<"))
        if isinstance(node, tree.Prohibit):
            return self.term(_signed(node))
        refuse_ambiguous(node, slash_is_text=self.slash_is_text)
        if isinstance(node, tree.Phrase):
            return self.phrase(unescaped(node.value[1:-1], node))
        written = list(characters(node.value, node))
        if any(plain and character in "*?" for character, plain in written):
            return self.like(written)
        return self.term("".join(character for character, _ in written))

    def tested(self, test: Condition) -> Condition:
        """Hold when the test holds for one of the values, which it calls {x}."""
        return Alternatives(self, tests=(test,)).condition()

    def any_value(self, tests: list[Condition]) -> Condition:
        """Hold when one of the tests holds for one of the values.

        Nearly every value stands alone, and a function for each element of a list is slow: 2 µs against 1 µs a line.
        """
        test = joined(" OR ", tests)
        if self.column is not None and not self.column.listed:
            return Condition(f"{self.column.name} IS NOT NULL AND {self._asked(tests, test)}", test.parameters)
        within = f"coalesce({test.sql.format(x='x')}, FALSE)"
        if self.column is not None:
            read = f"list_transform({self.column.name}, lambda v: {self.read.format(v='v')})"
            return Condition(f"len(list_filter({read}, lambda x: {within})) > 0", test.parameters)
        if self.field.type == "flattened":
            values = _leaves(self.field)
            sql = f"len(list_filter({values.sql}, lambda x: {within})) > 0"
            return Condition(sql, (*values.parameters, *test.parameters))
        value = _value(self.field)
        read = f"list_transform(tw_values({value}), lambda v: {self.read.format(v='v')})"
        among = f"len(list_filter({read}, lambda x: {within})) > 0"
        if len(tests) > 1:
            return Condition(among, test.parameters)
        alone = self.read.format(v=f"({value} ->> '$')")
        return Condition(
            f"CASE json_type({value}) WHEN 'ARRAY' THEN {among}"
            f" WHEN 'OBJECT' THEN FALSE ELSE coalesce({test.sql.format(x=alone)}, FALSE) END",
            test.parameters * 2,
        )

    def _asked(self, tests: list[Condition], test: Condition) -> str:
        """Return a test of a column's only value, as plain as it can be: plain ones DuckDB asks of row groups first."""
        read = self.read.format(v=self.column.name if self.column is not None else "NULL")
        if len(tests) > 1 and self.read != "{v}":
            # Each would read it anew.
            return f"len(list_filter([{read}], lambda x: coalesce({test.sql.format(x='x')}, FALSE))) > 0"
        asked = test.sql.format(x=read)
        return f"coalesce({asked}, FALSE)" if self.may_be_unread else f"({asked})"

    def bound(self, node: tree.Item, sign: Sign) -> Condition:
        """Translate one side of a range; an unquoted asterisk leaves it open."""
        if isinstance(node, tree.Prohibit):
            return self.compared(_signed(node), sign)
        if isinstance(node, tree.Phrase):
            return self.compared(unescaped(node.value[1:-1], node), sign)
        if node.value == "*":
            return Condition("{x} IS NOT NULL")
        refuse_ambiguous(node, slash_is_text=True)
        return self.compared(unescaped(node.value, node), sign)

    def term(self, text: str) -> Condition:
        return Alternatives(self, texts=(text,)).condition()

    def one_of(self, texts: tuple[str, ...]) -> Condition:
        """Test whether a value is one of the texts."""
        if self.column is not None and not self.column.listed:
            return Condition(f"{{x}} IN ({', '.join('?' * len(texts))})", texts)
        return Condition("list_contains(?::VARCHAR[], {x})", (list(texts),))

    def phrase(self, text: str) -> Condition:
        return self.term(text)

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        return self.tested(Condition("regexp_full_match({x}, ?, 's')", (wildcard_regex(written),)))

    def compared(self, text: str, sign: Sign) -> Condition:
        return Condition(f"{{x}} {sign} ?", (text,))


class _Text(_Keyword):
    """A text is searched by its words; several words of one term are alternatives, of one phrase neighbours.

    In tests the text in lower case is {x}, its words {words}, and {neighbours} a text of them.

    Taking a text apart costs 5 µs a line, so texts that do not even contain the letters are passed over first.
    """

    def any_value(self, tests: list[Condition]) -> Condition:
        test, text = joined(" OR ", tests), f"lower({self._line()})"
        if len(tests) == 1:
            words = f"tw_tokens({text})"
            sql = test.sql.format(x=text, words=words, neighbours=f"tw_neighbours({words})")
            return Condition(f"coalesce({sql}, FALSE)", test.parameters)
        # Many tests would take it apart as often.
        parts = "struct_pack(x := t, words := tw_tokens(t), neighbours := tw_neighbours(tw_tokens(t)))"
        sql = test.sql.format(x="p.x", words="p.words", neighbours="p.neighbours")
        apart = f"list_transform([{text}], lambda t: {parts})"
        return Condition(f"len(list_filter({apart}, lambda p: coalesce({sql}, FALSE))) > 0", test.parameters)

    def _line(self) -> str:
        return f"tw_lines({_value(self.field)})" if self.column is None else f"tw_line({self.column.name})"

    def term(self, text: str) -> Condition:
        words_of(text, neighbours=False)  # each by itself has to hold one
        return super().term(text)

    def one_of(self, texts: tuple[str, ...]) -> Condition:
        text = " ".join(texts)
        found = Condition("list_has_any({words}, ?)", (words_of(text, neighbours=False),))
        # What is not ASCII may be a word without a run; then any text may hold it.
        return _containing(plain_runs(text) if text.isascii() else [], " OR ", found)

    def phrase(self, text: str) -> Condition:
        found = Condition("contains({neighbours}, ?)", (words_of(text, neighbours=True),))
        return self.tested(_containing(plain_runs(text), " AND ", found))

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        for character, plain in written:
            if not (plain and character in "*?") and not within_word(character):
                raise ValueError(f"no word holds {character!r}: put the wildcard into a word of its own")
        regex = wildcard_regex([(lower(character), plain) for character, plain in written])
        fits = "len(list_filter({words}, lambda word: regexp_full_match(word, ?, 's'))) > 0"
        literal = "".join(" " if plain and character in "*?" else character for character, plain in written)
        return self.tested(_containing(plain_runs(literal), " AND ", Condition(fits, (regex,))))

    def compared(self, text: str, sign: Sign) -> Condition:
        raise ValueError("a range over the words of a text cannot be searched in the local store")


class _Number(_Keyword):
    may_be_unread = True
    sql_type = "DECIMAL(38, 9)"
    read = "try_cast({v} AS DECIMAL(38, 9))"

    def term(self, text: str) -> Condition:
        return self.tested(Condition(f"{{x}} = ?::{self.sql_type}", (number(text),)))

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        raise ValueError("wildcards are for text")

    def compared(self, text: str, sign: Sign) -> Condition:
        return Condition(f"{{x}} {sign} ?::{self.sql_type}", (number(text),))


class _Float(_Number):
    sql_type = "DOUBLE"
    read = "try_cast({v} AS DOUBLE)"


class _Date(_Keyword):
    """Instants are text of fixed width, so they compare as text. A day is a span, as in Elasticsearch."""

    slash_is_text = True
    read = "tw_instant({v})"

    def term(self, text: str) -> Condition:
        first, last = instant_range(text, self.now_ns)
        return self.tested(Condition("{x} BETWEEN ? AND ?", (first, last)))

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        raise ValueError("wildcards are for text; a day is written 2026-11-23")

    def compared(self, text: str, sign: Sign) -> Condition:
        first, last = instant_range(text, self.now_ns)
        return Condition(f"{{x}} {sign} ?", (first if sign in (">=", "<") else last,))


class _Address(_Keyword):
    slash_is_text = True
    may_be_unread = True
    read = "tw_address({v})"

    def term(self, text: str) -> Condition:
        first, last = address_range(text)
        if first == last:
            return super().term(first)
        return self.tested(Condition("{x} BETWEEN ? AND ?", (first, last)))

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        raise ValueError("wildcards are for text; write a network such as 192.0.2.0/24")

    def compared(self, text: str, sign: Sign) -> Condition:
        return Condition(f"{{x}} {sign} ?", (address_key(text),))


class _Boolean(_Keyword):
    def term(self, text: str) -> Condition:
        if text not in ("true", "false"):
            raise ValueError("is true or false")
        return super().term(text)

    def like(self, written: list[tuple[str, bool]]) -> Condition:
        raise ValueError("is true or false")

    def compared(self, text: str, sign: Sign) -> Condition:
        raise ValueError("is true or false, and has no order")


_BY_TYPE: Final[dict[str, Callable[[Field, int, Column | None], _Keyword]]] = {
    "keyword": _Keyword,
    "flattened": _Keyword,
    "text": _Text,
    "long": _Number,
    "float": _Float,
    "date": _Date,
    "ip": _Address,
    "boolean": _Boolean,
}


def wildcard_regex(written: list[tuple[str, bool]]) -> str:
    """Return a regular expression for characters, `*` and `?` being wildcards where they stand unescaped."""
    wild = {"*": ".*", "?": "."}
    return "".join(wild.get(c, re.escape(c)) if plain else re.escape(c) for c, plain in written)


def _column(field: Field) -> Column | None:
    """Return the column of a sealed file that holds the field's values."""
    return BY_PATH.get(field.path) if field.type in _BY_TYPE and field.key is None else None


def _value(field: Field) -> str:
    """Return SQL for a field's value, of whatever kind."""
    keys = (key.replace("~", "~0").replace("/", "~1") for key in field.path)
    return f"json_extract(document, {quoted(''.join(f'/{key}' for key in keys))})"


def _leaves(field: Field) -> Condition:
    """Return SQL for the values below a name of a flattened object, as a list of texts."""
    root = _dollar_path(field)
    if field.key is None:
        return Condition("tw_leaves(document, ?)", (root,))
    key = field.key.replace("\\", "\\\\").replace('"', '\\"')
    return Condition("tw_leaves_of(document, ?, ?)", (root, f"{root}.{key}"))


def _dollar_path(field: Field) -> str:
    return "$." + ".".join(field.path)


def _signed(node: tree.Prohibit) -> str:
    """Return a negative number as it was written; luqum takes its sign for an operator."""
    if not isinstance(node.a, tree.Word):
        raise QueryError("quote what begins with a minus sign", column_of(node))
    return f"-{unescaped(node.a.value, node.a)}"


def _containing(runs: list[str], operator: Literal[" AND ", " OR "], found: Condition) -> Condition:
    """Ask for `found` only where the text contains these runs, as long as there are few."""
    if not 0 < len(runs) <= RUNS_LIMIT:
        return found
    first = operator.join(["contains({x}, ?)"] * len(runs))
    return Condition(f"CASE WHEN {first} THEN {found.sql} ELSE FALSE END", (*runs, *found.parameters))
