"""A journal in memory with moods, for the contract tests of inputs: it accepts, fails now and then, refuses, or mixes.

Entries become durable when `sync` runs: by itself soon after an append, or, between `hold()` and `release()`, only when
the test says so. What became durable is copied at that moment, so a buffer that was reused too early shows.
"""

import asyncio
import enum
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from collector.journal.entry import Entry, Receipt
from tests.kit.journals import Kept, kept_of

SEED: Final = 20261123


class Mood(enum.Enum):
    """How a journal answers: each entry gets one of these receipts, drawn from a sequence with a fixed seed.

    Taken in turn they could fall into step with a sender that repeats itself, for ever.
    """

    ACCEPTS = (Receipt.DURABLE,)
    FAILS_NOW_AND_THEN = (*[Receipt.DURABLE] * 9, Receipt.RETRY)
    REFUSES = (Receipt.REJECTED,)
    MIXES = (*[Receipt.DURABLE] * 3, Receipt.RETRY, Receipt.REJECTED)


class MoodyJournal:
    """Takes the place of `collector.journal`'s writer; `durable` is what it holds, in order."""

    def __init__(self, mood: Mood = Mood.ACCEPTS) -> None:
        self.durable: list[Kept] = []
        self.full = False
        self.room = 1 << 30
        self.appended = asyncio.Event()
        self._receipts: tuple[Receipt, ...] = mood.value
        self._chance = random.Random(SEED)
        self._pending: deque[tuple[Entry, Callable[[], None]]] = deque()
        self._held = False
        self._pressure: list[Callable[[bool], None]] = []

    @property
    def room_bytes(self) -> int:
        """Enough, unless a test says otherwise."""
        return self.room

    @property
    def pending_count(self) -> int:
        """Entries whose receipt is not known yet."""
        return len(self._pending)

    def submit(self, entry: Entry, on_receipt: Callable[[], None]) -> None:
        """Take an entry; its receipt comes with the next sync."""
        self._pending.append((entry, on_receipt))
        self.appended.set()
        if not self._held:
            asyncio.get_running_loop().call_soon(self.sync)

    def hold(self) -> None:
        """Let nothing become durable until `release` or `sync`."""
        self._held = True

    def release(self) -> None:
        """Sync what is pending, and again after every append."""
        self._held = False
        self.sync()

    def sync(self, count: int | None = None) -> None:
        """Give a receipt to the first `count` pending entries, or to all."""
        for _ in range(len(self._pending) if count is None else count):
            entry, on_receipt = self._pending.popleft()
            entry.receipt = self._chance.choice(self._receipts)
            if entry.receipt is Receipt.DURABLE:
                self.durable.append(kept_of(entry))
            on_receipt()

    def on_pressure(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` when `press` is called."""
        self._pressure.append(callback)

    def press(self, *, pressed: bool) -> None:
        """Ask senders to wait, or to go on."""
        self.full = pressed
        for callback in self._pressure:
            callback(pressed)
