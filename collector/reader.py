"""Reading the journal through a pipeline: a follower and a pipeline with its state, which go together.

A state is that behind every frame before a position, so a reader that begins somewhere restores the newest checkpoint
before that, runs the frames between through the pipeline, and throws away what they give. Whichever reader first passes
a segment's end, or much payload, hands on the state there as a checkpoint for all. One that found none to begin with,
as in an archive, does not know which configuration held: while the journal has checkpoints of others it hands on none
before it met one.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from collector import telemetry
from collector.alert_counts import AlertCounts
from collector.errors import DataDirError
from collector.journal.checkpoints import (
    INTERVAL_BYTES,
    Checkpoint,
    checkpoint_file,
    has_checkpoint,
    newest_checkpoint,
    oldest_position,
    replay_start,
)
from collector.journal.follow import Follower, Gap
from collector.journal.format import DurableEnd
from pipelines.batch import Account, Accounts, Batch, Counts
from pipelines.configuration import recorded_in
from pipelines.detect.carried import rules_in
from pipelines.frame import Frame, Position
from pipelines.state import HOUR_NS, State, StateError

REPLAY_STEP_BYTES: Final = 4 << 20
"""So much is read again in one go: all outputs wait meanwhile, some 30 ms."""


UNREADABLE: Final = "(unreadable)"
"""The source of frames whose header cannot be read: each counts as a record."""


class Pipeline(Protocol):
    """What turns a frame into batches; never raises. `state` is what it remembers, for frames in the journal's order.

    `fingerprint` names what of the configuration the state depends on.
    """

    state: State
    fingerprint: str

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Yield the batches of a frame, at least one."""


class Listeners(NamedTuple):
    """Who is told of gaps, of checkpoints that are to be written, and of checkpoints that cannot be used."""

    gap: Callable[[Gap], None]
    checkpoint: Callable[[Checkpoint], None]
    passed_over: Callable[[str], None]


class Computed(msgspec.Struct):
    """What was read at a position: its batches and where the next frame begins.

    Of a gap there is none, and `lost` says what stood there, at this `journal_time`.
    """

    batches: Iterable[Batch]
    next: Position
    size_bytes: int
    lost: Accounts | None = None
    journal_time: int = 0

    def without_documents(self) -> "Computed | None":
        """Return the same with no documents, None where a batch has letters."""
        if any(batch.dead_letters for batch in self.batches):
            return None
        lean = tuple(msgspec.structs.replace(batch, documents=()) for batch in self.batches)
        return msgspec.structs.replace(self, batches=lean, size_bytes=0)


