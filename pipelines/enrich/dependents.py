"""What was made of entries of the table, by the entries: so that it is made anew when one of them changes."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from pipelines.enrich.metadata import Changes
from pipelines.sections import Key

Made = TypeVar("Made")


class Dependents(Generic[Made]):
    """Things by the keys on which they depend; nothing of a table's state, so that it outlives none of its changes."""

    def __init__(self) -> None:
        self._by_key: dict[Key, list[Made]] = {}
        self._life: object = None
        self._read = 0

    def add(self, made: Made, keys: tuple[Key, ...]) -> None:
        """Note on what something depends."""
        for key in keys:
            self._by_key.setdefault(key, []).append(made)

    def clear(self) -> None:
        """Forget all."""
        self._by_key.clear()

    def may_all_be_stale(self, changes: Changes) -> bool:
        """Tell, once, whether any of it may have changed."""
        if changes.life is self._life:
            return False
        self._life, self._read = changes.life, 0
        return True

    def stale(self, changes: Changes) -> Iterator[Made]:
        """Yield what depends on an entry that changed since this was last asked."""
        changed, self._read = changes.keys[self._read :], len(changes.keys)
        for key in changed:
            yield from self._by_key.pop(key, ())
