"""What the writer's one thread does: groups become durable frames, segments roll, a failure ends a segment.

Only `state` and `anchored` are read by another thread: values that never change, and are replaced whole.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from collector.durable_files import free_bytes, replace_file
from collector.errors import DataDirError
from collector.journal.active import ActiveSegment
from collector.journal.entry import Entry
from collector.journal.format import EPOCH_LIMIT, FIRST_LINK, SEQUENCE_LIMIT, DurableEnd, SegmentHeader
from collector.journal.group import FrameParts, frames_of
from collector.journal.options import JournalOptions
from collector.journal.recovery import Continuation
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, Tombstone, encoded, sealed
from collector.journal.state import State, save_state
from pipelines.frame import JournalIdentity, Producer

SEGMENT_FRAMES_LIMIT: Final = 1 << 16
"""Frames of one segment: bounds what a start has to walk (measured: 4 us a frame), and tables beside a segment."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _NoRoomError(Exception):
    """What is left of the disk is for others; nothing was written."""


class Committed(msgspec.Struct, frozen=True):
    """What became of a group: `end` is the durable end behind it, None while no segment is open.

    `portions` are sequence and offset of its frames that hold portions. `failure` is empty when the group is durable.
    `no_space` says that the disk is full, `urgent` that the group might use the reserve.
    """

    end: DurableEnd | None
    portions: tuple[tuple[int, int], ...] = ()
    frames: int = 0
    bytes: int = 0
    new_segment_bytes: int = 0
    sync_seconds: float = 0.0
    failure: str = ""
    no_space: bool = False
    urgent: bool = False


class Appended(msgspec.Struct):
    """Counts since the start."""

    frames: int = 0
    bytes: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    failures: int = 0
    last_failure: str = ""

    def count(self, committed: Committed) -> None:
        """Count what became of a group."""
        if committed.failure:
            self.failures += 1
            self.last_failure = committed.failure
        else:
            self.frames += committed.frames
            self.bytes += committed.bytes
            self.syncs += committed.frames > 0
            self.sync_seconds += committed.sync_seconds


