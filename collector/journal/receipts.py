"""Entries on their way into the journal, and their answers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from collector.journal.entry import Entry, Receipt
from collector.journal.format import PORTION


class Pending(msgspec.Struct):
    """An entry on its way. Entries of a producer that repeat it get the same answer.

    A long one may be written in portions: `now` is what the present group writes of it, `taken_bytes` of its payload
    are taken so far, and it `is_begun` until all are.
    """

    entry: Entry
    on_receipt: Callable[[], None]
    repeats: "Sequence[Pending]" = ()
    now: Entry | None = None
    is_begun: bool = False
    taken_bytes: int = 0
    _left: deque[memoryview] | None = None
    _portions: tuple[tuple[int, int], ...] = ()

    @property
    def left_bytes(self) -> int:
        """What is left to be written behind the present group of what is begun."""
        return self.entry.payload_bytes - self.taken_bytes if self.is_begun else 0

    def take_portion(self, size_bytes: int) -> None:
        """Let the present group write the next `size_bytes`; that is less than what is left."""
        if self._left is None:
            self._left = deque(memoryview(buffer) for buffer in self.entry.payload)
        self.is_begun = True
        self.taken_bytes += size_bytes
        portion: list[memoryview] = []
        while size_bytes:
            buffer = self._left.popleft()
            if len(buffer) > size_bytes:
                self._left.appendleft(buffer[size_bytes:])
                buffer = buffer[:size_bytes]
            size_bytes -= len(buffer)
            portion.append(buffer)
        self.now = Entry(self.entry.origin, PORTION, portion, claimed=0)

    def stands(self, sequence: int, offset: int) -> None:
        """Take note where the portion stands that is durable now."""
        self._portions += ((sequence, offset),)

    def take_rest(self) -> None:
        """Let the present group write all that is left."""
        if self._left is not None:
            self.now = msgspec.structs.replace(self.entry, payload=tuple(self._left), portions=self._portions)
            self._left = None
        self.is_begun = False


def answer(group: Sequence[Pending], receipt: Receipt) -> None:
    """Give the same receipt to all, then tell each; who fails at that hurts no other."""
    for pending in group:
        pending.entry.receipt = receipt
    for pending in group:
        try:
            pending.on_receipt()
        except Exception as error:
            report = {"message": "a receipt could not be handed on", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)
        if pending.repeats:
            answer(pending.repeats, receipt)
