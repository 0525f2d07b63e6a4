"""The store's manifest: which files there are, how much of each counts, and up to which position of the journal."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from collector.durable_files import replace_file
from collector.errors import DataDirError
from pipelines.frame import Position

MANIFEST_FILE: Final = "manifest.json"
VERSION: Final = 2
"""2 knows sealed files. What 1 wrote is read."""

SEALED: Final = ".parquet"

_Natural = Annotated[int, msgspec.Meta(ge=0)]


class StoredFile(msgspec.Struct, forbid_unknown_fields=True):
    """One file of a data stream; all it says holds for what is committed, the first `length` bytes.

    Its documents are lines, or where it is `sealed` Parquet, whose documents had `unsealed` bytes as lines; `odd` of
    them have to be searched by their JSON.

    `first_time` and `last_time` are journal time in nanoseconds; `first_id` and `last_id` the ids of the first and the
    last document; `earliest` and `latest` the lowest and highest `@timestamp` of any. No document has more bytes than
    `largest`. A file that is not `open` never changes again.
    """

    name: str
    length: _Natural
    documents: _Natural
    first_time: _Natural
    last_time: _Natural
    first_id: str
    last_id: str
    earliest: str
    latest: str
    largest: _Natural
    open: bool = True
    unsealed: _Natural = 0
    odd: _Natural = 0

    @property
    def sealed(self) -> bool:
        """Whether it is Parquet."""
        return self.name.endswith(SEALED)

    @property
    def lines_bytes(self) -> int:
        """The size of its documents as lines."""
        return self.unsealed if self.sealed else self.length


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
    """Return the manifest, None when there is none; raise DataDirError, or OSError where it cannot be read."""
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        version = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("version")
        if version is not None and bytes(version).isdigit() and int(bytes(version)) > VERSION:
            raise DataDirError(f"{path}: version {int(bytes(version))} is newer than this program's ({VERSION})")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"{path}: damaged: {error}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest durably; raise OSError."""
    replace_file(folder / MANIFEST_FILE, msgspec.json.encode(manifest) + b"\n")


def damage(path: Path, size_bytes: int, file: StoredFile) -> str:
    """Say what is wrong with a file that has `size_bytes` of what was committed, and what to do."""
    store = path.parent.parent
    return f"{path}: holds {size_bytes} of {file.length} bytes that were committed: put it back, or move {store} away"
