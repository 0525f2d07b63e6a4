"""Certificates, keys and authorities that the configuration names, loaded: to listen, to connect, and to check them."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.config_secrets import TlsConfig
from collector.config_watchers import EngineTlsConfig
from collector.errors import TidewaiterError


class CertificateError(TidewaiterError):
    """A file cannot be used; `option` is the one that names it."""

    exit_code = 2

    def __init__(self, option: str, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.option = option


def server_context(options: TlsConfig) -> ssl.SSLContext:
    """Return what a server's connections are made with; raise CertificateError."""
    for option, file in (("certificate", options.certificate), ("key", options.key), ("client_ca", options.client_ca)):
        if file and not Path(file).is_file():
            raise CertificateError(option, file, "there is no such file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, options.certificate, options.key)
    if options.client_ca:
        with _certificates("client_ca", options.client_ca):
            context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL if options.client_optional else ssl.CERT_REQUIRED
    return context


def client_context(authority: str | None) -> ssl.SSLContext:
    """Return what a client's connections are made with; `authority` is the file of one. Raises CertificateError."""
    with _certificates("ca_file", authority or ""):
        return ssl.create_default_context(cafile=authority)


def engine_context(options: EngineTlsConfig) -> ssl.SSLContext:
    """Return what connections to an Engine are made with; raise CertificateError."""
    for option, file in (("ca", options.ca), ("certificate", options.certificate), ("key", options.key)):
        if file and not Path(file).is_file():
            raise CertificateError(option, file, "there is no such file")
    with _certificates("ca", options.ca or ""):
        context = ssl.create_default_context(cafile=options.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate is not None and options.key is not None:
        _load_own(context, options.certificate, options.key)
    return context


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    with _certificates("certificate", certificate):
        # By itself first: of certificate and key together it is not said which is at fault.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise CertificateError("key", key, _key_problem(error, certificate)) from error


@contextmanager
def _certificates(option: str, file: str) -> Iterator[None]:
    """Say of a file that holds no certificates which one it is."""
    try:
        yield
    except ssl.SSLError as error:
        raise CertificateError(option, file, f"no certificate in PEM form ({_reason(error)})") from error
    except OSError as error:
        raise CertificateError(option, file, f"cannot be read: {error.strerror}") from error


def _key_problem(error: Exception, certificate: str) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
    if "MISMATCH" in (error.reason or ""):
        return f"is not the key of the certificate in {certificate}"
    return f"no private key in PEM form ({_reason(error)})"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase; give one without")
