"""Books on disk. Blocking; one thread at a time for one consumer."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import xxhash

from collector.balance.book import Book, Row
from collector.durable_files import append_to_file, make_folder, replace_file, sync_directory
from collector.errors import DataDirError
from pipelines.batch import Account
from pipelines.frame import Position

FOLDER: Final = "balance"
VERSION: Final = 1

KEPT_HOURS: Final = 31 * 24
"""How long closed rows are kept, in hours of journal time."""

TRIM_HOURS: Final = 24
"""Older rows are left out once in so many hours: the file is written anew for that."""

PORTION_ROWS: Final = 1024
"""So many rows are held in memory where a file is written anew; of a month there may be hundreds of thousands."""


class OpenRow(msgspec.Struct, frozen=True):
    """A row that may still change."""

    account: Account
    row: Row


class ClosedRow(msgspec.Struct, frozen=True):
    """A row that does not change any more; `number` counts them from 1 on, for each consumer."""

    number: int
    account: Account
    row: Row
    checksum: str = ""


class _Number(msgspec.Struct, frozen=True):
    """Of a closed row only what says whether a book knows of it."""

    number: int


class Saved(msgspec.Struct, frozen=True):
    """A book as it is written: see `Book`."""

    version: int
    since: Position
    since_hour: int
    position: Position
    hour: int
    closed: int
    rows: list[OpenRow]
    checksum: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """What is to be written of a book: rows that were closed since the last one, and the book itself."""

    position: Position
    closed: bytes
    content: bytes


_encode = msgspec.json.encode
_decode_row = msgspec.json.Decoder(ClosedRow).decode
_decode_number = msgspec.json.Decoder(_Number).decode
T = TypeVar("T", Saved, ClosedRow)


def snapshot(book: Book) -> Snapshot:
    """Take from a book what is to be written; its closed rows are with the snapshot alone then."""
    first = book.closed + 1
    rows = [ClosedRow(number, *each) for number, each in enumerate(book.take_closed(), first)]
    saved = Saved(
        VERSION,
        book.since,
        book.since_hour,
        book.position,
        book.hour,
        book.closed,
        [OpenRow(account, row) for account, row in book.rows.items()],
    )
    closed = b"".join(map(_line, rows))
    return Snapshot(book.position, closed, _encode(_sealed(saved)) + b"\n")


def write_snapshot(data_dir: Path, consumer: str, taken: Snapshot) -> None:
    """Write closed rows, then the book, durably; raises OSError, and may be called again then."""
    path = book_path(data_dir, consumer)
    make_folder(path.parent)
    if taken.closed:
        closed = closed_path(data_dir, consumer)
        append_to_file(closed, taken.closed)
        _trim(closed, _decode_row(taken.closed.splitlines()[-1]).account.hour)
    replace_file(path, taken.content)


def read_book(data_dir: Path, consumer: str) -> Book | None:
    """Return a consumer's book, None where it has none; raise DataDirError for a damaged or newer one, OSError."""
    path = book_path(data_dir, consumer)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        saved = msgspec.json.decode(content, type=Saved)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    if saved.version > VERSION:
        raise DataDirError(f"{path}: version {saved.version} is newer than this program's ({VERSION})")
    if saved.checksum != _sealed(saved).checksum:
        raise DataDirError(f"{path}: damaged: its checksum is wrong")
    book = Book(saved.since, since_hour=saved.since_hour)
    book.position, book.hour, book.closed = saved.position, saved.hour, saved.closed
    book.restore((each.account, each.row) for each in saved.rows)
    return book


def open_book(data_dir: Path, consumer: str) -> Book | None:
    """Return a book that goes on, as `read_book` does; cut the closed rows that it does not know of."""
    book = read_book(data_dir, consumer)
    if book is not None:
        with contextlib.suppress(FileNotFoundError):
            _cut(closed_path(data_dir, consumer), book.closed)
    return book


def _cut(path: Path, closed: int) -> None:
    """Cut what stands behind the last row that a book knows of: rows, or the beginning of one."""
    kept = length = 0
    with path.open("r+b") as file:
        for line in file:
            length += len(line)
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                if line.endswith(b"\n") and _decode_number(line).number <= closed:
                    kept = length
        if kept < length:
            file.truncate(kept)
            os.fsync(file.fileno())


def _trim(path: Path, newest_hour: int) -> None:
    """Leave out rows that are past their time, once a day. The last stays: it tells of how many there were."""
    first = next(_rows_of(path), None)
    if first is not None and newest_hour - first.account.hour >= KEPT_HOURS + TRIM_HOURS:
        replace_file(path, _kept(path, newest_hour - KEPT_HOURS))


def _kept(path: Path, behind_hour: int) -> Iterator[bytes]:
    """Yield the lines that are kept, so many at once as may be held."""
    lines: list[bytes] = []
    row = None
    for row in _rows_of(path):
        if row.account.hour > behind_hour:
            lines.append(_line(row))
        if len(lines) == PORTION_ROWS:
            yield b"".join(lines)
            lines.clear()
    if row is not None and row.account.hour <= behind_hour:
        lines.append(_line(row))
    yield b"".join(lines)


def closed_rows(data_dir: Path, consumer: str) -> Iterator[ClosedRow]:
    """Yield a consumer's closed rows as they stand in the file, for who compares their numbers with a book's `closed`.

    A row that was written twice, for the first try failed, comes once; damaged lines are left out, and so are missed.
    """
    with contextlib.suppress(FileNotFoundError):
        yield from _rows_of(closed_path(data_dir, consumer))


def _rows_of(path: Path) -> Iterator[ClosedRow]:
    last = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = _decode_row(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if row.checksum == _sealed(row).checksum and row.number > last:
                last = row.number
                yield row


def set_aside(data_dir: Path, consumer: str) -> None:
    """Rename what there is of a book that does not go on, so that another can begin; raises OSError.

    Its closed rows go first: the numbers of the next book's begin with one again. After a kill both are renamed anew.
    """
    book, closed = book_path(data_dir, consumer), closed_path(data_dir, consumer)
    for path, aside in ((closed, closed.with_suffix(".closed.damaged")), (book, book.with_suffix(".damaged"))):
        if path.exists():
            path.replace(aside)
            sync_directory(path.parent)


def forget_book(data_dir: Path, consumer: str) -> None:
    """Remove the book of a consumer that is no more; raises OSError."""
    for path in (book_path(data_dir, consumer), closed_path(data_dir, consumer)):
        path.unlink(missing_ok=True)


def books(data_dir: Path) -> list[str]:
    """Return the names of those who have a book."""
    return sorted(path.stem for path in (data_dir / FOLDER).glob("[!.]*.json"))


def book_path(data_dir: Path, consumer: str) -> Path:
    """Return the path of a consumer's book."""
    return data_dir / FOLDER / f"{consumer}.json"


def closed_path(data_dir: Path, consumer: str) -> Path:
    """Return the path of its closed rows."""
    return data_dir / FOLDER / f"{consumer}.closed"


def _line(row: ClosedRow) -> bytes:
    return _encode(_sealed(row)) + b"\n"


def _sealed(content: T) -> T:
    bare = msgspec.structs.replace(content, checksum="")
    return msgspec.structs.replace(content, checksum=xxhash.xxh3_64_hexdigest(_encode(bare)))
