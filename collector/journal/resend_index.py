r"""What `resends` remembers, on disk: a file per sealed segment, which outlives it.

    journal/resends/PARTITION-EPOCH-SEQUENCE.resends       named as the segment it was written at the end of

    at  bytes
    0   8     magic "TWRESND\n"
    8   2     version
    10  6     zero
    16  8     XXH3-64 of all that follows
    24        MessagePack array (`resends.Snapshot`)

All of them together, oldest first, and then the frames' tables behind the newest, are the whole memory. They are a
convenience, not evidence: one that is missing or damaged lets a resend be stored a second time, nothing worse.
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
from collector.journal.resends import Snapshot

FOLDER: Final = "resends"
SUFFIX: Final = ".resends"
VERSION: Final = 1
_head = struct.Struct("<8sH6xQ")
_MAGIC: Final = b"TWRESND\n"
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Indexes(NamedTuple):
    """The snapshots that could be read, the segment of the newest of them, and the files that could not."""

    snapshots: list[Snapshot]
    newest: str
    damaged: list[str]


def write_index(journal: Path, segment: str, snapshot: Snapshot) -> Path:
    """Write the file of a segment durably; return it. Blocking; raises OSError."""
    folder = journal / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    body = msgspec.msgpack.encode(snapshot)
    path = folder / segment.replace(".segment", SUFFIX)
    replace_file(path, _head.pack(_MAGIC, VERSION, xxhash.xxh3_64_intdigest(body)) + body)
    return path


def index_files(journal: Path) -> list[Path]:
    """All index files, oldest first."""
    try:
        names = os.listdir(journal / FOLDER)
    except FileNotFoundError:
        return []
    return [journal / FOLDER / name for name in sorted(names) if position_of(name.replace(SUFFIX, ".segment"))]


def read_indexes(journal: Path) -> Indexes:
    """Read all index files. What stands behind a damaged one still counts. Blocking; raises OSError."""
    found = Indexes([], "", [])
    for path in index_files(journal):
        try:
            found.snapshots.append(_read(path.read_bytes()))
        except (ValueError, struct.error):
            found.damaged.append(path.name)
        else:
            found = found._replace(newest=path.name.replace(SUFFIX, ".segment"))
    return found


def _read(content: bytes) -> Snapshot:
    magic, version, checksum = _head.unpack_from(content)
    body = content[_head.size :]
    if magic != _MAGIC or version > VERSION or checksum != xxhash.xxh3_64_intdigest(body):
        raise ValueError("no index of resends")
    snapshot = _decode(body)
    if len(snapshot.changes) % CHANGE.size:
        raise ValueError("a change is cut short")
    return snapshot
