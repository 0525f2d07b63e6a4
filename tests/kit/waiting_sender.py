"""A well-behaved sender that notes how long each acknowledgement took: what a fault among its neighbours costs it.

    async with WaitingSender("good", from_address("127.0.0.9", port)).running() as good:
        …                                   # the fault
        await good.progress(20)             # it is served meanwhile
    good.acked, good.connections, good.times()

One message with one record in flight, a pause behind each acknowledgement; what was not acknowledged it sends again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

import msgpack

from tests.kit.forward_sender import Connect, Options, encode_message

PAUSE_S: Final = 0.01
RECONNECT_S: Final = 0.05


def from_address(address: str, port: int) -> Connect:
    """Return how to connect from a loopback address, which the collector sees as another host."""
    return lambda: asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


class WaitingSender:
    """See the module. `acked` counts records 0, 1, … that were acknowledged, `connections` how often it connected."""

    def __init__(self, name: str, connect: Connect, *, pause_s: float = PAUSE_S) -> None:
        self.name = name
        self.acked = 0
        self.connections = 0
        self.waits_s: list[float] = []
        self._connect = connect
        self._pause_s = pause_s
        self._stopping = asyncio.Event()
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Send while the block runs."""
        sending = asyncio.create_task(self._send())
        try:
            yield self
        finally:
            self._stopping.set()
            await sending

    async def progress(self, count: int) -> None:
        """Wait for so many more acknowledgements."""
        goal = self.acked + count
        async with self._moved:
            await self._moved.wait_for(lambda: self.acked >= goal)

    def times(self, since: int = 0, until: int | None = None) -> str:
        """Say how long acknowledgements took, from one number to another: for people, never for an assertion."""
        waits = sorted(self.waits_s[since:until])
        if not waits:
            return "none"
        p50, p99 = (waits[min(len(waits) * part // 100, len(waits) - 1)] * 1000 for part in (50, 99))
        return f"{len(waits)} acks, p50 {p50:.1f} ms, p99 {p99:.1f} ms"

    async def _send(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(OSError, EOFError):
                await self._converse()
            await asyncio.sleep(RECONNECT_S)

    async def _converse(self) -> None:
        reader, writer = await self._connect()
        self.connections += 1
        try:
            while not self._stopping.is_set():
                message = encode_message(range(self.acked, self.acked + 1), Options(name=self.name, mode="message"))
                expected = msgpack.packb({"ack": message.chunk_id})
                began = time.perf_counter()
                writer.write(message.encoded)
                answer = await reader.readexactly(len(expected))
                if answer != expected:
                    raise AssertionError(f"expected {expected!r}, got {answer!r}")
                self.waits_s.append(time.perf_counter() - began)
                self.acked += 1
                async with self._moved:
                    self._moved.notify_all()
                await asyncio.sleep(self._pause_s)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
