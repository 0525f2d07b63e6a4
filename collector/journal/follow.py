"""Reading the journal in order, by another process than the one that writes it, never beyond what is durable."""

from pathlib import Path
from typing import Final

import msgspec

from collector.journal.format import PORTION, DamageError, DurableEnd, FrameHeader
from collector.journal.segments import FrameHead, Identity, Segment, find_identity, first_position, segment_files
from pipelines.frame import Frame, JournalIdentity, Message, Origin, Position

OLDEST_EPOCH: Final = 0
"""No frame has it: a position of this epoch means the oldest frame there is, and nothing is missing before that."""


class Gap(msgspec.Struct, frozen=True):
    """Frames that cannot be read: those from `first` up to and with `last`, as far as that is known.

    Where it is one frame with a sound header, that says what was lost: `journal_time` is 0 elsewhere.
    """

    first: Position
    last: Position
    reason: str
    journal_time: int = 0
    origins: tuple[Origin, ...] = ()
    messages: tuple[Message, ...] = ()


class Follower:
    """Yields frames from a position on. Blocking file reads; never writes; not for more than one thread.

    A frame's payload is a view of a block that was read, and keeps the block alive. A message that was written in
    portions comes with the last of them; in the frames of the others nothing stands.
    """

    def __init__(self, directory: Path, *, partition: int = 0) -> None:
        self._directory = directory
        self._next = Position(partition, OLDEST_EPOCH, 0)
        self._segment: Segment | None = None
        self._following: Segment | None = None
        self._sealed_at: int | None = None
        self._at = 0
        self._identity: Identity | None = None

    @property
    def position(self) -> Position:
        """Where the next frame is expected, or those after it."""
        return self._next

    @property
    def segment(self) -> str | None:
        """The segment that is being read, None before the first."""
        return self._segment.name if self._segment is not None else None

    def seek(self, position: Position | None) -> None:
        """Go on with the first frame at or behind `position`; None: the oldest there is."""
        self.close()
        self._next = (position or Position(self._next.partition, OLDEST_EPOCH, 0))._replace(record=0)

    def close(self) -> None:
        """Let go of the files; frames handed out stay valid, and the next read goes on behind them."""
        for segment in (self._segment, self._following):
            if segment is not None:
                segment.close()
        self._segment = self._following = self._sealed_at = None

    def read(self, end: DurableEnd) -> Frame | Gap | None:
        """Return the next frame before `end`, a gap that stands in its place, or None when there is none yet.

        Raises DataDirError for a newer format, OSError when the folder itself cannot be read.
        """
        while True:
            segment = self._segment
            if segment is None:
                names = [name for name in segment_files(self._directory) if name <= end.segment]
                opened = self._find(_holding(names, self._next))
                if opened is None:
                    return None
                gap = self._enter(opened)
                if gap is not None:
                    return gap
                continue
            if segment.name > end.segment:
                return None
            limit = end.offset if segment.name == end.segment else self._seal(segment, end)
            found = self._read_here(segment, limit, end)
            if found is not None:
                return found
            if segment.name == end.segment:
                return None
            if self._following is None:
                self._sealed_at = None
                return None
            following, self._following = self._following, None
            segment.close()
            gap = self._enter(following)
            if gap is not None:
                return gap

    def _find(self, names: list[str]) -> Segment | None:
        """Open the first of these that was not deleted in between."""
        for name in names:
            try:
                segment = Segment(self._directory, name)
            except FileNotFoundError:
                continue
            if segment.identity is None:
                segment.identity = self._identity or find_identity(
                    self._directory, segment_files(self._directory)[::-1]
                )
            self._identity = segment.identity or self._identity
            return segment
        return None

    def _enter(self, segment: Segment) -> Gap | None:
        """Go on in `segment`; return what is missing before it."""
        self._segment, self._sealed_at = segment, None
        self._at = segment.frames_at
        expected, first = self._next, segment.first
        if first <= expected:
            return None
        self._next = first
        if expected.epoch == OLDEST_EPOCH:
            return None
        if segment.header is not None and segment.header.before is not None:
            missing_to = segment.header.before.position
        elif expected.epoch == first.epoch:
            missing_to = first
        else:
            return None
        if expected >= missing_to:
            return None
        return Gap(expected, _before(missing_to, expected), "the end of a segment, or whole segments, are missing")

    def _seal(self, segment: Segment, end: DurableEnd) -> int:
        """Return where a segment that has a successor ends."""
        if self._sealed_at is None:
            names = segment_files(self._directory)
            self._following = self._find([name for name in names if segment.name < name <= end.segment])
            self._sealed_at = segment.size
            header = self._following.header if self._following else None
            if header is not None and (header.before is None or header.before.segment < segment.name):
                self._sealed_at = segment.frames_at  # nothing in it was ever acknowledged
            elif header is not None and header.before is not None and header.before.segment == segment.name:
                self._sealed_at = min(header.before.offset, self._sealed_at)
        return self._sealed_at

    def _read_here(self, segment: Segment, limit: int, end: DurableEnd) -> Frame | Gap | None:
        """Return the next frame or gap of the open segment, None at its end."""
        while self._at < limit:
            try:
                head = segment.head(self._at, limit)
            except DamageError as error:
                gap = self._resume(segment, limit, end, str(error))
                if gap is not None:
                    return gap
                continue
            position = _position(segment, head)
            if position < self._next:
                self._at = head.end
                continue
            if position > self._next:
                return self._skip_to(position, "frames are missing")
            self._at, self._next = head.end, _after(position)
            try:
                header, payload = _whole(segment, head)
            except DamageError as error:
                header = head.header
                return Gap(position, position, str(error), header.journal_time, header.origins, header.messages)
            return _frame(self._journal(segment), header, position, payload)
        return None

    def _resume(self, segment: Segment, limit: int, end: DurableEnd, reason: str) -> Gap | None:
        """Find the next sound frame behind damage; None when nothing is known to be missing."""
        found = segment.search(self._at + 1, limit)
        while found is not None and _position(segment, found) < self._next:
            found = segment.search(found.end, limit)
        if found is not None:
            self._at = found.at
            position = _position(segment, found)
        else:
            self._at = limit
            position = self._end_of(segment, end)
        return self._skip_to(position, reason) if position > self._next else None

    def _end_of(self, segment: Segment, end: DurableEnd) -> Position:
        """Return the position behind the last frame of a segment, as far as anything tells it."""
        if segment.name == end.segment:
            return end.position
        following = self._following
        if following is not None and following.header is not None and following.header.before is not None:
            before = following.header.before
            if before.segment == segment.name:
                return before.position
        if following is not None and following.first.epoch == segment.first.epoch:
            return following.first
        return _after(self._next) if self._next.epoch == segment.first.epoch else self._next

    def _skip_to(self, position: Position, reason: str) -> Gap:
        first, self._next = self._next, position
        return Gap(first, _before(position, first), reason)

    def _journal(self, segment: Segment) -> JournalIdentity:
        if segment.identity is None:
            raise DamageError(segment.damage)
        return segment.identity.journal


