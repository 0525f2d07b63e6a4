"""What stands between inputs and the journal, so that a message that is sent again is kept once (`resends`).

A resend takes the same way as any message, but its bytes are left out: a record of encoding `resend` says which stored
message it repeats. It is acknowledged when that record is durable, in the order of its connection; so the journal tells
every acknowledgement we gave, and a restart finds the memory as it was.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import xxhash

from collector.journal.arrivals import Arrival, client_of, is_unique
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd, FrameHeader
from collector.journal.remembered import KEY_BYTES
from collector.journal.resend_index import index_files, read_indexes, write_index
from collector.journal.resends import REMEMBERED_S, Resends, Snapshot
from collector.journal.segments import (
    HEADERS_BYTES,
    FrameHead,
    Segment,
    acknowledged_ends,
    find_identity,
    segment_files,
    walk,
)
from collector.journal.writer import Journal

ENCODING: Final = "resend"
"""Encoding of a record that repeats a stored message; it has no payload."""


class Recogniser:
    """Takes entries as the journal does, and keeps those that are resends once. Belongs to the event loop's thread.

    `recognised` counts the resends since the start; `failure` says why the last index was not written, if it was not.
    """

    def __init__(self, journal: Journal, directory: Path, resends: Resends | None = None) -> None:
        """Take up what was remembered before. Blocking; raises OSError."""
        self._journal = journal
        self._directory = directory
        self._resends = resends or Resends()
        self._waiting: dict[int, list[Callable[[bool], None]]] = {}
        self._segment = journal.durable.segment
        self._written: dict[Path, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="resends")
        self.recognised = 0
        self.failure = ""
        self._take_up()
        journal.on_durable(self._on_durable)

    @property
    def full(self) -> bool:
        """Whether the journal takes no more."""
        return self._journal.full

    @property
    def room_bytes(self) -> int:
        """What the journal may still have in flight."""
        return self._journal.room_bytes

    @property
    def remembered(self) -> int:
        """How many messages of ended connections are remembered."""
        return len(self._resends.remembered)

    def submit(self, entry: Entry, on_receipt: Callable[[], None]) -> None:
        """Take an entry as `Journal.submit` does; one with a chunk id only once."""
        connection = entry.connection
        if not entry.chunk_id or connection is None:
            self._journal.submit(entry, on_receipt)
            return
        entry.digest = self._journal.digest(entry.payload)
        key = _key(connection.client, entry.tag, entry.chunk_id, entry.digest)
        if not connection.number:
            self._resends.begun(connection, unique=is_unique(entry.chunk_id, time.time()))
        arrival = self._resends.arrived(connection, key)

        def settle() -> None:
            durable = entry.receipt is Receipt.DURABLE
            self._resends.settled(arrival, durable=durable)
            on_receipt()
            if self._waiting and id(arrival) in self._waiting:
                for go_on in self._waiting.pop(id(arrival)):
                    go_on(durable)

        if arrival.waits_for is not None:
            waiting = self._waiting.setdefault(id(arrival.waits_for), [])
            waiting.append(lambda durable: self._go_on(entry, arrival, settle, durable=durable))
        elif arrival.repeats is not None:
            self._repeat(entry, arrival, settle)
        else:
            entry.sending = arrival.sending
            self._journal.submit(entry, settle)

    def _go_on(self, entry: Entry, arrival: Arrival, settle: Callable[[], None], *, durable: bool) -> None:
        """Go on with a resend whose first sending has its receipt now."""
        if durable:
            self._resends.now_repeats(arrival)
            self._repeat(entry, arrival, settle)
        else:
            entry.receipt = Receipt.RETRY
            settle()

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
        now_s = time.monotonic()
        old = [path for path, at_s in self._written.items() if now_s - at_s > REMEMBERED_S]
        for path in old[: -1 if len(old) == len(self._written) else None]:
            del self._written[path]
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write down what is remembered; once no input sends any more. Blocking."""
        self._thread.shutdown()
        self._try_to_write(self._segment, self._resends.snapshot())

    def _on_durable(self, end: DurableEnd) -> None:
        """Write the index of a segment that was sealed.

        What was answered stands in that segment, and nothing else yet: this is called before the first group of the
        next is answered.
        """
        if end.segment != self._segment:
            sealed, self._segment = self._segment, end.segment
            self._thread.submit(self._try_to_write, sealed, self._resends.snapshot())

    def _try_to_write(self, segment: str, snapshot: Snapshot) -> None:
        try:
            self._write(segment, snapshot)
        except OSError as error:
            self.failure = f"{error.strerror or error}"
        else:
            self.failure = ""

    def _write(self, segment: str, snapshot: Snapshot) -> None:
        self._written[write_index(self._directory, segment, snapshot)] = time.monotonic()

    def _take_up(self) -> None:
        indexes = read_indexes(self._directory)
        headers = _headers_behind(self._directory, indexes.newest, self._segment)
        first = next(headers, None)
        self._resends.restore(indexes.snapshots, first.journal_time / 1e9 if first is not None else 0.0)
        while first is not None:
            self._replay(first)
            first = next(headers, None)
        self._resends.replayed()
        self._written = dict.fromkeys(index_files(self._directory), time.monotonic())
        before = [name for name in segment_files(self._directory) if name < self._segment]
        if before and before[-1] > indexes.newest:
            self._try_to_write(before[-1], self._resends.snapshot())

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


def _headers_behind(directory: Path, indexed: str, opened: str) -> Iterator[FrameHeader]:
    """Yield the headers of all frames that were acknowledged in segments behind `indexed`, before the open one."""
    names = [name for name in segment_files(directory) if indexed < name <= opened]
    ends = acknowledged_ends(directory, names)
    identity = find_identity(directory, names[::-1])
    for name in names[:-1]:
        with contextlib.closing(Segment(directory, name, block_bytes=HEADERS_BYTES)) as segment:
            segment.identity = segment.identity or identity
            for found in walk(segment, ends[name], payloads=False):
                if isinstance(found, FrameHead):
                    yield found.header
