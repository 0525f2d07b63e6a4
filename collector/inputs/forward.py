"""Input `forward`: the Fluent Forward protocol over TCP or a Unix socket, as Docker, Fluent Bit and fluentd speak it.

    inputs:
      docker: {type: forward, listen: "0.0.0.0:24224"}
      socket: {type: forward, listen: "unix:///run/tidewaiter/forward.sock"}

Message, Forward, PackedForward and CompressedPackedForward (gzip, zstd) modes; a message that carries a chunk id is
acknowledged once it is durable, in order. Not supported: TLS, the handshake with a shared key, the JSON variant. The
heartbeat over UDP of fluentd's `heartbeat_type udp` is answered on the same port.

A sender waits when the journal does, when it has too much unacknowledged, or when it does not read its
acknowledgements. A message that the journal refuses is not acknowledged and its connection closed: there is no other
negative answer in the protocol, and the client sends it again.
"""

import asyncio
import contextlib
from collections import deque
from pathlib import Path
from typing import Final, cast

from collector.inputs.input import Appender, Counts
from collector.inputs.sockets import (
    TcpAddress,
    keep_alive,
    listening_name,
    parse_listen,
    peer_name,
    remove_socket_file,
    serve,
)
from collector.journal.arrivals import SenderConnection, client_of
from collector.journal.entry import Entry, Receipt
from collector.logs import get_logger
from collector.wire.blocks import Blocks
from collector.wire.forward import BrokenStream, ForwardDecoder
from collector.wire.forward_message import ForwardMessage, inflated
from pipelines.frame import Origin

UNACKED_LIMIT_BYTES: Final = 32 << 20
"""What one connection may have in the journal's hands; a single message may be larger."""

MESSAGE_OVERHEAD_BYTES: Final = 1 << 10
"""What a message costs beside its payload, so that a flood of tiny ones is bounded as well."""

WRITE_LIMIT_BYTES: Final = 64 << 10
"""Acknowledgements a peer may leave unread before we stop reading from it."""

LINGER_S: Final = 1.0
"""How long we read on, and throw away, after our last acknowledgement: closing at once with something unread would
reset the connection, and the peer would lose acknowledgements that it has not read yet."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long a stop waits for receipts."""

logger = get_logger("intake")
_discarded: Final = memoryview(bytearray(64 << 10))


