"""What a start finds at the end of the journal, and how it is brought into order.

Only the newest segments are read: the newest with frames, and older ones only where a header is damaged. A tail in
which no frame is valid was never acknowledged whole, and is cut; damage with valid frames behind it stays where it is.
"""

import os
from pathlib import Path

import msgspec

from collector.durable_files import sync_directory
from collector.errors import DataDirError
from collector.journal.format import FIRST_LINK, FRAME_MAGIC, DurableEnd
from collector.journal.segment_file import path_of, remove_copies
from collector.journal.segments import Damage, Identity, Segment, UnreadableError, first_position, segment_files, walk
from pipelines.frame import Position, Producer


class Recovered(msgspec.Struct):
    """What the start found: bytes cut from a torn tail, damaged places left as they are, files that nobody can read."""

    cut_bytes: int = 0
    gaps: int = 0
    set_aside: tuple[str, ...] = ()


class Continuation(msgspec.Struct):
    """What the next segment goes on from.

    `empty` are segments that never got a frame. They go once the next one is anchored (`remove_empty`): who verifies
    what a kill in between left would miss one that the anchor still names.
    """

    link: bytes = FIRST_LINK
    journal_time: int = 0
    before: DurableEnd | None = None
    producers: dict[str, Producer] = {}
    newest_epoch: int = 0
    empty: tuple[str, ...] = ()


class _Tail(msgspec.Struct):
    """What a segment says of its end; `end` is None where it has no valid frame."""

    link: bytes
    journal_time: int
    producers: dict[str, Producer]
    end: DurableEnd | None
    gaps: int


def recover(directory: Path, identity: Identity) -> tuple[Continuation, Recovered]:
    """Cut the torn tail, sync what is valid, remove what never got a header. Blocking; raises OSError, DataDirError."""
    recovered = Recovered()
    continuation = Continuation()
    tails: list[_Tail] = []
    remove_copies(directory)
    names = segment_files(directory)
    if names:
        continuation.newest_epoch = first_position(names[-1]).epoch
    for name in reversed(names):
        segment = Segment(directory, name)
        if segment.identity is None:
            segment.identity = identity
        try:
            tail = _read_tail(segment, segment.size)
        except UnreadableError as error:
            # What cannot be read now may be whole: to cut it would be to guess.
            raise DataDirError(f"{directory / name}: {error}") from error
        finally:
            segment.close()
        if tail.end is None:
            if segment.header is None:
                _remove_unborn(path_of(directory, name), segment, recovered)
            else:
                continuation.before = segment.header.before
                continuation.empty += (name,)
                if not segment.compressed:
                    _cut(directory / name, segment.frames_at, recovered)
        else:
            if not any(each.end for each in tails):
                if not segment.compressed:
                    _sync_valid(directory / name, tail.end.offset, recovered)
                recovered.gaps = tail.gaps
            tails.append(tail)
        if segment.header is not None:
            if tail.end is None:
                tails.append(tail)
            break
    _fold(continuation, tails)
    for stray in directory.glob(".*.new"):
        stray.unlink()
    sync_directory(directory)
    return continuation, recovered


def _fold(continuation: Continuation, tails: list[_Tail]) -> None:
    for tail in reversed(tails):
        continuation.link = tail.link
        continuation.journal_time = max(continuation.journal_time, tail.journal_time)
        continuation.producers.update(tail.producers)
        continuation.before = tail.end or continuation.before


def _read_tail(segment: Segment, size: int) -> _Tail:
    header = segment.header
    tail = _Tail(FIRST_LINK, 0, {}, None, 0)
    if header is not None:
        tail.link, tail.journal_time = header.link_before, header.created_ns
        tail.producers = {producer.name: producer for producer in header.producers}
    gaps = 0
    last = None
    for found in walk(segment, size):
        if isinstance(found, Damage):
            gaps += 1
            continue
        last, tail.gaps = found, gaps
        tail.journal_time = max(tail.journal_time, found.header.journal_time)
        if found.header.producer is not None:
            tail.producers[found.header.producer.name] = found.header.producer
    if last is not None:
        first = segment.first
        tail.link = segment.link_of(last)
        position = Position(first.partition, first.epoch, last.header.sequence + 1)
        tail.end = DurableEnd(segment.name, last.end, position)
    return tail


def _cut(path: Path, end: int, recovered: Recovered) -> None:
    """Cut what is torn of a segment that is about to be removed, so nothing is to be made durable."""
    recovered.cut_bytes += path.stat().st_size - end
    os.truncate(path, end)


def _sync_valid(path: Path, end: int, recovered: Recovered) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        recovered.cut_bytes += os.fstat(descriptor).st_size - end
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_empty(directory: Path, continuation: Continuation) -> None:
    """Remove the segments that never got a frame, when nothing speaks of them any more; raises OSError."""
    for name in continuation.empty:
        path_of(directory, name).unlink()


def _remove_unborn(path: Path, segment: Segment, recovered: Recovered) -> None:
    """Remove a file without header or any valid frame; what may be evidence of something else is set aside."""
    content = path.read_bytes()
    if segment.compressed or FRAME_MAGIC in content:
        aside = path.with_suffix(".damaged")
        path.rename(aside)
        recovered.set_aside += (aside.name,)
        return
    path.unlink()
