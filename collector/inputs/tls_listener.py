"""Listening with TLS: a connection is admitted, then proves itself by TLS, and only then meets its protocol.

Event loops can do that by themselves, but tell nobody when a handshake fails; so connections are accepted here.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from collector.inputs.forward_connection import ForwardConnection, Owner
from collector.inputs.proof import TlsServer
from collector.inputs.sockets import BACKLOG, peer_of
from collector.logs import get_logger

ACCEPT_PAUSE_S: Final = 0.5
"""Pause when the system gives no further connection: it has no descriptors or no memory left."""

logger = get_logger("intake")


class TlsListener:
    """Accepts on listening sockets, which it takes over. A peer that fails, or takes too long, is gone and counted."""

    def __init__(
        self,
        owner: Owner,
        tls: TlsServer,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[], ForwardConnection],
    ) -> None:
        self._owner = owner
        self._tls = tls
        self._sockets = sockets
        self._make_protocol = make_protocol
        self._accepting: set[asyncio.Task[None]] = set()
        self._opening: set[asyncio.Task[None]] = set()
        for each in sockets:
            self._begin(each)

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
        timeout_s = self._owner.proof.timeout_s if self._owner.proof is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls.context(), ssl_handshake_timeout=timeout_s
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


def taken_over(server: asyncio.Server) -> list[socket.socket]:
    """Return the bound sockets of a server that does not serve yet, listening; the server is closed."""
    found = []
    for bound in server.sockets:
        own = socket.socket(fileno=os.dup(bound.fileno()))
        own.setblocking(False)
        own.listen(BACKLOG)
        found.append(own)
    with contextlib.suppress(RuntimeError):
        server.close()
    return found
