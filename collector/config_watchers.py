"""Options of the inputs that ask somebody: nothing listens, a watcher does the asking (`collector.watchers`)."""

import ipaddress
import itertools
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from collector.config_kubernetes import KubernetesInputConfig
from collector.config_values import DURATION, ENGINE_URL, PEER_RANGE, UNIX, address_of

LOCAL_PEERS: Final = ("127.0.0.0/8", "::1/128", "unix")
"""The senders of this machine: what a watched thing speaks for where nothing else is said."""

ASK_LIMIT_S: Final = 1.0
"""How long `check` waits for a socket that does not answer."""


class EngineTlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The client's side of TLS. Files are read at every connection."""

    ca: Annotated[
        str | None, Meta(description="PEM file with the authority of the Engine's certificate, else the system's.")
    ] = None

    certificate: Annotated[str | None, Meta(description="PEM file: our certificate; together with `key`.")] = None

    key: Annotated[str | None, Meta(description="PEM file: the certificate's key, without a passphrase.")] = None


class DockerEventsInputConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="docker_events"
):
    """A Docker Engine that is asked what its containers are. Only GET is ever sent."""

    url: Annotated[
        Annotated[str, ENGINE_URL],
        Meta(description="The Engine's API, or a read-only proxy before it: `unix:///PATH` or `tcp://HOST:PORT`."),
    ] = "unix:///var/run/docker.sock"

    peers: Annotated[
        list[Annotated[str, PEER_RANGE]],
        Meta(
            description="Senders whose containers this Engine runs: addresses, networks, and `unix` for those that "
            "send over a Unix socket. Built in: this machine's."
        ),
    ] = msgspec.field(default_factory=lambda: list(LOCAL_PEERS))

    tls: Annotated[EngineTlsConfig | None, Meta(description="Speak TLS with a `tcp` address.")] = None

    container_limit: Annotated[
        int,
        Meta(description="Most containers whose details are read; of further ones only the ids are known."),
    ] = 10_000

    resync: Annotated[
        Annotated[float, DURATION],
        Meta(description="How often all containers are listed again, should an event have been missed."),
    ] = 600.0

    trail: Annotated[
        bool,
        Meta(
            description="Keep every event as a document: execs with their commands, attaches, copies, commits, images, "
            "volumes, networks. `false`: only what containers are is asked for."
        ),
    ] = True


WatchedInputConfig = DockerEventsInputConfig | KubernetesInputConfig


def shared_peers(name: str, others: Mapping[str, WatchedInputConfig], options: WatchedInputConfig) -> Iterator[str]:
    """Yield which peers another Engine, or cluster, speaks for as well: whose container a record is of is a guess."""
    for other, its in others.items():
        if type(its) is not type(options):
            continue  # a host may have containers of its own beside its pods; their ids are never the same
        for peer, taken in itertools.product(options.peers, its.peers):
            if other != name and _overlap(peer, taken):
                yield f"{peer} is a peer of input {other} too: say which senders' containers each Engine runs"


def _overlap(peer: str, other: str) -> bool:
    if peer.startswith("unix") or other.startswith("unix"):
        # `unix` stands for every user's.
        return peer == other or (peer.startswith("unix") and other.startswith("unix") and "unix" in (peer, other))
    network, taken = ipaddress.ip_network(peer), ipaddress.ip_network(other)
    return network.version == taken.version and network.overlaps(taken)


def open_doors(name: str, options: DockerEventsInputConfig) -> Iterator[str]:
    """Yield who could listen in, or stand in for the Engine."""
    address = options.url.removeprefix("tcp://")
    if options.tls is None and address != options.url and not address_of(address).is_private():
        yield f"input {name} asks {options.url} without TLS: who is in between can alter what containers are said to be"


def out_of_reach(name: str, options: DockerEventsInputConfig) -> Iterator[str]:
    """Yield what the configuration names and this user on this machine cannot read."""
    tls = options.tls
    for file in (tls.ca, tls.certificate, tls.key) if tls is not None else ():
        if file is not None and not os.access(file, os.R_OK):
            yield f"input {name}: from here, cannot read {file}"
    if options.url.startswith(UNIX) and (problem := _unanswered(options.url.removeprefix(UNIX))):
        yield f"input {name}: from here, cannot read the socket {problem}"


def _unanswered(path: str) -> str:
    """Say why nobody answers at a Unix socket, empty when somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ASK_LIMIT_S)
        try:
            probe.connect(path)
        except PermissionError:
            owner = Path(path).stat()
            return f"{path}: it belongs to group {owner.st_gid}, of which this user is none; see deploy/engine"
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return ""
