"""Reading the store beside its writer, by DuckDB, and nothing else of the machine.

Sealed files are read by their columns, those of lines by each document's JSON. A file that turns out to be damaged is
left out and named in `damaged`, and all others are searched.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from collector.errors import QueryError, TidewaiterError
from collector.logs import escaped
from collector.store import sql
from collector.store.conditions import Condition
from collector.store.lucene import Wanted
from collector.store.opening import AUDIT, LOGS, Choice, OpenFile, OpenFiles, nameless, open_files
from collector.store.words import Words

if TYPE_CHECKING:
    import duckdb

__all__ = ["Choice", "Store", "open_store"]

MEMORY_BYTES: Final = 1 << 30
"""What DuckDB may use; a larger sort goes to the disk, in the folder for temporary files."""

MEMORY_DOCUMENTS: Final = 24
"""… or so many of the largest document, for each thread reads into buffers of a few."""

OBJECT_BYTES: Final = 4 << 20
"""Smallest bound of a document's size that is asked for."""

TOP_LIMIT: Final = 10_000
"""So many of the newest documents are kept in memory while the others go by."""

ROWS_AT_ONCE: Final = 256

Answer = TypeVar("Answer")


class Store:
    """A store opened for reading; what is committed later is not seen.

    `damaged` says of each file that could not be read what is wrong with it; it grows as they are found. `manifest`
    says what was committed.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", opened: OpenFiles, choice: Choice) -> None:
        self.damaged = list(opened.damaged)
        self.manifest = opened.manifest
        self._connection = connection
        self._files = list(opened.files)
        self._choice = choice
        self._sources: list[sql.Source] = []
        self.ask(self._make_views)

    def ask(self, question: "Callable[[], Answer]") -> "Answer":
        """Answer a question by what can be read: where files are damaged, once more without them."""
        import duckdb  # takes 0.1 s, and only a search needs it

        try:
            return question()
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            if not self._leave_out_damaged():
                raise
            return question()

    def _make_views(self) -> None:
        views = (LOGS, AUDIT) if self._choice.apart else (LOGS,)
        largest = max([OBJECT_BYTES, *(each.file.largest for each in self._files)])
        for view in views:
            chosen = [each for each in self._files if view in each.views]
            sealed, lines = [[each.path for each in chosen if each.file.sealed is wanted] for wanted in (True, False)]
            odd = any(each.file.odd for each in chosen)
            made = sql.views(
                view, lines, sealed, odd=odd, largest_bytes=largest, since=self._choice.since, until=self._choice.until
            )
            for statement in made.statements:
                self._connection.execute(statement)
            if view == LOGS:
                self._sources = made.sources

    def _leave_out_damaged(self) -> bool:
        """Read every file by itself; leave out those that cannot be, and return whether there are any."""
        damaged = {each.path: wrong for each in self._files if (wrong := self._wrong(each))}
        self.damaged += damaged.values()
        self._files = [each for each in self._files if each.path not in damaged]
        if damaged:
            self._make_views()
        return bool(damaged)

    def _wrong(self, opened: OpenFile) -> str:
        """Say what is wrong with a file, empty when it holds what it should."""
        import duckdb

        file = opened.file
        try:
            largest = max(OBJECT_BYTES, file.largest)
            found = self._connection.execute(sql.census(opened.path, sealed=file.sealed, largest_bytes=largest))
            documents, size_bytes, *_ = found.fetchall()[0]
        except duckdb.Error as error:
            return f"{opened.named}: damaged: {escaped(_first_line(error).replace(opened.path, opened.named.name))}"
        if (documents, size_bytes) == (file.documents, file.lines_bytes):
            return ""
        return f"{opened.named}: damaged: holds {documents} documents of {file.documents}"

    def search(self, wanted: Wanted, *, limit: int | None = None) -> Iterator[str]:
        """Yield matching documents as they are stored, oldest first; with a limit only so many, the newest."""
        import duckdb

        try:
            yield from self._rows_of(lambda: self._found(wanted, limit))
        except duckdb.OutOfMemoryException as error:
            raise TidewaiterError("the search needs more memory than it may take: ask in parts") from error
        except duckdb.Error as error:
            raise TidewaiterError(f"the search failed: {escaped(_first_line(error))}") from error

    def _rows_of(self, find: "Callable[[], duckdb.DuckDBPyConnection]") -> Iterator[str]:
        rows, some = self.ask(lambda: (found := find(), found.fetchmany(ROWS_AT_ONCE)))
        while some:
            yield from (row[0] for row in some)
            some = rows.fetchmany(ROWS_AT_ONCE)

    def _found(self, wanted: Wanted, limit: int | None) -> "duckdb.DuckDBPyConnection":
        kept_whole = limit is None or limit > TOP_LIMIT
        newest = "" if limit is None else f' ORDER BY "@timestamp" DESC, id DESC LIMIT {limit:d}'
        parts, parameters = [], []
        for source in self._sources:
            condition = wanted.sealed if source.by_column else wanted.lines
            # Each part by itself, so that documents are read only of those that are among the newest.
            parts.append(f'(SELECT document, "@timestamp", id FROM {source.sql} AND ({condition.sql}){newest})')  # noqa: S608
            parameters += bound(self._connection, condition)
        found = " UNION ALL ".join(parts)
        if kept_whole:
            # DuckDB 2.0 sorts a table of any size within its memory, but not what it reads from files.
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {found}", parameters)
            found, parameters = "FROM found", []
        ordered = f'SELECT document FROM ({found}{newest}) ORDER BY "@timestamp", id'  # noqa: S608
        return self._connection.execute(ordered, parameters)

    def select(self, statement: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Run one SELECT over the views; return its columns and rows. Raise QueryError, also between rows."""
        import duckdb

        try:
            statements = self._connection.extract_statements(statement)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError("--sql takes one SELECT")
            found, some = self.ask(lambda: _begun(self._connection, statements[0]))
        except duckdb.Error as error:
            raise _refused(error, statement) from error
        return [column[0] for column in found.description or []], self._rows(found, some, statement)

    def _rows(
        self, found: "duckdb.DuckDBPyConnection", some: list[tuple[Any, ...]], statement: str
    ) -> Iterator[tuple[Any, ...]]:
        import duckdb

        try:
            while some:
                yield from some
                some = found.fetchmany(ROWS_AT_ONCE)
        except duckdb.Error as error:
            raise _refused(error, statement) from error


