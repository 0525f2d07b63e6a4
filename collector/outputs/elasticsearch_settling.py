"""Which documents of which batches are not settled yet: a cursor passes a batch when nothing of it is left."""

from collections import deque
from collections.abc import Iterable

import msgspec

from pipelines.batch import Batch
from pipelines.frame import Position


class Unsettled(msgspec.Struct):
    """A batch on its way: how many of its documents are not settled yet, and how the others were.

    `stored` of them now, `found` there already, `dead` as dead letters; `diverted` of the stored stand in a failure
    store, `moved` are stored without the value of a field, which stands aside.
    """

    position: Position
    journal_time: int
    left: int
    stored: int = 0
    found: int = 0
    dead: int = 0
    diverted: int = 0
    moved: int = 0


class Settling:
    """The batches that an output has in hand, in journal order."""

    def __init__(self) -> None:
        self._batches: deque[Unsettled] = deque()
        self._known: dict[Position, Unsettled] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def begin(self, batch: Batch) -> None:
        """Take a batch in hand."""
        count = sum(len(documents.ids) for documents in batch.documents)
        entry = Unsettled(batch.position, batch.journal_time, count)
        self._batches.append(entry)
        self._known[entry.position] = entry

    def batch(self, position: Position) -> Unsettled:
        """Return a batch that is in hand."""
        return self._known[position]

    def add(self, how: str, shares: Iterable[tuple[Position, int]]) -> None:
        """Note how documents settled, by batch: as `stored`, `found` or `dead`."""
        for position, count in shares:
            entry = self._known[position]
            entry.left -= count
            setattr(entry, how, getattr(entry, how) + count)

    def mark(self, how: str, shares: Iterable[tuple[Position, int]]) -> None:
        """Note of stored documents that they were `diverted` or `moved`."""
        for position, count in shares:
            entry = self._known[position]
            setattr(entry, how, getattr(entry, how) + count)

    def passed(self) -> Position | None:
        """Let go of the batches at the front that have nothing left; return the position of the last, if any."""
        last = None
        while self._batches and not self._batches[0].left:
            last = self._batches.popleft().position
            del self._known[last]
        return last