class ForwardInput:
    """One listening address.

    `message_limit_bytes` bounds a message on the wire and inflated; who connects beyond `connection_limit` is
    disconnected. `pressed` is set by the owner while the journal asks senders to wait.
    """

    def __init__(
        self,
        *,
        name: str,
        listen: str,
        journal: Appender,
        blocks: Blocks,
        message_limit_bytes: int,
        connection_limit: int,
        unacked_limit_bytes: int = UNACKED_LIMIT_BYTES,
    ) -> None:
        self.name = name
        self.counts = Counts()
        self.journal = journal
        self.blocks = blocks
        self.message_limit_bytes = message_limit_bytes
        self.unacked_limit_bytes = unacked_limit_bytes
        self.connection_limit = connection_limit
        self.pressed = journal.full
        self.connections: set[_Connection] = set()
        self._address = parse_listen(listen)
        self._server: asyncio.Server | None = None
        self._heartbeat: asyncio.DatagramTransport | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""
        return listening_name(self._address)

    async def start(self) -> None:
        """Begin to listen; raise ListenError."""
        self._server = await serve(lambda: _Connection(self), self._address)
        if isinstance(self._address, TcpAddress):
            port = self._server.sockets[0].getsockname()[1]
            self._address = TcpAddress(self._address.host, port)
            await self._answer_heartbeats(self._address)

    async def _answer_heartbeats(self, address: TcpAddress) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._heartbeat, _ = await loop.create_datagram_endpoint(
                _Heartbeat,
                local_addr=(address.host or "0.0.0.0", address.port),  # noqa: S104 - as the operator says
            )
        except OSError as error:
            logger.warning("forward_heartbeat_not_answered", input=self.name, reason=error.strerror or str(error))

    def press(self, pressed: bool) -> None:
        """Stop reading from all senders, or go on."""
        self.pressed = pressed
        for connection in tuple(self.connections):
            connection.flow()

    async def stop_accepting(self) -> None:
        """Listen no more; connections stay."""
        if self._heartbeat is not None:
            self._heartbeat.close()
        if self._server is not None:
            self._server.close()
            if isinstance(self._address, Path):
                await asyncio.to_thread(remove_socket_file, self._address)
            self._server = None

    async def drain(self, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Stop reading, wait for receipts, send acknowledgements, close; after `timeout_s` close what is left."""
        await self.stop_accepting()
        for connection in tuple(self.connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        for connection in tuple(self.connections):
            connection.abort()

    def opened(self, connection: "_Connection") -> bool:
        """Note a new connection; False when there are too many."""
        self.counts.connections_total += 1
        if len(self.connections) >= self.connection_limit:
            self.counts.connections_refused += 1
            return False
        self.connections.add(connection)
        self.counts.connections = len(self.connections)
        self._idle.clear()
        return True

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection that has nothing in hand any more."""
        self.connections.discard(connection)
        self.counts.connections = len(self.connections)
        if not self.connections:
            self._idle.set()


class _Connection(asyncio.BufferedProtocol):
    """One peer: bytes in, entries to the journal, acknowledgements back."""

    def __init__(self, owner: ForwardInput) -> None:
        self._owner = owner
        self._decoder = ForwardDecoder(owner.blocks, limit_bytes=owner.message_limit_bytes)
        self._transport: asyncio.Transport | None = None
        self._origin = Origin(owner.name, "", "")
        self._sender = SenderConnection(b"")
        self._waiting: deque[ForwardMessage] = deque()
        self._in_flight: deque[tuple[ForwardMessage, Entry]] = deque()
        self._unacked_bytes = 0
        self._reading = True
        self._finishing = False
        self._refused = False
        self._write_paused = False
        self._has_acked = False
        self._peer_finished = False
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        kind, peer = peer_name(transport)
        self._origin = Origin(self._owner.name, kind, peer)
        self._sender = SenderConnection(client_of(self._origin))
        if not self._owner.opened(self):
            logger.warning("forward_connection_refused", input=self._owner.name, peer=peer, reason="too many")
            self._finishing = True
            self._transport.abort()
            return
        if kind == "tcp":
            keep_alive(transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        self.flow()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._decoder.writable() if self._linger is None else _discarded

    def buffer_updated(self, count: int) -> None:
        if self._linger is None:
            self._owner.counts.bytes += count
            self._take(count)

    def _take(self, count: int) -> None:
        if self._linger is not None:
            return
        try:
            self._waiting.extend(self._received(count))
            self._submit()
        except Exception:
            # The connection boundary (P7): whatever a peer's bytes provoke ends this connection and no other.
            self._owner.counts.failures += 1
            logger.exception("forward_connection_failed", input=self._owner.name, peer=self._origin.peer)
            self._refused = True
            self.finish()
            if self._transport is not None:
                self._transport.abort()
        if self._decoder.behind:
            asyncio.get_running_loop().call_soon(self._take, 0)  # others come first

    def _received(self, count: int) -> list[ForwardMessage]:
        try:
            return self._decoder.received(count)
        except BrokenStream as error:
            broken = self._owner.counts.broken
            broken[error.code] = broken.get(error.code, 0) + 1
            logger.warning(
                "forward_connection_broken",
                input=self._owner.name,
                peer=self._origin.peer,
                reason=error.reason,
                offset=error.offset,
            )
            self._finishing = True
            return error.messages

    def _submit(self) -> None:
        """Give waiting messages to the journal as far as this connection may have more in its hands."""
        owner = self._owner
        while self._waiting and self._unacked_bytes < owner.unacked_limit_bytes:
            message = self._waiting.popleft()
            if self._refused and message.ack:
                message.release()  # the client sends it again
                continue
            if message.compressed:
                message = inflated(message, limit_bytes=owner.message_limit_bytes)
            entry = Entry(
                origin=self._origin,
                encoding=message.encoding,
                payload=message.payload,
                tag=message.tag,
                chunk_id=message.chunk_id,
                claimed=message.claimed,
                connection=self._sender,
            )
            self._in_flight.append((message, entry))
            self._unacked_bytes += entry.payload_bytes + MESSAGE_OVERHEAD_BYTES
            owner.counts.messages += 1
            owner.counts.claimed_records += max(message.claimed, 0)
            owner.counts.broken_payloads += message.encoding == "forward-broken"
            owner.journal.submit(entry, self._settle)
        self.flow()
        self._close_when_done()

    def _settle(self) -> None:
        """Answer, in order, all messages whose receipts are known."""
        acks = []
        while self._in_flight and self._in_flight[0][1].receipt is not None:
            message, entry = self._in_flight.popleft()
            self._unacked_bytes -= entry.payload_bytes + MESSAGE_OVERHEAD_BYTES
            message.release()
            if entry.receipt is not Receipt.DURABLE:
                self._refuse()
            elif message.ack and not self._refused:
                acks.append(message.ack)
        transport = self._transport
        if acks and transport is not None and not transport.is_closing():
            # Several acks share a write only when several were due at once: who waits for each gets each by itself.
            self._has_acked = True
            self._owner.counts.acks += len(acks)
            transport.write(b"".join(acks))
        if self._waiting or not self._reading:
            self._submit()
        elif self._finishing:
            self._close_when_done()

    def _refuse(self) -> None:
        self._owner.counts.refused += 1
        if not self._refused:
            self._refused = self._finishing = True
            logger.warning("forward_message_refused", input=self._owner.name, peer=self._origin.peer)

    def flow(self) -> None:
        """Read, or let the sender wait."""
        held_back = self._waiting or self._decoder.behind or self._unacked_bytes >= self._owner.unacked_limit_bytes
        wait = self._finishing or self._owner.pressed or self._write_paused or held_back
        reading = self._linger is not None or not wait
        if reading == self._reading or self._transport is None:
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._write_paused = True
        self.flow()

    def resume_writing(self) -> None:
        self._write_paused = False
        self.flow()

    def eof_received(self) -> bool:
        """The peer sends no more, and may still read: acknowledgements go out before we close."""
        self._peer_finished = True
        self._sender.end()
        self.finish()
        return True

    def finish(self) -> None:
        """Read no more; close once what is in hand has been answered."""
        self._finishing = True
        self.flow()
        self._close_when_done()

    def abort(self) -> None:
        """Close now, and forget what is in hand."""
        if self._transport is not None:
            self._transport.abort()
        self._owner.closed(self)

    def _close_when_done(self) -> None:
        transport = self._transport
        done = not self._waiting and not self._in_flight
        if transport is None:
            if done:
                self._owner.closed(self)
        elif self._finishing and (done or self._refused):
            self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        if self._peer_finished or not self._has_acked:
            transport.close()
        elif self._linger is None and not transport.is_closing():
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
            transport.write_eof()
            self.flow()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._transport = None
        self._finishing = True
        if self._decoder.unfinished_bytes:
            self._owner.counts.unfinished += 1
        self._decoder.close()
        self._sender.end()
        self._close_when_done()


class _Heartbeat(asyncio.DatagramProtocol):
    """Answers one zero byte with one zero byte, and nothing else: no datagram is ever answered by a longer one."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data == b"\0" and self._transport is not None:
            self._transport.sendto(b"\0", addr)
