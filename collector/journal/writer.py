"""The writing side of the journal: one process, one thread that writes and syncs, group commit without a timer.

While a group is being synced the next one gathers, from however many connections; so an idle journal answers at once
and a busy one syncs large groups.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from collector.errors import DataDirError
from collector.journal.active import ActiveSegment
from collector.journal.cursors import cursors
from collector.journal.entry import Entry, Receipt
from collector.journal.files import sync_directory
from collector.journal.format import DamageError, DurableEnd
from collector.journal.group import frames_of
from collector.journal.segments import Tail, first_position, read_tail, segment_files
from collector.journal.state import State, load_state, save_state
from pipelines.frame import Position, Producer

HEADROOM_PARTS: Final = 20
"""Senders wait when less than one part in twenty of the limit is left."""


class JournalOptions(msgspec.Struct, frozen=True):
    """Limits of a journal. `consumers` are those whose cursors hold segments even before they have one.

    `sync` is what makes a file durable; tests pass their own.
    """

    limit_bytes: int = 20 << 30
    segment_bytes: int = 128 << 20
    frame_bytes: int = 4 << 20
    in_flight_limit_bytes: int = 64 << 20
    consumers: frozenset[str] = frozenset()
    sync: Callable[[int], None] = os.fdatasync


class Appended(msgspec.Struct):
    """Counts since the start."""

    frames: int = 0
    bytes: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    failures: int = 0


class Recovered(msgspec.Struct):
    """What the start found: bytes cut from a torn tail, gaps left in place, files set aside for a damaged header."""

    cut_bytes: int = 0
    gaps: int = 0
    set_aside: tuple[str, ...] = ()


class _Pending(msgspec.Struct):
    entry: Entry
    receipt: asyncio.Future[Receipt]
    size_bytes: int


class Journal:
    """See `collector.journal`. Made by `open`; every other method belongs to the event loop's thread."""

    def __init__(self, directory: Path, name: str, options: JournalOptions, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._name = name
        self._options = options
        self._clock = clock
        self._state: State
        self._active: ActiveSegment | None = None
        self._durable_bytes = 0
        self._time = 0
        self._link = bytes(32)
        self._producers: dict[str, Producer] = {}
        self._producing: dict[str, _Pending] = {}
        self._pending: list[_Pending] = []
        self._writing: asyncio.Future[list[Receipt]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._on_durable: list[Callable[[DurableEnd], None]] = []
        self._on_pressure: list[Callable[[bool], None]] = []
        self._pressed = False
        self._no_space = False
        self.disk_bytes = 0
        self.in_flight_bytes = 0
        self.appended = Appended()
        self.recovered = Recovered()
        self.durable: DurableEnd

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        name: str,
        options: JournalOptions | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> "Journal":
        """Recover what is there, take the next epoch and open a segment. Blocking; raise DataDirError or OSError."""
        journal = cls(directory, name, options or JournalOptions(), clock)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal._state = load_state(directory, export_to=directory.parent / "evidence")
        newest_epoch = journal._recover()
        journal._take_epoch(newest_epoch)
        journal._open_segment(0)
        journal.disk_bytes = sum((directory / file).stat().st_size for file in segment_files(directory))
        journal.durable = journal._synced_end()
        return journal

    def _recover(self) -> int:
        """Bring the newest segment into order; return the newest epoch that any file names."""
        newest_epoch = 0
        for file in reversed(segment_files(self._directory)):
            path = self._directory / file
            newest_epoch = max(newest_epoch, first_position(file).epoch)
            try:
                tail = read_tail(path)
            except DamageError:
                path.rename(path.with_suffix(".damaged"))
                self.recovered.set_aside += (file,)
                continue
            self._continue_from(path, tail)
            break
        for stray in self._directory.glob(".*.new"):
            stray.unlink()
        return newest_epoch

    def _continue_from(self, path: Path, tail: Tail) -> None:
        self._link, self._time, self._producers = tail.link, tail.journal_time, tail.producers
        self.recovered.gaps = len(tail.gaps)
        if not tail.frames:
            path.unlink()
            sync_directory(self._directory)
            return
        descriptor = os.open(path, os.O_WRONLY)
        try:
            self.recovered.cut_bytes = os.fstat(descriptor).st_size - tail.end
            if self.recovered.cut_bytes:
                os.ftruncate(descriptor, tail.end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self._directory)

    def _take_epoch(self, newest: int) -> None:
        """Take an epoch never used before: above all we know of, and not below the clock.

        The clock is what keeps a folder restored from an older copy from giving positions a second time.
        """
        epoch = max(self._state.epoch + 1, newest + 1, self._clock() // 1_000_000_000)
        self._state = self._state.ratcheted(epoch=epoch)
        save_state(self._directory, self._state)

    def _open_segment(self, first_sequence: int) -> None:
        self._active = ActiveSegment(
            self._directory,
            self._state,
            name=self._name,
            first_sequence=first_sequence,
            created_ns=self._next_time(),
            link_before=self._link,
            producers=tuple(self._producers.values()),
            sync=self._options.sync,
        )
        self._durable_bytes = self._active.size

    def _next_time(self) -> int:
        self._time = max(self._time + 1, self._clock())
        return self._time

    def _synced_end(self) -> DurableEnd:
        if self._active is None:
            raise DataDirError("the journal has no open segment")
        return self._active.end

    @property
    def full(self) -> bool:
        """Whether the limit is reached or the disk is full; nothing is appended until space is found."""
        return self._no_space or self.disk_bytes >= self._options.limit_bytes

    def last_produced(self, name: str) -> Producer | None:
        """Return the last durable triple of an internal producer."""
        return self._producers.get(name)

    def on_durable(self, callback: Callable[[DurableEnd], None]) -> None:
        """Call `callback` after each group that became durable."""
        self._on_durable.append(callback)

    def on_pressure(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` with True when senders should wait and with False when they may go on."""
        self._on_pressure.append(callback)

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Take an entry; its receipt comes after the sync of its group, in the order of appends."""
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        producer = entry.producer
        if producer is not None:
            last = self._producers.get(producer.name)
            if last is not None and producer.sequence <= last.sequence:
                receipt.set_result(Receipt.DURABLE)
                return receipt
            ahead = self._producing.get(producer.name)
            if ahead is not None and ahead.entry.producer and producer.sequence <= ahead.entry.producer.sequence:
                return _same_answer(ahead.receipt, receipt)
        pending = _Pending(entry, receipt, sum(map(len, entry.payload)))
        if producer is not None:
            self._producing[producer.name] = pending
        self._pending.append(pending)
        self.in_flight_bytes += pending.size_bytes
        self._press()
        if self._writing is None:
            self._write_group()
        return receipt

    def _write_group(self) -> None:
        group, self._pending = self._pending, []
        entries = [pending.entry for pending in group]
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, entries)
        self._writing.add_done_callback(lambda writing: self._settle(group, writing))

    def _settle(self, group: list[_Pending], writing: asyncio.Future[list[Receipt]]) -> None:
        self._writing = None
        # Anything but OSError is a bug of ours; the loop's handler reports it, and nobody is told DURABLE.
        receipts = [Receipt.RETRY] * len(group) if writing.exception() else writing.result()
        self.in_flight_bytes -= sum(pending.size_bytes for pending in group)
        if self._active is not None and self._active.end != self.durable:
            self.durable = self._active.end
            for notify in self._on_durable:
                notify(self.durable)
        for pending, receipt in zip(group, receipts, strict=True):
            producer = pending.entry.producer
            if producer is not None:
                if receipt is Receipt.DURABLE:
                    self._producers[producer.name] = producer
                if self._producing.get(producer.name) is pending:
                    del self._producing[producer.name]
            if not pending.receipt.done():
                pending.receipt.set_result(receipt)
        self._press()
        if self._pending and self._writing is None:
            self._write_group()
        writing.result()

    def _commit(self, entries: list[Entry]) -> list[Receipt]:
        """Write and sync one group, in the writer's thread; a failed sync is never tried again."""
        retry = [Receipt.RETRY] * len(entries)
        if self.disk_bytes >= self._options.limit_bytes:
            return retry
        started = time.perf_counter()
        try:
            active = self._segment()
            digest_key = bytes.fromhex(self._state.digest_key)
            frames = list(frames_of(entries, frame_bytes=self._options.frame_bytes, digest_key=digest_key))
            written = active.append(frames, [self._next_time() for _ in frames])
            active.sync()
        except OSError as error:
            self._fail(error)
            return retry
        self._durable_bytes, self._link = active.size, active.link
        self._no_space = False
        self.disk_bytes += written
        self.appended.frames += len(frames)
        self.appended.bytes += written
        self.appended.syncs += 1
        self.appended.sync_seconds += time.perf_counter() - started
        return [Receipt.DURABLE] * len(entries)

    def _segment(self) -> ActiveSegment:
        """Return the segment to write to: the open one, the next when it is full, a new epoch's after a failure."""
        active = self._active
        if active is None:
            self._take_epoch(self._state.epoch)
            self._open_segment(0)
        elif active.size >= self._options.segment_bytes:
            self._state = self._state.ratcheted(epoch=self._state.epoch)
            save_state(self._directory, self._state)
            sequence = active.sequence
            active.close()
            self._active = None
            self._open_segment(sequence)
        if self._active is None:
            raise OSError(errno.EIO, "no segment could be opened")
        return self._active

    def _fail(self, error: OSError) -> None:
        self.appended.failures += 1
        self._no_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if self._active is not None:
            self._active.abandon(self._durable_bytes)
            self._active = None

    def _press(self) -> None:
        """Ask senders to wait, or to go on; the bounds differ, so that it does not flutter."""
        flight_bytes = self._options.in_flight_limit_bytes // (2 if self._pressed else 1)
        headroom_bytes = self._options.limit_bytes // HEADROOM_PARTS * (2 if self._pressed else 1)
        room_bytes = self._options.limit_bytes - self.disk_bytes - self.in_flight_bytes
        pressed = self._no_space or self.in_flight_bytes >= flight_bytes or room_bytes < headroom_bytes
        if pressed != self._pressed:
            self._pressed = pressed
            for notify in self._on_pressure:
                notify(pressed)

    def reclaim(self) -> int:
        """Delete sealed segments that every consumer has passed; return how many. To be called now and then.

        Raises DataDirError when a cursor is damaged: what it holds is not known, so nothing is deleted.
        """
        known = cursors(self._directory)
        oldest = Position(0, 0, 0)
        holders = {name: known.get(name, oldest) for name in {*self._options.consumers, *known}}
        needed_from = min(holders.values(), default=oldest)
        files = segment_files(self._directory)
        deleted = 0
        for file, following in pairwise(files):
            if first_position(following) > needed_from:
                break
            path = self._directory / file
            self.disk_bytes -= path.stat().st_size
            path.unlink()
            deleted += 1
        if deleted:
            sync_directory(self._directory)
        if self._no_space:
            free = os.statvfs(self._directory)
            self._no_space = free.f_bavail * free.f_frsize < self._options.segment_bytes // 4
        self._press()
        return deleted

    async def close(self) -> None:
        """Write and sync what is pending, then let go of the files."""
        while self._writing is not None or self._pending:
            if self._writing is not None:
                await asyncio.wait([self._writing])
            await asyncio.sleep(0)
        self._thread.shutdown()
        if self._active is not None:
            self._active.close()
            self._active = None


def _same_answer(ahead: asyncio.Future[Receipt], receipt: asyncio.Future[Receipt]) -> asyncio.Future[Receipt]:
    def answer(done: asyncio.Future[Receipt]) -> None:
        if not receipt.done():
            receipt.set_result(done.result())

    ahead.add_done_callback(answer)
    return receipt