class Committer:
    """The open segment and what the next one goes on from."""

    def __init__(
        self,
        directory: Path,
        state: State,
        continuation: Continuation,
        options: JournalOptions,
        *,
        name: str,
        clock: Callable[[], int],
        evidence: Path,
    ) -> None:
        self._directory = directory
        self._state = state
        self._from = continuation
        self._name = name
        self._clock = clock
        self._options = options
        self._evidence = evidence
        self.anchored: Anchor | None = None
        self._active: ActiveSegment | None = None
        self._opened_bytes = 0

    @property
    def state(self) -> State:
        """What is remembered beside the segments, the chain's present key among it."""
        return self._state

    def change(self, options: JournalOptions) -> None:
        """Hold to other limits from now on."""
        self._options = options

    @property
    def is_full(self) -> bool:
        """Whether the next group belongs into a fresh segment. Not to be asked while a group is written."""
        active = self._active
        return (
            active is None
            or active.size >= self._options.full_bytes
            or active.sequence - active.header.first_sequence >= SEGMENT_FRAMES_LIMIT
        )

    @property
    def is_old(self) -> bool:
        """Whether the open segment holds frames and is older than segments may become."""
        active = self._active
        if active is None or active.durable.position.sequence == active.header.first_sequence:
            return False
        return self._clock() - active.header.created_ns >= self._options.segment_age_s * 1e9

    def start(self, producers: Iterable[Producer]) -> DurableEnd:
        """Take an epoch and open its first segment; raise OSError, or DataDirError when the epochs are used up."""
        active = self._open(producers, epoch=self._next_epoch(), first_sequence=0)
        self._take_opened()
        # Durable: else the disk may still say, behind a power cut, that the run before was stopped and nothing follows.
        self._write_anchor(active, synced=True)
        return active.durable

    def begin(self) -> None:
        """Write down which segment is the first of a new journal; raises OSError."""
        tombstone = Tombstone(
            journal_id=self._state.journal_id,
            key_number=self._state.key_number,
            at_ns=self._clock(),
            first=self._active.header.file_name if self._active is not None else "",
            link=FIRST_LINK.hex(),
            segments=0,
            bytes=0,
        )
        content = encoded(sealed(tombstone, bytes.fromhex(self._state.key)))
        replace_file(self._evidence / TOMBSTONE_FILE, content)

    def frames(self, entries: Sequence[Entry]) -> list[FrameParts]:
        """Return the frames of a group. It touches no state, so it may run in the loop's thread.

        There it takes turns with nobody: beside the loop, this much Python made each acknowledgement wait for the
        interpreter (measured: the p99 of 200 waiting senders).
        """
        return list(frames_of(entries, frame_bytes=self._options.frame_bytes))

    def commit(
        self,
        frames: Sequence[FrameParts],
        producers: Iterable[Producer],
        *,
        may_roll: bool = True,
        urgent: bool = False,
    ) -> Committed:
        """Write and sync one group. A failed write or sync is never tried again: it ends the segment and the epoch.

        Unless it `may_roll` it goes behind the group before, into the same segment. An `urgent` one may use a part of
        the reserve.
        """
        started = time.perf_counter()
        try:
            self._check_space(frames, urgent=urgent)
            active = self._segment(producers, fresh=may_roll and self.is_full)
            before_bytes = active.size
            places = active.append(frames, [self._next_time() for _ in frames])
        except _NoRoomError:
            end = None if self._active is None else self._active.durable
            return Committed(end, failure="no space left but what cursors and stores need", no_space=True)
        except OSError as error:
            return self._failed(error, producers)
        except BaseException:
            self._abandon()  # a fault of ours: what was written of the group must not become durable with the next
            raise
        return Committed(
            end=active.durable,
            portions=tuple(place for parts, place in zip(frames, places, strict=True) if parts.is_portion),
            frames=len(frames),
            bytes=active.size - before_bytes,
            new_segment_bytes=self._take_opened(),
            sync_seconds=time.perf_counter() - started,
            urgent=urgent,
        )

    def roll(self, producers: Iterable[Producer]) -> Committed:
        """Go on in a fresh segment, so that all before it can be deleted; one without a frame is fresh enough."""
        try:
            active = self._segment(producers, fresh=True)
        except OSError as error:
            return Committed(None, failure=f"{error.strerror or error}", no_space=error.errno in NO_SPACE)
        return Committed(active.durable, new_segment_bytes=self._take_opened())

    def seal(self) -> None:
        """Close the segment and erase its key; raise OSError when the key, or the last anchor, could not be written."""
        active, self._active = self._active, None
        try:
            if active is not None:
                self._write_anchor(active, stopped=True, synced=True)
        finally:
            if active is not None:
                active.close()
            self._take(self._state.ratcheted(epoch=self._state.epoch))

    def anchor(self) -> None:
        """Write down where the chain ends, if it moved; raises OSError.

        Synced only at a start and a stop: after a power cut the anchor before is what the disk kept, and the next start
        writes a new one.
        """
        if self._active is not None and (self.anchored is None or self._active.durable != self.anchored.end):
            self._write_anchor(self._active)

    def _write_anchor(self, active: ActiveSegment, *, stopped: bool = False, synced: bool = False) -> None:
        anchor = Anchor(
            journal_id=self._state.journal_id,
            key_number=active.header.key_number,
            at_ns=self._clock(),
            end=active.durable,
            link=active.durable_link.hex(),
            stopped=stopped,
        )
        anchor = sealed(anchor, bytes.fromhex(self._state.key))
        descriptor = os.open(self._evidence / ANCHOR_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, encoded(anchor), 0)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.anchored = anchor

    def _check_space(self, frames: Sequence[FrameParts], *, urgent: bool) -> None:
        """Stop before the disk is full: on a full one no cursor could be written, so nothing could ever be deleted."""
        reserve_bytes = self._options.reserve_bytes - (self._options.urgent_bytes if urgent else 0)
        needed_bytes = reserve_bytes + sum(len(buffer) for frame in frames for buffer in frame.payload)
        if free_bytes(self._directory) < needed_bytes:
            raise _NoRoomError

    def _segment(self, producers: Iterable[Producer], *, fresh: bool) -> ActiveSegment:
        """Return the segment to write to: the open one, a fresh one where it is due, a new epoch's after a failure."""
        active = self._active
        if active is None:
            return self._open(producers, epoch=self._next_epoch(), first_sequence=0)
        if not fresh or active.sequence == active.header.first_sequence:
            return active
        self._let_go(active)
        active.close()
        if active.sequence > SEQUENCE_LIMIT // 2:
            return self._open(producers, epoch=self._next_epoch(), first_sequence=0)
        return self._open(producers, epoch=active.header.epoch, first_sequence=active.sequence)

    def _open(self, producers: Iterable[Producer], *, epoch: int, first_sequence: int) -> ActiveSegment:
        """Ratchet the key, take the epoch, both durably, then make the segment."""
        self._take(self._state.ratcheted(epoch=epoch))
        header = SegmentHeader(
            journal=JournalIdentity(self._state.journal_id, self._name),
            partition=0,
            epoch=epoch,
            first_sequence=first_sequence,
            created_ns=self._next_time(),
            link_before=self._from.link,
            key_number=self._state.key_number,
            seed=self._state.seed,
            before=self._from.before,
            producers=tuple(producers),
        )
        key = bytes.fromhex(self._state.key)
        self._active = ActiveSegment(
            self._directory, header, key=key, write=self._options.write, sync=self._options.sync
        )
        self._opened_bytes += self._active.size
        return self._active

    def _take(self, state: State) -> None:
        save_state(self._directory, state)
        self._state = state

    def _next_epoch(self) -> int:
        """Return an epoch never used before: above all we know of, and not below the clock.

        The clock is what keeps a folder restored from an older copy from giving positions a second time.
        """
        epoch = max(self._state.epoch + 1, self._from.newest_epoch + 1, self._clock() // 1_000_000_000)
        if epoch >= EPOCH_LIMIT:
            raise DataDirError(
                f"{self._directory}: the clock, or the last epoch taken ({epoch}), is beyond the year 2106"
            )
        return epoch

    def _next_time(self) -> int:
        self._from.journal_time = max(self._from.journal_time + 1, self._clock())
        return self._from.journal_time

    def _let_go(self, active: ActiveSegment) -> None:
        """Note where the next segment goes on; one without a frame leaves things as they were."""
        self._active = None
        if active.durable.position.sequence > active.header.first_sequence:
            self._from.link, self._from.before = active.durable_link, active.durable

    def _abandon(self) -> None:
        if self._active is not None:
            active = self._active
            self._let_go(active)
            active.abandon()

    def _failed(self, error: OSError, producers: Iterable[Producer]) -> Committed:
        """Go on in a new epoch at once, unless the disk is full or takes no file either."""
        self._abandon()
        failure = f"{error.strerror or error}"
        if error.errno in NO_SPACE:
            return Committed(None, failure=failure, no_space=True)
        try:
            end = self._open(producers, epoch=self._next_epoch(), first_sequence=0).durable
        except OSError as again:
            return Committed(
                None, failure=f"{failure}; then {again.strerror or again}", no_space=again.errno in NO_SPACE
            )
        return Committed(end, new_segment_bytes=self._take_opened(), failure=failure)

    def _take_opened(self) -> int:
        opened, self._opened_bytes = self._opened_bytes, 0
        return opened
