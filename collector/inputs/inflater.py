"""Inflates what takes time beside the event loop, so that nobody else waits for it.

One message at a time, for what it inflates to is in memory before the journal counts it; of each peer in turn, so that
nobody waits for more than one of each other; and what a peer's messages inflate to counts as read of it, so that bombs
come no faster than what they hold would.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from collector.inputs.peers import TURN_S

Work = tuple[Callable[[], int], "asyncio.Future[None]"]


CHECK_S: Final = 0.01
"""How often it is looked whether there is something to do, while nothing that waits may be done."""

ROOM_PARTS: Final = 2
"""Nothing is begun unless half of what may be in flight is free: what two large messages inflate to would make
everybody wait."""


class Payer(Protocol):
    """Whose message it is."""

    paid_until_s: float

    def spend(self, count: int, messages: int) -> bool:
        """Count what was done."""


class Inflater:
    """One thread, and what waits for it. Belongs to the event loop's thread.

    `room_bytes` tells what may still be in flight.
    """

    def __init__(self, room_bytes: Callable[[], int]) -> None:
        self._room_bytes = room_bytes
        self._most_room_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inflate")
        self._waiting: dict[Payer, deque[Work]] = {}
        self._is_busy = False
        self._closed = False

    def submit(self, peer: Payer, work: Callable[[], int]) -> "asyncio.Future[None]":
        """Do this for a peer when it is its turn; return a future that is done then, or has what it raised.

        The work says how many bytes it made. Once closed nothing more is done: then the future is never done.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            return done
        self._waiting.setdefault(peer, deque()).append((work, done))
        if not self._is_busy:
            self._is_busy = True
            self._next()
        return done

    def _next(self) -> None:
        """Begin with the next, if there is room, whose peer is not ahead of its rate; that goes behind all others."""
        self._is_busy = bool(self._waiting)
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        peer = next((each for each in self._waiting if each.paid_until_s <= now_s + TURN_S), None)
        if peer is None or not self._has_room():
            loop.call_later(CHECK_S, self._next)
            return
        waiting = self._waiting.pop(peer)
        work, done = waiting.popleft()
        if waiting:
            self._waiting[peer] = waiting
        running = loop.run_in_executor(self._thread, work)
        running.add_done_callback(lambda ended: self._ended(ended, peer, done))

    def _has_room(self) -> bool:
        room_bytes = self._room_bytes()
        self._most_room_bytes = max(self._most_room_bytes, room_bytes)
        return room_bytes * ROOM_PARTS >= self._most_room_bytes

    def _ended(self, ended: "asyncio.Future[int]", peer: Payer, done: "asyncio.Future[None]") -> None:
        error = ended.exception()
        if error is not None:
            done.set_exception(error)
        else:
            peer.spend(ended.result(), 0)
            done.set_result(None)
        # Behind what waits for this one: it hands on to the journal what it inflated, before there is more of it.
        asyncio.get_running_loop().call_soon(self._next)

    def close(self) -> None:
        """Begin with nothing more; what is being done ends by itself."""
        self._closed = True
        self._waiting.clear()
        self._thread.shutdown(wait=False)