def bound(connection: "duckdb.DuckDBPyConnection", condition: Condition) -> list[Any]:
    """Return a condition's parameters as they are bound; raise QueryError for a text without words.

    Texts whose words are searched are taken apart with the function that documents are taken apart with.
    """
    texts = [each.text for each in condition.parameters if isinstance(each, Words)]
    made = "list_transform(?::VARCHAR[], lambda t: tw_tokens(lower(tw_line(t))))"
    rows = connection.execute(f"SELECT {made}", [texts]).fetchall() if texts else [((),)]
    words = iter(rows[0][0])
    return [_words(each, next(words)) if isinstance(each, Words) else each for each in condition.parameters]


def _words(wanted: Words, words: list[str]) -> list[str] | str:
    if not words:
        raise QueryError(f"{wanted.text!r} holds no word that could be searched")
    return "\x1f".join(["", *words, ""]) if wanted.neighbours else words


def _begun(connection: "duckdb.DuckDBPyConnection", statement: Any) -> "tuple[Any, list[tuple[Any, ...]]]":
    """Run a statement and take its first rows: only they show that a file can be read."""
    found = connection.execute(statement)
    return found, found.fetchmany(ROWS_AT_ONCE)


@contextmanager
def open_store(data_dir: Path, choice: Choice = Choice()) -> Iterator[Store]:  # noqa: B008 - frozen
    """Open what is committed now; raise UnreachableError when there is no store."""
    import duckdb

    with ExitStack() as held:
        opened = open_files(data_dir / "store", choice, held)
        scratch = held.enter_context(tempfile.TemporaryDirectory(prefix="tidewaiter-search-"))
        connection = held.enter_context(duckdb.connect(":memory:"))
        largest = max([OBJECT_BYTES, *(each.file.largest for each in opened.files)])
        memory = max(MEMORY_BYTES, MEMORY_DOCUMENTS * largest)
        connection.execute(sql.macros())
        with nameless(opened.files):
            paths = [name for each in opened.files for name in (each.path, str(each.named))]
            _confine(connection, paths, Path(scratch), memory_bytes=memory)
        yield Store(connection, opened, choice)


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
