"""Batches for outputs: one computation serves all that keep up, and one that lags reads the journal by itself.

Every output has a source of its own, which starts at the output's cursor. Sources at the journal's head share a window
of recent batches, bounded in bytes; a source that fell behind the window has a follower of its own until it is back.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import msgspec

from collector import telemetry
from collector.journal.follow import Follower, Gap
from collector.journal.format import DurableEnd
from collector.outputs.output import Stopped
from pipelines.batch import Batch
from pipelines.frame import Frame, Position

WINDOW_BYTES: Final = 48 << 20
"""Bound of the encoded documents kept for outputs that are a little behind the first."""

LEAN_LIMIT: Final = 4096
"""So many batches are kept without their documents, some 500 bytes each, for who only wants to know of letters."""

START: Final = Position(0, 0, 0)
"""Before every frame of partition 0: epochs are Unix times."""


class Pipeline(Protocol):
    """What turns a frame into batches; never raises."""

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Yield the batches of a frame, at least one."""


class Computed(msgspec.Struct):
    """What was read at a position: its batches (none for a gap) and where the next frame begins."""

    batches: Iterable[Batch]
    next: Position
    size_bytes: int

    def without_documents(self) -> "Computed | None":
        """Return the same with no documents, None where a batch has letters."""
        if any(batch.dead_letters for batch in self.batches):
            return None
        lean = tuple(msgspec.structs.replace(batch, documents=()) for batch in self.batches)
        return Computed(lean, self.next, 0)


class _Waiting(msgspec.Struct, frozen=True):
    """What is remembered of a batch that an output has in hand."""

    next: Position
    journal_time: int


class Window:
    """The journal's head as seen by a worker, up to what is known to be durable.

    `opened` is set once the journal can be read, or when the worker stops.
    """

    def __init__(self, journal: Path, pipeline: Pipeline, on_gap: Callable[[Gap], None]) -> None:
        self.journal = journal
        self._pipeline = pipeline
        self._on_gap = on_gap
        self._kept: OrderedDict[Position, Computed] = OrderedDict()
        self._kept_bytes = 0
        self._lean: OrderedDict[Position, Computed] = OrderedDict()
        self._sources: dict[Source, Position] = {}
        self._head = START
        self._follower: Follower | None = None
        self._end: DurableEnd | None = None
        self.stopped = False
        self.opened = asyncio.Event()
        self.changed = asyncio.Event()

    @property
    def end(self) -> Position | None:
        """Position of the next frame that will become durable; None while that is not known."""
        return self._end.position if self._end is not None else None

    def join(self, source: "Source", position: Position) -> None:
        """Take note of a source that starts at `position`; the head moves forward to the newest of these."""
        self._sources[source] = position
        if position > self._head:
            self._head = position
            self._follower = None

    def moved(self, source: "Source", position: Position) -> None:
        """Take note that a source comes to `position` next; what all sources have passed is let go."""
        self._sources[source] = position
        self._trim()

    def leave(self, source: "Source") -> None:
        """Forget a source that will not go on."""
        self._sources.pop(source, None)
        self._trim()

    def _trim(self) -> None:
        """Let go what nobody needs any more; of what only letters are wanted of, the documents.

        Those of a batch that an output has done with are then gone before the next is made: it takes their memory,
        which the processor still has at hand.
        """
        passed = min(self._sources.values(), default=self._head)
        handed_out = min((at for source, at in self._sources.items() if source.leads), default=passed)
        while self._kept:
            oldest, computed = next(iter(self._kept.items()))
            lean = computed.without_documents() if passed <= oldest < handed_out else None
            if oldest >= passed and lean is None and (self._kept_bytes <= WINDOW_BYTES or len(self._kept) == 1):
                break
            if lean is not None:
                self._lean[oldest] = lean
            self._kept_bytes -= self._kept.pop(oldest).size_bytes
        while self._lean and (len(self._lean) > LEAN_LIMIT or next(iter(self._lean)) < passed):
            self._lean.popitem(last=False)

    def grow(self, end: DurableEnd) -> None:
        """Take note that the journal is durable up to `end`."""
        self._end = end
        self.opened.set()
        self._wake()

    def stop(self) -> None:
        """Let every waiting source raise Stopped."""
        self.stopped = True
        self.opened.set()
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def follower(self, position: Position) -> Follower:
        """Return a follower that begins at `position`."""
        follower = Follower(self.journal)
        follower.seek(position)
        return follower

    def holds(self, position: Position, *, leads: bool) -> bool:
        """Tell whether a source at `position` is served from here: it stands at the head, or not too far behind."""
        return position == self._head or position in self._kept or (position in self._lean and not leads)

    def at(self, position: Position, *, leads: bool) -> Computed | None:
        """Return what stands at a `position` that the window holds; None when nothing durable does yet.

        Only a source that `leads` moves the head on.
        """
        kept = self._kept.get(position)
        if kept is not None or not leads:
            return kept or self._lean.get(position)
        if self._follower is None:
            self._follower = self.follower(position)
        computed = self.compute(self._follower)
        if computed is None:
            return None
        self._head = computed.next
        self._wake()
        if isinstance(computed.batches, tuple):
            self._kept[position] = computed
            self._kept_bytes += computed.size_bytes
        return computed

    def compute(self, follower: Follower) -> Computed | None:
        """Read the follower's next frame and run the pipeline on it; None when nothing durable is left."""
        if self._end is None:
            return None
        # A worker that runs on would keep its core for a slice of 3 ms, whoever waits for it: the intake comes first.
        os.sched_yield()
        found = follower.read(self._end)
        if found is None:
            return None
        if isinstance(found, Gap):
            self._on_gap(found)
            return Computed((), found.last._replace(sequence=found.last.sequence + 1, record=0), 0)
        batches = counted(self._pipeline(found), len(found.payload))
        first = next(batches)
        after = found.position._replace(sequence=found.sequence + 1)
        if first.next == after:
            return Computed((first,), after, first.size_bytes)
        # A frame of many slices is not kept: its documents could exceed any bound.
        return Computed(chain((first,), batches), after, first.size_bytes)


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
        telemetry.WORKER_DEAD.inc(tally.dead)
        telemetry.WORKER_CONTROL.inc(tally.control)
        yield batch


