"""Tests for listening sockets and the names of peers."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from collector.inputs import sockets
from collector.inputs.sockets import (
    ListenError,
    TcpAddress,
    address_name,
    listening_name,
    neighbours_of,
    parse_listen,
    remove_socket_file,
    serve,
)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:24224", TcpAddress("127.0.0.1", 24224)),
        ("[::1]:24224", TcpAddress("::1", 24224)),
        ("localhost:0", TcpAddress("localhost", 0)),
        (":24224", TcpAddress("", 24224)),
        ("unix:///run/tidewaiter/forward.sock", Path("/run/tidewaiter/forward.sock")),
    ],
)
def test_listen_addresses(listen: str, address: TcpAddress | Path) -> None:
    """An address is read and written alike."""
    assert address == parse_listen(listen)
    assert listen == listening_name(address)


@pytest.mark.parametrize("listen", ["24224", "127.0.0.1", "h:99999", "::1:24224", "unix://relative.sock", "h:", "h:x"])
def test_listen_addresses_that_mean_nothing(listen: str) -> None:
    """An address that cannot be read is told in a sentence that names it."""
    with pytest.raises(ValueError, match=r"expected host:port|at most 65535|an absolute path"):
        parse_listen(listen)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("strange", "strange"),
    ],
)
def test_names_of_peers(host: str, name: str) -> None:
    """One peer has one name, however its address is written."""
    assert name == address_name(host)


class Visited(asyncio.Protocol):
    """Tells when its peer has gone."""

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell."""
        self._gone.set()


async def test_a_taken_port_is_a_sentence() -> None:
    """An address that another process has is an error for the operator."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: "):
            await serve(asyncio.Protocol, TcpAddress("127.0.0.1", port))


async def test_a_socket_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    """A socket file is removed only if nobody answers on it."""
    path = tmp_path / "forward.sock"
    gone = asyncio.Event()
    first = await serve(lambda: Visited(gone), path)

    with pytest.raises(ListenError, match="another process listens on it"):
        await serve(asyncio.Protocol, path)
    await asyncio.wait_for(gone.wait(), 5)
    gone.clear()
    await asyncio.to_thread(remove_socket_file, path)
    await asyncio.wait_for(gone.wait(), 5)
    assert path.is_socket()

    first.close()
    second = await serve(asyncio.Protocol, path)
    second.close()
    await asyncio.to_thread(remove_socket_file, path)
    assert not path.exists()


async def test_who_is_stopped_while_it_begins_to_listen_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is bound in a thread, which goes on when nobody waits for it any more."""
    path = tmp_path / "forward.sock"
    bind, asked, stopped = sockets._bind_unix, threading.Event(), threading.Event()

    def bind_late(where: Path) -> socket.socket:
        asked.set()
        stopped.wait()
        return bind(where)

    monkeypatch.setattr(sockets, "_bind_unix", bind_late)
    serving = asyncio.ensure_future(sockets.serve(asyncio.Protocol, path))
    await asyncio.to_thread(asked.wait)
    serving.cancel()
    await asyncio.sleep(0)
    stopped.set()

    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not path.exists()


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    """What is no socket is never removed."""
    path = tmp_path / "forward.sock"
    path.write_text("precious")

    with pytest.raises(ListenError, match="it is no socket"):
        await serve(asyncio.Protocol, path)
    await asyncio.to_thread(remove_socket_file, path)

    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("peer", "neighbours"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:uid=0", "unix:uid=0"),
    ],
)
def test_one_machine_is_one_peer_to_every_limit(peer: str, neighbours: str) -> None:
    """Whoever has one address of an IPv6 network has 2**64 of them."""
    assert neighbours_of(peer) == neighbours
