"""The SQL the store is read with: the views `logs` and `audit`, and the functions that conditions are made of."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

COLUMNS: Final = {
    '"@timestamp"': "/@timestamp",
    "id": "/event/id",
    "container_id": "/container/id",
    "container_name": "/container/name",
    "image": "/container/image/name",
    "host": "/host/name",
    "level": "/log/level",
    "message": "/message",
}
"""Promoted columns of a view that are texts of a document.

Beside them there are `stream` (the data stream), `sequence` and `document` (the whole, as JSON text)."""

STREAM_PARTS: Final = ("type", "dataset", "namespace")

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


def view(
    name: str, paths: Sequence[str], *, largest_bytes: int, since: str | None = None, until: str | None = None
) -> str:
    """Return the statement that makes a view of these files, within these instants.

    `largest_bytes` bounds the documents; DuckDB takes buffers of a multiple of it.
    """
    source = "SELECT NULL::VARCHAR AS document WHERE FALSE"
    if paths:
        listed = ", ".join(map(quoted, paths))
        options = f"maximum_object_size = {largest_bytes}"
        source = f"SELECT json::VARCHAR AS document FROM read_ndjson_objects([{listed}], {options})"  # noqa: S608
    columns = [f"{_text(path)} AS {column}" for column, path in COLUMNS.items()]
    columns.append(f"concat_ws('-', {', '.join(_text(f'/data_stream/{part}') for part in STREAM_PARTS)}) AS stream")
    columns.append(f"{_text('/event/sequence')}::BIGINT AS sequence")
    bounds = ["TRUE"]
    bounds += [f"{_text('/@timestamp')} >= {quoted(since)}"] if since is not None else []
    bounds += [f"{_text('/@timestamp')} < {quoted(until)}"] if until is not None else []
    where = " AND ".join(bounds)
    return f"CREATE VIEW {name} AS SELECT {', '.join(columns)}, document FROM ({source}) WHERE {where}"  # noqa: S608


def _text(path: str) -> str:
    return f"json_extract_string(document, {quoted(path)})"
