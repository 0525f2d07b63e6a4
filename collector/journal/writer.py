"""The writing side of the journal: one process, one thread that writes and syncs, group commit without a timer.

While a group is being synced the next one gathers, from however many connections; so an idle journal answers at once
and a busy one syncs large groups.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from collector.durable_files import make_folder
from collector.journal.committer import Appended, Committed, Committer
from collector.journal.cursors import needed_position
from collector.journal.entry import Buffer, Entry, Receipt
from collector.journal.fair_queue import FairQueue
from collector.journal.format import DurableEnd
from collector.journal.group import fits
from collector.journal.holders import Holders, holders
from collector.journal.lock import take_lock
from collector.journal.options import JournalOptions
from collector.journal.receipts import Pending, answer
from collector.journal.reclaim import Reclaimer
from collector.journal.recovery import recover, remove_empty
from collector.journal.room import Room
from collector.journal.seals import Anchor
from collector.journal.segment_file import stored_bytes
from collector.journal.segments import Identity, segment_files
from collector.journal.state import load_state, message_digest
from pipelines.frame import JournalIdentity, Producer

LOCK_FILE: Final = "writer.lock"


def _is_behind_refused(entry: Entry) -> bool:
    """Tell whether an entry came behind one of its connection that was not kept: its client sends both again."""
    return entry.connection is not None and entry.connection.refused and bool(entry.chunk_id)


def _taken(group: Sequence[Pending]) -> list[Pending]:
    """Return those of a group of which nothing is left to write."""
    return [pending for pending in group if not pending.is_begun]


class Journal:
    """See `collector.journal`. Made by `open`; every other method belongs to the event loop's thread.

    `is_new` says that nothing stood in it; `durable` is the end up to which followers may read; `recovered` what the
    start found; `failure` why the last group was not written, empty when it was; `room` how full it is.
    """

    def __init__(self, directory: Path, options: JournalOptions, clock: Callable[[], int], *, name: str) -> None:
        """Recover what is there, take the next epoch and open a segment. Use `open`."""
        make_folder(directory)
        self._directory = directory
        self._options = options
        self._lock = take_lock(directory / LOCK_FILE)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(os.close, self._lock)
            evidence = directory.parent / "evidence"
            make_folder(evidence)
            state = load_state(directory, export_to=evidence)
            identity = Identity(JournalIdentity(state.journal_id, name), state.seed)
            continuation, self.recovered = recover(directory, identity)
            self._producers = dict(continuation.producers)
            self._digest_key = bytes.fromhex(state.digest_key)
            self._committer = Committer(
                directory, state, continuation, options, name=name, clock=clock, evidence=evidence
            )
            self.durable = self._committer.start(self._producers.values())
            self.is_new = continuation.before is None
            if self.is_new:
                self._committer.begin()
            remove_empty(directory, continuation)
            disk_bytes = sum(stored_bytes(directory, name) for name in segment_files(directory))
            self.room = Room(directory, options, disk_bytes=disk_bytes)
            on_failure.pop_all()
        self._producing: dict[str, Pending] = {}
        self._pending = FairQueue(portion_bytes=options.portion_bytes)
        self._writing: Future[Committed] | None = None
        self._anchoring: Future[None] | None = None
        self._idle = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._reclaimer = Reclaimer(directory, evidence, clock, options)
        self._closed = False
        self._on_durable: list[Callable[[DurableEnd], None]] = []
        self.appended = Appended()
        self.failure = ""
        self.room.press()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        name: str,
        options: JournalOptions | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> "Journal":
        """Recover what is there, take the next epoch and open a segment.

        Blocking. Raises DataDirError where the folder cannot be used (another writer, damage to keys, a newer format),
        OSError where the disk does not do as it is told.
        """
        return cls(directory, options or JournalOptions(), clock, name=name)

    @property
    def room_bytes(self) -> int:
        """What may still be in flight before all senders have to wait."""
        return self.room.left_bytes

    @property
    def full(self) -> bool:
        """Whether the limit is reached or the disk takes no more: senders wait until there is room again."""
        return self.room.full

    def change(self, options: JournalOptions) -> None:
        """Hold to other limits from now on, and to other consumers."""
        self._options = options
        for part in (self._committer, self._reclaimer, self.room):
            part.change(options)

    def holders(self) -> Holders:
        """Return which consumers hold most of it; raise DataDirError, OSError."""
        return holders(self._directory, self._options.consumers)

    def last_produced(self, name: str) -> Producer | None:
        """Return the last durable triple of an internal producer."""
        return self._producers.get(name)

    def digest(self, payload: Sequence[Buffer]) -> bytes:
        """Return the keyed hash by which a message's bytes are known again, also after a restart."""
        return message_digest(self._digest_key, payload)

    def on_durable(self, callback: Callable[[DurableEnd], None]) -> None:
        """Call `callback` whenever the durable end moved."""
        self._on_durable.append(callback)

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Take an entry as `submit` does; return a future of its receipt."""
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def tell() -> None:
            if not answer.done() and entry.receipt is not None:
                answer.set_result(entry.receipt)

        self.submit(entry, tell)
        return answer

    def submit(self, entry: Entry, on_receipt: Callable[[], None]) -> None:
        """Take an entry; `on_receipt` is called, from the event loop, when its receipt is known. Never blocks.

        Receipts come after the sync of their group, to each client in the order of its entries; only an entry that is
        not taken at all has its receipt at once. RETRY: not kept (a failed write, no space, the journal is closed).
        REJECTED: it never can be. Behind an entry of a producer that was not kept, none of it is: a later sequence that
        was would hide the earlier. So it is behind a message of a connection.
        """
        pending = Pending(entry, on_receipt)
        if self._closed or _is_behind_refused(entry) or not fits(entry):
            is_misfit = not self._closed and not fits(entry)
            if entry.connection is not None and entry.chunk_id:
                entry.connection.refused = True
            self._answer_soon([pending], Receipt.REJECTED if is_misfit else Receipt.RETRY)
            return
        if entry.producer is not None and self._is_known(pending, entry.producer):
            return
        self._pending.append(pending)
        self.room.take(entry.cost_bytes)
        if self._writing is None:
            self._write_group()

    def _is_known(self, pending: Pending, producer: Producer) -> bool:
        """Tell whether a producer's entry is durable or on its way already; see to its answer then."""
        last = self._producers.get(producer.name)
        if last is not None and producer.sequence <= last.sequence:
            self._answer_soon([pending], Receipt.DURABLE)
            return True
        ahead = self._producing.get(producer.name)
        if ahead is not None and ahead.entry.producer and producer.sequence <= ahead.entry.producer.sequence:
            ahead.repeats = (*ahead.repeats, pending)
            return True
        self._producing[producer.name] = pending
        return False

    def _write_group(self) -> None:
        """Hand what gathered to the writer's thread; answer RETRY at once where it could not be kept."""
        # All portions of a message stand in one segment: that is deleted as a whole, and read from any place.
        in_portions = self._pending.has_begun
        group = self._pending.next_group(begins=not self._committer.is_full)
        entries = [pending.now or pending.entry for pending in group]
        size = sum(entry.payload_bytes for entry in entries)
        if self._pending.has_begun:
            size += sum(pending.left_bytes for pending in group)
        urgent = not self.room.holds(size)
        if urgent:
            group, in_portions = self._urgent_of(_taken(group) + self._pending.take_all()), False
            entries = [pending.entry for pending in group]
            if not group:
                return
        try:
            frames = self._committer.frames(entries)
        except BaseException:
            self._give_back(_taken(group) + self._pending.take_all())  # a fault of ours, before anything was written
            raise
        commit = partial(self._committer.commit, may_roll=not in_portions, urgent=urgent)
        self._begin(commit, frames, tuple(self._producers.values()), group=group)

    def _urgent_of(self, group: list[Pending]) -> list[Pending]:
        """Return those of a group that a full journal takes as well; answer RETRY to the others."""
        urgent: list[Pending] = []
        others: list[Pending] = []
        for pending in group:
            (urgent if pending.entry.urgent and pending.now is None else others).append(pending)
        if not self.room.holds(sum(pending.entry.cost_bytes for pending in urgent), urgent=True):
            urgent, others = [], [*others, *urgent]
        self._give_back(others)
        return urgent

    def _begin(self, work: Callable[..., Committed], *arguments: object, group: Sequence[Pending] = ()) -> None:
        """Let the writer's thread do something, and settle it in the loop."""
        loop = asyncio.get_running_loop()
        self._idle.clear()
        self._writing = self._thread.submit(work, *arguments)
        self._writing.add_done_callback(lambda done: loop.call_soon_threadsafe(self._settle, group, done))

    def _settle(self, group: Sequence[Pending], done: Future[Committed]) -> None:
        """Answer a group, in the loop, and write the next."""
        self._writing = None
        fault = done.exception()
        committed = done.result() if fault is None else Committed(None, failure=f"{type(fault).__name__}: {fault}")
        self.failure = committed.failure
        self.room.judge(committed, group)
        self._move_on(committed)
        self.appended.count(committed)
        if self._pending.has_begun:
            begun, group = [pending for pending in group if pending.is_begun], _taken(group)
            for pending, place in zip(begun, committed.portions, strict=False):  # none of a group that failed
                pending.stands(*place)
            if committed.failure:
                group += self._pending.take_where(lambda pending: pending.is_begun)  # the segment they stand in is left
        self._let_go(group, durable=not committed.failure)
        self.room.press()
        try:
            if self._pending:
                self._write_group()  # before anybody is answered: the disk is busy meanwhile
        finally:
            answer(group, Receipt.RETRY if committed.failure else Receipt.DURABLE)
            if self._writing is None:
                self._idle.set()
        if fault is not None:
            raise fault  # the loop reports it

    def _move_on(self, committed: Committed) -> None:
        """Take note of what was written, and tell who follows."""
        self.room.disk_bytes += committed.bytes + committed.new_segment_bytes
        if committed.end is not None and committed.end != self.durable:
            self.durable = committed.end
            for notify in self._on_durable:
                notify(self.durable)

    def _let_go(self, group: Sequence[Pending], *, durable: bool) -> None:
        """Take note that a group is no longer in flight."""
        failed: set[str] = set()
        refused = False
        for pending in group:
            self.room.in_flight_bytes -= pending.entry.cost_bytes
            producer, connection = pending.entry.producer, pending.entry.connection
            if connection is not None and pending.entry.chunk_id and not durable:
                refused = connection.refused = True
            if producer is not None:
                if durable:
                    self._producers[producer.name] = producer
                else:
                    failed.add(producer.name)
                if self._producing.get(producer.name) is pending:
                    del self._producing[producer.name]
        if failed or refused:
            self._fail_behind(failed)

    def _fail_behind(self, failed: set[str]) -> None:
        """Give back what was sent behind a failed entry, by these producers or on a connection that was refused."""

        def is_behind(pending: Pending) -> bool:
            producer = pending.entry.producer
            return _is_behind_refused(pending.entry) or (producer is not None and producer.name in failed)

        behind = self._pending.take_where(is_behind)
        if behind:
            self._give_back(behind)

    def _give_back(self, group: list[Pending]) -> None:
        """Answer RETRY to entries of which nothing was written."""
        self._let_go(group, durable=False)
        self.room.press()
        self._answer_soon(group, Receipt.RETRY)

    def _answer_soon(self, group: list[Pending], receipt: Receipt) -> None:
        """Answer from the loop, not from within `submit`."""
        asyncio.get_running_loop().call_soon(answer, group, receipt)

    def reclaim(self, *, wait: bool = False) -> int:
        """Delete sealed segments that every consumer has passed; return how many. To be called once a second.

        They are gone a moment later, or with `wait` at once. It also seals a segment that is old, compresses what
        stays, and finds out whether a full disk has room again, and one that failed takes a new segment: senders wait
        until it does. Raises DataDirError when a cursor is damaged: what it holds is not known, so nothing is deleted;
        OSError when a file cannot be.
        """
        settled, room = False, self.room
        try:
            if room.unopened and self._writing is None:
                room.unopened = self._roll().failure
            needed_from = needed_position(self._directory, self._options.consumers)
            settled = self._writing is None and needed_from >= self.durable.position
            if room.is_stuck and settled and not room.unopened:
                # The open segment may be what fills the disk. Nobody is served meanwhile.
                self._roll()
            elif self._writing is None and not room.is_stuck and not self._closed and self._committer.is_old:
                self._begin(self._committer.roll, tuple(self._producers.values()))
            newest, state = self.durable.segment, self._committer.state
            count = self._reclaimer.delete_before(
                needed_from, newest, state, spare_bytes=room.spare_bytes, wait=wait or room.full
            )
            if not room.is_stuck:
                self._reclaimer.compress_before(newest)
            return count
        finally:
            room.disk_bytes -= self._reclaimer.take_freed()
            room.look(settled=settled)

    def _roll(self) -> Committed:
        """Go on in a fresh segment, and wait for it: nobody is served meanwhile."""
        rolled = self._thread.submit(self._committer.roll, tuple(self._producers.values())).result()
        self._move_on(rolled)
        return rolled

    @property
    def anchored(self) -> Anchor | None:
        """The last anchor."""
        return self._committer.anchored

    def anchor(self) -> None:
        """Note where the chain ends, for who verifies it; to be called once a second. Raises the last one's OSError."""
        anchoring = self._anchoring
        if anchoring is not None and not anchoring.done():
            return  # the disk hangs: one that waits is enough
        self._anchoring = None if self._closed else self._thread.submit(self._committer.anchor)
        if anchoring is not None:
            anchoring.result()

    async def close(self) -> None:
        """Write and sync what is pending, seal the segment, let go of the folder; what comes later gets RETRY."""
        if self._closed:
            return
        self._closed = True
        if self._writing is not None:
            await self._idle.wait()
        try:
            await asyncio.wrap_future(self._thread.submit(self._committer.seal))
        finally:
            self._thread.shutdown()
            self._reclaimer.close()
            os.close(self._lock)
