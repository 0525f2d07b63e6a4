"""Limits of a journal, and its seams for tests."""

import os
from typing import Final

import msgspec

from collector.journal.active import Sync, Write

URGENT_PARTS: Final = 2
"""What is urgent may use one of so many parts of the reserve; cursors and stores keep the rest."""

LIMIT_SEGMENTS: Final = 8
"""The limit holds at least so many segments: only sealed ones can be deleted."""


class JournalOptions(msgspec.Struct, frozen=True):
    """Limits of a journal.

    `limit_bytes` bounds all segments together; senders wait before it is reached, so that what is in flight still fits.
    `segment_bytes` is where a segment is sealed, at most an eighth of the limit; it is sealed as well when it is older
    than `segment_age_s`, for who takes the machine can forge in the open one, and in nothing older. Segments that every
    consumer has passed are kept for `archive_s` all the same, as long as the limit is not near. With `compress`, one
    that is still there `compress_after_s` after it was sealed is compressed. `frame_bytes` is soft: one message may be
    larger. While others send as well, a message longer than `portion_bytes` is written in portions of that size, and
    who sends little goes in between: 8 MiB at once take 7 ms on the project's disk, and three times that in memory
    that was not used before. `reserve_bytes` stay free on the disk for cursors and stores: without them nothing could
    be settled; what is urgent may have `urgent_bytes` of them. `consumers` are those that hold segments even before
    they have a cursor; where they are `replayed` they go on from checkpoints (`collector.journal.checkpoints`), and
    hold what they read before their cursors as well. `write` and `sync` are what makes bytes durable; tests pass their
    own.
    """

    limit_bytes: int = 20 << 30
    segment_bytes: int = 128 << 20
    segment_age_s: float = 3600.0
    archive_s: float = 0.0
    compress: bool = True
    compress_after_s: float = 60.0
    frame_bytes: int = 1 << 20
    portion_bytes: int = 1 << 20
    in_flight_limit_bytes: int = 64 << 20
    reserve_bytes: int = 64 << 20
    consumers: frozenset[str] = frozenset()
    replayed: bool = False
    write: Write = os.writev
    sync: Sync = getattr(os, "fdatasync", os.fsync)

    @property
    def full_bytes(self) -> int:
        """Where a segment is sealed."""
        return min(self.segment_bytes, self.limit_bytes // LIMIT_SEGMENTS)

    @property
    def urgent_bytes(self) -> int:
        """What of the reserve, and beyond the limit, may be taken without which nothing would ever be settled."""
        return self.reserve_bytes // URGENT_PARTS
