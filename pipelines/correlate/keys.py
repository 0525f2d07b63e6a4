"""The groups of one correlation and their states, bounded by bytes.

Who is forgotten first for want of room has come least far, and of these came longest ago: one event of a hundred goes
before ninety-nine. So groups stand by how far they are, in the order in which their last events came.
"""

from collections.abc import Iterator
from typing import Final

State = bytes | bytearray

LEVELS: Final = 8
"""So finely it is told how far a group is."""

KEY_BYTES: Final = 128
"""What a group costs beside the bytes of its name and its state: two objects and a slot of a table."""


class Keys:
    """States by group; `size_bytes` is what they take, about."""

    def __init__(self) -> None:
        self._levels: list[dict[bytes, State]] = [{} for _ in range(LEVELS)]
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return the number of groups."""
        return sum(map(len, self._levels))

    def get(self, key: bytes) -> State | None:
        """Return a group's state."""
        for level in self._levels:
            state = level.get(key)
            if state is not None:
                return state
        return None

    def take(self, key: bytes) -> State | None:
        """Remove a group and return its state."""
        for level in self._levels:
            state = level.pop(key, None)
            if state is not None:
                self.size_bytes -= KEY_BYTES + len(key) + len(state)
                return state
        return None

    def put(self, key: bytes, state: State, level: int) -> None:
        """Set the state of a group that is not there, as the newest of its level."""
        self._levels[level][key] = state
        self.size_bytes += KEY_BYTES + len(key) + len(state)

    def items(self) -> Iterator[tuple[int, bytes, State]]:
        """Yield levels, groups and states; of a level that which came longest ago first."""
        for number, level in enumerate(self._levels):
            for key, state in level.items():
                yield number, key, state

    def oldest(self) -> Iterator[Iterator[tuple[bytes, State]]]:
        """Yield the groups of each level, that which came longest ago first; nothing may change meanwhile."""
        return (iter(level.items()) for level in self._levels)

    def evict(self, wanted_bytes: int) -> list[bytes]:
        """Remove groups until so many bytes are free, and return them."""
        gone: list[bytes] = []
        freed = 0
        for level in self._levels:
            names = []
            for key, state in level.items():
                if freed >= wanted_bytes:
                    break
                freed += KEY_BYTES + len(key) + len(state)
                names.append(key)
            for key in names:
                del level[key]
            gone += names
        self.size_bytes -= freed
        return gone
