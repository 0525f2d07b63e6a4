"""Deleting segments that every consumer has passed: off the event loop, and never without a tombstone first."""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from collector.durable_files import replace_file, sync_directory
from collector.errors import DataDirError
from collector.journal.format import SegmentHeader
from collector.journal.seals import TOMBSTONE_FILE, Tombstone, encoded, read_seal, sealed
from collector.journal.segments import HEADERS_BYTES, Segment, first_position, segment_files
from collector.journal.state import State
from pipelines.frame import Position


class Reclaimer:
    """Deletes from the oldest segment on. A deletion that a power cut undoes is made again by a later one."""

    def __init__(self, directory: Path, evidence: Path, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._tombstone = evidence / TOMBSTONE_FILE
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sweep")
        self._running: Future[None] | None = None

    def delete_before(self, needed_from: Position, newest: str, state: State, *, wait: bool) -> tuple[int, int]:
        """Delete the segments before the one with `needed_from`, but not `newest`; return how many, and their bytes.

        They are gone a moment later, or with `wait` at once. Raises OSError, also that of the deletion before.
        """
        if self._running is not None and not wait and not self._running.done():
            return 0, 0
        running, self._running = self._running, None
        if running is not None:
            running.result()
        found: list[tuple[Path, int]] = []
        for name, following in pairwise(segment_files(self._directory)):
            if following > newest or first_position(following) > needed_from:
                break
            path = self._directory / name
            found.append((path, path.stat().st_size))
        header = self._header_behind(found) if found else None
        if header is None:
            return 0, 0
        self._running = self._thread.submit(self._delete, found, header, state)
        if wait:
            self._running.result()
        return len(found), sum(size for _, size in found)

    def close(self) -> None:
        """Finish what was begun."""
        self._thread.shutdown()

    def _header_behind(self, found: list[tuple[Path, int]]) -> SegmentHeader | None:
        """Return the header of the first segment that stays; one whose header is damaged goes with its successor."""
        names = segment_files(self._directory)
        while found:
            following = names[names.index(found[-1][0].name) + 1]
            with contextlib.closing(Segment(self._directory, following, block_bytes=HEADERS_BYTES)) as segment:
                if segment.header is not None:
                    return segment.header
            found.pop()
        return None

    def _delete(self, found: list[tuple[Path, int]], first: SegmentHeader, state: State) -> None:
        """Write the tombstone, then delete. Closing what was deleted frees its blocks: 24 ms for 128 MiB here."""
        before = self._read_tombstone()
        tombstone = Tombstone(
            journal_id=state.journal_id,
            key_number=state.key_number,
            at_ns=self._clock(),
            first=first.file_name,
            link=first.link_before.hex(),
            segments=len(found) + (before.segments if before is not None else 0),
            bytes=sum(size for _, size in found) + (before.bytes if before is not None else 0),
        )
        replace_file(self._tombstone, encoded(sealed(tombstone, bytes.fromhex(state.key))))
        for path, _ in found:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            path.unlink()
            os.close(descriptor)
        with contextlib.suppress(OSError):
            sync_directory(self._directory)

    def _read_tombstone(self) -> Tombstone | None:
        """Read what was deleted before; one that was changed is kept for who verifies, and counting begins anew."""
        try:
            return read_seal(self._tombstone, Tombstone)
        except DataDirError:
            self._tombstone.rename(self._tombstone.with_suffix(".damaged"))
            return None
