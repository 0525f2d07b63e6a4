"""A Forward client for tests: numbered records, several messages in flight, reconnects, resends what was not acked.

    sender = ForwardSender(tcp("127.0.0.1", port), Options(name="a", mode="packed"))
    await sender.send(1000)          # returns when all 1,000 records are acknowledged
    sender.acked                     # the numbers the server has promised to keep

It behaves as Forward clients do at their best: a message counts as sent only once its chunk id came back; when the
connection ends, everything unacknowledged is sent again, in order, on the next one. Whatever the server does meanwhile
(killed, restarted, full), `acked` must be found afterwards. Every record says who it is: `log` is `NAME NUMBER`, so
`number_in` finds the number in any line or document text.
"""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import os
import re
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgpack
import msgspec
import zstandard

Mode = Literal["message", "forward", "packed", "gzip", "zstd"]
ChunkIds = Literal["named", "fluentd", "docker", "content"]
MODES: Final[tuple[Mode, ...]] = ("message", "forward", "packed", "gzip", "zstd")

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

FIRST_SECOND: Final = 1_700_000_000
"""Record n carries this time plus n microseconds, so times can be checked too."""

READ_BYTES: Final = 1 << 16


class UnexpectedAckError(AssertionError):
    """The server acknowledged something else than the oldest message in flight on this connection."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a sender behaves. `line_bytes` pads each line; `reconnect_delay_s` is the pause before it connects again.

    `ack_timeout_s` ends a connection on which nothing is acknowledged for that long. `pause_s` is waited after each
    message, to spread the sending.

    `chunk_ids` are a hash of name and numbers; random as those of fluentd or of Docker's driver; or a hash of the
    content, as Fluent Bit's, whose clients have one message in flight. After every `equal_every`-th message comes one
    that is equal to the last such, byte for byte but for the chunk id where that is random: `NAME equal G` in each
    record. A hash of the content tells such a message from a resend only if the one before it was followed by another;
    so after a cut in between, G is the next number.
    """

    name: str = "sender"
    mode: Mode = "packed"
    records_per_message: int = 10
    in_flight: int = 8
    line_bytes: int = 0
    reconnect_delay_s: float = 0.02
    ack_timeout_s: float = 10.0
    pause_s: float = 0.0
    chunk_ids: ChunkIds = "named"
    equal_every: int = 0


class Numbered(msgspec.Struct, frozen=True):
    """A message on the wire: its bytes, its chunk id, and the numbers of its records; none in one of equal records."""

    encoded: bytes
    chunk_id: str
    numbers: range


def tcp(host: str, port: int) -> Connect:
    """Return how to connect over TCP."""
    return lambda: asyncio.open_connection(host, port)


def unix(path: str) -> Connect:
    """Return how to connect to a Unix socket."""
    return lambda: asyncio.open_unix_connection(path)


def record_of(number: int | str, options: Options) -> dict[str, Any]:
    """Return the record with that number, or other text: Docker's shape."""
    line = f"{options.name} {number}"
    return {
        "container_id": hashlib.sha256(options.name.encode()).hexdigest(),
        "container_name": f"/{options.name}",
        "source": "stdout",
        "log": line.ljust(options.line_bytes, "."),
    }


def number_in(line: str, name: str) -> int | None:
    """Return the number in a line (or document) of the sender called `name`, None if it is of somebody else."""
    found = re.search(rf"\b{re.escape(name)} (\d+)", line)
    return int(found[1]) if found else None


def encode_message(numbers: range, options: Options) -> Numbered:
    """Encode one message; its chunk id is a hash of name and numbers, so a resend has the same bytes and id.

    Message mode takes exactly one number.
    """
    records = [(_event_time(number), record_of(number, options)) for number in numbers]
    identity = f"{options.name}/{numbers.start}-{numbers.stop}".encode()
    return _encode(records, numbers, options, identity)


def encode_equal(generation: int, options: Options) -> Numbered:
    """Encode a message that is equal to every other of its generation."""
    count = 1 if options.mode == "message" else options.records_per_message
    records = [(_event_time(0), record_of(f"equal {generation}", options))] * count
    return _encode(records, range(0), options, f"{options.name}/equal/{generation}".encode())


def _encode(records: list[tuple[Any, Any]], numbers: range, options: Options, identity: bytes) -> Numbered:
    tag = f"test.{options.name}"
    entries = [msgpack.packb(record) for record in records]
    packed = b"".join(entries)
    chunk_id = _chunk_id(options.chunk_ids, identity, packed)
    setting: dict[str, Any] = {"chunk": chunk_id}
    if options.mode == "message":
        ((time, record),) = records
        return Numbered(msgpack.packb([tag, time, record, setting]), chunk_id, numbers)
    setting["size"] = len(entries)
    if options.mode == "forward":
        body = msgpack.Packer().pack_array_header(len(entries)) + packed
    else:
        if options.mode == "gzip":
            half = len(entries) // 2
            packed = gzip.compress(b"".join(entries[:half])) + gzip.compress(b"".join(entries[half:]))
        elif options.mode == "zstd":
            packed = zstandard.compress(packed)
        if options.mode != "packed":
            setting["compressed"] = options.mode
        body = msgpack.packb(packed)
    return Numbered(b"\x93" + msgpack.packb(tag) + body + msgpack.packb(setting), chunk_id, numbers)


