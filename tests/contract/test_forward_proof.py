"""What clients must prove: TLS, certificates, the handshake; and what becomes of those who cannot (P5)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trustme
from fluent.sender import FluentSender

from collector.config import ForwardInputConfig
from collector.config_secrets import Secret, TlsConfig
from collector.inputs.proof import RELOAD_INTERVAL_S, Proof, TlsServer
from collector.inputs.refusals import FAILURES_LIMIT
from collector.inputs.sockets import ListenError
from tests.kit.forward_handshakes import SHAPES, RefusedError, Shape, over_tls, ping, with_handshake
from tests.kit.forward_inputs import (
    ENTRY,
    TIMEOUT_S,
    connect,
    durable_numbers,
    listening,
    packed,
    port_of,
    until,
)
from tests.kit.forward_sender import MODES, ForwardSender, Mode, Options, tcp
from tests.kit.journal_moods import MoodyJournal

KEY = b"k3y"


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[bytes], Secret]:
    """Put a secret into a file."""

    def put(content: bytes) -> Secret:
        path = tmp_path / f"secret-{content.decode()}"
        path.write_bytes(content + b"\n")
        return Secret(file=str(path))

    return put


def trusting(authority: trustme.CA, client: str = "") -> ssl.SSLContext:
    """A client's TLS context, with a certificate of its own where it has a name."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client:
        authority.issue_cert(client).configure_cert(context)
    return context


def origins(journal: MoodyJournal) -> set[tuple[str, str, str]]:
    """Transport, peer and proof of everything that became durable."""
    return {(entry.origin.transport, entry.origin.peer, entry.origin.auth) for entry in journal.durable}


@pytest.mark.parametrize("mode", MODES)
async def test_over_tls_every_record_arrives_and_is_acknowledged(
    files: TlsConfig, authority: trustme.CA, mode: Mode
) -> None:
    """Each mode, several messages in flight, large ones too."""
    journal = MoodyJournal()
    async with listening(journal, tls=files) as forward, asyncio.timeout(TIMEOUT_S):
        options = Options(name=mode, mode=mode, line_bytes=20_000)
        sender = ForwardSender(over_tls("127.0.0.1", port_of(forward), trusting(authority)), options)

        await sender.send(200)

    assert set(range(200)) == sender.acked == set(durable_numbers(journal, mode))
    assert origins(journal) == {("tls", "127.0.0.1", "")}


async def test_a_certificate_names_who_really_sends(files: TlsConfig, authority: trustme.CA, tmp_path: Path) -> None:
    """The name in the client's certificate stands on everything it sends."""
    journal = MoodyJournal()
    demanded = TlsConfig(files.certificate, files.key, client_ca=str(tmp_path / "ca.pem"))
    async with listening(journal, tls=demanded) as forward, asyncio.timeout(TIMEOUT_S):
        context = trusting(authority, "web-1.example")
        sender = ForwardSender(over_tls("127.0.0.1", port_of(forward), context), Options())

        await sender.send(10)

    assert origins(journal) == {("tls", "127.0.0.1", "certificate:web-1.example")}


@pytest.mark.parametrize("optional", [False, True])
async def test_without_a_certificate_nobody_comes_in_unless_it_is_optional(
    files: TlsConfig, authority: trustme.CA, tmp_path: Path, *, optional: bool
) -> None:
    """One of another authority never does."""
    journal = MoodyJournal()
    demanded = TlsConfig(files.certificate, files.key, client_ca=str(tmp_path / "ca.pem"), client_optional=optional)
    foreign = trusting(authority)
    trustme.CA().issue_cert("web-1.example").configure_cert(foreign)
    async with listening(journal, tls=demanded) as forward:
        for context, welcome in ((trusting(authority), optional), (foreign, False)):
            sender = ForwardSender(over_tls("127.0.0.1", port_of(forward), context), Options(reconnect_delay_s=0.01))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sender.send(10), TIMEOUT_S if welcome else 0.3)
            assert bool(sender.acked) == welcome
        await until(lambda: forward.counts.unproven > 0)
    assert {auth for _, _, auth in origins(journal)} <= {""}


