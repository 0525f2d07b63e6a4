"""Printing for people and programs. What a container wrote must not control the terminal it is read on (P5)."""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import orjson

from collector.errors import QueryError
from collector.logs import escaped

MESSAGE_LIMIT: Final = 16_384
"""Characters of a line shown on a terminal."""

_invisible = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that JSON may hold as they are, and terminals may obey."""


def write_documents(documents: Iterable[str]) -> None:
    """Write a document a line, exactly as stored; on a terminal what it might obey is escaped, as JSON allows."""
    out, is_terminal = sys.stdout.buffer, sys.stdout.isatty()
    for document in documents:
        text = _invisible.sub(lambda found: f"\\u{ord(found[0]):04x}", document) if is_terminal else document
        out.write(text.encode() + b"\n")
    out.flush()


def show_documents(documents: Iterable[str], *, live: bool = False) -> int:
    """Print a line a document for people: time, container, its stream, message. Return how many.

    Where nobody waits for more, none at all is said too.
    """
    from rich.console import Console  # for people only
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    count = 0
    for text in documents:
        document = orjson.loads(text)
        count += 1
        stream = _at(document, "tidewaiter", "container", "stream")
        line = Text()
        line.append(escaped(_at(document, "@timestamp")[:23].replace("T", " ")) + "Z ", style="dim")
        line.append(f"{escaped(_who(document))} ", style="cyan")
        line.append(f"{escaped(stream):6} ", style="red" if stream == "stderr" else "dim")
        line.append(escaped(_at(document, "message"), limit=MESSAGE_LIMIT))
        console.print(line)
    if not count and not live:
        console.print("Nothing found.", style="dim")
    return count


def write_rows(columns: list[str], rows: Iterator[tuple[Any, ...]], *, as_json: bool) -> None:
    """Print the rows of a SELECT: an object a line; a table on a terminal, else tab-separated lines."""
    if as_json:
        if len(set(columns)) < len(columns):
            raise QueryError("two columns have the same name: give one another by AS")
        for row in rows:
            values = {column: _plain(value) for column, value in zip(columns, row, strict=True)}
            sys.stdout.write(json.dumps(values, default=str) + "\n")
        return
    if not sys.stdout.isatty():
        for cells in chain([columns], rows):
            sys.stdout.write("\t".join(_cell(cell) for cell in cells) + "\n")
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # What does not fit is folded: a cell that ends in … would hide what was asked for.
    table = Table(*(Column(Text(_cell(column)), overflow="fold") for column in columns))
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console().print(table)


def visible(text: str, *, limit: int = MESSAGE_LIMIT) -> str:
    """Return a text of one line with what a terminal might obey as an escape; a backslash stays one, unlike in logs."""
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else escaped(each) for each in cut)
    return cut if len(text) <= limit else f"{cut}… ({len(text) - limit} more characters)"


def instant_text(time_ns: int) -> str:
    """Return a time in nanoseconds since 1970 for people."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"


@contextmanager
def quiet_when_nobody_reads() -> Iterator[None]:
    """End without a word when the reader of our output has seen enough (`| head`)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail again when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return escaped(text, limit=len(text))


def _who(document: dict[str, Any]) -> str:
    container = _at(document, "container", "name") or _at(document, "container", "id")[:12]
    return container or _at(document, "host", "name") or "-"


def _at(document: Any, *keys: str) -> str:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
