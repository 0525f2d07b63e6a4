"""The intake's internal socket: producers append through it, and workers hear what has become durable.

A worker in which something waits asks for ticks: small frames that hold nothing, by which journal time goes on.

Unix stream socket `run/intake.sock` in the data folder, mode 0600. Each message is a 32-bit big-endian length and a
MessagePack array whose first element names it. A subscriber that reads slowly is told the newest end only; at a close
every subscriber is told the last one before the connection ends.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from collector.config import OWN_INPUT
from collector.config_values import UNIX_PATH_LIMIT_BYTES
from collector.errors import UnreachableError
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd
from pipelines.frame import Origin, Producer

MESSAGE_LIMIT_BYTES: Final = 16 << 20
"""Largest message; a longer one ends the connection unread."""

CONNECTION_LIMIT: Final = 64
"""Connections at once: a few of the supervisor, the worker and each watcher."""

CLOSE_LIMIT_S: Final = 1.0
"""How long a close waits for replies that are due and for subscribers to be told the last end."""

TICK_ENCODING: Final = "tick"
"""Of what is appended so that journal time goes on."""

TICK_ORIGIN: Final = Origin(OWN_INPUT, "internal", "clock")

TICK_INTERVAL_S: Final = 0.25
"""There are no more ticks than that, whoever asks how often."""

FEED_INTERVAL_S: Final = 0.02
"""Pause after a durable end was told. Told of each group, a worker would wake a thousand times a second and make as
many small requests, with the core that senders wait for (measured: the p99 of 200 waiting senders)."""

FEED_BUFFER_BYTES: Final = 4 << 10
"""What the operating system keeps for a subscriber that does not read."""

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
    input: str = OWN_INPUT
    peer: str = ""
    urgent: bool = False


class _AppendAll(msgspec.Struct, tag="append-all", array_like=True):
    appends: list[_Append]


class _Tick(msgspec.Struct, tag="tick", array_like=True):
    pass


class _Durable(msgspec.Struct, tag="durable", array_like=True):
    end: DurableEnd


class _Produced(msgspec.Struct, tag="produced", array_like=True):
    last: Producer | None


class _Receipt(msgspec.Struct, tag="receipt", array_like=True):
    receipt: Receipt


class _Receipts(msgspec.Struct, tag="receipts", array_like=True):
    receipts: list[Receipt]


_Request = _Subscribe | _AskProduced | _Append | _AppendAll | _Tick
_Reply = _Durable | _Produced | _Receipt | _Receipts
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
        self._closing = asyncio.Event()
        self._ticked_s = -TICK_INTERVAL_S
        journal.on_durable(self._tell)

    async def start(self) -> None:
        """Listen; a socket file left by a killed intake is replaced (the data folder's lock says it is dead)."""
        self._server = await asyncio.start_server(self._serve, sock=bound_socket(self._path))

    async def close(self) -> None:
        """Answer what was asked, tell every subscriber the last end, and hang up."""
        if self._server is not None:
            self._server.close()
        self._closing.set()
        self._wake()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _tell(self, _end: DurableEnd) -> None:
        self._wake()

    def _wake(self) -> None:
        for news in self._news:
            news.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= CONNECTION_LIMIT:
            writer.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        closing = asyncio.create_task(self._closing.wait())
        try:
            while (received := await _received_before(closing, reader)) is not None:
                await self._answer(_decode_request(received), reader, writer)
        except (InternalClosed, msgspec.DecodeError, ConnectionError):
            return
        finally:
            closing.cancel()
            writer.close()

    async def _answer(self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, _Subscribe):
            await self._feed(reader, writer)
        elif isinstance(request, _AskProduced):
            await _send(writer, _Produced(self._journal.last_produced(request.name)))
        elif isinstance(request, _Tick):
            await _send(writer, _Receipt(await self._tick()))
        elif isinstance(request, _AppendAll):
            # All are with the journal before it answers for one: behind one that is not kept, it keeps none.
            answers = [self._journal.append(_entry_of(each)) for each in request.appends]
            await _send(writer, _Receipts([await answer for answer in answers]))
        else:
            await _send(writer, _Receipt(await self._journal.append(_entry_of(request))))

    async def _tick(self) -> Receipt:
        """Append a tick, unless one was appended just now."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._ticked_s < TICK_INTERVAL_S:
            return Receipt.RETRY
        self._ticked_s = now_s
        return await self._journal.append(Entry(TICK_ORIGIN, TICK_ENCODING, (b"",)))

    async def _feed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the durable end, and again when it moved, at most every FEED_INTERVAL_S and as the reader reads.

        A subscriber says nothing more, so the end of what it sends is its own.
        """
        news = asyncio.Event()
        self._news.add(news)
        gone = asyncio.create_task(_ended(reader))
        gone.add_done_callback(lambda _: news.set())
        # Small buffers, so that what a slow reader has not read yet is few old ends and then the newest.
        writer.transport.set_write_buffer_limits(high=0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEED_BUFFER_BYTES)
        sent: DurableEnd | None = None
        try:
            while not gone.done():
                news.clear()
                if (end := self._journal.durable) != sent:
                    await _send(writer, _Durable(end))
                    sent = end
                    await asyncio.wait({gone}, timeout=FEED_INTERVAL_S)
                elif self._closing.is_set():
                    return
                else:
                    await news.wait()
        finally:
            gone.cancel()
            self._news.discard(news)


def _entry_of(request: _Append) -> Entry:
    origin = Origin(request.input, "internal", request.peer or request.producer.name)
    return Entry(origin, request.encoding, (request.payload,), producer=request.producer, urgent=request.urgent)


async def _received_before(closing: asyncio.Task[bool], reader: asyncio.StreamReader) -> bytes | None:
    """Return the next request, None when the server closes and none is being read."""
    receiving = asyncio.create_task(_receive(reader))
    try:
        await asyncio.wait({closing, receiving}, return_when=asyncio.FIRST_COMPLETED)
        return await receiving if receiving.done() else None
    finally:
        receiving.cancel()


class InternalClient:
    """A connection to the intake; an async context manager. Every call raises InternalClosed when it is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> "InternalClient":
        """Connect."""
        try:
            with short_path(self._path) as path:
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

    async def append(self, producer: Producer, encoding: str, payload: bytes, *, urgent: bool = False) -> Receipt:
        """Append one message of an internal producer; one that is `urgent` to a full journal as well."""
        reply = await self._ask(_Append(producer, encoding, payload, urgent=urgent))
        return reply.receipt if isinstance(reply, _Receipt) else Receipt.RETRY

    async def append_all(
        self, messages: Sequence[tuple[Producer, bytes]], encoding: str, *, input_name: str, peer: str
    ) -> list[Receipt]:
        """Append messages that rise in sequence; `peer` is whom the producer has them of. Returns a receipt of each.

        Behind one that was not kept, none is: what is kept is always a beginning of them.
        """
        appends = [_Append(producer, encoding, payload, input_name, peer) for producer, payload in messages]
        reply = await self._ask(_AppendAll(appends))
        return reply.receipts if isinstance(reply, _Receipts) else [Receipt.RETRY] * len(appends)

    async def tick(self) -> bool:
        """Let journal time go on, for what waits for it; return whether a frame was appended for that."""
        reply = await self._ask(_Tick())
        return isinstance(reply, _Receipt) and reply.receipt is Receipt.DURABLE

    async def durable_ends(self) -> AsyncGenerator[DurableEnd, None]:
        """Yield the journal's durable end, now and whenever it moved; the connection serves nothing else then."""
        await _send(self._writer, _Subscribe())
        while True:
            reply = await self._reply()
            if isinstance(reply, _Durable):
                yield reply.end

    async def _ask(self, request: _Request) -> _Reply:
        await _send(self._writer, request)
        return await self._reply()

    async def _reply(self) -> _Reply:
        try:
            reply: _Reply = _decode_reply(await _receive(self._reader))
        except msgspec.DecodeError as error:
            raise InternalClosed("the other end does not speak our protocol") from error
        return reply


async def _send(writer: asyncio.StreamWriter, message: _Request | _Reply) -> None:
    encoded = _encode(message)
    if len(encoded) > MESSAGE_LIMIT_BYTES:
        raise ValueError(f"a message of {len(encoded)} bytes is over the limit of {MESSAGE_LIMIT_BYTES}")
    if writer.is_closing():
        raise InternalClosed("the other end is gone")
    writer.write(_length.pack(len(encoded)) + encoded)
    try:
        await writer.drain()
    except ConnectionError as error:
        raise InternalClosed(str(error)) from error


async def _ended(reader: asyncio.StreamReader) -> None:
    """Return when the other end hangs up, or says what it should not."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    try:
        (length,) = _length.unpack(await reader.readexactly(_length.size))
        if length > MESSAGE_LIMIT_BYTES:
            raise InternalClosed(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise InternalClosed("the other end is gone") from error


def bound_socket(path: Path) -> socket.socket:
    """Return a Unix stream socket at `path` that only we may connect to. Raises OSError.

    A file that is there was left by one who was killed: the data folder's lock says so.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as name:
        bound.bind(name)
    path.chmod(0o600)
    return bound


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a socket's path in a form that fits into sun_path: Linux can name the folder by a descriptor."""
    if len(os.fsencode(path)) <= UNIX_PATH_LIMIT_BYTES:
        yield str(path)
        return
    if not Path("/proc/self/fd").exists():
        raise UnreachableError(f"{path}: longer than the {UNIX_PATH_LIMIT_BYTES} bytes a socket's path may have")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
