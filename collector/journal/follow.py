"""Reading the journal in order, by another process than the one that writes it, never beyond what is durable."""

import mmap
from pathlib import Path
from typing import Final

import msgspec

from collector.journal.format import DamageError, DurableEnd, FrameHead, check_payload, decode_frame_head, next_frame
from collector.journal.segments import Mapped, first_position, segment_files
from pipelines.frame import Frame, Position

RELEASE_BYTES: Final = 16 << 20
"""So much of a mapped segment is read before its pages are let go; else all of it would count as our memory."""


class Gap(msgspec.Struct, frozen=True):
    """Frames that cannot be read: those from `first` up to and with `last`, as far as that is known."""

    first: Position
    last: Position
    reason: str


class Follower:
    """Yields frames from a position on. Blocking file reads; never writes; not for more than one thread.

    A frame's payload is a view of the mapped segment and keeps it mapped.
    """

    def __init__(self, directory: Path, *, partition: int = 0) -> None:
        self._directory = directory
        self._next = Position(partition, 0, 0)
        self._name = ""
        self._mapped: Mapped | None = None
        self._at = 0
        self._released = 0

    def seek(self, position: Position | None) -> None:
        """Go on with the first frame at or behind `position`; None: the oldest there is."""
        self._next = (position or Position(self._next.partition, 0, 0))._replace(record=0)
        self._mapped = None

    def close(self) -> None:
        """Let go of the mapped segment."""
        self._mapped = None

    def read(self, end: DurableEnd) -> Frame | Gap | None:
        """Return the next frame before `end`, a gap that stands in its place, or None when there is none yet."""
        while True:
            if self._mapped is None:
                names = [name for name in segment_files(self._directory) if name <= end.segment]
                name = _holding(names, self._next)
                if name is None:
                    return None
                gap = self._open(name)
                if gap is not None:
                    return gap
                continue
            found = self._read_here(self._mapped, end)
            if found is not None:
                return found
            following = self._following(end)
            if following is None:
                return None
            gap = self._open(following)
            if gap is not None:
                return gap

    def _following(self, end: DurableEnd) -> str | None:
        names = (name for name in segment_files(self._directory) if self._name < name <= end.segment)
        return next(names, None)

    def _open(self, name: str) -> Gap | None:
        """Map a segment; return what is missing before it, or the segment itself where its header is damaged."""
        first = first_position(name)
        expected, self._next = self._next, max(self._next, first)
        self._name = name
        try:
            self._mapped = Mapped(self._directory / name)
        except (DamageError, FileNotFoundError) as error:
            self._mapped = None
            self._next = first._replace(sequence=first.sequence + 1)
            return Gap(first, first, f"{name}: {error}")
        self._at, self._released = self._mapped.frames_at, 0
        if expected.epoch == first.epoch and expected < first:
            return Gap(expected, first._replace(sequence=first.sequence - 1), "the segment is gone")
        return None

    def _read_here(self, mapped: Mapped, end: DurableEnd) -> Frame | Gap | None:
        """Return the next frame or gap of the open segment, None at its end."""
        size = (self._directory / self._name).stat().st_size if self._name < end.segment else end.offset
        if size > len(mapped.view):
            mapped = self._mapped = Mapped(self._directory / self._name)
            self._released = 0
        segment = mapped.view[:size]
        while self._at < size:
            try:
                head = decode_frame_head(segment, self._at, mapped.header)
                position = Position(self._next.partition, head.header.epoch, head.header.sequence)
                if position < self._next:
                    self._at = head.end
                    continue
                payload = check_payload(segment, head)
            except DamageError as error:
                return self._gap(mapped, segment, end, str(error))
            self._pass(mapped, head, position)
            return _frame(mapped, head, position, payload)
        return None

    def _pass(self, mapped: Mapped, head: FrameHead, position: Position) -> None:
        self._at = head.end
        self._next = position._replace(sequence=position.sequence + 1)
        if self._at - self._released > RELEASE_BYTES and isinstance(mapped.map, mmap.mmap):
            behind = head.payload_at // mmap.PAGESIZE * mmap.PAGESIZE
            if behind > self._released:
                mapped.map.madvise(mmap.MADV_DONTNEED, self._released, behind - self._released)
                self._released = behind

    def _gap(self, mapped: Mapped, segment: memoryview, end: DurableEnd, reason: str) -> Gap:
        first = self._next
        found = next_frame(segment, self._at + 1, mapped.header)
        if found is not None:
            sequence = decode_frame_head(segment, found, mapped.header).header.sequence
            self._at, self._next = found, first._replace(sequence=sequence)
        else:
            self._at = len(segment)
            self._next = end.position if self._name == end.segment else first._replace(sequence=first.sequence + 1)
        last = self._next._replace(sequence=max(self._next.sequence - 1, first.sequence), record=0)
        return Gap(first, last, reason)


def _holding(names: list[str], position: Position) -> str | None:
    """Return the newest segment that begins at or before `position`, else the oldest."""
    before = [name for name in names if first_position(name) <= position]
    return before[-1] if before else next(iter(names), None)


def _frame(mapped: Mapped, head: FrameHead, position: Position, payload: memoryview) -> Frame:
    header = head.header
    return Frame(
        journal=mapped.header.journal,
        partition=position.partition,
        epoch=position.epoch,
        sequence=position.sequence,
        journal_time=header.journal_time,
        origins=header.origins,
        messages=header.messages,
        runs=header.runs,
        payload=payload,
        producer=header.producer,
    )
