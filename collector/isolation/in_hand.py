"""What a worker has in hand, in a small file that is mapped into its memory: it says so still when it has died.

    run/in-hand-PID     64 bytes: beats, epoch, sequence (unsigned 64 bits each), partition (32 bits), 1 while it works

A store into the mapping costs a microsecond and no call of the system. Each batch is a beat, so that what takes long
and goes on is told from what hangs.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from pipelines.frame import Position

FOLDER: Final = "run"
PREFIX: Final = "in-hand-"

_mark = struct.Struct("<QQQII")
_SIZE: Final = 64


class Mark(NamedTuple):
    """What a worker said last. `position` is the frame in hand, None while it works on none."""

    beats: int
    position: Position | None


class InHand:
    """The worker's side of it; the file is this process's own."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        """Make the file; raises OSError."""
        path = mark_file(data_dir, pid)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
        with path.open("x+b") as file:
            file.write(bytes(_SIZE))
            file.flush()
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._beats = 0

    def take(self, position: Position) -> None:
        """Say that work on a frame, or on its next batch, begins."""
        self._beats += 1
        partition, epoch, sequence, _ = position
        _mark.pack_into(self._map, 0, self._beats, epoch, sequence, partition, 1)

    def put_down(self) -> None:
        """Say that nothing is in hand."""
        _mark.pack_into(self._map, 0, self._beats, 0, 0, 0, 0)


def mark_file(data_dir: Path, pid: int) -> Path:
    """Return the file of a worker."""
    return data_dir / FOLDER / f"{PREFIX}{pid}"


def read_mark(data_dir: Path, pid: int) -> Mark | None:
    """Return what a worker said last, None where it said nothing yet."""
    try:
        content = mark_file(data_dir, pid).read_bytes()
    except OSError:
        return None
    if len(content) < _SIZE:
        return None
    beats, epoch, sequence, partition, works = _mark.unpack_from(content)
    return Mark(beats, Position(partition, epoch, sequence) if works else None)


def forget_marks(data_dir: Path) -> None:
    """Remove what workers left that are no more; while a reload goes on two may live."""
    for path in (data_dir / FOLDER).glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX)
        if pid.isdecimal() and not _lives(int(pid)):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