class Reader:
    """Reads from `start` on, the beginning of a frame; with a `state` of there, else one that it restores.

    `replaying` says that the frames before `start` are not all read yet, and that there are more to read now;
    `read_to` is the durable end up to which nothing is left to be read.
    """

    def __init__(
        self, journal: Path, start: Position, pipeline: Pipeline, listeners: Listeners, *, state: State | None = None
    ) -> None:
        self.pipeline = pipeline
        self.replaying = False
        self.read_to: DurableEnd | None = None
        self._journal = journal
        self._start = start
        self._listeners = listeners
        self._follower = Follower(journal)
        self._held: Frame | Gap | None = None
        self._unfinished: Iterator[Batch] = iter(())
        self._segment: str | None = None
        self._since_bytes = 0
        self._is_unsure = False
        self._alerts = AlertCounts()
        pipeline.state = state or State()
        if state is None:
            first = oldest_position(journal, start)
            restored = newest_checkpoint(journal, first, take=self._restore, passed_over=listeners.passed_over)
            # Where the journal begins behind the start, the follower says what is missing; the state is that of there.
            self._is_unsure = restored is None and has_checkpoint(journal)
            self._follower.seek(min(restored, start) if restored is not None else replay_start(journal, start))
        else:
            self._follower.seek(start)

    def close(self) -> None:
        """Let go of the journal's files."""
        self._follower.close()

    def read(self, end: DurableEnd) -> Computed | None:
        """Read the next frame and run the pipeline on it; None when nothing durable is left, or while replaying.

        Batches of a frame that has many are made as they are taken. Those that nobody took when the next frame is read
        are not given any more: whoever wants them begins at that frame again.
        """
        self._finish()
        if not self._replay(end):
            return None
        found = self._fetch(end)
        if found is None:
            self.read_to = end
            return None
        if isinstance(found, Gap):
            self._listeners.gap(found)
            return Computed((), _behind(found), 0, *lost_in(found, self.pipeline.state.now_ns))
        batches = self._counted(self.pipeline(found), len(found.payload))
        first, after = next(batches), _behind(found)
        self._since_bytes += len(found.payload)
        if first.next == after:
            _exhaust(batches)
            return Computed((first,), after, first.size_bytes)
        # A frame of many slices is not kept: its documents could exceed any bound.
        self._unfinished = batches
        return Computed(chain((first,), self._rest(batches)), after, first.size_bytes)

    def _restore(self, checkpoint: Checkpoint) -> None:
        changed = checkpoint.fingerprint != self.pipeline.fingerprint
        try:
            self.pipeline.state.load(checkpoint.state, settings_changed=changed)
        except StateError as error:
            raise DataDirError(f"{checkpoint_file(self._journal, checkpoint.position)}: {error}") from error

    def _replay(self, end: DurableEnd) -> bool:
        """Read what stands before the start; return whether that is done."""
        read_bytes = 0
        while self._held is None and self._follower.position < self._start:
            self.replaying = read_bytes >= REPLAY_STEP_BYTES
            if self.replaying:
                return False
            found = self._fetch(end)
            if found is None:
                return end.position >= self._start
            if _last(found) >= self._start:
                self._held = found
            elif isinstance(found, Frame):
                _exhaust(self.pipeline(found))
                read_bytes += len(found.payload)
                self._since_bytes += len(found.payload)
        self.replaying = False
        return True

    def _fetch(self, end: DurableEnd) -> Frame | Gap | None:
        """Return what comes next; hand on a checkpoint before that where one is due."""
        found, self._held = self._held, None
        if found is not None:
            return found
        found = self._follower.read(end)
        segment = self._follower.segment
        if found is None and segment != end.segment:
            return None
        has_rolled = self._segment not in (None, segment)
        self._segment = segment
        if has_rolled or self._since_bytes >= INTERVAL_BYTES:
            self._since_bytes = 0
            if self._is_unsure and recorded_in(self.pipeline.state.configurations) is None:
                return found
            position = end.position if found is None else found.first if isinstance(found, Gap) else found.position
            state = self.pipeline.state.encode()
            self._listeners.checkpoint(Checkpoint(position, self.pipeline.fingerprint, state))
        return found

    def _rest(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield further batches for as long as nobody reads on."""
        while self._unfinished is batches and (batch := next(batches, None)) is not None:
            yield batch

    def _finish(self) -> None:
        """Bring the state behind the frame, whoever still wants batches of it."""
        unfinished, self._unfinished = self._unfinished, iter(())
        _exhaust(unfinished)

    def _counted(self, batches: Iterator[Batch], payload_bytes: int) -> Iterator[Batch]:
        for batch in counted(batches, payload_bytes):
            if batch.tally.rules:
                self._alerts.add(batch.tally.rules, rules_in(self.pipeline.state.rules))
            yield batch


def counted(batches: Iterator[Batch], payload_bytes: int) -> Iterator[Batch]:
    """Pass batches on and count them, once each."""
    telemetry.WORKER_FRAMES.inc()
    telemetry.WORKER_BYTES.inc(payload_bytes)
    for batch in batches:
        tally = batch.tally
        telemetry.WORKER_BATCHES.inc()
        telemetry.WORKER_CLAIMED.inc(tally.claimed)
        telemetry.WORKER_RECORDS.inc(tally.records)
        telemetry.WORKER_DOCUMENTS.inc(tally.documents)
        telemetry.WORKER_DERIVED.inc(tally.derived)
        telemetry.WORKER_DEAD.inc(tally.dead)
        telemetry.WORKER_CONTROL.inc(tally.control)
        telemetry.WORKER_JOINED.inc(tally.joined)
        telemetry.WORKER_PARKED.inc(tally.parked)
        telemetry.WORKER_TAKEN_UP.inc(tally.taken_up)
        for (parser, outcome), lines in tally.lines.items():
            telemetry.WORKER_LINES.labels(parser=parser, outcome=outcome).inc(lines)
        yield batch


def _exhaust(batches: Iterable[Batch]) -> None:
    for _ in batches:
        pass


def lost_in(gap: Gap, before_ns: int) -> tuple[Accounts, int]:
    """Return what is lost in a gap, and its journal time: what its frame's header says, or only how many frames.

    These are of the hour of the frame before, whose journal time is given; of how many records they were is not known.
    """
    rows: dict[Account, Counts] = {}
    hour = (gap.journal_time or before_ns) // HOUR_NS
    for message in gap.messages:
        origin = gap.origins[message.origin]
        counts = rows.setdefault(Account(hour, origin.input, origin.peer), Counts())
        lost = message.claimed if message.claimed >= 0 else 1
        counts.messages += 1
        counts.bytes += message.length
        counts.claimed += max(message.claimed, 0)
        counts.records += lost
        counts.damaged += lost
    if not gap.journal_time:
        frames = gap.last.sequence - gap.first.sequence + 1 if gap.first.epoch == gap.last.epoch else 1
        rows[Account(hour, UNREADABLE, "")] = Counts(records=frames, damaged=frames)
    return Accounts(rows), gap.journal_time or before_ns


def _behind(found: Frame | Gap) -> Position:
    """Return where the frame behind a frame or a gap begins."""
    last = _last(found)
    return last._replace(sequence=last.sequence + 1, record=0)


def _last(found: Frame | Gap) -> Position:
    return found.last if isinstance(found, Gap) else found.position
