"""Inflates what takes time beside the event loop, so that nobody else waits for it.

One message at a time, for what it inflates to is in memory before the journal counts it; and of each peer in turn, so
that nobody waits for more than one of each other.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from collector.inputs.sockets import neighbours_of

Work = tuple[Callable[[], None], "asyncio.Future[None]"]


class Inflater:
    """One thread, and what waits for it. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inflate")
        self._waiting: dict[str, deque[Work]] = {}
        self._is_busy = False
        self._closed = False

    def submit(self, peer: str, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Do this for a peer when it is its turn; return a future that is done then, or has what it raised.

        Once closed it does nothing more: then the future is never done.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            return done
        self._waiting.setdefault(neighbours_of(peer), deque()).append((work, done))
        if not self._is_busy:
            self._next()
        return done

    def _next(self) -> None:
        """Begin with the next; the peer goes behind all others."""
        peer = next(iter(self._waiting), None)
        self._is_busy = peer is not None
        if peer is None:
            return
        waiting = self._waiting.pop(peer)
        work, done = waiting.popleft()
        if waiting:
            self._waiting[peer] = waiting
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        running.add_done_callback(lambda ended: self._ended(ended, done))

    def _ended(self, ended: "asyncio.Future[None]", done: "asyncio.Future[None]") -> None:
        error = ended.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)
        # Behind what waits for this one: it hands on to the journal what it inflated, before there is more of it.
        asyncio.get_running_loop().call_soon(self._next)

    def close(self) -> None:
        """Begin with nothing more; what is being done ends by itself."""
        self._closed = True
        self._waiting.clear()
        self._thread.shutdown(wait=False)
