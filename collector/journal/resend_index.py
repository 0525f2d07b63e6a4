r"""What `resends` remembers, on disk: a file per sealed segment, which outlives it.

    journal/resends/PARTITION-EPOCH-SEQUENCE.resends       named as the segment it was written at the end of

    at  bytes
    0   8     magic "TWRESND\n"
    8   2     version
    10  6     zero
    16  8     XXH3-64 of all that follows
    24        MessagePack array: name of the index before, or empty; what changed since (`resends.Snapshot`)

The newest, those before it as each names the one before, oldest first, and then the frames' tables behind the newest
are the whole memory. Each says what changed, and what was removed must not come back: it would swallow a message that
is new. So where one is missing or damaged, nothing before it counts, and an empty name says the same. They are a
convenience, not evidence: that lets a resend be stored a second time, nothing worse. Nor does one of an older version
count.
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import xxhash

from collector.durable_files import replace_file
from collector.journal.format import position_of
from collector.journal.remembered import CHANGE
from collector.journal.resends import REMEMBERED_LIMIT, Snapshot

FOLDER: Final = "resends"
SUFFIX: Final = ".resends"
VERSION: Final = 2
UNWRITTEN_LIMIT_BYTES: Final = CHANGE.size * REMEMBERED_LIMIT
"""Changes that are kept until an index can be written; with more, the next begins anew."""

_head = struct.Struct("<8sH6xQ")
_MAGIC: Final = b"TWRESND\n"


class Index(msgspec.Struct, frozen=True, array_like=True):
    """What a file says."""

    before: str
    snapshot: Snapshot


class Indexes(NamedTuple):
    """The snapshots that count, oldest first, the segment of the newest, the files that are damaged or missing."""

    snapshots: list[Snapshot]
    newest: str
    damaged: list[str]


_decode = msgspec.msgpack.Decoder(Index).decode


class IndexWriter:
    """Writes one index after the other; what could not be written stands in the next. Of one thread at a time."""

    def __init__(self, journal: Path, newest: str = "") -> None:
        """Go on behind the index of a segment; behind none where that is empty."""
        self._folder = journal / FOLDER
        self._before = _file_of(newest)
        self._unwritten = b""

    def begin_anew(self) -> None:
        """Let nothing count that was written before."""
        self._before, self._unwritten = "", b""

    def write(self, segment: str, snapshot: Snapshot) -> Path:
        """Write the file of a segment durably; return it. Blocking; raises OSError."""
        if len(self._unwritten) > UNWRITTEN_LIMIT_BYTES:
            self.begin_anew()
        self._unwritten += snapshot.changes
        index = Index(self._before, msgspec.structs.replace(snapshot, changes=self._unwritten))
        body = msgspec.msgpack.encode(index)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / _file_of(segment)
        replace_file(path, _head.pack(_MAGIC, VERSION, xxhash.xxh3_64_intdigest(body)) + body)
        self._before, self._unwritten = path.name, b""
        return path


def _file_of(segment: str) -> str:
    return segment.replace(".segment", SUFFIX)


def index_files(journal: Path) -> list[Path]:
    """All index files, oldest first."""
    try:
        names = os.listdir(journal / FOLDER)
    except FileNotFoundError:
        return []
    return [journal / FOLDER / name for name in sorted(names) if position_of(name.replace(SUFFIX, ".segment"))]


def read_indexes(journal: Path) -> Indexes:
    """Read all index files. Blocking; raises OSError where the folder cannot be listed."""
    found: dict[str, Index] = {}
    damaged: list[str] = []
    names = [path.name for path in index_files(journal)]
    for name in names:
        try:
            index = _read((journal / FOLDER / name).read_bytes())
        except (ValueError, struct.error, msgspec.MsgspecError, OSError):
            damaged.append(name)
        else:
            if index is not None:
                found[name] = index
    name = newest = max(found, default="")
    snapshots: list[Snapshot] = []
    while name in found:
        index = found.pop(name)
        snapshots.append(index.snapshot)
        name = index.before
    if name and name not in names and names[0] < name:
        damaged.append(name)  # one that is too old goes with all before it
    return Indexes(snapshots[::-1], newest.replace(SUFFIX, ".segment"), damaged)


def _read(content: bytes) -> Index | None:
    """Return what a file says, None for one of an older version; raise ValueError and others where it is damaged."""
    magic, version, checksum = _head.unpack_from(content)
    body = content[_head.size :]
    if magic != _MAGIC or version > VERSION or checksum != xxhash.xxh3_64_intdigest(body):
        raise ValueError("no index of resends")
    if version < VERSION:
        return None
    index = _decode(body)
    if len(index.snapshot.changes) % CHANGE.size:
        raise ValueError("a change is cut short")
    return index
