"""Bounded ordered maps whose changes can be undone: what a pipeline's state consists of."""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heapreplace
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import msgspec

Value = TypeVar("Value")
Key = tuple[str, ...]

ENTRY_BYTES: Final = 256
"""What an entry costs beside the texts of its key and its value."""

FAIR_PART: Final = 64
"""Of a fair section's limit this part is freed at once, so that to look who has most is not done for each entry."""


class Section(Generic[Value]):
    """Maps keys of texts to values that never change themselves, in the order in which they were put last.

    Bounded by a number of entries and by bytes: what `put` has no room for it returns, the oldest first. `cost` gives a
    value's bytes. Where `new_limit` is given, room is made by `mark` only, so that it does not matter in which order
    the values of one frame are put, but for that of the last of each key; and of keys that were not there at the mark
    it takes so many, the first ones, and no more. `mark` and `undo` take everything back that changed in between, also
    the order. A section is `lasting` where its values stay right under another configuration. Where `grouped` parts of
    a key say to which group it belongs, `in_groups` finds those of some groups without a look at the others; where it
    is `fair` too, room is made where the most entries are, of these the oldest: who puts many outdoes nobody else.
    """

    def __init__(
        self,
        kind: Any,
        *,
        limit: int,
        limit_bytes: int,
        cost: Callable[[Value], int],
        lasting: bool = True,
        new_limit: int = 0,
        grouped: int = 0,
        fair: bool = False,
    ) -> None:
        self.lasting = lasting
        self._new_limit = new_limit
        self._new = 0
        self._grouped = grouped
        self._fair = fair
        # The keys of each group, that which was put longest ago first.
        self._groups: dict[Key, dict[Key, None]] = {}
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._cost = cost
        # Each with the number of its put, and the bytes of key and value.
        self._entries: dict[Key, tuple[int, Value, int]] = {}
        self._before: dict[Key, tuple[int, Value, int] | None] = {}
        self._puts = 0
        self._decode = msgspec.msgpack.Decoder(list[tuple[Key, kind]]).decode
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def items(self) -> Iterator[tuple[Key, Value]]:
        """Yield keys and values, that which was put longest ago first."""
        return ((key, value) for key, (_, value, _) in self._entries.items())

    def in_groups(self, groups: Iterable[Key]) -> list[Key]:
        """Return the keys of these groups, that which was put longest ago first."""
        found = [key for group in groups for key in self._groups.get(group, ())]
        return sorted(found, key=lambda key: self._entries[key][0])

    def get(self, key: Key) -> Value | None:
        """Return a key's value; its place stays as it is."""
        found = self._entries.get(key)
        return found[1] if found is not None else None

    @property
    def room(self) -> int:
        """How many more new keys it takes until the next mark, where that is limited."""
        return self._new_limit - self._new

    def put(self, key: Key, value: Value) -> list[tuple[Key, Value]]:
        """Set a key's value and make it the newest; return what has no room any more."""
        if self._new_limit and key not in self._entries:
            if self.room == 0:
                return []
            self._new += 1
        self._remove(key)
        self._puts += 1
        size = self._size(key, value)
        self._entries[key] = (self._puts, value, size)
        self._put_to_group(key)
        self.size_bytes += size
        return [] if self._new_limit else self._make_room()

    def take(self, key: Key) -> Value | None:
        """Remove a key and return its value."""
        removed = self._remove(key)
        return removed[1] if removed is not None else None

    def mark(self) -> None:
        """Make what is now that to which `undo` comes back."""
        self._make_room()
        self._before.clear()
        self._new = 0

    def undo(self) -> None:
        """Take back everything since the mark."""
        self._new = 0
        if not self._before:
            return
        for key, before in self._before.items():
            present = self._entries.pop(key, None)
            self.size_bytes -= present[2] if present is not None else 0
            if before is not None:
                self._entries[key] = before
                self.size_bytes += before[2]
        self._before.clear()
        self._entries = dict(sorted(self._entries.items(), key=lambda item: item[1][0]))
        self._group_all()

    def at_mark(self) -> list[tuple[Key, Value]]:
        """Return the entries of the mark in their order."""
        entries: dict[Key, tuple[int, Value, int] | None] = {**self._entries, **self._before}
        found = [(entry[0], key, entry[1]) for key, entry in entries.items() if entry is not None]
        return [(key, value) for _, key, value in sorted(found, key=lambda each: each[0])]

    def decoded(self, encoded: bytes | msgspec.Raw) -> list[tuple[Key, Value]]:
        """Return what `items` gave from its MessagePack; raise msgspec.DecodeError or UnicodeDecodeError."""
        return self._decode(encoded)

    def become(self, items: Iterable[tuple[Key, Value]]) -> None:
        """Hold these entries in this order, and nothing else."""
        self._entries = {key: (number, value, self._size(key, value)) for number, (key, value) in enumerate(items, 1)}
        self._puts = len(self._entries)
        self._new = 0
        self._before.clear()
        self._group_all()
        self.size_bytes = sum(size for _, _, size in self._entries.values())

    def _make_room(self) -> list[tuple[Key, Value]]:
        outdone: list[tuple[Key, Value]] = []
        while len(self._entries) > self._limit or self.size_bytes > self._limit_bytes:
            keys = self._most_of_all() if self._fair else [next(iter(self._entries))]
            outdone.extend((key, self._remove(key)[1]) for key in keys)  # type: ignore[index]
        return outdone

    def _most_of_all(self) -> list[Key]:
        """Return the keys that a fair section gives up: one by one from the group that has most then.

        Of groups that have as many, from that whose first entry is the oldest: nothing but the entries decides.
        """
        most = [(-len(keys), self._entries[next(iter(keys))][0], group) for group, keys in self._groups.items()]
        heapify(most)
        parts: dict[Key, int] = {}
        for _ in range(max(1, min(self._limit, len(self._entries)) // FAIR_PART)):
            count, oldest, group = most[0]
            parts[group] = parts.get(group, 0) + 1
            heapreplace(most, (count + 1, oldest, group))
        return [key for group, part in parts.items() for key in islice(self._groups[group], part)]

    def _remove(self, key: Key) -> tuple[int, Value, int] | None:
        removed = self._entries.pop(key, None)
        self._before.setdefault(key, removed)
        if removed is not None:
            self.size_bytes -= removed[2]
            self._take_from_group(key)
        return removed

    def _put_to_group(self, key: Key) -> None:
        if self._grouped:
            self._groups.setdefault(key[: self._grouped], {})[key] = None

    def _take_from_group(self, key: Key) -> None:
        if self._grouped:
            group = self._groups[key[: self._grouped]]
            del group[key]
            if not group:
                del self._groups[key[: self._grouped]]

    def _group_all(self) -> None:
        self._groups = {}
        for key in self._entries:
            self._put_to_group(key)

    def _size(self, key: Key, value: Value) -> int:
        return ENTRY_BYTES + sum(map(len, key)) + self._cost(value)
