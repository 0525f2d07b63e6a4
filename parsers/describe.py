"""What a format is and gives, in words: for `tidewaiter parsers`, for rule authors, and for the page of all formats.

All of it is read off the tables and the modules' docstrings, so it says what the program does.
"""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from parsers.ecs_types import field_named
from parsers.format import Format, formats
from parsers.table import Table

DERIVED: Final = {"event.kind": "keyword", "event.module": "keyword", "event.dataset": "keyword", "message": "text"}
"""What every document has, whatever its parser, with the fields' types."""

PAGE_HEAD: Final = """\
# Formats

What each parser takes, and the fields that its documents have. How a stream of lines comes to its parser:
[parsers.md](parsers.md). This page is made from the parsers by `make docs`.

Every document has `event.kind`, `event.module`, `event.dataset`, `message` and `@timestamp` (the line's own time where
a form is named below, else the sender's). Addresses, users, hosts and hashes stand in `related.*` as well. Where it
says `always`, the value does not depend on the line; several values are those of different kinds of lines.
"""


class FieldFacts(msgspec.Struct):
    """A field: its type as it is searched, the groups or keys it is taken from, and values that are constants."""

    name: str
    type: str
    sources: list[str] = []
    constants: list[Any] = []


class FormatFacts(msgspec.Struct):
    """A format. `reads` says what its lines are; without a dataset, its documents stand with the plain lines."""

    name: str
    title: str
    documentation: str
    reads: list[str]
    images: list[str]
    datasets: list[str]
    own_stream: bool
    categories: list[str]
    times: list[str]
    fields: list[FieldFacts]


def facts(name: str) -> FormatFacts:
    """Return what there is to say of a format; its name must be one."""
    fmt = formats()[name]
    datasets = _unique(table.dataset for table in fmt.tables)
    return FormatFacts(
        name=name,
        title=fmt.title,
        documentation=inspect.cleandoc(importlib.import_module(f"parsers.formats.{name}").__doc__ or ""),
        reads=_unique(_reads(table) for table in fmt.tables),
        images=list(fmt.images),
        datasets=[each for each in datasets if each],
        own_stream=None not in datasets,
        categories=_unique(each for table in fmt.tables for each in table.constants.get("event.category", ())),
        times=_unique(table.time.form for table in fmt.tables if table.time),
        fields=_fields(fmt),
    )


def page() -> str:
    """Return the page of all formats, as Markdown."""
    return "\n".join([PAGE_HEAD, *(line for name in sorted(formats()) for line in _section(facts(name)))])


def _reads(table: Table) -> str:
    if table.pattern is not None:
        return "text"
    return "key=value pairs" if table.pairs else "JSON objects"


def _fields(fmt: Format) -> list[FieldFacts]:
    found = {name: FieldFacts(name, kind) for name, kind in DERIVED.items()}
    if any(table.time for table in fmt.tables):
        found["@timestamp"] = FieldFacts("@timestamp", "date")
    for table in fmt.tables:
        for leaf in [*table.event.leaves(), *table.roots.leaves()]:
            known = field_named(leaf.field)
            about = found.setdefault(leaf.field, FieldFacts(leaf.field, known.type if known else "keyword"))
            if leaf.value is None:
                about.constants = _unique([*about.constants, leaf.constant])
                continue
            about.sources = _unique([*about.sources, *leaf.value.sources])
            if leaf.value.default is not None:
                about.constants = _unique([*about.constants, leaf.value.default])
        for kind in table.related:
            found[f"related.{kind}"] = FieldFacts(f"related.{kind}", "ip" if kind == "ip" else "keyword")
        for name in table.produces:
            known = field_named(name)
            found.setdefault(name, FieldFacts(name, known.type if known else "keyword"))
        if table.whole is not None:
            found[table.whole] = FieldFacts(table.whole, "flattened")
        elif table.pattern is None:
            found["tidewaiter.app"] = FieldFacts("tidewaiter.app", "flattened")
    return sorted(found.values(), key=lambda each: each.name)


def _section(about: FormatFacts) -> Iterator[str]:
    yield f"## {about.name}\n"
    yield f"{about.documentation}\n"
    yield from (f"- {line}" for line in summary(about))
    yield "\n| field | type | from |\n| --- | --- | --- |"
    for each in about.fields:
        if each.name not in DERIVED:
            yield f"| `{each.name}` | {each.type} | {origin_of(each)} |"
    yield ""


def summary(about: FormatFacts) -> Iterator[str]:
    """Yield a sentence each on what is read, where it goes, and what it is about."""
    yield f"lines: {', '.join(about.reads)}"
    streams = [*about.datasets, *([] if about.own_stream else ["where plain lines go"])]
    yield f"data streams: {', '.join(streams)}"
    if about.images:
        yield f"images: {', '.join(about.images)}"
    if about.categories:
        yield f"event.category: {', '.join(about.categories)}"
    if about.times:
        yield f"time: {'; '.join(f'`{form}`' for form in about.times)}"


def origin_of(each: FieldFacts) -> str:
    """Return where a field's value comes from, in words."""
    parts = [", ".join(f"`{source}`" for source in each.sources)] if each.sources else []
    if each.constants:
        parts.append(f"{'or' if parts else 'always'} {' or '.join(map(_constant, each.constants))}")
    return " ".join(parts)


def _constant(value: Any) -> str:
    return " + ".join(f"`{each}`" for each in (value if isinstance(value, list) else [value]))


def _unique(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
