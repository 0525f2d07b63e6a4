"""What a watcher is given in tests: a producer that keeps its messages, health that is written down, pauses that pass.

kept, pauses = KeptMessages(), Pauses()
watching = asyncio.create_task(EngineWatch(…, producer=kept, health=kept, pause=pauses).run())
message = await kept.wait("snapshot")
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any


class KeptMessages:
    """A producer and health in memory."""

    def __init__(self, cursor: bytes = b"") -> None:
        self.messages: list[dict[str, Any]] = []
        self.cursors: list[bytes] = []
        self.payloads: list[bytes] = []
        self.health: dict[str, str] = {}
        self.told: list[str] = []
        self._cursor = cursor
        self._changed = asyncio.Condition()

    async def cursor(self) -> bytes:
        """Return the cursor of the last message."""
        return self._cursor

    async def append(self, payload: bytes, cursor: bytes) -> None:
        """Keep a message."""
        await self.append_all([(payload, cursor)])

    async def append_all(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep messages."""
        async with self._changed:
            for payload, self._cursor in messages:
                self.payloads.append(payload)
                self.messages += map(json.loads, payload.split(b"\n"))
                self.cursors.append(self._cursor)
            self._changed.notify_all()

    async def keep(self, cursor: bytes) -> None:
        """Keep a cursor alone."""
        async with self._changed:
            self._cursor = cursor
            self.cursors.append(cursor)
            self._changed.notify_all()

    def healthy(self, component: str) -> None:
        """Write down that nothing is wrong."""
        self.unhealthy(component, "")

    def unhealthy(self, component: str, reason: str) -> None:
        """Write down what is."""
        self.health[component] = reason
        self.told.append(reason)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind."""
        return [message for message in self.messages if message["kind"] == kind]

    def kinds(self) -> list[str]:
        """Return the kinds of all messages."""
        return [message["kind"] for message in self.messages]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds of what is kept."""
        async with self._changed:
            await self._changed.wait_for(holds)

    async def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for so many messages of a kind; return the last."""
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[-1]


class Pauses:
    """Takes the place of `asyncio.sleep`: pauses are over at once, but for those that are held until `release`."""

    def __init__(self, *held: float) -> None:
        self.asked: list[float] = []
        self._held = held
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()

    async def __call__(self, seconds: float) -> None:
        """Pause."""
        async with self._changed:
            self.asked.append(seconds)
            self._changed.notify_all()
        await asyncio.sleep(0)
        if seconds in self._held:
            await self._released.wait()

    async def wait_asked(self, count: int) -> None:
        """Wait until so many pauses were asked for."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.asked) >= count)

    def release(self) -> None:
        """Let those go on that are held, and hold those that come."""
        self._released.set()
        self._released = asyncio.Event()
