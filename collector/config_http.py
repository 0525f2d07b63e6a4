"""Options of the inputs that are posted to over HTTP: `kubernetes_audit` and `http`."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from collector.config_secrets import Secret, TlsConfig
from collector.config_values import DURATION, LISTEN, PEER_RANGE, SIZE, address_of


class PostedInputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all inputs have that are posted to; each has its own address."""

    message_limit: Annotated[
        Annotated[int, SIZE],
        Meta(description="Largest body, on the wire and decompressed. A larger one is answered 413."),
    ] = 64 << 20

    connection_limit: Annotated[
        int,
        Meta(description="Most connections at once; further ones are closed. From 95 % on those go that ask nothing."),
    ] = 1_000

    connection_limit_per_peer: Annotated[
        int, Meta(description="Most connections at once from one address; further ones are closed.")
    ] = 200

    rate_limit_per_peer: Annotated[
        Annotated[int, SIZE],
        Meta(
            description="How much is read from one address in a second, while others send as well; a request counts "
            "for 2 KiB beside its bytes, and for what it inflates to. More waits.",
        ),
    ] = 64 << 20

    inflation_limit: Annotated[
        int,
        Meta(description="How many times its size a body may inflate to; beyond, it is a dead letter."),
    ] = 1_000

    idle_timeout: Annotated[
        Annotated[float, DURATION],
        Meta(description="A connection that has asked nothing for so long is closed; so is one with half a head."),
    ] = 120.0

    body_timeout: Annotated[
        Annotated[float, DURATION],
        Meta(
            description="How long a body may take to arrive, then its request is answered 408; and how long answers "
            "may stay unread, then their connection is closed."
        ),
    ] = 60.0

    handshake_timeout: Annotated[
        Annotated[float, DURATION], Meta(description="How long a client may take for TLS.")
    ] = 10.0

    tls: Annotated[TlsConfig | None, Meta(description="Speak TLS only.")] = None

    tokens: Annotated[
        dict[str, Secret],
        Meta(
            description="Bearer tokens by the name that documents show; then every request needs one, or one of "
            "`users`."
        ),
    ] = {}

    users: Annotated[
        dict[str, Secret],
        Meta(description="Passwords by user (basic authentication); then every request needs one, or one of `tokens`."),
    ] = {}

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All secrets it names."""
        return (*self.tokens.values(), *self.users.values())


class KubernetesAuditInputConfig(PostedInputConfig, frozen=True, tag_field="type", tag="kubernetes_audit"):
    """The webhook that Kubernetes API servers post their audit events to."""

    listen: Annotated[
        Annotated[str, LISTEN], Meta(description="Address and port, or a Unix socket. Any path is taken.")
    ] = "127.0.0.1:8443"

    cluster: Annotated[
        str | None,
        Meta(
            description="The cluster's name in `orchestrator.cluster.name`; without, that of the `kubernetes` input "
            "that speaks for the sender."
        ),
    ] = None

    proxies: Annotated[
        list[Annotated[str, PEER_RANGE]],
        Meta(
            description="Addresses and networks of proxies before the API server, whose X-Forwarded-For is to be "
            "believed: `source.ip` is the last address that is none of them. They must take away an X-Real-Ip that "
            "clients send: API servers put it behind X-Forwarded-For."
        ),
    ] = []


class HttpInputConfig(PostedInputConfig, frozen=True, tag_field="type", tag="http"):
    """JSON by POST or PUT: an object, an array of them, or objects one behind the other (NDJSON)."""

    listen: Annotated[
        Annotated[str, LISTEN], Meta(description="Address and port, or a Unix socket. The path becomes the tag.")
    ] = "127.0.0.1:8080"


def without_secrets(options: KubernetesAuditInputConfig) -> KubernetesAuditInputConfig:
    """Return what a process may know that makes documents and listens nowhere."""
    return msgspec.structs.replace(options, tls=None, tokens={}, users={})


def exposures(name: str, options: PostedInputConfig, listen: str) -> Iterator[str]:
    """Yield what `check` warns of: who can send, and who can read."""
    if address_of(listen).is_private():
        return
    listens, tls = f"input {name} listens on {listen}, beyond loopback", options.tls
    if tls is None and (options.tokens or options.users):
        yield f"{listens}, without TLS: whoever is in between can read tokens and records, and alter them"
    elif tls is None:
        yield f"{listens}, without TLS or tokens: whoever reaches the port can send records"
    elif not (options.tokens or options.users) and (tls.client_ca is None or tls.client_optional):
        yield f"{listens}, without tokens, users or client certificates: whoever reaches the port can send records"
