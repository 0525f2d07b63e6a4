"""Clients that make the Forward handshake, in the byte shapes of fluentd and of Fluent Bit (`forward.md` section 5)."""

import asyncio
import contextlib
import hashlib
import os
import ssl
from typing import Any, Final, Literal

import msgpack

from tests.kit.forward_sender import Connect

Shape = Literal["fluentd", "fluent-bit"]
SHAPES: Final[tuple[Shape, ...]] = ("fluentd", "fluent-bit")


class RefusedError(ConnectionError):
    """The server did not accept the handshake; the text is its reason."""


def over_tls(host: str, port: int, context: ssl.SSLContext) -> Connect:
    """Return how to connect by TLS."""
    return lambda: asyncio.open_connection(host, port, ssl=context, server_hostname="collector.example")


def with_handshake(
    connect: Connect,
    *,
    key: bytes,
    client: str = "client-1",
    user: str = "",
    password: str = "",
    shape: Shape = "fluent-bit",
) -> Connect:
    """Return how to connect and make the handshake; the connection raises RefusedError when it is refused."""

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await connect()
        try:
            await shake_hands(reader, writer)
        except BaseException:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            raise
        return reader, writer

    async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unpacker = msgpack.Unpacker(raw=True)
        helo = await _message(reader, unpacker)
        if helo[0] != b"HELO":
            raise RefusedError(repr(helo))
        nonce, auth = helo[1][b"nonce"], helo[1][b"auth"]
        salt = os.urandom(16)
        if shape == "fluentd":
            salt = salt.hex().encode()
        writer.write(ping(key, nonce=nonce, auth=auth, salt=salt, client=client, user=user, password=password))
        pong = await _message(reader, unpacker)
        if not pong[1]:
            raise RefusedError(pong[2].decode())
        expected = hashlib.sha512(salt + pong[3] + nonce + key).hexdigest().encode()
        if len(pong) != 5 or pong[4] != expected or pong[3] == client.encode():
            raise RefusedError(f"a PONG that a client refuses: {pong}")

    return connected


def ping(key: bytes, *, nonce: bytes, auth: bytes, salt: bytes, client: str, user: str, password: str) -> bytes:
    """Return the PING of a client that knows these."""
    name = client.encode()
    digest = hashlib.sha512(salt + name + nonce + key).hexdigest()
    password_digest = hashlib.sha512(auth + user.encode() + password.encode()).hexdigest() if auth else ""
    raw = msgpack.Packer(use_bin_type=False)  # a salt of raw bytes travels as str
    rest = [msgpack.packb(each) for each in (digest, user if auth else "", password_digest)]
    return b"".join((b"\x96", msgpack.packb("PING"), msgpack.packb(client), raw.pack(salt), *rest))


async def _message(reader: asyncio.StreamReader, unpacker: msgpack.Unpacker) -> Any:
    while True:
        piece = await reader.read(1024)
        if not piece:
            raise RefusedError("the server closed the connection")
        unpacker.feed(piece)
        for message in unpacker:
            return message
