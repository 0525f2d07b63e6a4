"""How much Elasticsearch is given at once: bodies and requests grow step by step, and halve when it is busy or slow.

Pure but for the turns that requests take. A body that was refused is sent again in smaller ones, so a node with little
room gets little; what a 413 showed is never exceeded again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

FIRST_REQUESTS: Final = 2
"""While Elasticsearch works on one body, the next is on its way."""

SMALLEST_BODY_BYTES: Final = 4 << 10
"""Bodies are not made smaller than this, but for one that is refused: that is split down to single documents."""

STEPS: Final = 8
"""So many answers to full bodies bring the size back to what it was before it was halved, and as much again."""

STRIDES: Final = 16
"""After so many answers in a row without a refusal the step doubles: a storm is over."""

SLOW_S: Final = 15.0
"""An answer that takes longer is as good as a refusal: the next bodies are half as large."""

UNHURRIED_S: Final = 0.25
"""Only where an answer takes so long do more requests at once bring more."""


class Load:
    """Size of bodies and number of requests at once, as the answers so far allow them."""

    def __init__(self, *, body_limit_bytes: int, requests_limit: int) -> None:
        self.body_bytes = body_limit_bytes
        self.requests = min(FIRST_REQUESTS, requests_limit)
        self._ceiling_bytes = body_limit_bytes
        self._requests_limit = requests_limit
        self._step_bytes = max(body_limit_bytes // STEPS, 1)
        self._in_a_row = 0
        self._answered = 0
        self._active = 0
        self._freed = asyncio.Event()
        self._round = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """Wait until one more request may go out; yields what `eased` and `went_well` want to know of it."""
        while self._active >= self.requests:
            self._freed.clear()
            await self._freed.wait()
        self._active += 1
        try:
            yield self._round
        finally:
            self._active -= 1
            self._freed.set()

    def eased(self, sent_in: int, size_bytes: int) -> bool:
        """Halve after a refusal or a slow answer; False where the request went out before the last halving."""
        if sent_in != self._round:
            return False
        self._round += 1
        self._in_a_row = self._answered = 0
        self.requests = max(self.requests // 2, 1)
        self.body_bytes = max(min(self.body_bytes, size_bytes) // 2, min(SMALLEST_BODY_BYTES, self._ceiling_bytes))
        self._step_bytes = max(self.body_bytes // STEPS, 1)
        return True

    def went_well(self, sent_in: int, took_s: float, *, more_waits: bool) -> None:
        """Take note of an answer without refusals; `more_waits` where a further body had to wait for its turn."""
        if sent_in != self._round:
            return
        if took_s > SLOW_S:
            self.eased(sent_in, self.body_bytes)
            return
        self._in_a_row += 1
        if not self._in_a_row % STRIDES:
            self._step_bytes *= 2
        self.body_bytes = min(self.body_bytes + self._step_bytes, self._ceiling_bytes)
        if more_waits and took_s >= UNHURRIED_S:
            self._answered += 1
        if self._answered >= self.requests and self.requests < self._requests_limit:
            self.requests += 1
            self._answered = 0
            self._freed.set()

    def too_large(self, size_bytes: int, *, floor_bytes: int) -> bool:
        """Never make bodies of this size again; False where they are as small as `floor_bytes`, or smaller already."""
        limit = max(size_bytes // 2, floor_bytes)
        if limit >= self._ceiling_bytes:
            return False
        self._ceiling_bytes = limit
        self.body_bytes = min(self.body_bytes, limit)
        return True
