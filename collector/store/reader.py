"""Reading the store beside its writer: exactly what is committed, by DuckDB, and nothing else of the machine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from collector.errors import QueryError, UnreachableError
from collector.store.lucene import Condition
from collector.store.manifest import StoredFile, read_manifest

AUDIT_PREFIX: Final = "logs-tidewaiter.audit-"
"""Data streams that a search leaves out unless they are asked for."""

DOCUMENT_LIMIT_BYTES: Final = 64 << 20
"""Largest document that can be read back."""

MEMORY_LIMIT: Final = "1GB"
OPEN_TRIES: Final = 3
"""How often the manifest is read anew when a file it names was deleted meanwhile."""

_COLUMNS: Final = {
    '"@timestamp"': '$."@timestamp"',
    "id": "$.event.id",
    "sequence": "$.event.sequence",
    "stream": "$.tidewaiter.container.stream",
    "dataset": "$.data_stream.dataset",
    "container_id": "$.container.id",
    "container_name": "$.container.name",
    "image": "$.container.image.name",
    "host": "$.host.name",
    "level": "$.log.level",
    "message": "$.message",
}
"""Promoted columns of the view `logs`, beside `document`."""

_WORD: Final = r"(?:\p{L}\p{M}*(?:[.:\x27\x{2019}]\p{L}\p{M}*)*|\p{N}(?:[.,;\x27]\p{N})*|_)+"
"""A word as Elasticsearch's standard analyser sees it (UAX #29 as far as logs need it).

Letters, digits and the low line join; a full stop, colon or apostrophe joins letters with letters; a full stop, comma
or semicolon digits with digits."""

_MACROS: Final = f"""
CREATE MACRO tw_values(d, p) AS CASE json_type(d, p)
    WHEN 'ARRAY' THEN list_filter(json_extract_string(d, p || '[*]'), lambda v: v IS NOT NULL)
    WHEN 'OBJECT' THEN []::VARCHAR[]
    WHEN 'NULL' THEN []::VARCHAR[]
    ELSE list_filter([json_extract_string(d, p)], lambda v: v IS NOT NULL) END;
CREATE MACRO tw_tokens(t) AS
    list_filter(regexp_extract_all(lower(t), '{_WORD}'), lambda w: NOT regexp_full_match(w, '_+'));
CREATE MACRO tw_words(t) AS chr(31) || array_to_string(tw_tokens(t), chr(31)) || chr(31);
CREATE MACRO tw_ipv4(a) AS CASE WHEN regexp_full_match(a, '(\\d{{1,3}}\\.){{3}}\\d{{1,3}}') THEN
    list_reduce(list_transform(string_split(a, '.'), lambda n: n::BIGINT), lambda s, n: s * 256 + n) END;
"""


class Store:
    """A store opened for reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def search(self, condition: Condition, *, limit: int | None, newest: bool) -> Iterator[str]:
        """Yield matching documents as they are stored, oldest first; with `newest` the last `limit` of them."""
        order = '"@timestamp" DESC, id DESC' if newest else '"@timestamp", id'
        sql = f"SELECT document FROM logs WHERE {condition.sql} ORDER BY {order}"  # noqa: S608 - values are bound
        parameters = list(condition.parameters)
        if limit is not None:
            sql += " LIMIT ?"
            parameters.append(limit)
        if newest:
            rows = self._connection.execute(sql, parameters).fetchall()
            yield from (row[0] for row in reversed(rows))
            return
        found = self._connection.execute(sql, parameters)
        while rows := found.fetchmany(1000):
            yield from (row[0] for row in rows)

    def select(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one SELECT over the view `logs`; raise QueryError."""
        try:
            statements = self._connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError("--sql takes one SELECT")
            found = self._connection.execute(statements[0])
            return [column[0] for column in found.description or []], found.fetchall()
        except duckdb.Error as error:
            raise QueryError(str(error).splitlines()[0]) from error


@contextmanager
def open_store(data_dir: Path, *, streams: str | None = None, audit: bool = False) -> Iterator[Store]:
    """Open what is committed now; raise UnreachableError when there is no store.

    `streams` names the data streams by a glob; without it all but the collector's own audit records are read, and with
    `audit` those too.
    """
    folder = data_dir / "store"
    with tempfile.TemporaryDirectory(prefix="tidewaiter-search-") as scratch:
        for attempt in range(OPEN_TRIES):
            try:
                files = _committed(folder, Path(scratch) / str(attempt), streams, audit=audit)
                break
            except FileNotFoundError:
                if attempt == OPEN_TRIES - 1:
                    raise
        connection = duckdb.connect(":memory:")
        try:
            _prepare(connection, files)
            yield Store(connection)
        finally:
            connection.close()


def _committed(folder: Path, scratch: Path, streams: str | None, *, audit: bool) -> list[str]:
    """Return files that hold exactly what is committed: closed ones as they are, open ones copied that far."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise UnreachableError(f"there is no local store in {folder}: has a collector run with this data folder?")
    scratch.mkdir()
    found = []
    for stream, files in manifest.streams.items():
        if Path(stream).match(streams) if streams else audit or not stream.startswith(AUDIT_PREFIX):
            found += [str(_exact(folder / stream / file.name, file, scratch)) for file in files if file.length]
    return found


def _exact(path: Path, file: StoredFile, scratch: Path) -> Path:
    with path.open("rb") as source:
        if not file.open and os.fstat(source.fileno()).st_size == file.length:
            return path
        copy = scratch / path.name
        with copy.open("wb") as target:
            left = file.length
            while left:
                moved = os.copy_file_range(source.fileno(), target.fileno(), left)
                if not moved:
                    raise FileNotFoundError(path)
                left -= moved
    return copy


def _prepare(connection: duckdb.DuckDBPyConnection, files: list[str]) -> None:
    """Make the view, then lock everything else away."""
    connection.execute(f"SET memory_limit='{MEMORY_LIMIT}'")
    connection.execute(_MACROS)
    if files:
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        source = (
            f"SELECT json::VARCHAR AS document FROM read_ndjson_objects([{listed}],"  # noqa: S608 - our own file names
            f" maximum_object_size={DOCUMENT_LIMIT_BYTES})"
        )
    else:
        source = "SELECT NULL::VARCHAR AS document WHERE FALSE"
    columns = ", ".join(f"json_extract_string(document, '{path}') AS {name}" for name, path in _COLUMNS.items())
    connection.execute(f"CREATE VIEW logs AS SELECT {columns}, document FROM ({source})")  # noqa: S608
    connection.execute("SET allowed_paths=[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
