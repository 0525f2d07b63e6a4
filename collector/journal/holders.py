"""Who holds the journal: the consumers that are furthest behind, and how much stands on disk because of them."""

import contextlib
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from collector.journal.cursors import cursors
from collector.journal.segment_file import stored_bytes
from collector.journal.segments import first_position, segment_files
from pipelines.frame import Position


class Holders(NamedTuple):
    """Consumers whose cursors stand in the oldest segment that is needed; `bytes` is that segment and what follows."""

    names: tuple[str, ...]
    bytes: int


def holders(directory: Path, consumers: Set[str]) -> Holders:
    """Return who holds most, these consumers or whoever has a cursor; raise DataDirError, OSError. Reads no segment."""
    known = cursors(directory)
    segments = segment_files(directory)
    needed: dict[str, list[str]] = {}
    for name in sorted(consumers | known.keys()):
        position = known.get(name, Position(0, 0, 0))
        passed = [segment for segment in segments if first_position(segment) <= position]
        needed.setdefault(passed[-1] if passed else "", []).append(name)
    oldest = min(needed, default=None)
    if oldest is None:
        return Holders((), 0)
    held = 0
    for segment in segments:
        if segment >= oldest:
            with contextlib.suppress(FileNotFoundError):  # deleted at this moment
                held += stored_bytes(directory, segment)
    return Holders(tuple(needed[oldest]), held)
