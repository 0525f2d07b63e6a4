"""Seals a closed file of the store: its documents become Parquet, in a process of its own.

    python -P -m collector.store.sealing SOURCE TARGET LENGTH LARGEST

A conversion that crashes, hangs or needs too much ends nothing but itself, and the lines stay what is searched. The
process prints how many documents are odd (`columns`). It gives way to all others, and ends when its standard input
does: with whoever started it. Before it ends well every document was read back from the disk and compared with its
line. Documents of one container stand together, so that a search for it reads little; `line` keeps the order.
"""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from collector.errors import DataDirError, TidewaiterError
from collector.logs import escaped
from collector.store import sql
from collector.store.columns import LISTED, SEQUENCE, SINGLE, TIMESTAMP

if TYPE_CHECKING:
    import duckdb

NICENESS: Final = 19
"""What is searched is searched without it."""

MEMORY_BYTES: Final = 384 << 20
"""What DuckDB may use for documents of ordinary size; a file of 64 MiB takes some 250 MiB."""

MEMORY_DOCUMENTS: Final = 16
"""… and so many of the largest document beside that."""

LINE_BYTES: Final = 2 << 20
"""Smallest bound of a line that is asked for."""

GROUP_ROWS: Final = 8192
"""Documents of a row group, the least that a search reads."""

COMPARED_AT_ONCE: Final = 256

EXIT_FAILED: Final = 1


def seal(source: Path, target: Path, *, length_bytes: int, largest_bytes: int) -> int:
    """Write the documents of `source`, a file of so many bytes, to `target`, synced; return how many are odd.

    Raise DataDirError when the file is damaged, TidewaiterError for all else that it cannot do. `target` must not be
    there; after an error part of it may be.
    """
    import duckdb  # by whoever seals, and no other

    size = source.stat().st_size
    if size != length_bytes:
        raise DataDirError(f"{source}: holds {size} of {length_bytes} bytes that were committed")
    try:
        with duckdb.connect(":memory:") as connection:
            memory = MEMORY_BYTES + MEMORY_DOCUMENTS * largest_bytes
            connection.execute(f"SET threads = 1; SET memory_limit = '{memory}B'; SET temp_directory = ''")
            connection.execute(sql.macros())
            connection.execute(_copy(source, target, max(largest_bytes, LINE_BYTES)))
            with target.open("rb") as written:
                os.fsync(written.fileno())
            with source.open("rb") as lines:
                _compare(connection, lines, target)
            odd = f"SELECT count(*) FROM read_parquet({sql.quoted(str(target))}) WHERE odd"  # noqa: S608
            return int(connection.execute(odd).fetchall()[0][0])
    except duckdb.Error as error:
        raise TidewaiterError(f"{source}: cannot be sealed: {escaped(str(error).splitlines()[0])}") from error


def _copy(source: Path, target: Path, line_bytes: int) -> str:
    pointers = ", ".join(sql.quoted(column.pointer) for column in (*SINGLE, *LISTED))
    single = [f"texts[{at}] AS {column.name}" for at, column in enumerate(SINGLE, start=1)]
    listed = [f"tw_values(found[{at}]) AS {column.name}" for at, column in enumerate(LISTED, start=len(SINGLE) + 1)]
    kinds = f"list_transform(found[1:{len(SINGLE)}], lambda each: (each::VARCHAR)[1])"
    columns = [
        *single,
        *listed,
        f"json_extract_string(document, {sql.quoted(SEQUENCE)})::BIGINT AS sequence",
        f"{sql.second_of(f'texts[{_place(TIMESTAMP)}]')} AS second",
        f"len(list_filter({kinds}, lambda kind: kind IN ('[', '{{'))) > 0 AS odd",
        "line",
        "document",
    ]
    lines = (
        f"read_csv({sql.quoted(str(source))}, columns = {{'document': 'VARCHAR'}}, auto_detect = false, header = false,"
        f" delim = chr(1), quote = '', escape = '', new_line = '\\n', max_line_size = {line_bytes})"
    )
    return (
        f"COPY (SELECT {', '.join(columns)} FROM (SELECT document, row_number() OVER () AS line,"  # noqa: S608
        f" json_extract_string(document, [{pointers}]) AS texts, json_extract(document, [{pointers}]) AS found"
        f" FROM {lines}) ORDER BY odd, container_id, line)"
        f" TO {sql.quoted(str(target))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS},"
        f" USE_TMP_FILE false)"
    )


def _place(name: str) -> int:
    return [column.name for column in SINGLE].index(name) + 1


def _compare(connection: "duckdb.DuckDBPyConnection", lines: BinaryIO, target: Path) -> None:
    """Raise TidewaiterError unless the sealed file holds every line, byte by byte."""
    path = sql.quoted(str(target))
    rows = connection.execute(f"SELECT document FROM read_parquet({path}) ORDER BY line")  # noqa: S608
    while some := rows.fetchmany(COMPARED_AT_ONCE):
        sealed = b"".join(row[0].encode() + b"\n" for row in some)
        if lines.read(len(sealed)) != sealed:
            break
    if some or lines.read(1):
        raise TidewaiterError(f"{lines.name}: cannot be sealed: what was read back is not what was written")


def _end_with(descriptor: int) -> None:
    # Not by Python's own object for it: one that a thread reads cannot be closed, and Python aborts at its end.
    while os.read(descriptor, 1):
        pass
    os._exit(EXIT_FAILED)


def main(arguments: list[str]) -> int:
    """Seal one file; return the exit code."""
    os.nice(NICENESS)
    os.umask(0o077)
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    source, target, length, largest = arguments
    try:
        odd = seal(Path(source), Path(target), length_bytes=int(length), largest_bytes=int(largest))
    except (TidewaiterError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{odd}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
