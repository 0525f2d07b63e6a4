"""Containers that something happened to and that are still to be asked for: one entry each, whatever happened. Pure.

The stream of events must be read at once, for an Engine drops what a slow reader leaves; asking and appending take
longer. What gathers meanwhile is bounded: beyond, all is forgotten, and the whole list asked for instead.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from collector.watchers.docker_stream import Event

ENTRIES_LIMIT: Final = 4_096
BYTES_LIMIT: Final = 32 << 20
"""Containers, and bytes of the events that told of them."""

INSTANT_LIMIT: Final = 32
"""Events of one instant that a cursor names; further ones would be taken up twice, which changes nothing."""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to go on: every event of the Engine before `time_ns` is settled, and of that instant those in `at`.

    `engine` is the Engine's own id; `is_away` says that its absence is told already.
    """

    engine: str = ""
    time_ns: int = 0
    at: tuple[str, ...] = ()
    is_away: bool = False

    def encoded(self) -> bytes:
        """Return what the journal keeps."""
        return msgspec.json.encode(self)


def decoded_cursor(encoded: bytes) -> Cursor:
    """Read what the journal kept; what cannot be read is a beginning."""
    try:
        return msgspec.json.decode(encoded, type=Cursor)
    except msgspec.DecodeError:
        return Cursor()


class Pending(msgspec.Struct):
    """What is to be asked for, and why. `since_ns` is the time of its first event, 0 where the list named it.

    `attributes` are those of the newest event that has any, `listed` what the list said, for when it cannot be asked.
    """

    identity: str
    cause: str
    since_ns: int = 0
    attributes: Mapping[str, str] = {}
    listed: Mapping[str, Any] = {}
    is_destroyed: bool = False
    size_bytes: int = 0


class Backlog:
    """All that is pending, the oldest first, and how far the stream was read."""

    def __init__(self, cursor: Cursor) -> None:
        self._entries: dict[str, Pending] = {}
        self._held: dict[str, int] = {}
        self._bytes = 0
        self._time_ns = cursor.time_ns
        self._at = list(cursor.at)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._entries)

    def is_settled(self, event: Event) -> bool:
        """Tell whether an event is one of those that were settled at the instant the stream began with."""
        return event.time_ns == self._time_ns and event.key in self._at

    def read(self, event: Event, size_bytes: int) -> bool:
        """Take an event; False where that was too much: then nothing waits any more, and a list is needed."""
        if event.time_ns != self._time_ns:
            self._time_ns, self._at = event.time_ns, []
        if len(self._at) < INSTANT_LIMIT:
            self._at.append(event.key)
        identity = event.container
        if not identity:
            return True
        entry = self._entries.get(identity)
        if entry is None:
            entry = self._entries[identity] = Pending(identity, event.cause, event.time_ns)
        if event.type == "container":
            entry.attributes = event.attributes
            entry.is_destroyed = event.cause == "destroy"
        self._bytes += size_bytes
        entry.size_bytes += size_bytes
        if len(self._entries) <= ENTRIES_LIMIT and self._bytes <= BYTES_LIMIT:
            return True
        self.forget()
        return False

    def forget(self) -> None:
        """Let go of all that waits."""
        self._entries.clear()
        self._bytes = 0

    def take(self, count: int) -> list[Pending]:
        """Take up the oldest; until each is `settled`, it holds the cursor."""
        taken = [self._entries[identity] for identity in itertools.islice(self._entries, count)]
        for entry in taken:
            self._take(entry.identity)
        return taken

    def take_listed(self, listed: Pending) -> None:
        """Take up what a list named; where something waits for the same container, that is taken up with it."""
        waiting = self._take(listed.identity)
        if waiting is not None:
            listed.since_ns, listed.attributes = waiting.since_ns, waiting.attributes
            listed.is_destroyed = waiting.is_destroyed
            listed.cause = waiting.cause if waiting.is_destroyed else listed.cause

    def _take(self, identity: str) -> Pending | None:
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self._bytes -= entry.size_bytes
            self._held[identity] = entry.since_ns
        return entry

    def settled(self, entry: Pending) -> None:
        """Let go of an entry that was taken up."""
        self._held.pop(entry.identity, None)

    def cursor(self, engine: str) -> Cursor:
        """Return from where on nothing is settled for sure."""
        waiting = [*self._held.values(), *(entry.since_ns for entry in self._first())]
        if waiting:
            return Cursor(engine, min(waiting) - 1)
        return Cursor(engine, self._time_ns, tuple(self._at))

    def _first(self) -> list[Pending]:
        """The entry that waits longest: those behind it are of later events."""
        return [self._entries[next(iter(self._entries))]] if self._entries else []
