"""Segment files: listing them, and reading one, whatever became of its bytes."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from collector.errors import DataDirError
from collector.journal.format import (
    FRAME_HEAD_BYTES,
    LINK_BYTES,
    SEGMENT_HEAD_BYTES,
    DamageError,
    FrameHeader,
    SegmentHeader,
    check_payload,
    decode_frame_header,
    decode_segment_header,
    marker_of,
    measure_frame,
    measure_segment_header,
    position_of,
)
from collector.journal.segment_file import SUFFIX, CompressedFile, open_segment_file
from pipelines.frame import JournalIdentity, Position

BLOCK_BYTES: Final = 1 << 20
"""What is read at once. Reads, not a mapping: a bad sector or a file cut short is an error here, there a SIGBUS."""

HEADERS_BYTES: Final = 32 << 10
"""What is read at once by who wants no payloads: a frame's header with the table of a hundred messages."""

UNREADABLE_STEP_BYTES: Final = 4096
"""A search goes on so far behind bytes that the disk does not give."""


def segment_files(directory: Path) -> list[str]:
    """Names of all segments, oldest first, whether compressed or not."""
    return sorted({name for name in map(_segment_of, os.listdir(directory)) if position_of(name)})


def _segment_of(file: str) -> str:
    return file.removesuffix(SUFFIX)


def segment_bytes(directory: Path, name: str) -> int:
    """Length of a segment before compression; raise FileNotFoundError, OSError."""
    with contextlib.closing(open_segment_file(directory, name)) as file:
        return file.size


def first_position(name: str) -> Position:
    """Position of a segment's first frame, from its file name."""
    position = position_of(name)
    if position is None:
        raise DataDirError(f"{name}: no name of a segment")
    return position


class UnreadableError(DamageError):
    """Bytes that the disk does not give."""


class Identity(NamedTuple):
    """What all segments of a journal have in common."""

    journal: JournalIdentity
    seed: int


class FrameHead(msgspec.Struct, frozen=True):
    """A frame whose header is sound; `at`, `payload_at` and `end` are offsets in the segment."""

    header: FrameHeader
    at: int
    payload_at: int
    end: int


