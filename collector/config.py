"""The configuration: typed, with every option described once, beside its type (`msgspec.Meta`).

One YAML file (`collector.config_file` reads it). Inputs and outputs are named; the name is what cursors, metrics and
messages use. Secrets come from files or the environment only, are read late, and are never shown.
"""

import socket
from typing import Annotated, Final

import msgspec
import platformdirs
from msgspec import Meta

from collector.config_dead_letters import DeadLettersConfig
from collector.config_documents import DocumentsConfig
from collector.config_http import HttpInputConfig, KubernetesAuditInputConfig
from collector.config_kubernetes import KubernetesInputConfig
from collector.config_outputs import ElasticsearchOutputConfig, LocalOutputConfig
from collector.config_rules import RulesConfig
from collector.config_secrets import Secret, TlsConfig
from collector.config_values import DURATION, LISTEN, LISTEN_TCP, PEER, SIZE
from collector.config_watchers import DockerEventsInputConfig, WatchedInputConfig
from pipelines.enrich.static import FieldRule
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
Peer = Annotated[str, PEER]


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
            "`verify` proves them, and a new output can begin with them. What stands before the oldest checkpoint is "
            "then made under the configuration of now, up to where the archive holds a later one."
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

    @property
    def secrets(self) -> tuple[Secret | None, ...]:
        """All secrets it names."""
        return (self.shared_key, *self.client_keys.values(), *self.users.values())


class ConsoleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Health, readiness and metrics over HTTP."""

    listen: Annotated[ListenTcp, Meta(description="Address and port.")] = "127.0.0.1:8686"


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the process that makes documents is taken for caught by a record; what caught it becomes a dead letter."""

    hang_limit: Annotated[
        Duration,
        Meta(
            description="Time of a processor that one batch of at most 16,384 records may take (by the clock four "
            "times as much); then the worker is ended, and what it had in hand is tried apart."
        ),
    ] = 60.0

    memory_limit: Annotated[
        Size,
        Meta(
            description="Memory that the worker may allocate, and never more than four fifths of what its control "
            "group has; a record for which that does not suffice is a dead letter."
        ),
    ] = 4 << 30


class LookupConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table in a file, asked once for each stream."""

    file: Annotated[
        str,
        Meta(
            description="CSV whose first column is the key, or YAML (`.yaml`, `.yml`) of keys and their columns; read "
            "again when it changes."
        ),
    ]

    match: Annotated[str, Meta(description="Field of a stream's documents whose value is the key.")]

    add: Annotated[dict[str, str], Meta(description="Fields to set, by the column that holds their values.")]

    networks: Annotated[
        bool, Meta(description="Keys are addresses or networks; the narrowest that holds the field's address counts.")
    ] = False


ListeningInputConfig = ForwardInputConfig | HttpInputConfig | KubernetesAuditInputConfig
InputConfig = ListeningInputConfig | DockerEventsInputConfig | KubernetesInputConfig
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
        Meta(description="Where records come in, by name, and who is asked what they are of."),
    ] = msgspec.field(default_factory=default_inputs)

    outputs: Annotated[
        dict[str, OutputConfig],
        Meta(description="Where documents go, by name."),
    ] = msgspec.field(default_factory=default_outputs)

    dead_letters: Annotated[DeadLettersConfig, Meta(description="What could not be decoded or delivered.")] = (
        DeadLettersConfig()
    )

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

    documents: Annotated[DocumentsConfig, Meta(description="What documents are made of, beside what parsers find.")] = (
        DocumentsConfig()
    )

    fields: Annotated[
        list[FieldRule],
        Meta(
            description="Fields that documents of some streams have; of the rules that fit a stream the first that "
            "sets a field decides."
        ),
    ] = []

    lookups: Annotated[
        dict[str, LookupConfig],
        Meta(description="Tables in files, by name, whose rows set fields of the streams they are about."),
    ] = {}

    rules: Annotated[RulesConfig, Meta(description="Sigma rules that run on every document.")] = RulesConfig()

    worker: Annotated[WorkerConfig, Meta(description="Limits of the worker.")] = WorkerConfig()

    console: Annotated[ConsoleConfig, Meta(description="The console's port.")] = ConsoleConfig()

    consumers: Annotated[
        list[str],
        INTERNAL,
        Meta(description="Names of those whose cursors hold the journal's segments; the supervisor tells the intake."),
    ] = []

    hash: Annotated[
        str,
        INTERNAL,
        Meta(
            description="Of the whole configuration; the supervisor tells the intake, which puts it into the journal."
        ),
    ] = ""

    settings: Annotated[
        str,
        INTERNAL,
        Meta(description="What documents are made under (`pipelines.configuration`), for the journal; empty: nothing."),
    ] = ""


def listening(config: Config) -> dict[str, ListeningInputConfig]:
    """Return the inputs that senders reach: the intake's."""
    return {name: options for name, options in config.inputs.items() if isinstance(options, ListeningInputConfig)}


def audited(config: Config) -> dict[str, KubernetesAuditInputConfig]:
    """Return the inputs that API servers post their audit events to."""
    return {name: options for name, options in config.inputs.items() if isinstance(options, KubernetesAuditInputConfig)}


def watched(config: Config) -> dict[str, WatchedInputConfig]:
    """Return the inputs that ask somebody: the watcher's."""
    return {name: options for name, options in config.inputs.items() if isinstance(options, WatchedInputConfig)}


def engines(config: Config) -> dict[str, DockerEventsInputConfig]:
    """Return the inputs that ask a Docker Engine."""
    return {name: options for name, options in config.inputs.items() if isinstance(options, DockerEventsInputConfig)}


def clusters(config: Config) -> dict[str, KubernetesInputConfig]:
    """Return the inputs that ask a Kubernetes API server."""
    return {name: options for name, options in config.inputs.items() if isinstance(options, KubernetesInputConfig)}
