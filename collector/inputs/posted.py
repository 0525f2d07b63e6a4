"""What inputs share that are posted to over HTTP/1.1, `kubernetes_audit` and `http`: who may connect, and the stop.

What becomes of a request: `collector.inputs.http_request`.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from aiohttp import web
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from collector.config import ListeningInputConfig
from collector.config_http import PostedInputConfig
from collector.inputs import http_request, sockets, tls_listener
from collector.inputs.admission import Admission
from collector.inputs.http_connection import HttpConnection
from collector.inputs.http_proof import Credentials
from collector.inputs.http_request import Exchange
from collector.inputs.inflater import Inflater
from collector.inputs.input import Appender
from collector.inputs.peers import Peer, Places, Traffic
from collector.inputs.proof import TlsServer, asks_clients_alike
from collector.inputs.sockets import TcpAddress, doubles, listening_name, parse_listen, remove_socket_file
from collector.inputs.tls_listener import TlsListener
from collector.journal.entry import Buffer
from collector.logs import Recurring, get_logger
from collector.wire.blocks import Blocks

AGE_INTERVAL_S: Final = 5.0
"""How often what was sent before is let count for less."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long a stop waits for receipts."""

ROOM_PARTS: Final = 20
"""Room for so large a part of the connections is made when the limit is near: one in twenty."""

SILENT_S: Final = 5.0
"""A connection that has asked nothing for so long may be closed to make room."""

logger = get_logger("intake")


