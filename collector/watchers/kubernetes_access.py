"""How the API server is reached: a pod's service account, or a kubeconfig file. Read anew after each failure.

In a cluster the kubelet replaces the token's file about hourly, so the token is read for each request. Of a kubeconfig
the current context counts; what would start a program (`exec`, `auth-provider`), leave the server unproven or act for
somebody else is refused by name.
"""

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import yaml

from collector.config_kubernetes import KubernetesInputConfig, NodeError, node_of
from collector.errors import TidewaiterError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and the cluster's authority."""

KUBECONFIG_LIMIT_BYTES: Final = 1 << 20
TOKEN_LIMIT_BYTES: Final = 64 << 10

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

REFUSED_CLUSTER: Final = {
    "insecure-skip-tls-verify": "give the server's certificate-authority instead",
    "proxy-url": "the watcher uses no proxy",
}
REFUSED_USER: Final = {
    "exec": "the watcher starts no programs: give it a token, a tokenFile or a client certificate",
    "auth-provider": "the watcher starts no programs: give it a token, a tokenFile or a client certificate",
    "username": "API servers take no passwords any more: give a token or a client certificate",
    "as": "the watcher acts for nobody else: give it a service account of its own",
}


class AccessError(TidewaiterError):
    """What is needed to reach the API server is not there, cannot be read, or is not taken."""

    exit_code = 2


class AbsentError(AccessError):
    """A file, or the cluster we should be in, is not here: it may be elsewhere, or come."""


class Access(msgspec.Struct, frozen=True):
    """Where the API server is and how it and we are proven. A token is text, or stands in a file."""

    server: str
    context: ssl.SSLContext | None = None
    server_name: str | None = None
    token: str | None = None
    token_file: Path | None = None

    def headers(self) -> dict[str, str]:
        """Return what proves us in a request, the token read anew; raise AccessError."""
        token = self.token
        if self.token_file is not None:
            token = _read(self.token_file, TOKEN_LIMIT_BYTES).decode("ascii", "replace").strip()
            if not token:
                raise AccessError(f"{self.token_file} is empty: no token there")
        if token is None:
            return {}
        if not (token.isascii() and token.isprintable()):
            raise AccessError("the token holds what no token does")
        return {"Authorization": f"Bearer {token}"}


def load_access(
    kubeconfig: str | None, *, environment: Mapping[str, str] = os.environ, account: Path = SERVICE_ACCOUNT
) -> Access:
    """Read how to reach the API server; raise AccessError. `account` is a pod's folder of its service account."""
    if kubeconfig is not None:
        return _by_kubeconfig(Path(kubeconfig))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise AbsentError("cannot read a pod's service account: this is no pod; give a kubeconfig")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    authority = _read(account / "ca.crt", KUBECONFIG_LIMIT_BYTES)
    return Access(server, _context(authority, None, None), token_file=account / "token")


def absent(options: KubernetesInputConfig) -> Iterator[str]:
    """Yield what is not to be had on this machine, for `check`: it may be another than the one that is meant."""
    try:
        node_of(options)
        load_access(options.kubeconfig).headers()
    except (AbsentError, NodeError) as error:
        yield str(error)
    except AccessError:
        return  # that is a mistake, see `unusable`


def unusable(options: KubernetesInputConfig) -> Iterator[str]:
    """Yield what is wrong with a kubeconfig that is there, for `check`."""
    try:
        load_access(options.kubeconfig).headers()
    except AbsentError:
        return
    except AccessError as error:
        yield str(error)


def _by_kubeconfig(path: Path) -> Access:
    try:
        document = yaml.safe_load(_read(path, KUBECONFIG_LIMIT_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise AccessError(f"{path} is no YAML") from None
    if not isinstance(document, dict):
        raise AccessError(f"{path} is no kubeconfig")
    name = document.get("current-context")
    if not name:
        raise AccessError(f"{path} has no current-context")
    context = _named(path, document, "context", name)
    cluster = _named(path, document, "cluster", context.get("cluster"))
    user = _named(path, document, "user", context["user"]) if context.get("user") else {}
    for given, refused in ((cluster, REFUSED_CLUSTER), (user, REFUSED_USER)):
        for option, instead in refused.items():
            if given.get(option):
                raise AccessError(f"{path}: {option} is not taken: {instead}")
    return _access(path, cluster, user)


def _access(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Access:
    server, host = _server(path, cluster.get("server"))
    token = str(user["token"]) if user.get("token") else None
    token_file = path.parent / str(user["tokenFile"]) if user.get("tokenFile") and not token else None
    if server.startswith("http:"):
        if host not in LOOPBACK:
            raise AccessError(f"{path}: {server} is not asked without TLS: who is in between could be anybody")
        return Access(server, token=token, token_file=token_file)
    authority = _content(path, cluster, "certificate-authority")
    certificate, key = _content(path, user, "client-certificate"), _content(path, user, "client-key")
    if (certificate is None) != (key is None):
        raise AccessError(f"{path}: client-certificate and client-key go together")
    server_name = cluster.get("tls-server-name")
    made = _context(authority, certificate, key)
    return Access(server, made, str(server_name) if server_name else None, token, token_file)


def _server(path: Path, server: object) -> tuple[str, str]:
    try:
        parts = urlsplit(str(server or ""))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc:
            return str(server).rstrip("/"), parts.hostname
    except ValueError:
        pass
    raise AccessError(f"{path}: the cluster's server is no URL of an API server")


def _named(path: Path, document: Mapping[str, Any], what: str, name: object) -> Mapping[str, Any]:
    entries = document.get(f"{what}s")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(what), dict):
            found: Mapping[str, Any] = entry[what]
            return found
    raise AccessError(f"{path} has no {what} {name!r}, which it names")


def _content(path: Path, given: Mapping[str, Any], option: str) -> bytes | None:
    """Return what an option holds, in the file itself (`-data`) or in another, which is named from its folder."""
    inline = given.get(f"{option}-data")
    if inline:
        try:
            return base64.b64decode(str(inline), validate=True)
        except (binascii.Error, ValueError):
            raise AccessError(f"{path}: {option}-data is no Base64") from None
    named = given.get(option)
    return _read(path.parent / str(named), KUBECONFIG_LIMIT_BYTES) if named else None


def _context(authority: bytes | None, certificate: bytes | None, key: bytes | None) -> ssl.SSLContext:
    try:
        text = authority.decode("ascii") if authority is not None else None
        context = ssl.create_default_context(cadata=text)
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise AccessError("the certificate-authority is no certificate in PEM form") from None
    if certificate is not None and key is not None:
        try:
            with _as_file(certificate) as certificate_file, _as_file(key) as key_file:
                context.load_cert_chain(certificate_file, key_file, password=_no_passphrase)
        except (OSError, ValueError):
            raise AccessError("client-certificate and client-key are no certificate and its key in PEM form") from None
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase; give one without")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give content a path, for OpenSSL takes no bytes: in memory where the system can, so that no disk sees a key."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        with open(os.memfd_create("tidewaiter"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as file:  # its mode is 0600
        file.write(content)
        file.flush()
        yield file.name


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise AbsentError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise AccessError(f"{str(path)!r} is no path") from None
    if len(content) > limit_bytes:
        raise AccessError(f"{path} is longer than {limit_bytes} bytes")
    return content
