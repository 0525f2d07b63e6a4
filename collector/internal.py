"""The intake's internal socket: producers append through it, and workers hear what has become durable.

Unix stream socket `run/intake.sock` in the data folder, mode 0600. Each message is a 32-bit big-endian length and a
MessagePack array whose first element names it. A subscriber that reads slowly is told the newest end only.
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from collector.errors import UnreachableError
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd
from pipelines.frame import Origin, Producer

MESSAGE_LIMIT_BYTES: Final = 16 << 20
SUN_PATH_BYTES: Final = 107
_length = struct.Struct(">I")


class InternalClosed(Exception):
    """The other end is gone; connect again."""


class _Subscribe(msgspec.Struct, tag="subscribe", array_like=True):
    pass


class _AskProduced(msgspec.Struct, tag="produced?", array_like=True):
    name: str


class _Append(msgspec.Struct, tag="append", array_like=True):
    producer: Producer
    encoding: str
    payload: bytes


class _Durable(msgspec.Struct, tag="durable", array_like=True):
    end: DurableEnd


class _Produced(msgspec.Struct, tag="produced", array_like=True):
    last: Producer | None


class _Receipt(msgspec.Struct, tag="receipt", array_like=True):
    receipt: Receipt


_Request = _Subscribe | _AskProduced | _Append
_Reply = _Durable | _Produced | _Receipt
_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(_Request).decode
_decode_reply = msgspec.msgpack.Decoder(_Reply).decode


class InternalJournal(Protocol):
    """What the server needs of a journal."""

    durable: DurableEnd

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Take an entry."""

    def last_produced(self, name: str) -> Producer | None:
        """Return the last durable triple of a producer."""

    def on_durable(self, callback: Callable[[DurableEnd], None]) -> None:
        """Call back after each group."""


class InternalServer:
    """Serves producers and subscribers of one intake."""

    def __init__(self, journal: InternalJournal, path: Path) -> None:
        self._journal = journal
        self._path = path
        self._server: asyncio.Server | None = None
        self._news: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        journal.on_durable(self._tell)

    async def start(self) -> None:
        """Listen; a socket file left by a killed intake is replaced (the data folder's lock says it is dead)."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.unlink(missing_ok=True)
        with _short_path(self._path) as path:
            self._server = await asyncio.start_unix_server(self._serve, path)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _tell(self, _end: DurableEnd) -> None:
        for news in self._news:
            news.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while True:
                await self._answer(_decode_request(await _receive(reader)), writer)
        except (InternalClosed, msgspec.DecodeError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, _Subscribe):
            await self._feed(writer)
        elif isinstance(request, _AskProduced):
            await _send(writer, _Produced(self._journal.last_produced(request.name)))
        else:
            origin = Origin("tidewaiter", "internal", request.producer.name)
            entry = Entry(origin, request.encoding, (request.payload,), producer=request.producer)
            await _send(writer, _Receipt(await self._journal.append(entry)))

    async def _feed(self, writer: asyncio.StreamWriter) -> None:
        news = asyncio.Event()
        self._news.add(news)
        try:
            while True:
                news.clear()
                await _send(writer, _Durable(self._journal.durable))
                await news.wait()
        finally:
            self._news.discard(news)


class InternalClient:
    """A connection to the intake; an async context manager. Every call raises InternalClosed when it is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> "InternalClient":
        """Connect."""
        try:
            with _short_path(self._path) as path:
                self._reader, self._writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise InternalClosed(str(error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def last_produced(self, name: str) -> Producer | None:
        """Return the last durable triple of this producer."""
        reply = await self._ask(_AskProduced(name))
        return reply.last if isinstance(reply, _Produced) else None

    async def append(self, producer: Producer, encoding: str, payload: bytes) -> Receipt:
        """Append one message of an internal producer."""
        reply = await self._ask(_Append(producer, encoding, payload))
        return reply.receipt if isinstance(reply, _Receipt) else Receipt.RETRY

    async def durable_ends(self) -> AsyncIterator[DurableEnd]:
        """Yield the journal's durable end, now and whenever it moved; the connection serves nothing else then."""
        await _send(self._writer, _Subscribe())
        while True:
            reply = _decode_reply(await _receive(self._reader))
            if isinstance(reply, _Durable):
                yield reply.end

    async def _ask(self, request: _Request) -> _Reply:
        await _send(self._writer, request)
        reply: _Reply = _decode_reply(await _receive(self._reader))
        return reply


async def _send(writer: asyncio.StreamWriter, message: _Request | _Reply) -> None:
    encoded = _encode(message)
    writer.write(_length.pack(len(encoded)) + encoded)
    try:
        await writer.drain()
    except ConnectionError as error:
        raise InternalClosed(str(error)) from error


async def _receive(reader: asyncio.StreamReader) -> bytes:
    try:
        (length,) = _length.unpack(await reader.readexactly(_length.size))
        if length > MESSAGE_LIMIT_BYTES:
            raise InternalClosed(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise InternalClosed("the other end is gone") from error


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Give a socket's path in a form that fits into sun_path: Linux can name the folder by a descriptor."""
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        yield str(path)
        return
    if not Path("/proc/self/fd").exists():
        raise UnreachableError(f"{path}: longer than the {SUN_PATH_BYTES} bytes a socket's path may have")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
