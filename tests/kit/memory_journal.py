"""A journal in memory for what stands behind the internal socket: it answers as it is told, and keeps what it took."""

import asyncio
from collections.abc import Callable

from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd
from pipelines.frame import Position, Producer


class MemoryJournal:
    """Makes everything durable at once, or answers with the receipts it was given first."""

    def __init__(self) -> None:
        self.durable = DurableEnd("a", 0, Position(0, 1, 0))
        self.entries: list[Entry] = []
        self.receipts: list[Receipt] = []
        self.produced: dict[str, Producer] = {}
        self._callbacks: list[Callable[[DurableEnd], None]] = []

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Answer with the next receipt."""
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer = self.receipts.pop(0) if self.receipts else Receipt.DURABLE
        producer = entry.producer
        last = self.produced.get(producer.name) if producer is not None else None
        if answer is Receipt.DURABLE and (producer is None or last is None or producer.sequence > last.sequence):
            self.entries.append(entry)
            self.grow()
            if producer is not None:
                self.produced[producer.name] = producer
        receipt.set_result(answer)
        return receipt

    def grow(self) -> None:
        """Let one more frame be durable."""
        end = self.durable
        self.durable = DurableEnd(
            end.segment, end.offset + 1, end.position._replace(sequence=end.position.sequence + 1)
        )
        for callback in self._callbacks:
            callback(self.durable)

    def last_produced(self, name: str) -> Producer | None:
        """Return the last triple of a producer."""
        return self.produced.get(name)

    def on_durable(self, callback: Callable[[DurableEnd], None]) -> None:
        """Call back at each growth."""
        self._callbacks.append(callback)
