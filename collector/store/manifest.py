"""The store's manifest: which files there are, how much of each counts, and up to which position of the journal."""

from pathlib import Path
from typing import Final

import msgspec

from collector.errors import DataDirError
from collector.journal.files import replace_file
from pipelines.frame import Position

MANIFEST_FILE: Final = "manifest.json"
VERSION: Final = 1


class StoredFile(msgspec.Struct, forbid_unknown_fields=True):
    """One file of a data stream. Times are journal time, in nanoseconds; `length` is what is committed, in bytes."""

    name: str
    length: int
    documents: int
    first_time: int
    last_time: int
    open: bool = True


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What is committed: every document before `position` (partition, epoch, sequence, record) is in the files.

    `streams` maps a data stream's name to its files, oldest first.
    """

    position: Position
    streams: dict[str, list[StoredFile]] = {}
    version: int = VERSION

    @property
    def bytes(self) -> int:
        """Size of all files as committed."""
        return sum(file.length for files in self.streams.values() for file in files)

    @property
    def files(self) -> int:
        """Number of files."""
        return sum(map(len, self.streams.values()))

    @property
    def documents(self) -> int:
        """Number of documents."""
        return sum(file.documents for files in self.streams.values() for file in files)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest, None when there is none; raise DataDirError."""
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    if manifest.version > VERSION:
        raise DataDirError(f"{path}: version {manifest.version} is newer than this program's ({VERSION})")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest durably."""
    replace_file(folder / MANIFEST_FILE, msgspec.json.encode(manifest) + b"\n")
