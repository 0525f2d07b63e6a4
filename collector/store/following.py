"""Following a store: what is committed from a manifest on, in the order in which it is committed.

Nothing is asked of the writer: its manifest says how much of each file counts. A file that is sealed before it was read
to its end is read on as Parquet, so whoever is slow misses only what retention deletes, and is told of it.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from collector.errors import QueryError, TidewaiterError
from collector.logs import escaped
from collector.store import sql
from collector.store.lucene import Wanted
from collector.store.manifest import Manifest, StoredFile, damage
from collector.store.opening import Choice, committed
from collector.store.reader import bound

READ_BYTES: Final = 4 << 20
"""So much is read and searched at once; a larger document comes by itself."""

MEMORY_BYTES: Final = 512 << 20
"""What DuckDB may use."""

SETTLED_NS: Final = 100_000_000
"""A manifest as old as that is told from a later one by its number and time."""

ROWS_AT_ONCE: Final = 1024


class _Place(msgspec.Struct):
    """How far a data stream was read: in the file that begins with the document `first_id`, so much of its lines.

    `closed` says that the file was known not to grow any more.
    """

    first_id: str
    read_bytes: int
    read_documents: int
    closed: bool


class Following:
    """What comes after `manifest`. Belongs to one thread; `close` lets go of DuckDB."""

    def __init__(self, data_dir: Path, choice: Choice, wanted: Wanted, manifest: Manifest) -> None:
        import duckdb  # takes 0.1 s, and only who searches needs it

        self._folder = data_dir / "store"
        self._choice = choice
        self._seen: tuple[int, int] | None = None
        self._places: dict[str, _Place] = {}
        for stream, files in manifest.streams.items():
            if files:
                last = files[-1]
                self._places[stream] = _Place(last.first_id, last.lines_bytes, last.documents, not last.open)
        self.missed: list[str] = []
        self._connection = duckdb.connect(":memory:")
        self._connection.execute(f"SET threads = 1; SET memory_limit = '{MEMORY_BYTES}B'")
        self._connection.execute(sql.macros())
        self._parameters = bound(self._connection, wanted.lines)
        self._select = sql.select_of(wanted.lines.sql)

    def close(self) -> None:
        """Let go of DuckDB."""
        self._connection.close()

    def new(self) -> Iterator[list[str]]:
        """Yield matching documents that were committed since, some at once, oldest first; end when all were.

        `missed` grows by a sentence for each file that was deleted, or is damaged, before it was read.
        """
        if not self._changed():
            return
        manifest = committed(self._folder)
        for stream, files in manifest.streams.items():
            if self._choice.holds(stream):
                for file in self._unread(stream, files):
                    for lines in self._lines(stream, file):
                        if found := self._matching(lines):
                            yield found

    def _changed(self) -> bool:
        try:
            status = (self._folder / "manifest.json").stat()
        except FileNotFoundError:
            return True  # who reads it says so
        seen = (status.st_ino, status.st_mtime_ns)
        changed = seen != self._seen
        # Of manifests of one tick of the file system's clock, a later one may have the number of an earlier one again.
        self._seen = seen if time.time_ns() - status.st_mtime_ns > SETTLED_NS else None
        return changed

    def _unread(self, stream: str, files: list[StoredFile]) -> list[StoredFile]:
        """Return the files of a stream that hold something new."""
        place = self._places.get(stream)
        if place is None:
            return files
        if not place.closed and all(file.first_id != place.first_id for file in files):
            self.missed.append(f"{stream}: documents were deleted before they were shown")
        return [file for file in files if file.first_id >= place.first_id]

    def _lines(self, stream: str, file: StoredFile) -> Iterator[list[str]]:
        """Yield the documents of a file that were not read before, and note how far that is."""
        place = self._places.get(stream)
        if place is None or place.first_id != file.first_id:
            place = self._places[stream] = _Place(file.first_id, 0, 0, closed=False)
        place.closed = not file.open
        if place.read_bytes >= file.lines_bytes:
            return
        path = self._folder / stream / file.name
        try:
            for lines in self._of_parquet(path, place) if file.sealed else _of_lines(path, file, place.read_bytes):
                place.read_documents += len(lines)
                place.read_bytes += sum(len(line.encode()) + 1 for line in lines)
                yield lines
        except FileNotFoundError:
            self._seen = None  # it was sealed or deleted this moment: the next manifest says which

    def _of_parquet(self, path: Path, place: _Place) -> Iterator[list[str]]:
        import duckdb

        if not path.exists():
            raise FileNotFoundError(path)
        with duckdb.connect(":memory:") as connection:
            try:
                rows = connection.execute(sql.documents_behind(str(path)), [place.read_documents])
                while some := rows.fetchmany(ROWS_AT_ONCE):
                    yield [row[0] for row in some]
            except duckdb.Error as error:
                self.missed.append(f"{path}: damaged: {escaped(str(error).splitlines()[0])}")

    def _matching(self, lines: list[str]) -> list[str]:
        import duckdb

        try:
            return [row[0] for row in self._connection.execute(self._select, [lines, *self._parameters]).fetchall()]
        except duckdb.OutOfMemoryException as error:
            raise TidewaiterError("the search needs more memory than it may take: ask for less") from error
        except duckdb.Error as error:
            raise QueryError(escaped(str(error).splitlines()[0])) from error


def _of_lines(path: Path, file: StoredFile, at: int) -> Iterator[list[str]]:
    """Yield whole lines from an offset up to what is committed."""
    with path.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        if size < file.length:
            raise TidewaiterError(damage(path, size, file))
        source.seek(at)
        left = file.length - at
        while left:
            content = source.read(min(left, READ_BYTES))
            if not content.endswith(b"\n"):
                content += source.readline()
            left -= len(content)
            yield content.decode().removesuffix("\n").split("\n")
