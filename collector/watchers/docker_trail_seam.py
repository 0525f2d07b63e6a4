"""Where a trail goes on after a connection ended, or we did: which events are new, and whether some are missing. Pure.

An Engine remembers its last events, 256 of them, and tells them again to whoever asks since a time. It writes them to a
new stream in the order in which it noted them, then those that come; no mark stands between. So the stream is opened
since the beginning, and passed over until one of the newest that we know stands in it: what comes behind that is new,
by whatever clock. Whether one is to come at all, a second question tells, one that has an end.

Two events at once may be noted in one order and told in another. Therefore several of the last are known, by digests:
the newer half tells the place, and all of them what is told already.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from collector.watchers.docker_stream import LOST_KEY_BYTES, Lost
from collector.watchers.docker_trail_records import KEY_BYTES, TrailEvent

KEYS: Final = 48
"""Events that a cursor knows, by 6 bytes each."""

ANCHORS: Final = 24
"""Of those the newest, which tell the place."""

LOST: Final = 64
"""Lines that could not be read which a cursor knows, by LOST_KEY_BYTES each: they have no time and no place."""

RECENT: Final = 1_024
"""Events of a connection that are known again, should the Engine tell one both as remembered and as new."""

MEMORY_EVENTS: Final = 256
"""How many an Engine remembers. One that tells as many may have forgotten others."""

STARTING_NS: Final = 10_000_000_000
"""How long before its first start a trail begins: senders may be told to be ready before the watcher is."""

RESTARTED: Final = "engine_restarted"
EXCEEDED: Final = "memory_exceeded"


class TrailCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a trail goes on: behind the event of `time_ns`; `keys` are those of the last ones, the newest at the end.

    `since_ns` is given while these are all there were: since the first start, or since a gap that was told. What is
    older than that is nobody's. Times are the Engine's, in nanoseconds; that of the first start is ours. `lost` are the
    keys of lines that could not be read, of which gaps tell: an Engine may tell them again.
    """

    time_ns: int = 0
    keys: bytes = b""
    since_ns: int = 0
    lost: bytes = b""

    def encoded(self) -> bytes:
        """Return what the journal keeps."""
        return msgspec.json.encode(self)

    @property
    def opening_ns(self) -> int:
        """Since when a stream is to be opened, 0: the beginning of all that is remembered."""
        return 0 if self.keys else self.since_ns

    @property
    def promised_ns(self) -> int:
        """Since when nothing may be missing where no event was told yet."""
        return self.since_ns if self.time_ns else self.since_ns + STARTING_NS

    def behind(self, events: Iterable[TrailEvent]) -> "TrailCursor":
        """Return the cursor behind further events; one without a time leaves the time as it was."""
        time_ns, keys = self.time_ns, self.keys
        for event in events:
            time_ns = event.time_ns or time_ns
            keys += event.key
        are_all = len(keys) <= KEYS * KEY_BYTES
        return TrailCursor(time_ns, keys[-KEYS * KEY_BYTES :], self.since_ns if are_all else 0, self.lost)

    def behind_gap(self, before_ns: int) -> "TrailCursor":
        """Return the cursor behind a gap; `before_ns` is the time of the first event that is not missing, 0: none."""
        return TrailCursor(self.time_ns, b"", before_ns or self.time_ns + 1, self.lost)

    def with_lost(self, lost: bytes) -> "TrailCursor":
        """Return the cursor once a gap tells of further lines that could not be read."""
        return msgspec.structs.replace(self, lost=(self.lost + lost)[-LOST * LOST_KEY_BYTES :])


def first_cursor(now_ns: int) -> TrailCursor:
    """Return the cursor of a trail that begins."""
    return TrailCursor(since_ns=max(now_ns - STARTING_NS, 1))


def decoded_cursor(encoded: bytes) -> TrailCursor | None:
    """Read what the journal kept; None where it is none."""
    try:
        return msgspec.json.decode(encoded, type=TrailCursor)
    except msgspec.DecodeError:
        return None


