"""Reading the store beside its writer: exactly what is committed, by DuckDB, and nothing else of the machine.

Every file is opened before the first is read, so what the writer rolls or deletes meanwhile is still read to the end.
Of a file that may grow, only the committed part is read: from a copy without a name.
"""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from collector.errors import QueryError, TidewaiterError, UnreachableError
from collector.logs import escaped
from collector.store import sql
from collector.store.conditions import Condition, Words
from collector.store.manifest import Manifest, StoredFile, damage, read_manifest

if TYPE_CHECKING:
    import duckdb

AUDIT_STREAMS: Final = "logs-tidewaiter.audit-*"
"""Data streams that a search leaves out unless they are asked for."""

LOGS: Final = "logs"
AUDIT: Final = "audit"
"""Views: what was chosen, and the collector's own audit records, where they are wanted apart."""

MEMORY_BYTES: Final = 1 << 30
"""What DuckDB may use; a larger sort goes to the disk, in the folder for temporary files."""

MEMORY_DOCUMENTS: Final = 24
"""… or so many of the largest document, for each thread reads into buffers of a few."""

OBJECT_BYTES: Final = 4 << 20
"""Smallest bound of a document's size that is asked for."""

OPEN_TRIES: Final = 5
"""How often the manifest is read anew when a file it names was deleted meanwhile."""

DESCRIPTORS_SPARE: Final = 256
"""Descriptors a process needs beside those of the store's files, for DuckDB opens each a second time."""

TOP_LIMIT: Final = 10_000
"""So many of the newest documents are kept in memory while the others go by."""

ROWS_AT_ONCE: Final = 256
COPIED_AT_ONCE: Final = 1 << 20


class Choice(msgspec.Struct, frozen=True):
    """What of the store is read.

    `streams` names data streams by a glob; without it all but the collector's own audit records are read, and with
    `audit` those too. With `apart` they can be read in a view of their own. `since` (inclusive) and `until` (exclusive)
    bound `@timestamp`, written as documents write it.
    """

    streams: str | None = None
    audit: bool = False
    apart: bool = False
    since: str | None = None
    until: str | None = None

    def views(self, stream: str, file: StoredFile) -> tuple[str, ...]:
        """Return the views whose documents a file may hold."""
        is_audit = fnmatchcase(stream, AUDIT_STREAMS)
        wanted = fnmatchcase(stream, self.streams) if self.streams is not None else self.audit or not is_audit
        late_enough = self.since is None or file.latest >= self.since
        within = late_enough and (self.until is None or file.earliest < self.until)
        if not (within and file.length > 0):
            return ()
        return (LOGS,) * wanted + (AUDIT,) * (self.apart and is_audit)


class Store:
    """A store opened for reading; what is committed later is not seen."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection

    def search(self, condition: Condition, *, limit: int | None = None) -> Iterator[str]:
        """Yield matching documents as they are stored, oldest first; with a limit only so many, the newest."""
        import duckdb  # takes 0.1 s, and only a search needs it

        found = f'SELECT document, "@timestamp", id FROM logs WHERE {condition.sql}'  # noqa: S608 - values are bound
        parameters = self._made(condition.parameters)
        newest = "" if limit is None else f' ORDER BY "@timestamp" DESC, id DESC LIMIT {limit:d}'
        try:
            if limit is None or limit > TOP_LIMIT:
                # DuckDB 2.0 sorts a table of any size within its memory, but not what it reads from files.
                self._connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {found}", parameters)
                found, parameters = "FROM found", []
            ordered = f'SELECT document FROM ({found}{newest}) ORDER BY "@timestamp", id'  # noqa: S608
            rows = self._connection.execute(ordered, parameters)
            while some := rows.fetchmany(ROWS_AT_ONCE):
                yield from (row[0] for row in some)
        except duckdb.OutOfMemoryException as error:
            raise TidewaiterError("the search needs more memory than it may take: ask in parts") from error
        except duckdb.Error as error:
            raise TidewaiterError(f"the search failed: {escaped(_first_line(error))}") from error

    def _made(self, parameters: tuple[Any, ...]) -> list[Any]:
        """Take apart the texts whose words are searched, with the function that documents are taken apart with."""
        texts = [each.text for each in parameters if isinstance(each, Words)]
        made = "list_transform(?::VARCHAR[], lambda t: tw_tokens(lower(tw_line(t))))"
        rows = self._connection.execute(f"SELECT {made}", [texts]).fetchall() if texts else [((),)]
        words = iter(rows[0][0])
        return [self._words(each, next(words)) if isinstance(each, Words) else each for each in parameters]

    @staticmethod
    def _words(wanted: Words, words: list[str]) -> list[str] | str:
        if not words:
            raise QueryError(f"{wanted.text!r} holds no word that could be searched")
        return "\x1f".join(["", *words, ""]) if wanted.neighbours else words

    def select(self, statement: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Run one SELECT over the views; return its columns and rows. Raise QueryError, also between rows."""
        import duckdb

        try:
            statements = self._connection.extract_statements(statement)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError("--sql takes one SELECT")
            found = self._connection.execute(statements[0])
        except duckdb.Error as error:
            raise _refused(error, statement) from error
        return [column[0] for column in found.description or []], self._rows(found, statement)

    def _rows(self, found: "duckdb.DuckDBPyConnection", statement: str) -> Iterator[tuple[Any, ...]]:
        import duckdb

        try:
            while some := found.fetchmany(ROWS_AT_ONCE):
                yield from some
        except duckdb.Error as error:
            raise _refused(error, statement) from error


