"""What a connection proves of who is behind it, and what an input demands: TLS, client certificates, handshake.

Certificates are read anew when their files change, so that one can be replaced while the input runs. What was proven
stands in `Origin.auth`.
"""

import os
import secrets
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from collector.certificates import CertificateError, server_context
from collector.config import ForwardInputConfig
from collector.config_secrets import SecretError, TlsConfig
from collector.inputs.sockets import ListenError
from collector.wire.forward_handshake import SALT_BYTES, Credentials, Handshake

RELOAD_INTERVAL_S: Final = 5.0
"""How often it is looked whether certificates were replaced."""

SERVER_NAME: Final = "tidewaiter-{}"
"""What we call ourselves in the handshake: fluentd refuses a server of its own name; Fluent Bit's is localhost."""


class TlsServer:
    """The server's side of TLS: certificate, key, and who signs clients' certificates."""

    def __init__(self, options: TlsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the files; raise ListenError."""
        self._options = options
        self._clock = clock
        self._stamps = self._look()
        self._context = self._load()
        self._looked_at_s = clock()

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection; files that were replaced by broken ones do not count."""
        if self._clock() - self._looked_at_s >= RELOAD_INTERVAL_S:
            self._looked_at_s = self._clock()
            stamps = self._look()
            if stamps != self._stamps:
                try:
                    self._context, self._stamps = self._load(), stamps
                except ListenError:
                    return self._context  # half-written: it is looked at again
        return self._context

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for file in (self._options.certificate, self._options.key, self._options.client_ca):
            try:
                status = os.stat(file) if file else None
            except OSError:
                status = None
            found.append((status.st_mtime_ns, status.st_ino) if status is not None else (0, 0))
        return found

    def _load(self) -> ssl.SSLContext:
        try:
            return server_context(self._options)
        except CertificateError as error:
            raise ListenError(str(error)) from error


def asks_clients_alike(mine: TlsConfig | None, other: TlsConfig | None) -> bool:
    """Tell whether a client proves the same under both; our own certificate and key may differ."""
    if mine is None or other is None:
        return mine is other
    return (mine.client_ca, mine.client_optional) == (other.client_ca, other.client_optional)


class Proof:
    """What an input demands of its clients; made anew at each start of the input. Raises ListenError."""

    def __init__(self, options: ForwardInputConfig, *, collector: str) -> None:
        self.tls = TlsServer(options.tls) if options.tls is not None else None
        self.timeout_s = options.handshake_timeout
        self._server_name = SERVER_NAME.format(collector)
        try:
            self._credentials = Credentials(
                shared_key=options.shared_key.read().encode() if options.shared_key is not None else b"",
                client_keys={name: secret.read().encode() for name, secret in options.client_keys.items()},
                users={name: secret.read().encode() for name, secret in options.users.items()},
            )
        except SecretError as error:
            raise ListenError(str(error)) from error

    def handshake(self) -> Handshake | None:
        """Return a handshake to be made on a new connection, None where none is demanded."""
        if not (self._credentials.shared_key or self._credentials.client_keys):
            return None
        nonce, auth = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)
        return Handshake(self._credentials, server_name=self._server_name, nonce=nonce, auth=auth)


def certificate_name(certificate: Any) -> str:
    """Return the name in a client's certificate (as `ssl` gives it): its first DNS name, else its common name."""
    if not certificate:
        return ""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    return str((names + common + [certificate.get("serialNumber", "?")])[0])
