"""What stands in a journal and how far behind its consumers are, read from the headers while a writer may go on.

No payload is read, so 20 GiB take about as long as their frames are many: measured 12 us each.
"""

import contextlib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

import msgspec

from collector.errors import DataDirError, UnreachableError
from collector.journal.checkpoints import checkpoint_bytes, checkpoints, read_checkpoint
from collector.journal.cursors import cursors
from collector.journal.format import DurableEnd, FrameHeader
from collector.journal.segments import (
    HEADERS_BYTES,
    Damage,
    FrameHead,
    Segment,
    acknowledged_ends,
    find_identity,
    segment_files,
    walk,
)
from pipelines.frame import JournalIdentity, Position

NOTHING_SETTLED: Final = Position(0, 0, 0)
"""Where a consumer stands that has no cursor yet."""


class SegmentFacts(msgspec.Struct):
    """One segment. Times are journal time in nanoseconds, 0 without a frame; `records` are those that senders claim.

    `bytes` is its length, `stored_bytes` what it takes on disk, less when it is compressed. `gaps` counts places where
    bytes are damaged. What is behind the last frame of the newest segment is none: a group may be on its way.
    """

    name: str
    bytes: int
    stored_bytes: int
    frames: int = 0
    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    gaps: int = 0


class ConsumerFacts(msgspec.Struct):
    """One consumer, and what it has not settled yet; `oldest_ns` is the journal time of the first of it, 0 for none."""

    name: str
    position: Position
    frames: int = 0
    records: int = 0
    bytes: int = 0
    oldest_ns: int = 0

    def count(self, head: FrameHead, position: Position) -> None:
        """Count a frame unless all of it is settled."""
        reached = self.position._replace(record=0)
        if position < reached:
            return
        settled = self.position.record if position == reached else 0
        self.frames += 1
        self.records += max(claimed_records(head.header) - settled, 0)
        self.bytes += head.end - head.at
        self.oldest_ns = self.oldest_ns or head.header.journal_time


class CheckpointFacts(msgspec.Struct):
    """A checkpoint: the position of the first frame that its state does not know, its length, why it is of no use."""

    position: Position
    bytes: int
    problem: str = ""


class Survey(msgspec.Struct):
    """A journal: whose it is, its segments, consumers and checkpoints, and the position behind its last frame."""

    journal: JournalIdentity
    segments: list[SegmentFacts]
    consumers: list[ConsumerFacts]
    end: Position | None
    checkpoints: list[CheckpointFacts] = []


def claimed_records(header: FrameHeader) -> int:
    """Return how many records a frame's senders claim; what does not say counts as one."""
    return sum(message.claimed if message.claimed >= 0 else 1 for message in header.messages)


def survey(directory: Path, *, consumers: Set[str] = frozenset()) -> Survey:
    """Look at a journal; raise UnreachableError when there is none, DataDirError for a damaged cursor, OSError.

    `consumers` are shown also where they have no cursor yet: they need everything.
    """
    try:
        names = segment_files(directory)
    except FileNotFoundError as error:
        raise UnreachableError(
            f"there is no journal in {directory}: has a collector run with this data folder?"
        ) from error
    # Cursors first: what becomes durable meanwhile then counts as not settled, never the other way round.
    found_cursors = dict.fromkeys(consumers, NOTHING_SETTLED) | cursors(directory)
    identity = find_identity(directory, names[::-1])
    if identity is None:
        raise UnreachableError(f"{directory}: holds no segment that can be read")
    shown = [ConsumerFacts(name, position) for name, position in sorted(found_cursors.items())]
    found = Survey(identity.journal, [], shown, None, [*_look_at_checkpoints(directory)])
    for name, end in reversed(acknowledged_ends(directory, names).items()):
        with (
            contextlib.suppress(FileNotFoundError),  # every consumer has passed it meanwhile
            contextlib.closing(Segment(directory, name, block_bytes=HEADERS_BYTES)) as segment,
        ):
            segment.identity = segment.identity or identity
            found.segments.append(_look_at(segment, end, found, newest=name == names[-1]))
    return found


def end_of_files(directory: Path) -> DurableEnd | None:
    """Return where the frames end that stand in a journal's files now; None where there are none. Raises OSError.

    For who only looks: the last group may not be durable yet.
    """
    for name in reversed(segment_files(directory)):
        with (
            contextlib.suppress(FileNotFoundError),  # deleted meanwhile
            contextlib.closing(Segment(directory, name, block_bytes=HEADERS_BYTES)) as segment,
        ):
            end = DurableEnd(name, segment.frames_at, segment.first)
            for each in walk(segment, segment.size, payloads=False):
                if isinstance(each, FrameHead):
                    position = Position(segment.first.partition, segment.first.epoch, each.header.sequence + 1)
                    end = DurableEnd(name, each.end, position)
            return end
    return None


def _look_at_checkpoints(directory: Path) -> Iterator[CheckpointFacts]:
    for position in checkpoints(directory):
        size = checkpoint_bytes(directory, position)
        try:
            read_checkpoint(directory, position)
        except FileNotFoundError:
            continue  # no consumer needs it any more
        except DataDirError as error:
            yield CheckpointFacts(position, size, str(error))
        else:
            yield CheckpointFacts(position, size)


def _look_at(segment: Segment, end: int, found: Survey, *, newest: bool) -> SegmentFacts:
    facts = SegmentFacts(segment.name, segment.size, segment.stored_bytes, gaps=int(segment.header is None))
    for each in walk(segment, end, payloads=False):
        if isinstance(each, Damage):
            facts.gaps += each.end < end or not newest
            continue
        position = Position(segment.first.partition, segment.first.epoch, each.header.sequence)
        for consumer in found.consumers:
            consumer.count(each, position)
        facts.frames += 1
        facts.records += claimed_records(each.header)
        facts.first_ns = facts.first_ns or each.header.journal_time
        facts.last_ns = each.header.journal_time
        found.end = position._replace(sequence=position.sequence + 1)
    return facts
