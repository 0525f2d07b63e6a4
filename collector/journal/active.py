"""The segment being written: frames are linked, written and synced here, by the writer's one thread."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from collector.durable_files import sync_directory
from collector.journal.format import DurableEnd, SegmentHeader, encode_frame_head, encode_segment_header
from collector.journal.group import FrameParts
from pipelines.frame import Position

WRITEV_BUFFERS: Final = 512
"""Buffers per system call; Linux takes 1,024."""

Write = Callable[[int, Sequence[memoryview]], int]
Sync = Callable[[int], None]


class ActiveSegment:
    """An open segment. After any failed write or sync it must be abandoned: what the kernel kept is unknown."""

    def __init__(self, directory: Path, header: SegmentHeader, *, key: bytes, write: Write, sync: Sync) -> None:
        """Create the file with its header, durably; raise OSError."""
        self.header = header
        self.sequence = header.first_sequence
        self.size = 0
        self._key = key
        self._write_buffers = write
        self._sync = sync
        head, self.link = encode_segment_header(header, key=key)
        path = directory / header.file_name
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._write([memoryview(head)])
            self._sync(self._descriptor)
            sync_directory(directory)
        except OSError:
            self.close()
            with contextlib.suppress(OSError):  # a start removes it too
                path.unlink()
            raise
        self.durable = self._end()
        self.durable_link = self.link

    def append(self, frames: Sequence[FrameParts], times: Sequence[int]) -> list[tuple[int, int]]:
        """Write frames and make them durable; return sequence and offset of each. Raises OSError."""
        buffers: list[memoryview] = []
        places: list[tuple[int, int]] = []
        at = self.size
        for parts, journal_time in zip(frames, times, strict=True):
            header = parts.header(epoch=self.header.epoch, sequence=self.sequence, journal_time=journal_time)
            head, self.link = encode_frame_head(
                header, parts.payload, key=self._key, link_before=self.link, seed=self.header.seed
            )
            buffers += [memoryview(head), *parts.payload]
            places.append((self.sequence, at))
            at += len(head) + sum(map(len, parts.payload))
            self.sequence += 1
        self._write(buffers)
        self._sync(self._descriptor)
        self.durable, self.durable_link = self._end(), self.link
        return places

    def _end(self) -> DurableEnd:
        position = Position(self.header.partition, self.header.epoch, self.sequence)
        return DurableEnd(self.header.file_name, self.size, position)

    def _write(self, buffers: list[memoryview]) -> None:
        waiting = buffers[::-1]
        while waiting:
            written = self._write_buffers(self._descriptor, waiting[: -WRITEV_BUFFERS - 1 : -1])
            self.size += written
            while waiting and written >= len(waiting[-1]):
                written -= len(waiting.pop())
            if written:
                waiting[-1] = waiting[-1][written:]

    def close(self) -> None:
        """Let go of the file; it is sealed."""
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Close after a failure, cutting what nobody was promised where the disk still lets us.

        Where it does not, the header of the next segment tells readers where this one ends.
        """
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.durable.offset)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
