"""Segments that held nothing when they were left: of a start that was killed, or at this moment."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collector.journal.format import FRAME_MAGIC, DamageError
from collector.journal.segments import Segment

BEGINNING_BYTES: Final = 1 << 20
"""A header of ours is far shorter: where no frame begins in so much, none was written."""


def is_unborn(segment: Segment) -> bool:
    """Tell whether a segment was being made when it was read, or its writer was killed: nothing was in it yet."""
    if segment.header is not None or segment.compressed:
        return False
    try:
        content = bytes(segment.raw(0, min(segment.size, BEGINNING_BYTES)))
    except DamageError:
        return False
    return FRAME_MAGIC not in content and segment.search(0, segment.size) is None


def held_nothing(journal: Path, listed: Sequence[str], name: str) -> bool:
    """Tell whether a segment that is gone held no frame, as what was written since says: a start removes it."""
    for later in listed:
        if later > name:
            with contextlib.suppress(FileNotFoundError):
                segment = Segment(journal, later)
                segment.close()
                if segment.header is not None:
                    before = segment.header.before
                    return before is None or before.segment < name
    return False