class Segment:
    """One segment file, open for reading. Frames' payloads are views of the blocks that were read.

    `header` is None when it is damaged; the frames can be read all the same once `identity` is known from elsewhere.
    `block_bytes` is what is read at once; who wants no payloads needs little.
    """

    def __init__(self, directory: Path, name: str, *, block_bytes: int = BLOCK_BYTES) -> None:
        """Open and read the header; raise FileNotFoundError, OSError, or DataDirError for a newer version."""
        self.name = name
        self.first = first_position(name)
        self.header: SegmentHeader | None = None
        self.identity: Identity | None = None
        self.link = b""
        self.frames_at = 0
        self.damage = ""
        self._block = b""
        self._block_at = 0
        self._block_bytes = block_bytes
        self._file = open_segment_file(directory, name)
        try:
            self._read_header(str(directory / name))
        except DamageError as error:
            self.damage = str(error)
        except BaseException:
            self._file.close()
            raise

    def _read_header(self, file: str) -> None:
        size = self.size
        length = measure_segment_header(self._view(0, min(SEGMENT_HEAD_BYTES, size), size))
        header, self.link = decode_segment_header(self._view(0, length, size), file)
        if header.position != self.first:
            raise DamageError("the segment's header is that of another file")
        self.header, self.frames_at = header, length
        self.identity = Identity(header.journal, header.seed)

    @property
    def size(self) -> int:
        """Present length, before compression."""
        return self._file.size

    @property
    def stored_bytes(self) -> int:
        """What the file takes on disk."""
        return self._file.stored_bytes

    @property
    def flaw(self) -> str:
        """What is wrong with the file around the segment's bytes; empty when nothing is."""
        return self._file.flaw if isinstance(self._file, CompressedFile) else ""

    @property
    def compressed(self) -> bool:
        """Whether it is read from a compressed file, which nobody writes to any more."""
        return isinstance(self._file, CompressedFile)

    def close(self) -> None:
        """Let go of the file; payloads handed out stay valid."""
        self._file.close()

    def head(self, at: int, limit: int) -> FrameHead:
        """Return the frame whose head is at `at` and which ends at or before `limit`; raise DamageError."""
        if self.identity is None:
            raise DamageError(self.damage)
        seed = self.identity.seed
        lengths = measure_frame(self._view(at, min(FRAME_HEAD_BYTES, limit - at), limit), seed)
        header_at = at + FRAME_HEAD_BYTES
        payload_at = header_at + lengths.header_bytes + LINK_BYTES
        end = payload_at + lengths.payload_bytes
        if end > limit:
            raise DamageError("the segment ends inside a frame")
        header_and_link = self._view(header_at, payload_at - header_at, limit)
        header = decode_frame_header(header_and_link, lengths, seed=seed, epoch=self.first.epoch)
        return FrameHead(header, at, payload_at, end)

    def link_of(self, head: FrameHead) -> bytes:
        """Return a frame's link."""
        return bytes(self._view(head.payload_at - LINK_BYTES, LINK_BYTES, head.end))

    def payload(self, head: FrameHead) -> memoryview:
        """Return a frame's payload; raise DamageError when it is not what was written."""
        payload = self._view(head.payload_at, head.end - head.payload_at, head.end)
        check_payload(head.header, payload)
        return payload

    def raw(self, at: int, length: int) -> memoryview:
        """Return bytes as they stand; raise DamageError where the file does not give them."""
        return self._view(at, length, self.size)

    def search(self, at: int, limit: int) -> FrameHead | None:
        """Return the first frame with a sound header at or behind `at`, None when there is none before `limit`."""
        if self.identity is None:
            return None
        marker = marker_of(self.identity.seed)
        while limit - at >= FRAME_HEAD_BYTES:
            try:
                self._view(at, FRAME_HEAD_BYTES, limit)
                found = self._block.find(marker, at - self._block_at)
                if found < 0:
                    at = self._block_at + len(self._block) - len(marker) + 1
                    continue
                at = self._block_at + found
                return self.head(at, limit)
            except UnreadableError:
                at += UNREADABLE_STEP_BYTES
            except DamageError:
                at += 1
        return None

    def _view(self, at: int, length: int, limit: int) -> memoryview:
        """Return bytes of the file, read ahead but never beyond `limit`; raise DamageError where they are missing."""
        start = at - self._block_at
        if start < 0 or start + length > len(self._block):
            try:
                self._block = self._file.read(min(max(length, self._block_bytes), max(limit - at, 0)), at)
            except OSError as error:
                raise UnreadableError(f"{self.name} cannot be read at {at}: {error.strerror}") from error
            self._block_at, start = at, 0
            if len(self._block) < length:
                raise DamageError("the segment ends too early")
        return memoryview(self._block)[start : start + length]


class Damage(NamedTuple):
    """Damage between two offsets; `reason` is that of its beginning."""

    start: int
    end: int
    reason: str


def walk(segment: Segment, limit: int, *, payloads: bool = True) -> Iterator[FrameHead | Damage]:
    """Yield each valid frame up to `limit`, and what is damaged between; a bad tail is last. Raises UnreadableError.

    Without `payloads` a frame is valid when its header is.
    """
    at = segment.frames_at
    while at < limit:
        resume_at = at + 1
        try:
            head = segment.head(at, limit)
            resume_at = head.end
            if payloads:
                segment.payload(head)
        except UnreadableError:
            raise
        except DamageError as error:
            following = segment.search(resume_at, limit)
            yield Damage(at, limit if following is None else following.at, str(error))
            at = limit if following is None else following.at
        else:
            yield head
            at = head.end


def find_identity(directory: Path, names: list[str]) -> Identity | None:
    """Return journal and seed from the first of these segments that still says them."""
    for name in names:
        with contextlib.suppress(OSError):
            segment = Segment(directory, name)
            segment.close()
            if segment.identity is not None:
                return segment.identity
    return None


def acknowledged_ends(directory: Path, names: Sequence[str]) -> dict[str, int]:
    """Return by segment where its acknowledged bytes end, as the header of the next one with frames before it says.

    Of the newest, and before one whose header is damaged, that is not known: it is the file's length. What was deleted
    meanwhile is left out.
    """
    ends: dict[str, int] = {}
    known, before = False, None
    for name in reversed(names):
        try:
            segment = Segment(directory, name, block_bytes=HEADERS_BYTES)
        except FileNotFoundError:
            continue
        size = segment.size
        segment.close()
        if not known:
            ends[name] = size
        elif before is not None and before.segment == name:
            ends[name] = before.offset
        elif before is None or before.segment < name:
            ends[name] = segment.frames_at
            continue  # it holds nothing, so what came before it was said by the later one
        else:
            ends[name] = size
        known = segment.header is not None
        before = segment.header.before if segment.header is not None else None
    return ends
