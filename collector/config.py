"""The configuration: typed, with every option described once, beside its type (`msgspec.Meta`).

One YAML file (`collector.config_file` reads it). Inputs and outputs are named; the name is what cursors, metrics and
messages use. Secrets come from files or the environment only, are read late, and are never shown.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Final

import msgspec
import platformdirs
from msgspec import Meta

from collector.config_values import DURATION, LISTEN, LISTEN_TCP, PEER, SIZE, URL
from collector.errors import TidewaiterError
from pipelines.parse import ParserRule

INTERNAL: Final = "internal"
"""Marks what processes tell one another and no file may hold."""

OWN_INPUT: Final = "tidewaiter"
"""The input that records of internal producers come under, our own audit records among them."""

DEAD_LETTERS_OUTPUT: Final = "dead-letters"
"""The built-in output that keeps what the pipeline refused; its cursor holds the journal like any other's."""

PIPELINE_SOURCE: Final = "pipeline"
"""Where its letters come from; all others come from an output of that name."""

Duration = Annotated[float, DURATION]
Size = Annotated[int, SIZE]
Listen = Annotated[str, LISTEN]
ListenTcp = Annotated[str, LISTEN_TCP]
Url = Annotated[str, URL]
Peer = Annotated[str, PEER]


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


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where acknowledged messages stand until every output has them."""

    limit: Annotated[
        Size,
        Meta(description="Largest size on disk. When it is reached senders wait; nothing undelivered is deleted."),
    ] = 20 << 30

    archive: Annotated[
        Duration,
        Meta(
            description="How long segments are kept that every output has passed, as far as the limit allows; "
            "`verify` proves them, and a new output can begin with them."
        ),
    ] = 0.0

    segment_age: Annotated[
        Duration,
        Meta(
            description="A segment is sealed when it is so old, or 128 MiB long. Who takes over the machine can "
            "forge what stands in the open one, and nothing older."
        ),
    ] = 3600.0

    compress: Annotated[
        bool,
        Meta(description="Compress segments that still stand a minute after they were sealed, in the background."),
    ] = True


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The server's side of TLS. Files are read again when they change."""

    certificate: Annotated[str, Meta(description="PEM file: the certificate, and those between it and its authority.")]

    key: Annotated[str, Meta(description="PEM file: the certificate's key, without a passphrase.")]

    client_ca: Annotated[
        str | None,
        Meta(description="PEM file with the authority of clients' certificates; then every client needs one."),
    ] = None

    client_optional: Annotated[bool, Meta(description="Take clients without a certificate as well.")] = False


class ForwardInputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="forward"):
    """Fluent Forward: Docker's `fluentd` log driver, Fluent Bit's `forward` output, fluentd."""

    listen: Annotated[Listen, Meta(description="Address and port, or a Unix socket.")] = "127.0.0.1:24224"

    message_limit: Annotated[
        Size,
        Meta(description="Largest message, on the wire and decompressed. A larger one closes its connection."),
    ] = 64 << 20

    connection_limit: Annotated[int, Meta(description="Most connections at once; further ones are closed.")] = 10_000

    connection_limit_per_peer: Annotated[
        int, Meta(description="Most connections at once from one address; further ones are closed.")
    ] = 4_000

    rate_limit_per_peer: Annotated[
        Size,
        Meta(
            description="How much is read from one address in a second, while others send as well; a message counts "
            "for 2 KiB beside its bytes, and for what it inflates to. More waits.",
        ),
    ] = 64 << 20

    inflation_limit: Annotated[
        int,
        Meta(description="How many times its size a message may inflate to; beyond, it is a dead letter."),
    ] = 1_000

    idle_timeout: Annotated[
        Duration,
        Meta(description="At its limit an input closes the connection that was silent longest, if for so long."),
    ] = 600.0

    stall_timeout: Annotated[
        Duration,
        Meta(description="A message that halts for so long, or acknowledgements left unread, close their connection."),
    ] = 60.0

    handshake_timeout: Annotated[
        Duration, Meta(description="How long a client may take for TLS, and for the handshake.")
    ] = 10.0

    tls: Annotated[TlsConfig | None, Meta(description="Speak TLS only.")] = None

    shared_key: Annotated[
        Secret | None,
        Meta(description="Every client must prove that it knows this key (`Shared_Key`); Docker's driver cannot."),
    ] = None

    client_keys: Annotated[
        dict[str, Secret],
        Meta(description="Keys of single clients by their host name (`Self_Hostname`), instead of the shared one."),
    ] = {}

    users: Annotated[
        dict[str, Secret],
        Meta(description="Passwords by user; clients with a key must then also be one of these."),
    ] = {}


class LocalOutputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="local"):
    """The local store, searched by `tidewaiter search`."""

    retention: Annotated[Duration, Meta(description="Files whose newest document is older are deleted.")] = 30 * 86400.0

    limit: Annotated[Size, Meta(description="Largest size on disk; beyond it the oldest file is deleted.")] = 10 << 30


class ElasticsearchOutputConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="elasticsearch", omit_defaults=True
):
    """Data streams of Elasticsearch 8.19 or later."""

    urls: Annotated[
        list[Url],
        Meta(description="One node or several; requests go round, a dead one is left out for a while."),
    ]

    api_key: Annotated[
        Secret | None,
        Meta(description="API key (the encoded form). Needs `auto_configure` and `create_doc` on logs-*-*."),
    ] = None

    username: Annotated[str | None, Meta(description="User for basic authentication, together with `password`.")] = None

    password: Annotated[Secret | None, Meta(description="Password for basic authentication.")] = None

    ca_file: Annotated[
        str | None,
        Meta(description="PEM file with the authority that signed the nodes' certificates."),
    ] = None

    gzip: Annotated[bool, Meta(description="Compress requests.")] = True

    request_limit: Annotated[
        Size,
        Meta(description="Largest request body before compression; a larger single document goes alone."),
    ] = 8 << 20

    retention: Annotated[
        Duration,
        Meta(description="How long `tidewaiter setup elasticsearch` tells data streams to keep documents."),
    ] = 90 * 86400.0


class ConsoleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Health, readiness and metrics over HTTP."""

    listen: Annotated[ListenTcp, Meta(description="Address and port.")] = "127.0.0.1:8686"


InputConfig = ForwardInputConfig
OutputConfig = LocalOutputConfig | ElasticsearchOutputConfig


def default_data_dir() -> str:
    """Return the platform's data folder for the user."""
    return platformdirs.user_data_dir("tidewaiter", appauthor=False)


def default_inputs() -> dict[str, InputConfig]:
    """Return the built-in inputs."""
    return {"forward": ForwardInputConfig()}


def default_outputs() -> dict[str, OutputConfig]:
    """Return the built-in outputs."""
    return {"store": LocalOutputConfig()}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. A section that the file gives replaces the built-in one."""

    data_dir: Annotated[
        str,
        Meta(description="Folder for journal, store, cursors, dead letters and keys; mode 0700."),
    ] = msgspec.field(default_factory=default_data_dir)

    name: Annotated[
        str,
        Meta(description="Name of this collector in `observer.hostname` and `agent.name`."),
    ] = msgspec.field(default_factory=socket.gethostname)

    namespace: Annotated[
        str,
        Meta(description="Namespace of the data streams: logs-tidewaiter.container-NAMESPACE and the products'."),
    ] = "default"

    journal: Annotated[JournalConfig, Meta(description="Limits of the journal.")] = JournalConfig()

    inputs: Annotated[
        dict[str, InputConfig],
        Meta(description="Where records come in, by name."),
    ] = msgspec.field(default_factory=default_inputs)

    outputs: Annotated[
        dict[str, OutputConfig],
        Meta(description="Where documents go, by name."),
    ] = msgspec.field(default_factory=default_outputs)

    hosts: Annotated[
        dict[Peer, str],
        Meta(
            description="Host names by peer address, for `host.name`; without an entry it is what the sender says "
            "of its node, else the address."
        ),
    ] = {}

    parsers: Annotated[
        list[ParserRule],
        Meta(
            description="Which streams have which parser; of the rules that fit a stream the first decides. A "
            "container's label `tidewaiter.parser` goes before them, its image's name and its lines come behind."
        ),
    ] = []

    console: Annotated[ConsoleConfig, Meta(description="The console's port.")] = ConsoleConfig()

    consumers: Annotated[
        list[str],
        INTERNAL,
        Meta(description="Names of those whose cursors hold the journal's segments; the supervisor tells the intake."),
    ] = []
