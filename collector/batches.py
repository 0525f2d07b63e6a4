"""Batches for outputs: one computation serves all that keep up, and one that lags reads the journal by itself.

Every output has a source of its own, which starts at the output's cursor. Sources at the journal's head share a window
of recent batches, bounded in bytes; a source that fell behind the window has a reader of its own until it is back.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from collector.balance.book import Book, Settled
from collector.journal.format import DurableEnd
from collector.outputs.output import Stopped
from collector.reader import REPLAY_STEP_BYTES, Computed, Listeners, Pipeline, Reader
from pipelines.batch import Batch
from pipelines.frame import Position
from pipelines.going_on import going_on, unsettled_documents
from pipelines.state import State

WINDOW_BYTES: Final = 48 << 20
"""Bound of the encoded documents kept for outputs that are a little behind the first."""

LEAN_LIMIT: Final = 4096
"""So many batches are kept without their documents, some 500 bytes each, for who only wants to know of letters."""

STARTS_KEPT: Final = 16
"""Of so many frames that are too large to be kept the state before them is, for who comes to them a little later."""

START: Final = Position(0, 0, 0)
"""Before every frame of partition 0: epochs are Unix times."""


class Window:
    """The journal's head as seen by a worker, up to what is known to be durable.

    `opened` is set once the journal can be read, or when the worker stops.
    """

    def __init__(self, journal: Path, make_pipeline: Callable[[], Pipeline], listeners: Listeners) -> None:
        self.journal = journal
        self._make_pipeline = make_pipeline
        self._listeners = listeners
        self._spare: list[Pipeline] = []
        self._starts: OrderedDict[Position, State] = OrderedDict()
        self._kept: OrderedDict[Position, Computed] = OrderedDict()
        self._kept_bytes = 0
        self._lean: OrderedDict[Position, Computed] = OrderedDict()
        self._sources: dict[Source, Position] = {}
        self._head = START
        self._reader: Reader | None = None
        self._end: DurableEnd | None = None
        self.stopped = False
        self.opened = asyncio.Event()
        self.changed = asyncio.Event()

    @property
    def end(self) -> Position | None:
        """Position of the next frame that will become durable; None while that is not known."""
        return self._end.position if self._end is not None else None

    @property
    def waits(self) -> bool:
        """Whether something at the head waits for journal time to go on, and all that is durable was read."""
        reader = self._reader
        return reader is not None and reader.read_to == self._end and reader.pipeline.state.is_open

    def join(self, source: "Source", position: Position) -> None:
        """Take note of a source that starts at `position`; the head moves forward to the newest of these."""
        self._sources[source] = position
        if position > self._head:
            self._head = position
            if self._reader is not None:
                self.release(self._reader)
                self._reader = None

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

    def reader(self, position: Position) -> Reader:
        """Return a reader that begins at the frame at `position`; `release` it when it is not needed any more."""
        pipeline = self._spare.pop() if self._spare else self._make_pipeline()
        known = self._starts.get(position)
        state = known.at_mark() if known is not None else None
        return Reader(self.journal, position, pipeline, self._listeners, state=state)

    def release(self, reader: Reader) -> None:
        """Take a reader back: its pipeline knows the streams that it saw, which serves the next."""
        reader.close()
        self._spare.append(reader.pipeline)

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
        if self._reader is None:
            self._reader = self.reader(position)
        computed = self.compute(self._reader)
        if computed is None:
            return None
        self._head = computed.next
        self._wake()
        if isinstance(computed.batches, tuple):
            self._kept[position] = computed
            self._kept_bytes += computed.size_bytes
        else:
            self._starts[position] = self._reader.pipeline.state.at_mark()
            while len(self._starts) > STARTS_KEPT:
                self._starts.popitem(last=False)
        return computed

    def compute(self, reader: Reader) -> Computed | None:
        """Let a reader read on; None when nothing durable is left, or when it has to be asked again."""
        if self._end is None:
            return None
        # A worker that runs on would keep its core for a slice of 3 ms, whoever waits for it: the intake comes first.
        os.sched_yield()
        computed = reader.read(self._end)
        if reader.replaying:
            self.call_again()
        return computed

    def call_again(self) -> None:
        """Let those that wait for more ask again, when others had their turn."""
        asyncio.get_running_loop().call_soon(self._wake)


class Source:
    """The batches of one output, from its cursor on (`collector.outputs.output.BatchSource`).

    It starts at the book's position; what stands before `hand_from` is known to be settled: it is counted, not handed
    out. So is what stands from there up to `skip_to`, which the output shall not have. One that does not lead takes
    what the others had made: an output that has next to nothing to do with most batches would else run ahead of all
    the others, and they would have to make each batch again.
    """

    def __init__(
        self,
        window: Window,
        book: Book,
        on_settled: Callable[[], None],
        *,
        hand_from: Position = START,
        skip_to: Position = START,
        leads: bool = True,
    ) -> None:
        self.leads = leads
        self._window = window
        self._book = book
        self._at = book.position._replace(record=0)
        self._skip_to = book.position
        self._known_to = hand_from
        self._hand_from = max(hand_from, skip_to)
        self._own: Reader | None = None
        self._reached = book.position
        self._batches: Iterator[Batch] = iter(())
        self._unsettled: OrderedDict[Position, Settled] = OrderedDict()
        self._on_settled = on_settled
        window.join(self, self._at)

    @property
    def cursor(self) -> Position:
        """The position up to which all is settled."""
        return self._book.position

    def close(self) -> None:
        """Let go what is kept for this source."""
        self._window.leave(self)
        self._let_go()

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
        counted_bytes = 0
        while True:
            for batch in self._batches:
                self._reached = batch.next
                if batch.next <= self._skip_to:
                    continue
                further = going_on(batch, self._skip_to)
                if further.position >= self._hand_from:
                    self._unsettled[further.position] = _settled(further)
                    return further
                if self._hand_from == self._known_to < batch.next:
                    self._unsettled[further.position] = _settled(further)
                    return msgspec.structs.replace(further, documents=unsettled_documents(batch, self._known_to))
                passed = _settled(further)
                passed.skipped = batch.position >= self._known_to
                self._pass(passed)
                counted_bytes += batch.size_bytes
            if counted_bytes >= REPLAY_STEP_BYTES:
                self._window.call_again()
                return None
            if self._reached < self._at:
                # The reader went on to the next frame for somebody else: the rest of this one is made again.
                self._skip_to, self._at = self._reached, self._reached._replace(record=0)
                self._window.moved(self, self._at)
            computed = self._read()
            if computed is None:
                return None
            self._reached = computed.next if computed.batches == () else self._at
            if computed.lost is not None:
                self._pass(Settled(self._at, computed.next, computed.journal_time, computed.lost, 0))
            self._at = computed.next
            self._batches = iter(computed.batches)
            self._window.moved(self, self._at)

    def settle(self, position: Position) -> None:
        """Let the cursor pass the batch at `position` and all before it."""
        while self._unsettled:
            first = next(iter(self._unsettled))
            if first > position:
                break
            self._book.settle(self._unsettled.pop(first))
        self._on_settled()

    def refuse(self, position: Position, identifiers: Sequence[bytes]) -> None:
        """Note that documents of the batch at `position` are dead letters, on disk."""
        self._unsettled[position].refused += identifiers

    def _pass(self, settled: Settled) -> None:
        """Count what nobody has to deliver; behind what is in hand it is settled with that."""
        self._unsettled[settled.position] = settled
        if len(self._unsettled) == 1:
            self.settle(settled.position)

    def lag(self, now_ns: int) -> tuple[int, float]:
        """Return how many frames, and how many seconds of journal time, the cursor is behind the journal's end."""
        end, since = self._window.end, next(iter(self._unsettled), self._at)
        same_epoch = end is not None and end.epoch == since.epoch
        frames = end.sequence - since.sequence if end is not None and same_epoch else len(self._unsettled)
        oldest = next(iter(self._unsettled.values()), None)
        return frames, max(now_ns - oldest.journal_time, 0) / 1e9 if oldest is not None else 0.0

    def _read(self) -> Computed | None:
        if self._window.holds(self._at, leads=self.leads):
            self._let_go()
            return self._window.at(self._at, leads=self.leads)
        if self._own is None:
            self._own = self._window.reader(self._at)
        return self._window.compute(self._own)

    def _let_go(self) -> None:
        if self._own is not None:
            self._window.release(self._own)
            self._own = None


def _settled(batch: Batch) -> Settled:
    return Settled(
        batch.position, batch.next, batch.journal_time, batch.accounts, batch.tally.documents - batch.accounts.uncounted
    )
