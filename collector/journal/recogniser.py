"""What stands between inputs and the journal, so that a message that is sent again is kept once (`resends`).

A resend takes the same way as any message, but its bytes are left out: a record of encoding `resend` says which stored
message it repeats. It is acknowledged when that record is durable, in the order of its connection; so the journal tells
every acknowledgement we gave, and a restart finds the memory as it was.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import xxhash

from collector.journal.arrivals import Arrival, SenderConnection, client_of, is_unique
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd, FrameHeader
from collector.journal.remembered import KEY_BYTES
from collector.journal.resend_index import Indexes, IndexWriter, index_files, read_indexes
from collector.journal.resends import REMEMBERED_S, Resends
from collector.journal.segments import (
    HEADERS_BYTES,
    FrameHead,
    Segment,
    UnreadableError,
    acknowledged_ends,
    find_identity,
    segment_files,
    walk,
)
from collector.journal.writer import Journal

ENCODING: Final = "resend"
"""Encoding of a record that repeats a stored message; it has no payload."""

REPLAYED_SEGMENTS: Final = 16
"""A start reads the tables of so many segments at most; there is one to read, unless indexes are lost."""


class Recogniser:
    """Takes entries as the journal does, and keeps those that are resends once. Belongs to the event loop's thread.

    `recognised` counts the resends since the start; `index_failures` the indexes that were not written, `failure` says
    why the last of them was not. `damaged` are the indexes that the start could not read, or missed.
    """

    def __init__(self, journal: Journal, directory: Path, resends: Resends | None = None) -> None:
        """Take up what was remembered before. Blocking; raises OSError."""
        self._journal = journal
        self._directory = directory
        self._resends = resends or Resends()
        self._behind_bytes = 0
        self._segment = journal.durable.segment
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="resends")
        self._writing: deque[Future[Path]] = deque()
        self._closed = False
        self.recognised = 0
        self.index_failures = 0
        self.failure = ""
        indexes = read_indexes(directory)
        self._index = IndexWriter(directory, indexes.newest)
        self._written = dict.fromkeys(index_files(directory), time.monotonic())
        self.damaged = indexes.damaged
        self._take_up(indexes)
        journal.on_durable(self._on_durable)

    @property
    def full(self) -> bool:
        """Whether the journal takes no more."""
        return self._journal.full

    @property
    def room_bytes(self) -> int:
        """What the journal may still have in flight, and what waits here for a first sending."""
        return max(self._journal.room_bytes - self._behind_bytes, 0)

    @property
    def remembered(self) -> int:
        """How many messages of ended connections are remembered."""
        return len(self._resends.remembered)

    def submit(self, entry: Entry, on_receipt: Callable[[], None]) -> None:
        """Take an entry as `Journal.submit` does; one with a chunk id only once.

        A resend of what is not durable yet waits for that, and whatever follows on its connection waits for both: it
        must not be kept when they are not.
        """
        connection = entry.connection
        if connection is None:
            self._journal.submit(entry, on_receipt)
            return
        arrival = self._arrived(entry, connection) if entry.chunk_id else None
        first = arrival.waits_for if arrival is not None else None
        if first is None and not connection.behind:
            self._hand_on(entry, arrival, on_receipt)
            return

        def go_on() -> None:
            self._behind_bytes -= entry.payload_bytes
            self._hand_on(entry, arrival, on_receipt)

        self._behind_bytes += entry.payload_bytes
        connection.behind.append((arrival, go_on))
        if arrival is not None and first is not None:
            first.on_settled = lambda durable: self._go_on(arrival, connection, durable=durable)

    def _arrived(self, entry: Entry, connection: SenderConnection) -> Arrival:
        entry.digest = self._journal.digest(entry.payload)
        key = _key(connection.client, entry.tag, entry.chunk_id, entry.digest)
        if not connection.number:
            self._resends.begun(connection, unique=is_unique(entry.chunk_id, time.time()))
        return self._resends.arrived(connection, key)

    def _go_on(self, arrival: Arrival, connection: SenderConnection, *, durable: bool) -> None:
        """Go on with a resend whose first sending has its receipt now, and with what is behind it."""
        if durable:
            self._resends.now_repeats(arrival)
        else:
            arrival.waits_for = None
            connection.refused = True
        behind = connection.behind
        while behind and (behind[0][0] is None or behind[0][0].waits_for is None):
            behind.popleft()[1]()

    def _hand_on(self, entry: Entry, arrival: Arrival | None, on_receipt: Callable[[], None]) -> None:
        """Give an entry to the journal that waits for nothing here."""
        if arrival is None:
            self._journal.submit(entry, on_receipt)
            return

        def settle() -> None:
            durable = entry.receipt is Receipt.DURABLE
            self._resends.settled(arrival, durable=durable)
            try:
                on_receipt()
            finally:
                go_on, arrival.on_settled = arrival.on_settled, None
                if go_on is not None:
                    go_on(durable)

        if arrival.repeats is not None:
            self._repeat(entry, arrival, settle)
        else:
            entry.sending = arrival.sending
            self._journal.submit(entry, settle)

    def _repeat(self, entry: Entry, arrival: Arrival, settle: Callable[[], None]) -> None:
        """Record that a stored message came again; its receipt is that of the entry."""
        self.recognised += 1
        record = Entry(
            origin=entry.origin,
            encoding=ENCODING,
            payload=(),
            tag=entry.tag,
            chunk_id=entry.chunk_id,
            digest=entry.digest,
            sending=arrival.sending,
            connection=entry.connection,
        )

        def hand_on() -> None:
            entry.receipt = record.receipt
            settle()

        self._journal.submit(record, hand_on)

    def sweep(self) -> None:
        """Forget what is too old, here and on disk; to be called once a second. Raises OSError."""
        self._resends.sweep()
        self._take_written()
        now_s = time.monotonic()
        for path in list(self._written)[:-1]:  # the newest says where the next start goes on
            if now_s - self._written[path] > REMEMBERED_S:
                path.unlink(missing_ok=True)
                del self._written[path]

    def close(self) -> None:
        """Write down what is remembered; once no input sends any more. Blocking."""
        if not self._closed:
            self._closed = True
            self._write_index(self._segment)
            self._thread.shutdown()
            self._take_written()

    def _on_durable(self, end: DurableEnd) -> None:
        """Write the index of a segment that was sealed.

        What was answered stands in that segment, and nothing else yet: this is called before the first group of the
        next is answered.
        """
        if end.segment != self._segment:
            sealed, self._segment = self._segment, end.segment
            self._write_index(sealed)

    def _write_index(self, segment: str) -> None:
        self._writing.append(self._thread.submit(self._index.write, segment, self._resends.snapshot()))

    def _take_written(self) -> None:
        """Take note of what became of the indexes that were to be written."""
        while self._writing and self._writing[0].done():
            try:
                path = self._writing.popleft().result()
            except OSError as error:
                self.index_failures += 1
                self.failure = f"{error.strerror or error}"
            else:
                self._written.pop(path, None)
                self._written[path] = time.monotonic()

    def _take_up(self, indexes: Indexes) -> None:
        """Remember what the indexes say and what stands behind them; from the last place where something is missing."""
        is_restored = False
        for header in _headers_behind(self._directory, indexes.newest, self._segment):
            if not is_restored:
                is_restored = True
                self._resends.restore(indexes.snapshots, header.journal_time / 1e9 if header is not None else 0.0)
            if header is None:
                self._resends.forget()
                self._index.begin_anew()
            else:
                self._replay(header)
        if not is_restored:
            self._resends.restore(indexes.snapshots, 0.0)
        self._resends.replayed()
        before = [name for name in segment_files(self._directory) if name < self._segment]
        if before and before[-1] > indexes.newest:
            self._write_index(before[-1])

    def _replay(self, header: FrameHeader) -> None:
        for message in header.messages:
            if message.sending is None:
                continue
            journal_s = header.journal_time / 1e9
            client = client_of(header.origins[message.origin])
            key = _key(client, message.tag, message.chunk_id, message.digest)
            unique = is_unique(message.chunk_id, journal_s)
            self._resends.replay(client, key, message.sending, unique=unique, journal_s=journal_s)


def _key(client: bytes, tag: bytes, chunk_id: bytes, digest: bytes) -> bytes:
    """Return what equal messages of a client share; nobody can choose it, for nobody knows the digest's key."""
    return xxhash.xxh3_128_digest(b"\0".join((client, tag, chunk_id, digest)))[:KEY_BYTES]


def _headers_behind(directory: Path, indexed: str, opened: str) -> Iterator[FrameHeader | None]:
    """Yield the headers of all frames that were acknowledged in segments behind `indexed`, before the open one.

    None stands where something is missing.
    """
    names = [name for name in segment_files(directory) if indexed < name <= opened][-REPLAYED_SEGMENTS - 1 :]
    ends = acknowledged_ends(directory, names)
    identity = find_identity(directory, names[::-1])
    known = indexed
    for name in names:
        with contextlib.closing(Segment(directory, name, block_bytes=HEADERS_BYTES)) as segment:
            if not _follows(segment, known):
                yield None
            if name != opened:
                segment.identity = segment.identity or identity
                yield from _headers_in(segment, ends[name])
        known = name


def _follows(segment: Segment, known: str) -> bool:
    """Tell whether no segment with frames stood between one that is known, or none, and this one."""
    if segment.header is None:
        return False
    before = segment.header.before
    return before.segment <= known if before is not None else not known


def _headers_in(segment: Segment, end: int) -> Iterator[FrameHeader | None]:
    try:
        for found in walk(segment, end, payloads=False):
            yield found.header if isinstance(found, FrameHead) else None
    except UnreadableError:
        yield None
