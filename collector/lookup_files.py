"""Files that lookups are read from: CSV whose first column is the key, or YAML that maps keys to columns.

    service,team,site            shop: {team: payments, site: berlin}
    shop,payments,berlin         till: {team: payments}
    till,payments,

A file is taken whole or not at all: what is wrong in it is told with its line. Cells are texts as they are written; an
empty one, or one that a YAML row leaves out, sets nothing.
"""

import csv
import io
import ipaddress
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from collector.config import LookupConfig
from collector.config_nodes import is_null, unknown
from collector.errors import TidewaiterError
from pipelines.enrich.lookups import TABLE_BYTES_LIMIT, TableMessage, encode_message
from pipelines.enrich.static import VALUE_LIMIT

YAML_SUFFIXES: Final = (".yaml", ".yml")

_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where the library is there: a file of the largest size takes the other some ten seconds."""


class LookupFileError(TidewaiterError):
    """A file that is no table, with the line; or one that cannot be read."""

    def __init__(self, file: str, line: int | None, problem: str) -> None:
        super().__init__(f"{file}{'' if line is None else f', line {line}'}: {problem}")


class _Row(NamedTuple):
    line: int
    key: str
    cells: dict[str, str]


def read_table(name: str, options: LookupConfig) -> bytes:
    """Return what is appended of a file; raise LookupFileError."""
    text = _text(options.file)
    read = _yaml_rows if Path(options.file).suffix.lower() in YAML_SUFFIXES else _csv_rows
    columns, rows = read(options.file, text)
    for column in options.add:
        if column not in columns:
            raise LookupFileError(options.file, 1, unknown(column, columns, what="column"))
    made: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for row in rows:
        key = _network(options.file, row) if options.networks else row.key
        if key in made:
            raise LookupFileError(options.file, row.line, f"{key} stands there already, on line {lines[key]}")
        made[key], lines[key] = tuple(row.cells.get(column, "") for column in columns), row.line
    prefixes = {int(key.partition("/")[2]) for key in made} if options.networks else set()
    encoded = encode_message(TableMessage(name, tuple(columns), made, tuple(sorted(prefixes, reverse=True))))
    if len(encoded) > TABLE_BYTES_LIMIT:
        raise LookupFileError(options.file, None, f"holds more than {TABLE_BYTES_LIMIT >> 20} MiB")
    return encoded


def _text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(TABLE_BYTES_LIMIT + 1)
    except OSError as error:
        raise LookupFileError(file, None, f"cannot be read: {error.strerror}") from error
    if len(content) > TABLE_BYTES_LIMIT:
        raise LookupFileError(file, None, f"is larger than {TABLE_BYTES_LIMIT >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LookupFileError(file, content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from error


def _csv_rows(file: str, text: str) -> tuple[list[str], list[_Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[_Row] = []
    names: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num
            given = [_cell(file, line, cell) for cell in cells]
            if not any(given):
                continue
            if not names:
                names = given
                if len(names) < 2 or len(set(names)) < len(names) or "" in names:
                    raise LookupFileError(file, line, "names its columns: the key's and at least one, each once")
            elif len(given) != len(names):
                raise LookupFileError(file, line, f"has {len(given)} cells, and there are {len(names)} columns")
            else:
                rows.append(_Row(line, _key(file, line, given[0]), dict(zip(names[1:], given[1:], strict=True))))
    except csv.Error as error:
        raise LookupFileError(file, reader.line_num, f"is no CSV: {error}") from error
    if not names:
        raise LookupFileError(file, None, "is empty: its first line names the columns")
    return names[1:], rows


def _yaml_rows(file: str, text: str) -> tuple[list[str], list[_Row]]:
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise LookupFileError(file, line, f"is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise LookupFileError(file, None, "is no YAML") from error
    if not isinstance(root, yaml.MappingNode):
        raise LookupFileError(file, 1, "must be a mapping of keys to columns")
    columns: dict[str, None] = {}
    rows: list[_Row] = []
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.MappingNode):
            raise LookupFileError(file, line, "a key and its columns must stand there: KEY: {COLUMN: TEXT}")
        row = _Row(line, _key(file, line, _cell(file, line, key.value)), dict(_yaml_cells(file, value)))
        if len(row.cells) < len(value.value):
            raise LookupFileError(file, line, f"{row.key} has a column twice")
        rows.append(row)
        columns |= dict.fromkeys(row.cells)
    return list(columns), rows


def _yaml_cells(file: str, node: yaml.MappingNode) -> Iterator[tuple[str, str]]:
    for name, value in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise LookupFileError(file, line, "a column holds one text")
        yield _cell(file, line, name.value), "" if is_null(value) else _cell(file, line, value.value)


def _cell(file: str, line: int, text: str) -> str:
    if len(text) > VALUE_LIMIT:
        raise LookupFileError(file, line, f"a cell has more than {VALUE_LIMIT} characters")
    if any(unicodedata.category(character) in _CONTROL for character in text):
        raise LookupFileError(file, line, "a cell holds a control character")
    return text.strip()


def _key(file: str, line: int, key: str) -> str:
    if not key:
        raise LookupFileError(file, line, "the key is empty")
    return key


def _network(file: str, row: _Row) -> str:
    """Return a key as the canonical form of a network."""
    try:
        return str(ipaddress.ip_network(row.key))
    except ValueError as error:
        raise LookupFileError(file, row.line, str(error).replace("'", "")) from error
