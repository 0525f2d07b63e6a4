"""The SQL the store is read with: the views `logs` and `audit`, and the functions that conditions are made of."""

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import Final, NamedTuple

from collector.store.columns import BY_NAME, SEQUENCE, SHOWN, STREAM, TIMESTAMP, Column

_MARKS: Final = r"[\p{M}\x{AD}\x{200C}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{FEFF}]*"
_ALONE: Final = r"\p{Han}\p{Hiragana}"
_RUNS: Final = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER: Final = rf"(?:[^\P{{L}}{_ALONE}{_RUNS}\p{{Katakana}}]|\p{{Nl}}){_MARKS}"
_DIGIT: Final = rf"\p{{Nd}}{_MARKS}"
_LOW: Final = rf"[_\x{{203F}}\x{{2040}}\x{{2054}}\x{{FE33}}\x{{FE34}}\x{{FE4D}}-\x{{FE4F}}\x{{FF3F}}]{_MARKS}"
_MIDDLE: Final = r"\x27.\x{2018}\x{2019}\x{2024}\x{FE52}\x{FF07}\x{FF0E}"
_UNIT: Final = (
    rf"(?:(?:\p{{Katakana}}{_MARKS})+"
    rf"|(?:{_LETTER}(?:[{_MIDDLE}:\x{{B7}}\x{{2027}}\x{{FE55}}\x{{FF1A}}]{_MARKS}{_LETTER})*"
    rf"|{_DIGIT}(?:[{_MIDDLE},;]{_MARKS}{_DIGIT})*)+)"
)
_PICTURE: Final = r"[\x{1F300}-\x{1FAFF}\x{2600}-\x{27BF}]"
WORD: Final = (
    rf"(?:{_LOW})*{_UNIT}(?:(?:{_LOW})+{_UNIT})*(?:{_LOW})*"
    rf"|(?:[{_RUNS}]{_MARKS})+|[{_ALONE}]{_MARKS}|{_PICTURE}(?:{_MARKS}|\x{{200D}}{_PICTURE})*"
)
"""A word as Elasticsearch's standard analyser sees it (Unicode's UAX #29, as far as logs need it).

Letters, digits and the low line join; a full stop, colon or apostrophe joins letters with letters; a full stop, comma
or semicolon digits with digits. Ideographs stand alone."""


def macros() -> str:
    """Return the statements that make the functions of conditions."""
    return files("collector.store").joinpath("macros.sql").read_text(encoding="utf-8").replace("@WORD@", WORD)


