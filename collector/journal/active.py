"""The segment being written: frames are linked, written and synced here, by the writer's one thread."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collector.journal.files import sync_directory
from collector.journal.format import DurableEnd, SegmentHeader, encode_frame_head, encode_segment_header
from collector.journal.group import FrameParts
from collector.journal.state import State
from pipelines.frame import JournalIdentity, Position, Producer

WRITEV_PIECES: Final = 512
"""Buffers per system call; Linux takes 1,024."""


class ActiveSegment:
    """An open segment. After any failed write or sync it must be abandoned: what the kernel kept is unknown."""

    def __init__(
        self,
        directory: Path,
        state: State,
        *,
        name: str,
        first_sequence: int,
        created_ns: int,
        link_before: bytes,
        producers: tuple[Producer, ...],
        sync: Callable[[int], None],
    ) -> None:
        """Create the file with its header, durably; raise OSError."""
        self.header = SegmentHeader(
            journal=JournalIdentity(state.journal_id, name),
            partition=0,
            epoch=state.epoch,
            first_sequence=first_sequence,
            created_ns=created_ns,
            link_before=link_before,
            key_number=state.key_number,
            seed=secrets.randbits(64),
            producers=producers,
        )
        self.link = link_before
        self.sequence = first_sequence
        self._key = bytes.fromhex(state.key)
        self._sync = sync
        self._path = directory / self.header.file_name
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.size = 0
        try:
            self._write([memoryview(encode_segment_header(self.header))])
            self.sync()
            sync_directory(directory)
        except OSError:
            self.abandon()
            self._path.unlink()
            raise

    @property
    def end(self) -> DurableEnd:
        """Return the present end; durable only after `sync`."""
        return DurableEnd(self.header.file_name, self.size, Position(0, self.header.epoch, self.sequence))

    def append(self, frames: list[FrameParts], times: list[int]) -> int:
        """Write frames, unsynced; return their bytes."""
        pieces: list[memoryview] = []
        for parts, journal_time in zip(frames, times, strict=True):
            header = parts.header(epoch=self.header.epoch, sequence=self.sequence, journal_time=journal_time)
            head, self.link = encode_frame_head(
                header, parts.payload, key=self._key, link_before=self.link, seed=self.header.seed
            )
            pieces += [memoryview(head), *parts.payload]
            self.sequence += 1
        return self._write(pieces)

    def _write(self, pieces: list[memoryview]) -> int:
        before = self.size
        waiting = pieces[::-1]
        while waiting:
            batch = waiting[: -WRITEV_PIECES - 1 : -1]
            written = os.writev(self._descriptor, batch)
            self.size += written
            while waiting and written >= len(waiting[-1]):
                written -= len(waiting.pop())
            if written:
                waiting[-1] = waiting[-1][written:]
        return self.size - before

    def sync(self) -> None:
        """Make what was written durable; raise OSError."""
        self._sync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; it is sealed."""
        os.close(self._descriptor)

    def abandon(self, durable_bytes: int | None = None) -> None:
        """Close after a failure, cutting what nobody was promised where the disk still lets us."""
        try:
            if durable_bytes is not None:
                os.ftruncate(self._descriptor, durable_bytes)
        except OSError:
            pass  # the next start cuts the tail
        finally:
            os.close(self._descriptor)
