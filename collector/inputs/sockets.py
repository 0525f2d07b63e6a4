"""Listening sockets and the names of peers, for inputs that speak over TCP or a Unix socket."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from collector.config_values import UNIX, address_text, split_listen
from collector.errors import TidewaiterError

BACKLOG: Final = 1024
"""Connections the kernel keeps until we accept them."""

SOCKET_MODE: Final = 0o660
"""Owner and group may connect to a Unix socket."""

KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
"""Silence after which the kernel asks whether a TCP peer is still there, and how it asks on: one that has vanished is
found out after two minutes."""

IPV6_PREFIX: Final = 64
"""Bits that tell one machine, or one network of somebody's, from another."""

PROBE_TIMEOUT_S: Final = 1.0
"""How long a socket file is asked whether somebody listens on it."""


class ListenError(TidewaiterError):
    """An input cannot listen where it should; the text says why."""

    exit_code = 3


class TcpAddress(NamedTuple):
    """A host (name or address, empty for all) and a port (0: any free one)."""

    host: str
    port: int


def parse_listen(listen: str) -> TcpAddress | Path:
    """Read `host:port`, `[v6]:port` or `unix:///path`; raise ValueError with a sentence for the operator."""
    try:
        where = split_listen(listen)
    except ValueError as error:
        reason = str(error) or "expected host:port, [address]:port or unix:///path"
        raise ValueError(f"{listen!r}: {reason}") from error
    return where if isinstance(where, Path) else TcpAddress(*where)


class Server(Protocol):
    """What there is to know of whatever listens."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Its listening sockets."""

    def close(self) -> None:
        """Listen no more."""


async def serve(
    factory: Callable[[], asyncio.BaseProtocol], address: TcpAddress | Path, *, accept: bool = True
) -> asyncio.Server:
    """Listen on `address`; raise ListenError. Each connection gets a protocol of its own from `factory`.

    A socket file that nobody listens on is removed first. Without `accept` somebody else will accept.
    """
    loop = asyncio.get_running_loop()
    try:
        if isinstance(address, Path):
            return await _serve_unix(factory, address, accept=accept)
        if address.host == "::" and socket.has_dualstack_ipv6():
            both = socket.create_server(address, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
            both.setblocking(False)
            return await loop.create_server(factory, sock=both, backlog=BACKLOG, start_serving=accept)
        return await loop.create_server(
            factory, address.host or None, address.port, backlog=BACKLOG, start_serving=accept
        )
    except OSError as error:
        reason = error.strerror or str(error)
        if not isinstance(address, Path) and error.errno is not None and error.errno > 0:
            # Event loops put the address into the error's text as well, each in its way.
            reason = os.strerror(error.errno)
        raise ListenError(f"cannot listen on {listening_name(address)}: {reason}") from error


async def _serve_unix(factory: Callable[[], asyncio.BaseProtocol], path: Path, *, accept: bool) -> asyncio.Server:
    """Listen at `path`; raise OSError. Who is cancelled meanwhile leaves no file behind, though the thread goes on."""
    loop = asyncio.get_running_loop()
    binding = asyncio.ensure_future(asyncio.to_thread(_bind_unix, path))
    try:
        listener = await asyncio.shield(binding)
        return await loop.create_unix_server(factory, sock=listener, backlog=BACKLOG, start_serving=accept)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            (await binding).close()
            await asyncio.to_thread(remove_socket_file, path)
        raise


class Listeners:
    """Servers on sockets that were bound before, as one (`asyncio.Server`)."""

    def __init__(self, servers: Sequence[asyncio.Server]) -> None:
        self._servers = servers

    @property
    def sockets(self) -> list[Any]:
        """Their listening sockets."""
        return [each for server in self._servers for each in server.sockets]

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()


async def serve_on(factory: Callable[[], asyncio.BaseProtocol], bound: Sequence[socket.socket]) -> Listeners:
    """Accept on sockets that listen already, which it takes over."""
    loop = asyncio.get_running_loop()
    servers = []
    for each in bound:
        make = loop.create_unix_server if each.family == socket.AF_UNIX else loop.create_server
        servers.append(await make(factory, sock=each, backlog=BACKLOG))
    return Listeners(servers)


async def bind(address: TcpAddress | Path) -> list[socket.socket]:
    """Return sockets that listen on `address`, of which nobody accepts yet; raise ListenError."""
    return doubles(await serve(asyncio.Protocol, address, accept=False), close=True)


def doubles(server: Server, *, close: bool = False) -> list[socket.socket]:
    """Return sockets of our own for those that a server listens on; with `close` the server lets go of its own."""
    found = []
    for bound in server.sockets:
        own = socket.socket(fileno=os.dup(bound.fileno()))
        own.setblocking(False)
        own.listen(BACKLOG)
        found.append(own)
    if close:
        with contextlib.suppress(RuntimeError):
            server.close()
    return found


def listening_name(address: TcpAddress | Path) -> str:
    """Return the address as the configuration writes it."""
    if isinstance(address, Path):
        return f"{UNIX}{address}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def remove_socket_file(path: Path) -> None:
    """Remove the socket file of a server that has stopped; blocking."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()


def _bind_unix(path: Path) -> socket.socket:
    """Return a listening socket at `path`; blocking."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name, and it is no socket")
        if _answers(path):
            raise OSError(errno.EADDRINUSE, "another process listens on it")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the unbound socket, so there is no moment in which everybody may connect.
        with contextlib.suppress(OSError):
            os.fchmod(listener.fileno(), SOCKET_MODE)
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def keep_alive(connection: Any) -> None:
    """Let the kernel find out when the TCP peer has vanished."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, setting in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), setting)


def peer_name(transport: asyncio.BaseTransport) -> tuple[str, str]:
    """Return the transport's kind (`tcp`, `unix`) and the peer: its address without the port, or `unix:uid=N`."""
    return peer_of(transport.get_extra_info("socket"), transport.get_extra_info("peername"))


def peer_of(connection: Any, peer: Any = None) -> tuple[str, str]:
    """Return the same for a connected socket."""
    if connection is not None and connection.family == socket.AF_UNIX:
        return "unix", f"unix:uid={_peer_uid(connection)}"
    with contextlib.suppress(OSError):
        peer = peer or connection.getpeername()
    return "tcp", address_name(peer[0]) if peer else "unknown"


def neighbours_of(peer: str) -> str:
    """Return what limits of a single peer are about: for IPv6 its /64, of which one machine has every address."""
    if ":" not in peer or peer.startswith("unix:"):
        return peer
    try:
        return str(ipaddress.ip_network((peer.partition("%")[0], IPV6_PREFIX), strict=False))
    except ValueError:
        return peer


def address_name(host: str) -> str:
    """Return an address as text; an IPv4 address mapped into IPv6 is written as IPv4."""
    try:
        return address_text(ipaddress.ip_address(host))
    except ValueError:
        return host


def _peer_uid(connection: Any) -> str:
    """Return the user id the kernel vouches for, `?` where it does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "?"
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return "?"
    return str(struct.unpack("3i", credentials)[1])