class PostedInput:
    """One listening address, with the limits of its options.

    `places` are shared with other inputs; `pressed` is set by the owner while the journal asks senders to wait.
    `encoding` is that of the messages; a kind of input may give each body a `tag` and a chunk id. `draining` says
    that it is being stopped; `now_s` is the time of the last `tick`; `credentials` are there once it was started.
    """

    encoding: str
    credentials: Credentials

    def __init__(
        self,
        *,
        name: str,
        options: PostedInputConfig,
        listen: str,
        journal: Appender,
        blocks: Blocks,
        places: Places | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.options = options
        self.journal = journal
        self.pressed = journal.full
        self.connections: set[HttpConnection] = set()
        self._admission = Admission(name, kind="http", limits=options, blocks=blocks, places=places, clock=clock)
        self.counts = self._admission.counts
        self.refusals = self._admission.refusals
        self.inflater = Inflater(lambda: 0 if self.pressed else journal.room_bytes)
        self._listen = listen
        self._address = parse_listen(listen)
        self._clock = clock
        self.now_s = clock()
        self._aged_s = self.now_s
        self.draining = False
        self._flowing = asyncio.Event()
        self._listener: sockets.Server | None = None
        self._told: dict[str, Recurring] = {}
        self.press(self.pressed)

    def tag(self, request: BaseRequest) -> bytes:
        """Return what the message is tagged with."""
        return b""

    def chunk_id(self, payload: list[Buffer]) -> bytes:
        """Return what tells that a body is sent again; empty where nothing does."""
        return b""

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""
        return listening_name(self._address)

    async def start(self, bound: Sequence[socket.socket] = ()) -> None:
        """Begin to listen, on the sockets that are `bound` already where there are some; raise ListenError."""
        options = self.options
        self.credentials, tls = self.load(options)
        server = Server(self.handle, handler_cancellation=False)
        loop = asyncio.get_running_loop()
        self._listener = await tls_listener.listen(
            self,
            lambda: HttpConnection(self, server, loop),
            self._address,
            tls=tls,
            timeout_s=options.handshake_timeout,
            bound=bound,
        )
        if isinstance(self._address, TcpAddress):
            self._address = TcpAddress(self._address.host, self._listener.sockets[0].getsockname()[1])

    def load(self, options: PostedInputConfig) -> tuple[Credentials, TlsServer | None]:
        """Read the tokens, passwords and certificates that options name; raise ListenError."""
        return Credentials(options), TlsServer(options.tls) if options.tls is not None else None

    def keeps(self, options: ListeningInputConfig) -> bool:
        """Tell whether under these options senders come in by the same door; each request proves itself anew."""
        mine = self.options
        return (
            type(options) is type(mine) and options.listen == self._listen and asks_clients_alike(mine.tls, options.tls)
        )

    def change(self, options: PostedInputConfig, proof: tuple[Credentials, TlsServer | None]) -> None:
        """Hold others to these options from now on; connections that stand stay."""
        self.options = options
        self._admission.change(options)
        if self._listener is None:
            return  # it does not listen yet, and begins with these
        self.credentials, tls = proof
        if isinstance(self._listener, TlsListener) and tls is not None:
            self._listener.renew(tls, timeout_s=options.handshake_timeout)

    def listening_sockets(self) -> list[socket.socket]:
        """Return sockets of the caller's own that listen where this input does; none while it does not."""
        return doubles(self._listener) if self._listener is not None else []

    def press(self, pressed: bool) -> None:
        """Let all senders wait, or go on."""
        self.pressed = pressed
        if pressed and not self.draining:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def stop_accepting(self) -> None:
        """Listen no more; connections stay."""
        if self._listener is not None:
            self._listener.close()
            if isinstance(self._address, Path):
                await asyncio.to_thread(remove_socket_file, self._address)
            self._listener = None

    async def drain(self, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Take no more requests, wait for receipts, answer, close; after `timeout_s` close what is left."""
        await self.stop_accepting()
        self.draining = True
        self._flowing.set()  # who waits for the journal is told to come again
        for connection in tuple(self.connections):
            if not connection.is_busy:
                connection.force_close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._admission.idle.wait()
        for connection in tuple(self.connections):
            connection.abort()
        self.inflater.close()

    def admit(self, peer: str) -> bool:
        """Note a new connection of a peer; False when it is one too many."""
        return not self.draining and self._admission.admit(peer)

    def leave(self, peer: str) -> None:
        """Forget a connection that was admitted."""
        self._admission.leave(peer)

    def peer(self, name: str) -> Peer:
        """Return what the connections of a peer that was admitted share."""
        return self._admission.peer(name)

    def unproven(self, peer: str, reason: str, claimed: str = "", *, wrong: bool = True) -> None:
        """Note that a peer failed to prove who it is; unless it gave something `wrong`, it is listened to on."""
        self._admission.unproven(peer, reason, claimed, wrong=wrong)

    def traffic(self) -> Traffic:
        """Return what came of late, and who sent most of it."""
        return self._admission.traffic()

    def tick(self) -> None:
        """Let what was sent before count for less, and make room; what is silent or stuck has its own timers."""
        self.now_s = now_s = self._clock()
        limit = self._admission.limit
        wanted = self._admission.connections - limit + limit // ROOM_PARTS
        if wanted > 0:
            self._make_room(wanted)
        if now_s - self._aged_s >= AGE_INTERVAL_S:
            if not self.pressed:
                self._admission.age(now_s - self._aged_s)
            self._aged_s = now_s

    def _make_room(self, wanted: int) -> None:
        """Close so many connections of those that have nothing in hand, the ones first that asked longest ago."""
        idle = [each for each in self.connections if each.is_idle and self.now_s - each.asked_s >= SILENT_S]
        for connection in sorted(idle, key=lambda each: each.asked_s)[:wanted]:
            self.counts.idle += 1
            connection.force_close()

    def stalled(self, peer: str, event: str, reason: str) -> None:
        """Note a peer that does not go on."""
        self.counts.stalled += 1
        self.tell(event, peer, reason)

    def broken(self, peer: str, reason: str) -> None:
        """Note a request that is no HTTP."""
        self.counts.broken[reason] = self.counts.broken.get(reason, 0) + 1
        self.tell("http_request_broken", peer, reason)

    def failed(self, peer: str, error: BaseException) -> None:
        """Note a fault of ours that ended a request and no other (P7)."""
        self.counts.failures += 1
        logger.error("http_request_failed", input=self.name, peer=peer, exc_info=error)

    def tell(self, event: str, peer: str, reason: str) -> None:
        """Log what anybody may cause again and again: once, then now and then."""
        if self._told.setdefault(event, Recurring()).is_due(reason):
            logger.warning(event, input=self.name, peer=peer, reason=reason)

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = cast(HttpConnection, request.protocol)
        connection.begin()
        try:
            return await Exchange(self, request, connection).answer()
        finally:
            connection.end()

    async def has_room(self) -> bool:
        """Wait while the journal asks to; tell whether it takes something now."""
        if self.pressed and not self.draining:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(http_request.WAIT_S):
                    await self._flowing.wait()
        return not self.pressed