class Source:
    """The batches of one output, from its cursor on (`collector.outputs.output.BatchSource`).

    One that does not lead takes what the others had made: an output that has next to nothing to do with most batches
    would else run ahead of all the others, and they would have to make each batch again.
    """

    def __init__(
        self, window: Window, start: Position, on_settled: Callable[[Position], None], *, leads: bool = True
    ) -> None:
        self.leads = leads
        self._window = window
        self._at = start._replace(record=0)
        self._skip_to = start
        self._own: Follower | None = None
        self._batches: Iterator[Batch] = iter(())
        self._unsettled: OrderedDict[Position, _Waiting] = OrderedDict()
        self._on_settled = on_settled
        self.cursor = start
        window.join(self, self._at)

    def close(self) -> None:
        """Let go what is kept for this source."""
        self._window.leave(self)
        if self._own is not None:
            self._own.close()

    async def next(self) -> Batch:
        """Wait for the next batch; raise Stopped when the worker drains."""
        while not self._window.stopped:
            changed = self._window.changed
            batch = self.ready()
            if batch is not None:
                return batch
            await changed.wait()
        raise Stopped

    def ready(self) -> Batch | None:
        """Return the next batch if the journal holds one, else None."""
        while True:
            for batch in self._batches:
                if batch.position >= self._skip_to:
                    self._unsettled[batch.position] = _Waiting(batch.next, batch.journal_time)
                    return batch
            computed = self._read()
            if computed is None:
                return None
            self._at = computed.next
            self._batches = iter(computed.batches)
            self._window.moved(self, self._at)

    def settle(self, position: Position) -> None:
        """Let the cursor pass the batch at `position` and all before it."""
        while self._unsettled:
            first = next(iter(self._unsettled))
            if first > position:
                break
            self.cursor = self._unsettled.pop(first).next
        self._on_settled(self.cursor)

    def lag(self, now_ns: int) -> tuple[int, float]:
        """Return how many frames, and how many seconds of journal time, the cursor is behind the journal's end."""
        end, since = self._window.end, next(iter(self._unsettled), self._at)
        same_epoch = end is not None and end.epoch == since.epoch
        frames = end.sequence - since.sequence if end is not None and same_epoch else len(self._unsettled)
        oldest = next(iter(self._unsettled.values()), None)
        return frames, max(now_ns - oldest.journal_time, 0) / 1e9 if oldest is not None else 0.0

    def _read(self) -> Computed | None:
        if self._window.holds(self._at, leads=self.leads):
            if self._own is not None:
                self._own.close()
                self._own = None
            return self._window.at(self._at, leads=self.leads)
        if self._own is None:
            self._own = self._window.follower(self._at)
        return self._window.compute(self._own)
