"""Tables that the operator keeps in files: what is known of a stream, by one of its fields.

A table is part of the journal (P10): whoever watches the files appends what stands in one as a message of encoding
`lookup`, and from there on its rows hold. The state keeps the newest of each name. A table is asked once a stream, with
what all lines of the stream share; so it costs a line nothing.

    {"kind": "table", "name": "teams", "columns": ["team", "site"], "rows": {"shop": ["payments", "berlin"]}}
    {"kind": "names", "names": ["teams"]}      these are configured; all others are forgotten

Rows are as wide as there are columns; an empty text sets nothing. With `prefixes`, the keys are networks in their
canonical form, and these are the lengths of their prefixes, the longest first.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from parsers.ecs_types import field_named, nearest_field
from pipelines.enrich.static import SET_ROOTS, FieldRule, keep, put_fields, static_fields
from pipelines.frame import Origin
from pipelines.sections import Section

ENCODING: Final = "lookup"

TABLES_LIMIT: Final = 16
"""Tables that are kept; of more the newest."""

TABLE_BYTES_LIMIT: Final = 1 << 20
"""Of a table's message: each stands in every checkpoint."""

TABLES_BYTES_LIMIT: Final = TABLES_LIMIT * (TABLE_BYTES_LIMIT + 1024)

_MATCHED: Final = ("container.", "orchestrator.", "kubernetes.", "host.", "tidewaiter.origin.", "tidewaiter.container.")
"""What all lines of a stream share, beside its tag and what rules have set."""


class Lookup(msgspec.Struct, frozen=True):
    """How a table is asked: with the field `match`, of whose row `add` names the columns and the fields they set."""

    match: str
    add: dict[str, str]


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Rows by key, each a cell for each column."""

    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    prefixes: tuple[int, ...] = ()
    size_bytes: int = 0


class TableMessage(msgspec.Struct, tag_field="kind", tag="table", omit_defaults=True):
    """What stands in a file now."""

    name: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    prefixes: tuple[Annotated[int, Meta(ge=0, le=128)], ...] = ()


class NamesMessage(msgspec.Struct, tag_field="kind", tag="names"):
    """The tables there are."""

    names: tuple[str, ...]


Message = TableMessage | NamesMessage
Tables = Section[Table]
_decode = msgspec.json.Decoder(Message).decode
encode_message: Final = msgspec.json.Encoder().encode


def new_tables() -> Tables:
    """Return a state's section of tables. They are the files' words, so they last whatever the configuration says."""
    return Section(Table, limit=TABLES_LIMIT, limit_bytes=TABLES_BYTES_LIMIT, cost=lambda table: table.size_bytes)


def take_message(payload: memoryview, tables: Tables) -> None:
    """Take what a message of encoding `lookup` says; raise ValueError, msgspec.DecodeError among them, for no such."""
    if len(payload) > TABLE_BYTES_LIMIT:
        raise ValueError(f"a table of {len(payload)} bytes is over the limit of {TABLE_BYTES_LIMIT}")
    message = _decode(payload)
    if isinstance(message, NamesMessage):
        for (name,) in [key for key, _ in tables.items() if key[0] not in message.names]:
            tables.take((name,))
        return
    if any(len(row) != len(message.columns) for row in message.rows.values()):
        raise ValueError("a row is not as wide as its table")
    table = Table(message.columns, message.rows, message.prefixes, len(payload))
    # One that says the same is no news: what was made with the one before still holds.
    if table != tables.get((message.name,)):
        tables.put((message.name,), table)


def tables_in_use(lookups: Mapping[str, Lookup], tables: Tables) -> list[Table | None]:
    """Return the table of each lookup as it is now."""
    return [tables.get((name,)) for name in lookups]


def add_fields(
    tail: dict[str, Any],
    origin: Origin,
    rules: Sequence[FieldRule],
    lookups: Iterable[Lookup],
    tables: Sequence[Table | None],
) -> None:
    """Put into a stream's tail what the operator says of it: first by rules, then by tables, in their order.

    `tables` are those of the lookups. What is said first of a field holds, whatever stood there before.
    """
    if not rules and not tables:
        return
    said = static_fields(tail, origin, rules)
    put_fields(tail, said)
    for lookup, table in zip(lookups, tables, strict=True):
        if table is None:
            continue
        added: dict[str, list[str]] = {}
        for column, cell in _row(table, _values(tail, lookup.match)):
            field = lookup.add.get(column)
            if field is not None and cell and (field == "tags" or field not in said):
                keep(added, field, [cell])
        put_fields(tail, added)
        said |= added


def why_not_matched(field: str) -> str:
    """Say why a lookup cannot match a field; empty where it can."""
    known = field_named(field)
    if known is None:
        near = nearest_field(field)
        return f"is a field that no document has{f'; did you mean {near}?' if near else ''}"
    if field.startswith("container.labels.") and "." in field.removeprefix("container.labels."):
        safe = field.removeprefix("container.labels.").replace(".", "_")
        return f"dots of a label are underscores in documents: container.labels.{safe}"
    if field.startswith(_MATCHED) or field == "tidewaiter.tag" or field.partition(".")[0] in SET_ROOTS:
        return "" if known.type in ("keyword", "ip") else "is no text"
    return (
        "differs from line to line, and a table is asked once a stream: match container.*, orchestrator.*, host.*, "
        "tidewaiter.origin.*, tidewaiter.tag, or what `fields` sets"
    )


def _values(tail: Mapping[str, Any], field: str) -> list[str]:
    """Return what a field says in a tail."""
    known = field_named(field)
    value: Any = tail
    for name in known.path if known is not None else ():
        value = value.get(name) if isinstance(value, dict) else None
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _row(table: Table, values: list[str]) -> Iterator[tuple[str, str]]:
    """Yield column and cell of the first row that one of these values has."""
    for value in values:
        for key in _networks(value, table.prefixes) if table.prefixes else (value,):
            row = table.rows.get(key)
            if row is not None:
                yield from zip(table.columns, row, strict=True)
                return


def _networks(value: str, prefixes: tuple[int, ...]) -> Iterator[str]:
    """Yield the networks of these lengths that an address is in."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return
    for prefix in prefixes:
        if prefix <= address.max_prefixlen:
            yield str(ipaddress.ip_network((address, prefix), strict=False))
