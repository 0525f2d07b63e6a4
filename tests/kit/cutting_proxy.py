"""A TCP proxy that does to connections what networks do: cuts them, holds them back, loses one end's farewell.

    async with CuttingProxy("127.0.0.1", port, source="127.0.0.7") as proxy:
        … connect to 127.0.0.1:proxy.port …
        proxy.cut("reset")

`source` is the loopback address that the server sees, so that several proxies are several hosts.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final, Literal, Self

Cut = Literal["reset", "close", "half-open"]
CUTS: Final[tuple[Cut, ...]] = ("reset", "close", "half-open")
"""Both ends reset; both closed; the client's end reset, while the server hears nothing more and no farewell."""

PIECE_BYTES: Final = 1 << 16


class _Pair:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.pumps: list[asyncio.Task[None]] = []

    def cut(self, how: Cut) -> None:
        for pump in self.pumps:
            pump.cancel()
        # The server's end first: what it hears of a dead connection it hears before the next one.
        if how != "half-open":
            _end(self.server, reset=how == "reset")
        _end(self.client, reset=how != "close")


class CuttingProxy:
    """See the module. Belongs to the event loop's thread."""

    def __init__(self, host: str, port: int, *, source: str) -> None:
        self._target = (host, port)
        self._source = source
        self._server: asyncio.Server
        self._pairs: set[_Pair] = set()
        self._orphans: list[asyncio.StreamWriter] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything."""
        self._server.close()
        self.cut("reset")
        for orphan in self._orphans:
            _end(orphan, reset=True)

    def cut(self, how: Cut) -> int:
        """End all connections; return how many."""
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.cut(how)
            if how == "half-open":
                self._orphans.append(pair.server)
        return len(pairs)

    def hold(self) -> None:
        """Let nothing through, in either direction, until `release`."""
        self._flowing.clear()

    def release(self) -> None:
        """Let through again what was held back."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection(*self._target, local_addr=(self._source, 0))
        except OSError:
            _end(writer, reset=True)
            return
        pair = _Pair(writer, server)
        self._pairs.add(pair)
        pair.pumps = [
            asyncio.create_task(self._pump(reader, server)),
            asyncio.create_task(self._pump(server_reader, writer)),
        ]
        await asyncio.wait(pair.pumps, return_when=asyncio.FIRST_COMPLETED)
        if pair in self._pairs:
            self._pairs.discard(pair)
            pair.cut("close")

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(PIECE_BYTES):
                await self._flowing.wait()
                target.write(piece)
                await target.drain()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        connection = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
