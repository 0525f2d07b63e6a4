"""Cursors: where each consumer of the journal goes on. One small JSON file each, so that people can read them too."""

import re
from collections.abc import Set
from pathlib import Path
from typing import Annotated, Final

import msgspec
import xxhash

from collector.durable_files import replace_file, sync_directory
from collector.errors import DataDirError
from pipelines.frame import Position

FOLDER: Final = "cursors"
_consumer_name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    partition: _Natural
    epoch: _Natural
    sequence: _Natural
    record: _Natural
    checksum: str = ""


def read_cursor(directory: Path, consumer: str) -> Position | None:
    """Return the position of the next record for `consumer`, None when it has no cursor.

    Raises DataDirError for a damaged one: to start anew in silence could skip records or repeat all of them.
    """
    path = _path(directory, consumer)
    try:
        cursor = msgspec.json.decode(path.read_bytes(), type=_Cursor)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    position = Position(cursor.partition, cursor.epoch, cursor.sequence, cursor.record)
    if cursor.checksum != _checksum(position):
        raise DataDirError(f"{path}: damaged: its checksum is wrong")
    return position


def write_cursor(directory: Path, consumer: str, position: Position) -> None:
    """Replace a cursor durably; raises OSError."""
    path = _path(directory, consumer)
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory)
    replace_file(path, msgspec.json.encode(_Cursor(*position, _checksum(position))) + b"\n")


def cursors(directory: Path) -> dict[str, Position]:
    """Return all cursors by consumer; raise DataDirError."""
    found = {}
    for path in sorted((directory / FOLDER).glob("[!.]*.json")):
        position = read_cursor(directory, path.name.removesuffix(".json"))
        if position is not None:
            found[path.name.removesuffix(".json")] = position
    return found


def needed_position(directory: Path, consumers: Set[str]) -> Position:
    """Return the oldest position that is needed, by these consumers or whoever has a cursor; raise DataDirError."""
    known = cursors(directory)
    oldest = Position(0, 0, 0)
    return min((known.get(name, oldest) for name in consumers | known.keys()), default=oldest)


def forget_cursor(directory: Path, consumer: str) -> bool:
    """Remove a cursor, so that it holds no segment any more; return whether there was one."""
    path = _path(directory, consumer)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True


def _path(directory: Path, consumer: str) -> Path:
    if not _consumer_name.fullmatch(consumer):
        raise DataDirError(f"{consumer!r} cannot be the name of a cursor: letters, digits, '_', '-' and '.' only")
    return directory / FOLDER / f"{consumer}.json"


def _checksum(position: Position) -> str:
    return xxhash.xxh3_64_hexdigest("{}/{}/{}/{}".format(*position).encode())
