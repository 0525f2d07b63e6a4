"""Listening with TLS: a connection is admitted, then proves itself by TLS, and only then meets its protocol.

Event loops can do that by themselves, but tell nobody when a handshake fails; so connections are accepted here.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from collector.inputs.proof import TlsServer
from collector.inputs.sockets import Server, TcpAddress, bind, peer_of, serve, serve_on
from collector.logs import get_logger

ACCEPT_PAUSE_S: Final = 0.5
"""Pause when the system gives no further connection: it has no descriptors or no memory left."""

logger = get_logger("intake")


class Owner(Protocol):
    """What is needed of an input."""

    @property
    def name(self) -> str:
        """The name the configuration gives it."""

    def admit(self, peer: str) -> bool:
        """Note a new connection; False when it is one too many."""

    def unproven(self, peer: str, reason: str, claimed: str = "") -> None:
        """Note that a peer failed to prove who it is."""


class Opened(Protocol):
    """The protocol of a connection, made before that stands."""

    def admitted(self, peer: str) -> None:
        """Take note that the input has admitted this connection already; `abort` gives its place back."""

    def abort(self) -> None:
        """Close now, if it is open, and give its place back."""


class TlsListener:
    """Accepts on listening sockets, which it takes over. A peer that fails, or takes too long, is gone and counted."""

    def __init__(
        self,
        owner: Owner,
        tls: TlsServer,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[], Opened],
        *,
        timeout_s: float,
    ) -> None:
        self._owner = owner
        self._tls = tls
        self._sockets = sockets
        self._make_protocol = make_protocol
        self._timeout_s = timeout_s
        self._accepting: set[asyncio.Task[None]] = set()
        self._opening: set[asyncio.Task[None]] = set()
        for each in sockets:
            self._begin(each)

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Those it accepts on."""
        return self._sockets

    def renew(self, tls: TlsServer, *, timeout_s: float) -> None:
        """Let connections from now on prove themselves by other certificates."""
        self._tls, self._timeout_s = tls, timeout_s

    def close(self) -> None:
        """Listen no more; connections that stand stay, those that are being opened end."""
        for task in tuple(self._accepting):
            task.cancel()
        for task in self._opening:
            # Not at once: one that has not begun yet would never give back the place of whom it was to open.
            asyncio.get_running_loop().call_soon(task.cancel)
        for each in self._sockets:
            each.close()

    def _begin(self, listener: socket.socket) -> None:
        """Accept, and begin again after a fault of ours: the input must not turn deaf."""
        task = asyncio.get_running_loop().create_task(self._accept(listener))
        self._accepting.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._accepting.discard(task)
            if not task.cancelled():
                logger.error("accepting_failed", input=self._owner.name, exc_info=task.exception())
                self._begin(listener)

        task.add_done_callback(ended)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                logger.warning("connection_not_accepted", input=self._owner.name, reason=error.strerror or str(error))
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            _, peer = peer_of(connection)
            if not self._owner.admit(peer):
                connection.close()
                continue
            task = loop.create_task(self._open(connection, peer))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, peer: str) -> None:
        protocol = self._make_protocol()
        protocol.admitted(peer)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: cast(asyncio.BaseProtocol, protocol),
                connection,
                ssl=self._tls.context(),
                ssl_handshake_timeout=self._timeout_s,
            )
        except (OSError, EOFError, TimeoutError) as error:
            self._refuse(peer, error)
            protocol.abort()
        except BaseException:
            protocol.abort()  # it may have met its transport by now: whose place it is, it gives back once
            raise

    def _refuse(self, peer: str, error: Exception) -> None:
        """Say why; a peer that only connected and went away again, as load balancers do, proved nothing wrong."""
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or str(error)).lower().replace("_", " ")
        elif isinstance(error, TimeoutError | ConnectionAbortedError):
            reason = "too slow"
        else:
            return
        logger.warning("tls_handshake_failed", input=self._owner.name, peer=peer, reason=reason)
        self._owner.unproven(peer, f"TLS: {reason}")


async def listen(
    owner: Owner,
    make_protocol: Callable[[], Any],
    address: TcpAddress | Path,
    *,
    tls: TlsServer | None,
    timeout_s: float,
    bound: Sequence[socket.socket] = (),
) -> Server:
    """Accept on `address`, or on the sockets that are `bound` to it already; raise ListenError."""
    if tls is not None:
        return TlsListener(owner, tls, bound or await bind(address), make_protocol, timeout_s=timeout_s)
    return await serve_on(make_protocol, bound) if bound else await serve(make_protocol, address)