def _position(segment: Segment, head: FrameHead) -> Position:
    return Position(segment.first.partition, head.header.epoch, head.header.sequence)


def _after(position: Position) -> Position:
    return position._replace(sequence=position.sequence + 1, record=0)


def _before(position: Position, first: Position) -> Position:
    """Return the position of the frame before `position`, and not one before `first`."""
    return max(position._replace(sequence=max(position.sequence - 1, 0)), first)


def _holding(names: list[str], position: Position) -> list[str]:
    """Return the newest segment that begins at or before `position`, or the oldest, and those behind it."""
    before = sum(1 for name in names if first_position(name) <= position)
    return names[max(before - 1, 0) :]


def _whole(segment: Segment, head: FrameHead) -> tuple[FrameHeader, memoryview]:
    """Return header and payload as a consumer sees them; raise DamageError where any of it is damaged."""
    header = head.header
    if header.runs and header.runs[0].encoding == PORTION:
        return msgspec.structs.replace(header, origins=(), messages=(), runs=()), memoryview(b"")
    payload = segment.payload(head)
    if len(header.messages) != 1 or not header.messages[0].portions:
        return header, payload
    joined = bytearray()
    for sequence, at in header.messages[0].portions:
        portion = segment.head(at, head.at)
        if portion.header.sequence != sequence:
            raise DamageError("a portion of a message does not stand where it should")
        joined += segment.payload(portion)
    joined += payload
    message = msgspec.structs.replace(header.messages[0], length=len(joined), portions=())
    return msgspec.structs.replace(header, messages=(message,)), memoryview(joined).toreadonly()


def _frame(journal: JournalIdentity, header: FrameHeader, position: Position, payload: memoryview) -> Frame:
    return Frame(
        journal=journal,
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
