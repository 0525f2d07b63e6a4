"""The configuration: typed, with every option described once, beside its type.

One YAML file (`collector.config_file` reads it). Inputs and outputs are named; the name is what cursors, metrics and
messages use. Secrets come from files or the environment only, are read late, and are never shown.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
import platformdirs

from collector.errors import TidewaiterError


class Unit(NamedTuple):
    """How a number is written in the file; it is kept in seconds or bytes."""

    name: str
    example: str


DURATION: Final = Unit("duration", "30s, 5m, 12h or 7d")
SIZE: Final = Unit("size", "64KiB, 512MiB or 10GiB")
LISTEN: Final = Unit("listen address", '"127.0.0.1:24224", "[::1]:24224" or "unix:///run/forward.sock"')
LISTEN_TCP: Final = Unit("listen address", '"127.0.0.1:8686" or "[::1]:8686"')
URL: Final = Unit("URL", '"https://es.example:9200"')

INTERNAL: Final = Unit("internal", "")
"""Marks what processes tell one another and no file may hold."""

Duration = Annotated[float, DURATION]
Size = Annotated[int, SIZE]
Listen = Annotated[str, LISTEN]
ListenTcp = Annotated[str, LISTEN_TCP]
Url = Annotated[str, URL]


class SecretError(TidewaiterError):
    """A secret's file or variable is not there."""

    exit_code = 2


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a secret is: exactly one of `file` (its first line) and `env` (a variable of the environment)."""

    file: str | None = None
    env: str | None = None

    def read(self) -> str:
        """Return the secret; raise SecretError, which names the place and never the content."""
        if self.file is not None:
            try:
                return Path(self.file).read_text(encoding="utf-8").splitlines()[0].strip()
            except (OSError, IndexError, UnicodeDecodeError) as error:
                raise SecretError(f"cannot read the secret in {self.file}: {error}") from error
        value = os.environ.get(self.env or "")
        if not value:
            raise SecretError(f"the environment variable {self.env} is not set")
        return value


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where acknowledged messages stand until every output has them."""

    limit: Size = 20 << 30
    """Largest size on disk. When it is reached senders wait; nothing undelivered is deleted."""


class ForwardInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="forward"):
    """Fluent Forward: Docker's `fluentd` log driver, Fluent Bit's `forward` output, fluentd."""

    listen: Listen = "127.0.0.1:24224"
    """Address and port, or a Unix socket."""

    message_limit: Size = 64 << 20
    """Largest message, on the wire and decompressed. A larger one closes its connection."""

    connections_limit: int = 10_000
    """Most connections at once; further ones are closed."""


class LocalOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="local"):
    """The local store, searched by `tidewaiter search`."""

    retention: Duration = 30 * 86400.0
    """Files whose newest document is older are deleted."""

    limit: Size = 10 << 30
    """Largest size on disk; beyond it the oldest file is deleted."""


class ElasticsearchOutput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="elasticsearch", omit_defaults=True
):
    """Data streams of Elasticsearch 8.19 or later."""

    urls: list[Url]
    """One node or several; requests go round, a dead one is left out for a while."""

    api_key: Secret | None = None
    """API key (the encoded form). Needs `auto_configure` and `create_doc` on logs-tidewaiter.*."""

    username: str | None = None
    """User for basic authentication, together with `password`."""

    password: Secret | None = None
    """Password for basic authentication."""

    ca_file: str | None = None
    """PEM file with the authority that signed the nodes' certificates."""

    gzip: bool = True
    """Compress requests."""

    request_bytes: Size = 5 << 20
    """Largest request body before compression; a larger single document goes alone."""

    retention: Duration = 90 * 86400.0
    """How long `tidewaiter setup elasticsearch` tells data streams to keep documents."""


class ConsoleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Health, readiness and metrics over HTTP."""

    listen: ListenTcp = "127.0.0.1:8686"
    """Address and port."""


Input = ForwardInput
Output = LocalOutput | ElasticsearchOutput


def default_data_dir() -> str:
    """Return the platform's data folder for the user."""
    return platformdirs.user_data_dir("tidewaiter", appauthor=False)


def default_inputs() -> dict[str, Input]:
    """Return the built-in inputs."""
    return {"forward": ForwardInput()}


def default_outputs() -> dict[str, Output]:
    """Return the built-in outputs."""
    return {"store": LocalOutput()}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. A section that the file gives replaces the built-in one."""

    data_dir: str = msgspec.field(default_factory=default_data_dir)
    """Folder for journal, store, cursors, dead letters and keys; mode 0700."""

    name: str = msgspec.field(default_factory=socket.gethostname)
    """Name of this collector in `observer.hostname` and `agent.name`."""

    namespace: str = "default"
    """Namespace of the data streams: logs-tidewaiter.container-NAMESPACE."""

    journal: JournalConfig = JournalConfig()
    """Limits of the journal."""

    inputs: dict[str, Input] = msgspec.field(default_factory=default_inputs)
    """Where records come in, by name."""

    outputs: dict[str, Output] = msgspec.field(default_factory=default_outputs)
    """Where documents go, by name."""

    hosts: dict[str, str] = {}
    """Host names by peer address, for `host.name`; without an entry it is what the sender says of its node, else the
    address."""

    console: ConsoleConfig = ConsoleConfig()
    """The console's port."""

    consumers: Annotated[list[str], INTERNAL] = []
    """Set by the supervisor for the intake: names of those whose cursors hold the journal's segments. Not for files."""
