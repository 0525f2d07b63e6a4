"""Segment files: listing, reading, and what a start finds at the end of the newest."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.journal.format import (
    DamageError,
    FrameHead,
    SegmentHeader,
    check_payload,
    decode_frame_head,
    decode_segment_header,
    next_frame,
)
from pipelines.frame import Position, Producer


def segment_files(directory: Path) -> list[str]:
    """Names of all segments, oldest first."""
    return sorted(path.name for path in directory.glob("*.segment"))


def first_position(name: str) -> Position:
    """Position of a segment's first frame, from its file name."""
    partition, epoch, sequence = name.removesuffix(".segment").split("-")
    return Position(int(partition), int(epoch), int(sequence))


class Mapped:
    """A segment mapped for reading. Frames handed out keep the mapping alive."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.map = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) if size else b""
        self.view = memoryview(self.map)
        self.header, self.frames_at = decode_segment_header(self.view, str(path))


class Bad(NamedTuple):
    """Damage between two offsets; `reason` is that of its beginning."""

    start: int
    end: int
    reason: str


def walk(segment: memoryview, header: SegmentHeader, at: int, end: int) -> Iterator[FrameHead | Bad]:
    """Yield each valid frame from `at` up to `end`, and what is damaged between; a bad tail comes last as Bad."""
    whole = segment[:end]
    while at < end:
        try:
            head = decode_frame_head(whole, at, header)
            check_payload(whole, head)
        except DamageError as error:
            found = next_frame(whole, at + 1, header)
            yield Bad(at, end if found is None else found, str(error))
            if found is None:
                return
            at = found
        else:
            yield head
            at = head.end


class Tail(msgspec.Struct):
    """The end of the newest segment: where its valid frames end, and what continues from there."""

    header: SegmentHeader
    end: int
    frames: int
    link: bytes
    journal_time: int
    producers: dict[str, Producer]
    gaps: list[Bad]


def read_tail(path: Path) -> Tail:
    """Walk the newest segment; raise DamageError when its header is damaged."""
    mapped = Mapped(path)
    header = mapped.header
    tail = Tail(header, mapped.frames_at, 0, header.link_before, header.created_ns, {}, [])
    tail.producers = {producer.name: producer for producer in header.producers}
    for found in walk(mapped.view, header, mapped.frames_at, len(mapped.view)):
        if isinstance(found, Bad):
            tail.gaps.append(found)
            continue
        tail.frames += 1
        tail.end, tail.link = found.end, found.link
        tail.journal_time = max(tail.journal_time, found.header.journal_time)
        producer = found.header.producer
        if producer is not None:
            tail.producers[producer.name] = producer
    tail.gaps = [gap for gap in tail.gaps if gap.end <= tail.end]
    return tail
