"""Input `forward`: the Fluent Forward protocol over TCP or a Unix socket, as Docker, Fluent Bit and fluentd speak it.

    inputs:
      docker: {type: forward, listen: "0.0.0.0:24224"}
      socket: {type: forward, listen: "unix:///run/tidewaiter/forward.sock"}

Message, Forward, PackedForward and CompressedPackedForward (gzip, zstd) modes; a message that carries a chunk id is
acknowledged once it is durable, in order. Where it is demanded, over TLS and with the handshake (`inputs.proof`). The
heartbeat over UDP of fluentd's `heartbeat_type udp` is answered on the same port. Not supported: the JSON variant.

A sender waits when the journal does, when it has too much unacknowledged, or when it does not read its
acknowledgements. A message that the journal refuses is not acknowledged and its connection closed: there is no other
negative answer in the protocol, and the client sends it again.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from collector.config import ForwardInputConfig, ListeningInputConfig
from collector.inputs.admission import Admission
from collector.inputs.forward_connection import ForwardConnection
from collector.inputs.inflater import Inflater
from collector.inputs.input import Appender
from collector.inputs.peers import Peer, Places, Traffic
from collector.inputs.proof import Proof, asks_clients_alike
from collector.inputs.sockets import Server, TcpAddress, doubles, listening_name, parse_listen, remove_socket_file
from collector.inputs.tls_listener import TlsListener, listen
from collector.logs import get_logger
from collector.wire.blocks import Blocks

LOOK_INTERVAL_S: Final = 5.0
"""How often connections are looked at that may be stuck or idle."""

ROOM_PARTS: Final = 20
"""Room for so large a part of the connections is made when the limit is near: one in twenty."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long a stop waits for receipts."""

logger = get_logger("intake")


class ForwardInput:
    """One listening address, with the limits of its options.

    `collector` is the collector's name; `places` are shared with other inputs. `pressed` is set by the owner while the
    journal asks senders to wait; `now_s` is the time of the last `tick`.
    """

    def __init__(
        self,
        *,
        name: str,
        options: ForwardInputConfig,
        journal: Appender,
        blocks: Blocks,
        collector: str,
        places: Places | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.options = options
        self._admission = Admission(name, kind="forward", limits=options, blocks=blocks, places=places, clock=clock)
        self.counts = self._admission.counts
        self.refusals = self._admission.refusals
        self.journal = journal
        self.blocks = blocks
        self.inflater = Inflater(lambda: journal.room_bytes)
        self.pressed = journal.full
        self.connections: set[ForwardConnection] = set()
        self.proof: Proof | None = None
        self.now_s = clock()
        self._collector = collector
        self._clock = clock
        self._looked_s = self.now_s
        self._address = parse_listen(options.listen)
        self._server: Server | None = None
        self._heartbeat: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""
        return listening_name(self._address)

    async def start(self, bound: Sequence[socket.socket] = ()) -> None:
        """Begin to listen, on the sockets that are `bound` already where there are some; raise ListenError."""
        self.proof = self.load(self.options)
        self._server = server = await listen(
            self,
            lambda: ForwardConnection(self),
            self._address,
            tls=self.proof.tls,
            timeout_s=self.options.handshake_timeout,
            bound=bound,
        )
        if isinstance(self._address, TcpAddress):
            port = server.sockets[0].getsockname()[1]
            self._address = TcpAddress(self._address.host, port)
            await self._answer_heartbeats(self._address)

    def load(self, options: ForwardInputConfig) -> Proof:
        """Read the keys and certificates that options name; raise ListenError."""
        return Proof(options, collector=self._collector)

    def keeps(self, options: ListeningInputConfig) -> bool:
        """Tell whether under these options senders come in by the same door, and who is in has proven enough."""
        mine = self.options
        return (
            isinstance(options, ForwardInputConfig)
            and (options.listen, options.shared_key) == (mine.listen, mine.shared_key)
            and asks_clients_alike(mine.tls, options.tls)
            and options.client_keys.items() >= mine.client_keys.items()
            and options.users.items() >= mine.users.items()
            and bool(options.client_keys or options.users) == bool(mine.client_keys or mine.users)
        )

    def change(self, options: ForwardInputConfig, proof: Proof) -> None:
        """Hold others to these options from now on; connections that stand stay."""
        self.options = options
        self._admission.change(options)
        if self._server is None:
            return  # it does not listen yet, and begins with these
        self.proof = proof
        if isinstance(self._server, TlsListener) and proof.tls is not None:
            self._server.renew(proof.tls, timeout_s=options.handshake_timeout)

    def listening_sockets(self) -> list[socket.socket]:
        """Return sockets of the caller's own that listen where this input does; none while it does not."""
        return doubles(self._server) if self._server is not None else []

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
                await self._admission.idle.wait()
        for connection in tuple(self.connections):
            connection.abort()
        self.inflater.close()

    def admit(self, peer: str) -> bool:
        """Note a new connection of a peer; False when it is one too many."""
        return self._admission.admit(peer)

    def leave(self, peer: str) -> None:
        """Forget a connection that was admitted and has nothing in hand any more."""
        self._admission.leave(peer)

    def peer(self, name: str) -> Peer:
        """Return what the connections of a peer that was admitted share."""
        return self._admission.peer(name)

    def unproven(self, peer: str, reason: str, claimed: str = "") -> None:
        """Note that a peer failed to prove who it is."""
        self._admission.unproven(peer, reason, claimed)

    def traffic(self) -> Traffic:
        """Return what came of late, and who sent most of it."""
        return self._admission.traffic()

    def tick(self) -> None:
        """Look after connections that are silent or stuck."""
        self.now_s = self._clock()
        if self.now_s - self._looked_s < LOOK_INTERVAL_S:
            return
        if not self.pressed:
            self._admission.age(self.now_s - self._looked_s)
        self._looked_s = self.now_s
        for connection in [each for each in self.connections if each.is_stalled(self.options.stall_timeout)]:
            self.counts.stalled += 1
            logger.warning("forward_connection_stalled", input=self.name, peer=connection.peer)
            connection.abort()
        limit = self._admission.limit
        wanted = self._admission.connections - limit + limit // ROOM_PARTS
        if wanted > 0:
            idle = sorted((each for each in self.connections if each.is_idle), key=lambda each: each.heard_s)
            for connection in idle[:wanted]:
                if self.now_s - connection.heard_s >= self.options.idle_timeout:
                    self.counts.idle += 1
                    connection.finish()


class _Heartbeat(asyncio.DatagramProtocol):
    """Answers one zero byte with one zero byte, and nothing else: no datagram is ever answered by a longer one."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data == b"\0" and self._transport is not None:
            self._transport.sendto(b"\0", addr)