@pytest.mark.parametrize(
    "garbage", [b"\x93\xa1t\x90\x80", b"\x16\x03\x01\x02\x00\x01" + bytes(600), b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_tls_is_refused_and_counted(files: TlsConfig, garbage: bytes) -> None:
    """Plain Forward, a broken hello, a browser: closed, nothing kept, others are served."""
    journal = MoodyJournal()
    async with listening(journal, tls=files) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(garbage)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: forward.counts.unproven == 1 and forward.counts.connections == 0)
    assert journal.durable == []


async def test_who_only_connects_and_goes_is_no_failure(files: TlsConfig) -> None:
    """Fluentd's heartbeats and load balancers do that every second."""
    async with listening(MoodyJournal(), tls=files) as forward, asyncio.timeout(TIMEOUT_S):
        for _ in range(3):
            _, writer = await connect(forward)
            writer.close()
        await until(lambda: forward.counts.connections_total == 3 and forward.counts.connections == 0)
    assert forward.counts.unproven == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_client_that_knows_the_key_is_served(
    files: TlsConfig, authority: trustme.CA, secret: Callable[[bytes], Secret], shape: Shape, *, tls: bool
) -> None:
    """As fluentd and as Fluent Bit, with a user, over TCP and TLS; what it proved stands on what it sends."""
    journal = MoodyJournal()
    options = dict[str, Any](shared_key=secret(KEY), users={"alice": secret(b"s3cret")}, tls=files if tls else None)
    async with listening(journal, **options) as forward, asyncio.timeout(TIMEOUT_S):
        port = port_of(forward)
        plain = over_tls("127.0.0.1", port, trusting(authority)) if tls else tcp("127.0.0.1", port)
        shaking = with_handshake(plain, key=KEY, user="alice", password="s3cret", shape=shape)
        sender = ForwardSender(shaking, Options())

        await sender.send(100)

    assert set(range(100)) == set(durable_numbers(journal, "sender"))
    assert origins(journal) == {("tls" if tls else "tcp", "127.0.0.1", "shared-key+user:alice")}


async def test_a_client_with_its_own_key_has_its_name_proven(secret: Callable[[bytes], Secret]) -> None:
    """And another that claims that name does not come in with the shared key."""
    journal = MoodyJournal()
    options = dict[str, Any](shared_key=secret(KEY), client_keys={"web-1": secret(b"own")})
    async with listening(journal, **options) as forward, asyncio.timeout(TIMEOUT_S):
        plain = tcp("127.0.0.1", port_of(forward))
        await ForwardSender(with_handshake(plain, key=b"own", client="web-1"), Options()).send(5)
        with pytest.raises(RefusedError, match="shared_key mismatch"):
            await with_handshake(plain, key=KEY, client="web-1")()

    assert origins(journal) == {("tcp", "127.0.0.1", "key:web-1")}


async def test_the_wrong_key_is_refused_and_an_event(secret: Callable[[bytes], Secret]) -> None:
    """The client is told as fluentd tells it; what it sends afterwards is not taken; who it was is to be told."""
    journal = MoodyJournal()
    async with listening(journal, shared_key=secret(KEY)) as forward, asyncio.timeout(TIMEOUT_S):
        with pytest.raises(RefusedError, match="shared_key mismatch"):
            await with_handshake(tcp("127.0.0.1", port_of(forward)), key=b"wrong", client="mallory")()
        await until(lambda: not forward.connections)
        (refusal,) = forward.refusals.due()

    assert (refusal.peer, refusal.reason, refusal.claimed, refusal.attempts) == ("127.0.0.1", "wrong key", "mallory", 1)
    assert journal.durable == []


async def test_a_wrong_key_over_tls_is_one_failure_and_not_two(
    secret: Callable[[bytes], Secret], files: TlsConfig, authority: trustme.CA
) -> None:
    """A refused client that keeps its connection open is not counted as too slow as well."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        listening(MoodyJournal(), shared_key=secret(KEY), tls=files, handshake_timeout=30.0) as forward,
        asyncio.timeout(TIMEOUT_S),
    ):
        reader, writer = await over_tls("127.0.0.1", port_of(forward), context)()
        helo = msgpack.unpackb(await reader.read(1024))
        writer.write(ping(b"wrong", nonce=helo[1]["nonce"], auth=b"", salt=bytes(16), client="c", user="", password=""))
        (connection,) = forward.connections
        await until(lambda: forward.counts.unproven > 0)

        assert connection._greeting is not None
        assert connection._greeting.cancelled()
        assert forward.counts.unproven == 1
        writer.transport.abort()


async def test_a_recorded_handshake_cannot_be_replayed(secret: Callable[[bytes], Secret]) -> None:
    """Each connection has a nonce of its own."""
    async with listening(MoodyJournal(), shared_key=secret(KEY)) as forward, asyncio.timeout(TIMEOUT_S):
        recorded = b""
        for attempt in range(2):
            reader, writer = await connect(forward)
            helo = msgpack.unpackb(await reader.read(1024))
            sent = ping(KEY, nonce=helo[1]["nonce"], auth=b"", salt=bytes(16), client="c", user="", password="")
            recorded = recorded or sent
            writer.write(recorded)
            assert msgpack.unpackb(await reader.read(1024))[1] == (attempt == 0)
            writer.close()


async def test_nothing_is_taken_before_the_proof_and_what_came_with_it_is(secret: Callable[[bytes], Secret]) -> None:
    """A message instead of PING is refused; one in the same segment behind PING is kept and acknowledged."""
    journal = MoodyJournal()
    async with listening(journal, shared_key=secret(KEY)) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("early"))
        await reader.read()
        writer.close()
        assert journal.durable == []

        reader, writer = await connect(forward)
        helo = msgpack.unpackb(await reader.read(1024))
        proof = ping(KEY, nonce=helo[1]["nonce"], auth=b"", salt=bytes(16), client="c", user="", password="")
        writer.write(proof + packed("behind"))
        unpacker = msgpack.Unpacker()
        replies: list[Any] = []
        while len(replies) < 2:
            unpacker.feed(await reader.read(1024))
            replies += unpacker
        writer.close()

    assert replies[1] == {"ack": "behind"}
    assert [entry.payload for entry in journal.durable] == [ENTRY]


async def test_who_fails_too_often_is_not_listened_to(secret: Callable[[bytes], Secret]) -> None:
    """After ten failures in a minute a peer is disconnected at once, whatever it knows by then."""
    async with listening(MoodyJournal(), shared_key=secret(KEY)) as forward, asyncio.timeout(TIMEOUT_S):
        plain = tcp("127.0.0.1", port_of(forward))
        for _ in range(FAILURES_LIMIT):
            with pytest.raises(RefusedError):
                await with_handshake(plain, key=b"wrong")()
            await until(lambda: not forward.connections)
        with pytest.raises(ConnectionError):
            await with_handshake(plain, key=KEY)()

        assert forward.counts.connections_refused["handshakes"] == 1


async def test_who_says_nothing_is_disconnected_in_time(secret: Callable[[bytes], Secret], files: TlsConfig) -> None:
    """A silent client holds its place for the handshake's time, not longer, with TLS or without."""
    for options in (
        dict[str, Any](shared_key=secret(KEY), handshake_timeout=0.1),
        dict[str, Any](tls=files, handshake_timeout=0.1),
    ):
        async with listening(MoodyJournal(), **options) as forward, asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect(forward)
            with contextlib.suppress(ConnectionError):
                while await reader.read(1024):
                    pass
            assert not await reader.read(1)
            writer.close()
            await until(lambda: forward.counts.unproven == 1)
            await until(lambda: not forward.connections)


class SecuredFluentSender(FluentSender):  # type: ignore[misc]
    """The `fluent-logger` of PyPI, whose socket is made by TLS and the handshake."""

    context: ssl.SSLContext

    def _reconnect(self) -> None:
        """Connect where its own method does, and prove who we are."""
        if self.socket:
            return
        plain = socket.create_connection((self.host, self.port), timeout=self.timeout)
        secured = self.context.wrap_socket(plain, server_hostname="collector.example")
        helo = msgpack.unpackb(secured.recv(1024))
        secured.sendall(ping(KEY, nonce=helo[1]["nonce"], auth=b"", salt=b"s" * 16, client="app", user="", password=""))
        assert msgpack.unpackb(secured.recv(1024))[1]
        self.socket: Any = secured

    def _check_recv_side(self) -> None:
        """Not look whether the server has closed: its own way to look does not know sockets of TLS."""


async def test_fluent_logger_over_tls_with_a_shared_key(
    files: TlsConfig, authority: trustme.CA, secret: Callable[[bytes], Secret]
) -> None:
    """The library that applications use sends its records, and they are kept with what its connection proved."""
    journal = MoodyJournal()
    options = dict[str, Any](tls=files, shared_key=secret(KEY))
    async with listening(journal, **options) as forward, asyncio.timeout(TIMEOUT_S):

        def log() -> None:
            sender = SecuredFluentSender("app", host="127.0.0.1", port=port_of(forward), nanosecond_precision=True)
            sender.context = trusting(authority)
            for number in range(20):
                assert sender.emit("line", {"log": f"app {number}"}), sender.last_error
            sender.close()

        await asyncio.to_thread(log)
        await until(lambda: len(durable_numbers(journal, "app")) == 20)

    assert origins(journal) == {("tls", "127.0.0.1", "shared-key")}


def test_a_replaced_certificate_is_used_for_the_next_connection(files: TlsConfig, authority: trustme.CA) -> None:
    """Certificates run out; one that is half-written does not count."""
    now_s = [0.0]
    server = TlsServer(files, lambda: now_s[0])
    first = server.context()
    Path(files.certificate).write_text("half")
    now_s[0] += RELOAD_INTERVAL_S
    assert server.context() is first

    certificate = authority.issue_cert("collector.example")
    certificate.private_key_pem.write_to_path(files.key)
    certificate.cert_chain_pems[0].write_to_path(files.certificate)
    assert server.context() is first
    now_s[0] += RELOAD_INTERVAL_S
    assert server.context() is not first


def test_what_cannot_be_demanded_is_said_in_a_sentence(files: TlsConfig, tmp_path: Path) -> None:
    """A missing file, a key that does not fit, a secret that is not there: the input does not listen, and says why."""
    (tmp_path / "other.pem").write_text("no certificate")
    for options, said in (
        ({"tls": TlsConfig(str(tmp_path / "none.pem"), files.key)}, "no such file"),
        ({"tls": TlsConfig(str(tmp_path / "other.pem"), files.key)}, "other.pem: no certificate in PEM form"),
        (
            {"tls": TlsConfig(files.certificate, files.key, str(tmp_path / "other.pem"))},
            "other.pem: no cert",
        ),
        ({"shared_key": Secret(file=str(tmp_path / "none"))}, "cannot read the secret"),
    ):
        with pytest.raises(ListenError, match=said):
            Proof(ForwardInputConfig(**options), collector="web")
