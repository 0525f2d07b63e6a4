"""Events that were read and are not yet told, in their order, and where some were lost. Bounded. Pure but for waiting.

An Engine drops what a slow reader leaves, so reading never waits for telling. What gathers is bounded: beyond, events
are dropped until half of it is told, and a mark stands in their place.
"""

import asyncio
import itertools
from collections import deque
from typing import Final

import msgspec

from collector.watchers.docker_stream import LOST_KEY_BYTES
from collector.watchers.docker_trail_records import Execution, TrailEvent
from collector.watchers.docker_trail_seam import LOST, Missing

EVENTS_LIMIT: Final = 16_384
BYTES_LIMIT: Final = 64 << 20
"""Events, and bytes of them and of what is known of their execs."""

OVERFLOW: Final = "overflow"


class Waiting(msgspec.Struct):
    """An event. Where its exec is asked for, it is told when that is `answered`, or at `until_s` at the latest.

    Only the queue sets `execution` and `is_taken`.
    """

    event: TrailEvent
    read_s: float
    until_s: float
    answered: asyncio.Event | None = None
    execution: Execution | None = None
    is_taken: bool = False

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return len(self.event.content) + (self.execution.size_bytes if self.execution is not None else 0)

    def is_due(self, now_s: float) -> bool:
        """Tell whether it waits for nothing any more."""
        return self.answered is None or self.answered.is_set() or now_s >= self.until_s


class Queue:
    """All that waits, the oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Waiting | Missing] = deque()
        self._bytes = 0
        self._is_dropping = False
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """How many wait, marks among them."""
        return len(self._entries)

    @property
    def first(self) -> Waiting | Missing:
        """The oldest; there must be one."""
        return self._entries[0]

    @property
    def first_event(self) -> Waiting | None:
        """The oldest that is no mark; no two marks stand behind one another."""
        return next((each for each in itertools.islice(self._entries, 2) if isinstance(each, Waiting)), None)

    def put(self, waiting: Waiting) -> bool:
        """Add an event; False where it had to be dropped."""
        self._is_dropping &= len(self._entries) > EVENTS_LIMIT // 2 or self._bytes > BYTES_LIMIT // 2
        size_bytes = waiting.size_bytes
        if self._is_dropping or len(self._entries) >= EVENTS_LIMIT or self._bytes + size_bytes > BYTES_LIMIT:
            self._is_dropping = True
            self.mark(Missing(OVERFLOW))
            return False
        if self._entries and isinstance(last := self._entries[-1], Missing) and not last.before_ns:
            self._entries[-1] = msgspec.structs.replace(last, before_ns=waiting.event.time_ns)
        self._entries.append(waiting)
        self._bytes += size_bytes
        self._news.set()
        return True

    def answer(self, waiting: Waiting, execution: Execution | None) -> None:
        """Add what is known of an event's exec; one that was taken is left as it is, and so where there is no room."""
        added_bytes = execution.size_bytes if execution is not None else 0
        added_bytes -= waiting.execution.size_bytes if waiting.execution is not None else 0
        if not waiting.is_taken and self._bytes + added_bytes <= BYTES_LIMIT:
            waiting.execution = execution
            self._bytes += added_bytes

    def mark(self, missing: Missing) -> None:
        """Add a mark; one behind another is one with it."""
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Missing):
            lost = (last.lost + missing.lost)[-LOST * LOST_KEY_BYTES :]
            self._entries[-1] = msgspec.structs.replace(last, lost=lost)
        else:
            self._entries.append(missing)
            self._news.set()

    def take(self) -> Waiting | Missing:
        """Take the oldest away."""
        entry = self._entries.popleft()
        if isinstance(entry, Waiting):
            entry.is_taken = True
            self._bytes -= entry.size_bytes
        return entry

    async def wait(self) -> None:
        """Return when there is one."""
        while not self._entries:
            self._news.clear()
            await self._news.wait()