class Missing(msgspec.Struct, frozen=True):
    """Events are missing; `before_ns` is the time of the first that is not, 0 where there is none yet.

    `lost` are the keys of those that could not be read.
    """

    why: str
    before_ns: int = 0
    lost: bytes = b""


class Seam:
    """Tells what is new in one stream.

    `remembered` are key and time of the events that the Engine remembered at a moment after the stream was opened. Call
    `begin` first, then `take` with each of the stream's events in their order.
    """

    def __init__(self, cursor: TrailCursor, remembered: Sequence[tuple[bytes, int]]) -> None:
        keys = [cursor.keys[at : at + KEY_BYTES] for at in range(0, len(cursor.keys), KEY_BYTES)]
        self._cursor = cursor
        self._anchors = frozenset(keys[-ANCHORS:])
        self._remembered = remembered
        self._remembered_keys = frozenset(key for key, _ in remembered)
        self._ahead = set(keys) & self._remembered_keys
        self._recent = dict.fromkeys(keys)
        self._held: list[TrailEvent] = []
        self._is_skipping = False
        self._not_before_ns = 0
        lost = cursor.lost
        self._lost = Counter(lost[at : at + LOST_KEY_BYTES] for at in range(0, len(lost), LOST_KEY_BYTES))
        self.is_closed = False

    def begin(self) -> list[Missing]:
        """Tell what is known to be missing before the stream is read."""
        if not self._anchors:
            self.is_closed = True
            oldest_ns = next((time_ns for _, time_ns in self._remembered if time_ns), 0)
            is_missing = self._is_full and oldest_ns > self._cursor.promised_ns
            return [Missing(EXCEEDED, oldest_ns)] if is_missing else []
        if not self._anchors.isdisjoint(self._remembered_keys):
            # The stream was opened before that was asked, so the place is still to come in it. It is not looked for
            # where all that was told is known.
            self.is_closed = self._cursor.since_ns > 0
            self._not_before_ns = self._cursor.since_ns
            self._is_skipping = not self.is_closed
            return []
        if self._remembered:
            return []
        # What is remembered only grows, so the stream tells nothing old either.
        self.is_closed = True
        return [Missing(RESTARTED)]

    def take(self, event: TrailEvent) -> list[TrailEvent | Missing]:
        """Take an event of the stream; return what is new by now, in order, each event once."""
        self._ahead.discard(event.key)
        if self.is_closed:
            return [*self._unknown([event])]
        if event.key in self._anchors:
            # What was told before this one is older, or among those that are known.
            self._held.clear()
            self.is_closed = True
        elif not self._is_skipping:
            self._held.append(event)
            if event.key in self._remembered_keys or len(self._held) > MEMORY_EVENTS:
                # All that was forgotten when it was asked what is remembered is older than this: no place will come.
                self.is_closed = True
                held, self._held = self._held, []
                first_ns = next((each.time_ns for each in held if each.time_ns), 0)
                return [Missing(EXCEEDED if self._is_full else RESTARTED, first_ns), *self._unknown(held)]
        return []

    def is_new(self, lost: Lost) -> bool:
        """Tell whether a line that cannot be read is none of those told, each of which comes again once at most."""
        if self._lost[lost.key] > 0:
            self._lost[lost.key] -= 1
            return False
        return self.is_behind

    @property
    def is_behind(self) -> bool:
        """Tell whether nothing that was told before is still to come in the stream."""
        return self.is_closed and not self._ahead

    @property
    def _is_full(self) -> bool:
        return len(self._remembered) >= MEMORY_EVENTS

    def _unknown(self, events: Iterable[TrailEvent]) -> Iterator[TrailEvent]:
        for event in events:
            if event.key not in self._recent and event.time_ns >= self._not_before_ns:
                self._recent[event.key] = None
                if len(self._recent) > RECENT:
                    del self._recent[next(iter(self._recent))]
                yield event
