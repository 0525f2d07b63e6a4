"""Bounded ordered maps whose changes can be undone: what a pipeline's state consists of."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

Value = TypeVar("Value")
Key = tuple[str, ...]

ENTRY_BYTES: Final = 256
"""What an entry costs beside the texts of its key and its value."""


class Section(Generic[Value]):
    """Maps keys of texts to values that never change themselves, in the order in which they were put last.

    Bounded by a number of entries and by bytes: what `put` has no room for it returns, the oldest first. `cost` gives a
    value's bytes. Where it is `deferred`, room is made by `mark` only, so that it does not matter in which order the
    values of one frame are put, but for that of the last of each key. `mark` and `undo` take everything back that
    changed in between, also the order. A section is `lasting` where its values stay right under another configuration.
    """

    def __init__(
        self,
        kind: Any,
        *,
        limit: int,
        limit_bytes: int,
        cost: Callable[[Value], int],
        lasting: bool = True,
        deferred: bool = False,
    ) -> None:
        self.lasting = lasting
        self._deferred = deferred
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._cost = cost
        self._entries: dict[Key, tuple[int, Value]] = {}
        self._before: dict[Key, tuple[int, Value] | None] = {}
        self._puts = 0
        self._decode = msgspec.msgpack.Decoder(list[tuple[Key, kind]]).decode
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def items(self) -> Iterator[tuple[Key, Value]]:
        """Yield keys and values, that which was put longest ago first."""
        return ((key, value) for key, (_, value) in self._entries.items())

    def get(self, key: Key) -> Value | None:
        """Return a key's value; its place stays as it is."""
        found = self._entries.get(key)
        return found[1] if found is not None else None

    def put(self, key: Key, value: Value) -> list[tuple[Key, Value]]:
        """Set a key's value and make it the newest; return what has no room any more."""
        self._remove(key)
        self._puts += 1
        self._entries[key] = (self._puts, value)
        self.size_bytes += self._size(key, value)
        return [] if self._deferred else self._make_room()

    def take(self, key: Key) -> Value | None:
        """Remove a key and return its value."""
        removed = self._remove(key)
        return removed[1] if removed is not None else None

    def mark(self) -> None:
        """Make what is now that to which `undo` comes back."""
        self._make_room()
        self._before.clear()

    def undo(self) -> None:
        """Take back everything since the mark."""
        if not self._before:
            return
        for key, before in self._before.items():
            present = self._entries.pop(key, None)
            self.size_bytes -= self._size(key, present[1]) if present is not None else 0
            if before is not None:
                self._entries[key] = before
                self.size_bytes += self._size(key, before[1])
        self._before.clear()
        self._entries = dict(sorted(self._entries.items(), key=lambda item: item[1][0]))

    def at_mark(self) -> list[tuple[Key, Value]]:
        """Return the entries of the mark in their order."""
        entries: dict[Key, tuple[int, Value] | None] = {**self._entries, **self._before}
        found = [(entry[0], key, entry[1]) for key, entry in entries.items() if entry is not None]
        return [(key, value) for _, key, value in sorted(found, key=lambda each: each[0])]

    def decoded(self, encoded: bytes | msgspec.Raw) -> list[tuple[Key, Value]]:
        """Return what `items` gave from its MessagePack; raise msgspec.DecodeError or UnicodeDecodeError."""
        return self._decode(encoded)

    def become(self, items: Iterable[tuple[Key, Value]]) -> None:
        """Hold these entries in this order, and nothing else."""
        self._entries = {key: (number, value) for number, (key, value) in enumerate(items, 1)}
        self._puts = len(self._entries)
        self._before.clear()
        self.size_bytes = sum(self._size(key, value) for key, value in self.items())

    def _make_room(self) -> list[tuple[Key, Value]]:
        outdone = []
        while len(self._entries) > self._limit or self.size_bytes > self._limit_bytes:
            oldest = next(iter(self._entries))
            outdone.append((oldest, self._remove(oldest)[1]))  # type: ignore[index]
        return outdone

    def _remove(self, key: Key) -> tuple[int, Value] | None:
        removed = self._entries.pop(key, None)
        self._before.setdefault(key, removed)
        if removed is not None:
            self.size_bytes -= self._size(key, removed[1])
        return removed

    def _size(self, key: Key, value: Value) -> int:
        return ENTRY_BYTES + sum(map(len, key)) + self._cost(value)