def quoted(text: str) -> str:
    """Return the text as an SQL literal, for the places that take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def second_of(instant: str) -> str:
    """Return SQL for the Unix second of an instant as documents write it."""
    return f"epoch(substr({instant}, 1, 19)::TIMESTAMP)::BIGINT"


class Source(NamedTuple):
    """Documents that are found alike: SQL that names them up to a condition, and whether that is asked of columns."""

    sql: str
    by_column: bool


class Views(NamedTuple):
    """Statements that make a view, and the sources that hold its documents."""

    statements: list[str]
    sources: list[Source]


def views(
    name: str,
    lines: Sequence[str],
    sealed: Sequence[str],
    *,
    odd: bool,
    largest_bytes: int,
    since: str | None = None,
    until: str | None = None,
) -> Views:
    """Return what makes a view of files of lines and of sealed ones (some documents `odd`), within these instants.

    `largest_bytes` bounds the documents; DuckDB takes buffers of a multiple of it.
    """
    statements, sources, parts = [], [], []
    stream = f"concat_ws('-', {', '.join(STREAM)}) AS stream"
    if lines:
        made = [*(f"{_of_document(column)} AS {column.name}" for column in SHOWN), f"{_sequence()} AS sequence"]
        streams = ", ".join(_of_document(BY_NAME[part]) for part in STREAM)
        bounds = _bounds(_of_document(BY_NAME[TIMESTAMP]), since, until)
        statements.append(
            f"CREATE OR REPLACE VIEW {name}_lines AS SELECT {', '.join(made)},"  # noqa: S608
            f" concat_ws('-', {streams}) AS stream, document FROM ({_read_lines(lines, largest_bytes)}) WHERE {bounds}"
        )
        sources.append(Source(f"{name}_lines WHERE TRUE", by_column=False))
        parts.append(f"SELECT {_shown('stream')} FROM {name}_lines")  # noqa: S608
    if sealed:
        bounds = " AND ".join([_second_bounds(since, until), _bounds(TIMESTAMP, since, until)])
        statements.append(
            f"CREATE OR REPLACE VIEW {name}_sealed AS SELECT * FROM read_parquet([{_listed(sealed)}]) WHERE {bounds}"  # noqa: S608
        )
        sources.append(Source(f"{name}_sealed WHERE {'NOT odd' if odd else 'TRUE'}", by_column=True))
        sources += [Source(f"{name}_sealed WHERE odd", by_column=False)] * odd
        parts.append(f"SELECT {_shown(stream)} FROM {name}_sealed")  # noqa: S608
    if not parts:
        none = [f"NULL::VARCHAR{'[]' * column.listed} AS {column.name}" for column in SHOWN]
        others = "NULL::BIGINT AS sequence, NULL::VARCHAR AS stream, NULL::VARCHAR AS document"
        parts.append(f"SELECT {', '.join(none)}, {others} WHERE FALSE")
        sources.append(Source(f"{name} WHERE TRUE", by_column=True))
    statements.append(f"CREATE OR REPLACE VIEW {name} AS {' UNION ALL '.join(parts)}")
    return Views(statements, sources)


def select_of(condition: str) -> str:
    """Return a SELECT of those of a list of documents that a condition holds for, oldest first."""
    instant, number = _of_document(BY_NAME[TIMESTAMP]), _of_document(BY_NAME["id"])
    documents = "SELECT unnest(?::VARCHAR[]) AS document"
    return f"SELECT document FROM ({documents}) WHERE {condition} ORDER BY {instant}, {number}"  # noqa: S608


def documents_behind(path: str) -> str:
    """Return a SELECT of the documents of a sealed file behind so many, in their order."""
    return f"SELECT document FROM read_parquet({quoted(path)}) WHERE line > ? ORDER BY line"  # noqa: S608


def census(path: str, *, sealed: bool, largest_bytes: int) -> str:
    """Return a SELECT that reads all of a file: number of documents, and their bytes as lines."""
    counted = "count(document), coalesce(sum(strlen(document) + 1), 0)::BIGINT"
    if not sealed:
        return f"SELECT {counted} FROM ({_read_lines([path], largest_bytes)})"  # noqa: S608
    return f"SELECT {counted}, max(COLUMNS(* EXCLUDE document)) FROM read_parquet({quoted(path)})"  # noqa: S608


def _read_lines(paths: Sequence[str], largest_bytes: int) -> str:
    options = f"maximum_object_size = {largest_bytes}"
    return f"SELECT json::VARCHAR AS document FROM read_ndjson_objects([{_listed(paths)}], {options})"  # noqa: S608


def _shown(stream: str) -> str:
    return ", ".join([*(column.name for column in SHOWN), "sequence", stream, "document"])


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(map(quoted, paths))


def _of_document(column: Column) -> str:
    if column.listed:
        return f"tw_values(json_extract(document, {quoted(column.pointer)}))"
    return f"json_extract_string(document, {quoted(column.pointer)})"


def _sequence() -> str:
    return f"json_extract_string(document, {quoted(SEQUENCE)})::BIGINT"


def _bounds(instant: str, since: str | None, until: str | None) -> str:
    bounds = [f"{instant} >= {quoted(since)}"] if since is not None else []
    bounds += [f"{instant} < {quoted(until)}"] if until is not None else []
    return " AND ".join(bounds) or "TRUE"


def _second_bounds(since: str | None, until: str | None) -> str:
    """Bound the whole seconds, which DuckDB compares with those of a group of rows; of text it would know 8 bytes."""
    first, last = (_second(bound) if bound is not None else None for bound in (since, until))
    bounds = [f"second >= {first}"] if first is not None else []
    bounds += [f"second <= {last}"] if last is not None else []
    return " AND ".join(bounds) or "TRUE"


def _second(instant: str) -> int | None:
    """Return the Unix second of an instant, None for what only compares below or above all."""
    try:
        return int(datetime.fromisoformat(f"{instant[:19]}+00:00").timestamp())
    except ValueError:
        return None
