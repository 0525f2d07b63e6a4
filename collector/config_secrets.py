"""Secrets and certificates as the configuration names them: by files and variables, never by their content."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from collector.errors import TidewaiterError


class SecretError(TidewaiterError):
    """A secret's file or variable is not there."""

    exit_code = 2


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a secret is: exactly one of `file` (its first line) and `env` (a variable of the environment)."""

    file: Annotated[str | None, Meta(description="File whose first line is the secret.")] = None

    env: Annotated[str | None, Meta(description="Variable of the environment.")] = None

    def read(self) -> str:
        """Return the secret; raise SecretError, which names the place and never the content."""
        if self.file is not None:
            try:
                content = Path(self.file).read_text(encoding="utf-8")
            except OSError as error:
                raise SecretError(f"cannot read the secret in {self.file}: {error.strerror}") from error
            except UnicodeDecodeError:
                raise SecretError(f"the secret in {self.file} is not text") from None
            secret = content.partition("\n")[0].strip()
            if not secret:
                raise SecretError(f"the first line of {self.file} is empty: no secret there")
            return secret
        value = os.environ.get(self.env or "")
        if not value:
            raise SecretError(f"the environment variable {self.env} is not set")
        return value


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The server's side of TLS. Files are read again when they change."""

    certificate: Annotated[str, Meta(description="PEM file: the certificate, and those between it and its authority.")]

    key: Annotated[str, Meta(description="PEM file: the certificate's key, without a passphrase.")]

    client_ca: Annotated[
        str | None,
        Meta(description="PEM file with the authority of clients' certificates; then every client needs one."),
    ] = None

    client_optional: Annotated[bool, Meta(description="Take clients without a certificate as well.")] = False
