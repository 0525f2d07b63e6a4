"""Cursors: where each consumer of the journal goes on. One small JSON file each, so that people can read them too."""

from pathlib import Path
from typing import Final

import msgspec

from collector.errors import DataDirError
from collector.journal.files import replace_file, sync_directory
from pipelines.frame import Position

FOLDER: Final = "cursors"


class _Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    partition: int
    epoch: int
    sequence: int
    record: int


def read_cursor(directory: Path, consumer: str) -> Position | None:
    """Return the position of the next record for `consumer`, None when it has no cursor; raise DataDirError."""
    path = directory / FOLDER / f"{consumer}.json"
    try:
        cursor = msgspec.json.decode(path.read_bytes(), type=_Cursor)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    return Position(cursor.partition, cursor.epoch, cursor.sequence, cursor.record)


def write_cursor(directory: Path, consumer: str, position: Position) -> None:
    """Replace a cursor durably."""
    folder = directory / FOLDER
    if not folder.exists():
        folder.mkdir(mode=0o700)
        sync_directory(directory)
    replace_file(folder / f"{consumer}.json", msgspec.json.encode(_Cursor(*position)) + b"\n")


def cursors(directory: Path) -> dict[str, Position]:
    """Return all cursors by consumer; raise DataDirError."""
    found = {}
    for path in sorted((directory / FOLDER).glob("[!.]*.json")):
        position = read_cursor(directory, path.stem)
        if position is not None:
            found[path.stem] = position
    return found


def forget_cursor(directory: Path, consumer: str) -> bool:
    """Remove a cursor, so that it holds no segment any more; return whether there was one."""
    path = directory / FOLDER / f"{consumer}.json"
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True
