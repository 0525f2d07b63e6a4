"""What a request proves of its sender: a bearer token (RFC 6750) or a password (RFC 7617), in constant time."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from collector.config_http import PostedInputConfig
from collector.config_secrets import Secret, SecretError
from collector.inputs.sockets import ListenError

CLAIMED_CHARACTERS: Final = 256
"""Of a longer name that somebody claims the beginning is told."""


class NotProvenError(Exception):
    """A request does not prove what is demanded; the text says why, `claimed` whom it names.

    `wrong` says that it tried to: health checks do not, nor do clients that wait to be asked.
    """

    def __init__(self, reason: str, claimed: str = "", *, wrong: bool = True) -> None:
        super().__init__(reason)
        self.claimed = claimed[:CLAIMED_CHARACTERS]
        self.wrong = wrong


class Credentials:
    """What an input demands of each request. Raises ListenError."""

    def __init__(self, options: PostedInputConfig) -> None:
        self._key = secrets.token_bytes(32)
        self._tokens = self._read(options.tokens)
        self._users = self._read(options.users)

    @property
    def are_demanded(self) -> bool:
        """Whether a request has to prove anything."""
        return bool(self._tokens or self._users)

    @property
    def challenges(self) -> list[str]:
        """What `WWW-Authenticate` says beside a refusal, each in a line of its own."""
        return ["Bearer"] * bool(self._tokens) + ['Basic realm="tidewaiter"'] * bool(self._users)

    def proven(self, header: str | None) -> str:
        """Return what `Authorization` proves, as a part of `Origin.auth`; raise NotProvenError."""
        if not self.are_demanded:
            return ""
        if header is None:
            raise NotProvenError("no credentials", wrong=False)
        scheme, _, given = header.partition(" ")
        if scheme.lower() == "bearer" and self._tokens:
            name = self._holder(self._tokens, given.strip().encode("utf-8", "surrogateescape"))
            if name is None:
                raise NotProvenError("wrong token")
            return f"token:{name}"
        if scheme.lower() == "basic" and self._users:
            user, password = _basic(given)
            expected = self._users.get(user, b"")
            if not hmac.compare_digest(expected, self._digest(password)):
                raise NotProvenError("wrong user or password", user)
            return f"user:{user}"
        raise NotProvenError("credentials of another kind")

    def _holder(self, digests: Mapping[str, bytes], secret: bytes) -> str | None:
        """Return whose secret it is; however it differs from each, all are compared."""
        digest, found = self._digest(secret), None
        for name, expected in digests.items():
            if hmac.compare_digest(expected, digest):
                found = name
        return found

    def _read(self, named: Mapping[str, Secret]) -> dict[str, bytes]:
        try:
            return {name: self._digest(secret.read().encode()) for name, secret in named.items()}
        except SecretError as error:
            raise ListenError(str(error)) from error

    def _digest(self, secret: bytes) -> bytes:
        """Return a keyed hash: of equal length for all, and useless to whom it leaks."""
        return hashlib.blake2b(secret, key=self._key, digest_size=32).digest()


def _basic(given: str) -> tuple[str, bytes]:
    try:
        user, colon, password = base64.b64decode(given.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise NotProvenError("credentials that cannot be read") from None
    if not colon:
        raise NotProvenError("credentials that cannot be read")
    return user.decode("utf-8", "replace"), password
