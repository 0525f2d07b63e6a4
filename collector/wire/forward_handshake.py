"""The Forward protocol's handshake, the server's side, without I/O (`forward.md` section 5): HELO, PING, PONG.

    handshake = Handshake(credentials, server_name="tidewaiter", nonce=…, auth=…)
    send(handshake.helo)
    while (verdict := handshake.received(piece)) is None: …
    send(verdict.pong); then, if it was accepted, `verdict.rest` is the first of what follows

A client proves that it knows the shared key, or the key of its own name where one is configured for that, and, where
users are configured, that it knows a user's password. Every comparison takes the same time whatever is wrong, and an
unknown name costs the same work as a known one. Nonce and auth salt are new for each connection, so nothing recorded
can be replayed.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import msgspec

PING_LIMIT_BYTES: Final = 8 << 10
"""A longer PING is refused: it holds two names, a salt and two digests of 128 characters."""

NAME_LIMIT_BYTES: Final = 256
SALT_BYTES: Final = 16

_DIGEST_CHARACTERS: Final = 128
_NOBODY: Final = b"\0nobody"
"""Compared with where a name is unknown: no key or password is it."""


class Credentials(msgspec.Struct, frozen=True):
    """What clients must know. `client_keys` are by the client's host name and go before `shared_key` for that name."""

    shared_key: bytes = b""
    client_keys: Mapping[str, bytes] = {}
    users: Mapping[str, bytes] = {}


class Verdict(msgspec.Struct, frozen=True):
    """What became of a handshake.

    `pong` is to be sent. `proven` says what the client proved, empty when it was refused: `key:NAME` for a key of its
    own, else `shared-key`, and `user:NAME`. `claimed` is who it says it is. `refused` is the reason, for us; `rest`
    what came behind the PING.
    """

    pong: bytes
    proven: tuple[str, ...] = ()
    claimed: str = ""
    refused: str = ""
    rest: bytes = b""


class Handshake:
    """One handshake; `nonce` and `auth` are SALT_BYTES random bytes each. Not to be used after its verdict."""

    def __init__(self, credentials: Credentials, *, server_name: str, nonce: bytes, auth: bytes) -> None:
        self._credentials = credentials
        self._server_name = server_name.encode()
        self._nonce = nonce
        self._auth = auth if credentials.users else b""
        self._unpacker = msgpack.Unpacker(
            raw=True, max_buffer_size=PING_LIMIT_BYTES, max_array_len=6, max_map_len=0, strict_map_key=False
        )
        self._bytes = b""
        self.helo: bytes = msgpack.packb(["HELO", {"nonce": nonce, "auth": self._auth, "keepalive": True}])

    def received(self, piece: bytes) -> Verdict | None:
        """Take what arrived; return None until a whole PING has."""
        room = PING_LIMIT_BYTES - len(self._bytes)
        self._bytes += piece
        try:
            self._unpacker.feed(piece[:room])
            ping = self._unpacker.unpack()
        except msgpack.OutOfData:
            return None if len(self._bytes) < PING_LIMIT_BYTES else self._invalid()
        except (ValueError, msgpack.UnpackException):
            return self._invalid()
        if not isinstance(ping, list) or len(ping) != 6 or not all(isinstance(each, bytes) for each in ping):
            return self._invalid()
        return self._judge(ping, self._bytes[self._unpacker.tell() :])

    def _invalid(self) -> Verdict:
        return Verdict(_refusal("invalid ping message"), refused="no PING")

    def _judge(self, ping: list[bytes], rest: bytes) -> Verdict:
        kind, client, salt, key_digest, user, password_digest = ping
        if kind != b"PING" or max(len(client), len(user)) > NAME_LIMIT_BYTES:
            return self._invalid()
        name, user_name = client.decode("utf-8", "replace"), user.decode("utf-8", "replace")
        credentials = self._credentials
        own_key = credentials.client_keys.get(name)
        key = own_key or credentials.shared_key or _NOBODY
        password = credentials.users.get(user_name, _NOBODY)
        right_key = _equal(_digest(salt, client, self._nonce, key), key_digest) & (key is not _NOBODY)
        right_password = _equal(_digest(self._auth, user, password), password_digest) & (password is not _NOBODY)
        if not right_key:
            return Verdict(_refusal("shared_key mismatch"), claimed=name, refused="wrong key")
        if credentials.users and not right_password:
            return Verdict(_refusal("username/password mismatch"), claimed=name, refused="wrong user or password")
        proven = [f"key:{name}" if own_key else "shared-key"]
        if credentials.users:
            proven.append(f"user:{user_name}")
        answer = _digest(salt, self._server_name, self._nonce, key)
        pong: bytes = msgpack.packb(["PONG", True, "", self._server_name.decode(), answer.decode()])
        return Verdict(pong, tuple(proven), name, rest=rest)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _equal(ours: bytes, theirs: bytes) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(ours, theirs.ljust(_DIGEST_CHARACTERS)[:_DIGEST_CHARACTERS]) & (
        len(theirs) == _DIGEST_CHARACTERS
    )


def _refusal(reason: str) -> bytes:
    refusal: Any = msgpack.packb(["PONG", False, reason, "", ""])
    return bytes(refusal)