def _chunk_id(kind: ChunkIds, identity: bytes, packed: bytes) -> str:
    """Return a chunk id as such clients make them (`forward.md` section 3)."""
    match kind:
        case "fluentd":
            content, end = os.urandom(16), "\n"
        case "docker":
            content, end = int(time.time()).to_bytes(8, "little") + os.urandom(8), ""
        case "content":
            content, end = hashlib.sha512(packed).digest()[:16], ""
        case "named":
            content, end = hashlib.blake2b(identity, digest_size=16).digest(), ""
    return base64.b64encode(content).decode() + end


def _event_time(number: int) -> msgpack.ExtType:
    second, microsecond = divmod(number, 1_000_000)
    return msgpack.ExtType(0, struct.pack(">II", FIRST_SECOND + second, microsecond * 1000))


class ForwardSender:
    """One client. `sent` and `acked` are the numbers sent at least once, and acknowledged."""

    def __init__(self, connect: Connect, options: Options | None = None) -> None:
        self.options = options or Options()
        self.sent: set[int] = set()
        self.acked: set[int] = set()
        self.connections = 0
        self.resent_messages = 0
        self._connect = connect
        self.equal_sent: Counter[int] = Counter()
        self._generation = 0
        self._equal_is_open = False
        self._until_equal = self.options.equal_every
        self._next = 0
        self._queue: deque[Numbered] = deque()
        self._in_flight: deque[Numbered] = deque()
        self._room = asyncio.Condition()

    async def send(self, count: int) -> None:
        """Send the next `count` records; return when all are acknowledged. Reconnects for as long as it takes.

        May be called again. Cancel it to stop: `sent` and `acked` then say how far it came.
        """
        per_message = 1 if self.options.mode == "message" else self.options.records_per_message
        stop = self._next + count
        for start in range(self._next, stop, per_message):
            self._queue.append(encode_message(range(start, min(start + per_message, stop)), self.options))
        self._next = stop
        while self._queue or self._in_flight:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                await self._converse()
            self.resent_messages += len(self._in_flight)
            self._queue.extendleft(reversed(self._in_flight))
            self._in_flight.clear()
            self._generation += self._equal_is_open
            self._equal_is_open = False
            if self._queue:
                await asyncio.sleep(self.options.reconnect_delay_s)

    async def _converse(self) -> None:
        """Use one connection until nothing is left to send; raises OSError, EOFError or TimeoutError when it ends."""
        reader, writer = await self._connect()
        self.connections += 1
        sending = asyncio.create_task(self._write(writer))
        try:
            await self._read_acks(reader)
        finally:
            sending.cancel()
            writer.close()
            await asyncio.gather(sending, return_exceptions=True)
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while self._queue:
            async with self._room:
                await self._room.wait_for(lambda: len(self._in_flight) < self.options.in_flight)
            message = self._queue.popleft() if not self._equal_is_due() else self._equal()
            self._in_flight.append(message)
            self.sent.update(message.numbers)
            writer.write(message.encoded)
            await writer.drain()
            if self.options.pause_s:
                await asyncio.sleep(self.options.pause_s)

    def _equal_is_due(self) -> bool:
        """Whether the next message is one of equal records: not before the last such is told from a resend of it."""
        self._until_equal -= 1
        return self.options.equal_every > 0 and self._until_equal < 0 and not self._equal_is_open

    def _equal(self) -> Numbered:
        self._until_equal = self.options.equal_every
        self._equal_is_open = self.options.chunk_ids == "content"
        message = encode_equal(self._generation, self.options)
        self.equal_sent[self._generation] += 1
        return message

    async def _read_acks(self, reader: asyncio.StreamReader) -> None:
        unpacker = msgpack.Unpacker(raw=False)
        while self._queue or self._in_flight:
            # Not wait_for: until Python 3.12 it may swallow a cancellation.
            async with asyncio.timeout(self.options.ack_timeout_s):
                received = await reader.read(READ_BYTES)
            if not received:
                raise EOFError("the server closed the connection")
            unpacker.feed(received)
            for reply in unpacker:
                self._acknowledge(reply)
            async with self._room:
                self._room.notify_all()

    def _acknowledge(self, reply: object) -> None:
        oldest = self._in_flight[0].chunk_id if self._in_flight else None
        if reply != {"ack": oldest}:
            raise UnexpectedAckError(f"expected an acknowledgement of {oldest!r}, got {reply!r}")
        message = self._in_flight.popleft()
        self.acked.update(message.numbers)
        if message.numbers and self._equal_is_open:
            self._equal_is_open = False  # another one came after it on this connection
