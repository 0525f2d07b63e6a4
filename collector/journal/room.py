"""How much room a journal has: what stands on disk and what is in flight, against its limits and the disk's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from collector.durable_files import free_bytes
from collector.journal.committer import Committed
from collector.journal.options import LIMIT_SEGMENTS, JournalOptions
from collector.journal.receipts import Pending

FLIGHT_RELEASE_PARTS: Final = 2
"""Senders that wait for bytes in flight go on when half of the limit is free again."""

DISK_RELEASE_PARTS: Final = 4
"""A disk that was full has room again when a quarter more than the reserve is free and what found no room fits: else
senders would be let in and shut out by turns."""


class Room:
    """Of one journal; belongs to the event loop's thread.

    `disk_bytes` stand in segments, `in_flight_bytes` are taken and not durable yet. `is_stuck` says that the disk takes
    no more, `unopened` why no segment could be opened after a failure, so that nothing is taken; empty when one is
    open.
    """

    def __init__(self, directory: Path, options: JournalOptions, *, disk_bytes: int) -> None:
        """Look at the disk; raises OSError."""
        self.disk_bytes = disk_bytes
        self.in_flight_bytes = 0
        self.is_stuck = free_bytes(directory) < options.reserve_bytes
        self.unopened = ""
        self._directory = directory
        self._options = options
        self._near_limit = False
        self._unplaced_bytes = 0
        self._pressed = False
        self._on_pressure: list[Callable[[bool], None]] = []

    @property
    def left_bytes(self) -> int:
        """What may still be in flight before all senders have to wait."""
        return max(self._options.in_flight_limit_bytes - self.in_flight_bytes, 0)

    @property
    def full(self) -> bool:
        """Whether the limit is reached or the disk takes no more: senders wait until there is room again."""
        return self.is_stuck or self._near_limit

    @property
    def limit_bytes(self) -> int:
        """What all segments together may take."""
        return self._options.limit_bytes

    @property
    def disk_free_bytes(self) -> int:
        """What the disk still takes, the reserve included."""
        return free_bytes(self._directory)

    @property
    def spare_bytes(self) -> int:
        """How much of the archive has to go, so that nobody has to wait for what all consumers have passed."""
        options = self._options
        if self.is_stuck:
            return options.limit_bytes
        return self.disk_bytes + self._headroom_bytes + 2 * options.full_bytes - options.limit_bytes

    @property
    def _headroom_bytes(self) -> int:
        """What stays below the limit for what is in flight."""
        return min(self._options.in_flight_limit_bytes, self._options.limit_bytes // LIMIT_SEGMENTS)

    def change(self, options: JournalOptions) -> None:
        """Hold to other limits from now on."""
        self._options = options
        self.press()

    def on_pressure(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` with True when senders should wait and with False when they may go on.

        It is called at once where they should wait already.
        """
        self._on_pressure.append(callback)
        if self._pressed:
            callback(True)

    def take(self, count: int) -> None:
        """Count bytes as in flight."""
        self.in_flight_bytes += count
        if self.in_flight_bytes >= self._options.in_flight_limit_bytes:
            self.press()

    def holds(self, count: int, *, urgent: bool = False) -> bool:
        """Tell whether so much may be written; what is urgent may be where all others have to wait."""
        if urgent:
            return (
                not self.unopened and self.disk_bytes + count <= self._options.limit_bytes + self._options.urgent_bytes
            )
        return not self.is_stuck and self.disk_bytes + count <= self._options.limit_bytes

    def judge(self, committed: Committed, group: Sequence[Pending]) -> None:
        """Take note of whether the disk took a group; that it took what is urgent does not let the others go on."""
        if committed.urgent and not committed.failure:
            return
        self.is_stuck = committed.end is None or committed.no_space
        self.unopened = "" if not self.is_stuck or committed.no_space else committed.failure
        if committed.no_space:
            self._unplaced_bytes = sum(pending.entry.payload_bytes for pending in group)

    def look(self, *, settled: bool) -> None:
        """Find out whether a full disk has room again; `settled` says that there is nothing left to delete."""
        reserve_bytes = self._options.reserve_bytes
        waits_for_more = self.is_stuck and not settled
        more_bytes = max(reserve_bytes // DISK_RELEASE_PARTS, self._unplaced_bytes) if waits_for_more else 0
        self.is_stuck = bool(self.unopened) or free_bytes(self._directory) < reserve_bytes + more_bytes
        self.press()

    def press(self) -> None:
        """Ask senders to wait, or to go on; the bounds differ, so that it does not flutter."""
        options = self._options
        flight_bytes = options.in_flight_limit_bytes // (FLIGHT_RELEASE_PARTS if self._pressed else 1)
        released_bytes = options.full_bytes if self._near_limit else 0
        self._near_limit = self.disk_bytes >= options.limit_bytes - self._headroom_bytes - released_bytes
        pressed = self.full or self.in_flight_bytes >= flight_bytes
        if pressed != self._pressed:
            self._pressed = pressed
            for notify in self._on_pressure:
                notify(pressed)