@contextmanager
def open_store(data_dir: Path, choice: Choice = Choice()) -> Iterator[Store]:  # noqa: B008 - frozen
    """Open what is committed now; raise UnreachableError when there is no store."""
    import duckdb

    with ExitStack() as held:
        paths, largest = _open_files(data_dir / "store", choice, held)
        scratch = held.enter_context(tempfile.TemporaryDirectory(prefix="tidewaiter-search-"))
        connection = held.enter_context(duckdb.connect(":memory:"))
        largest = max(largest, OBJECT_BYTES)
        connection.execute(sql.macros())
        for name in (LOGS, AUDIT) if choice.apart else (LOGS,):
            chosen = [path for path, views in paths.items() if name in views]
            bounds = {"since": choice.since, "until": choice.until}
            connection.execute(sql.view(name, chosen, largest_bytes=largest, **bounds))
        _confine(connection, list(paths), Path(scratch), memory_bytes=max(MEMORY_BYTES, MEMORY_DOCUMENTS * largest))
        yield Store(connection)


def _open_files(folder: Path, choice: Choice, held: ExitStack) -> tuple[dict[str, tuple[str, ...]], int]:
    """Open files that hold exactly what is committed, of one manifest; return paths that read them, with their views.

    Beside them a bound of their documents' size. `held` closes the files.
    """
    before: Manifest | None = None
    for _ in range(OPEN_TRIES):
        manifest = _manifest(folder)
        chosen = [
            (folder / stream / file.name, file, views)
            for stream, files in manifest.streams.items()
            for file in files
            if (views := choice.views(stream, file))
        ]
        _allow_descriptors(2 * len(chosen) + DESCRIPTORS_SPARE)
        with ExitStack() as opened:
            try:
                paths = {f"/dev/fd/{_exactly(path, file, opened).fileno()}": views for path, file, views in chosen}
            except _ShortFileError as error:
                if manifest == before:
                    raise UnreachableError(str(error)) from error  # not gone with its time, but damaged
                before = manifest
                continue
            except OSError as error:
                raise UnreachableError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error
            held.push(opened.pop_all())
            return paths, max((file.largest for _, file, _ in chosen), default=0)
    raise UnreachableError(f"the store in {folder} changes faster than it can be read: its size limit is too small")


class _ShortFileError(Exception):
    """A file has less than the manifest said; a newer manifest may know it no more."""


def _manifest(folder: Path) -> Manifest:
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        raise UnreachableError(f"the local store in {folder} cannot be read: {error.strerror}") from error
    if manifest is None:
        raise UnreachableError(f"there is no local store in {folder}: has a collector run with this data folder?")
    return manifest


def _exactly(path: Path, file: StoredFile, opened: ExitStack) -> BinaryIO:
    """Open a file, or a copy of its committed part; raise _ShortFileError when that is there no more."""
    try:
        source: BinaryIO = opened.enter_context(path.open("rb"))
    except FileNotFoundError as error:
        raise _ShortFileError(damage(path, 0, file)) from error
    if not file.open and os.fstat(source.fileno()).st_size == file.length:
        return source
    copy: BinaryIO = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the rest
    left = file.length
    while left:
        content = source.read(min(left, COPIED_AT_ONCE))
        if not content:
            raise _ShortFileError(damage(path, file.length - left, file))
        copy.write(content)
        left -= len(content)
    copy.flush()
    return copy


def _allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
        )


def _confine(connection: "duckdb.DuckDBPyConnection", paths: list[str], scratch: Path, *, memory_bytes: int) -> None:
    """Leave the connection nothing but the views: no other file, no setting, no extension, no Python variable."""
    settings = {
        "memory_limit": sql.quoted(f"{memory_bytes}B"),
        "temp_directory": sql.quoted(str(scratch / "spill")),
        "python_enable_replacements": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allowed_paths": f"[{', '.join(map(sql.quoted, paths))}]",
        "enable_external_access": "false",
        "lock_configuration": "true",
    }
    for name, value in settings.items():
        connection.execute(f"SET {name} = {value}")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _refused(error: Exception, statement: str) -> QueryError:
    """Return DuckDB's reason with its hint and place. It may quote what a container wrote, so it is escaped (P5)."""
    told, *marked = str(error).strip().rsplit("\n\nLINE ", 1)
    # Lists of candidates are indented; what is left beside the reason is one sentence of help.
    sentences = [line for line in told.split("\n")[:2] if line and not line.startswith("\t")]
    place = _marked_place(f"LINE {marked[0]}", statement) if marked else None
    return QueryError(" ".join(map(escaped, sentences)), place)


def _marked_place(marked: str, statement: str) -> int | None:
    """Return the column that DuckDB's carets point at; None where they point into an excerpt or a later line."""
    prefix = "LINE 1: "
    shown, _, carets = marked.partition("\n")
    if shown != f"{prefix}{statement}" or "^" not in carets:
        return None
    return carets.index("^") - len(prefix) + 1
