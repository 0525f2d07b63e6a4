"""Which Engine or cluster runs the containers that a sender speaks for: by configuration, never by the record."""

import ipaddress
from functools import lru_cache
from typing import Final, Literal

import msgspec

LOCAL_PEERS: Final = ("127.0.0.0/8", "::1/128", "unix")
"""The senders of an Engine's own machine."""

UNIX: Final = "unix"
"""Stands for all senders over Unix sockets."""

SENDERS_KEPT: Final = 4096
"""Of so many senders it is remembered who speaks for them."""


class Engine(msgspec.Struct, frozen=True):
    """An input that asks a Docker Engine or a cluster, and the senders whose containers that runs.

    `peers` are addresses and networks, `unix`, or a peer as `Origin.peer` shows it; empty means all. One that is asked
    about a `part` of its containers only can say of none that it is not there.
    """

    name: str
    peers: tuple[str, ...] = LOCAL_PEERS
    kind: Literal["docker", "kubernetes"] = "docker"
    part: bool = False


class Sources(msgspec.Struct, frozen=True):
    """Who knows the containers of a sender: an Engine, a cluster, both or (empty) none. These are names of inputs.

    `parts` are those of them that are asked about a part only.
    """

    engine: str = ""
    cluster: str = ""
    parts: tuple[str, ...] = ()


@lru_cache(SENDERS_KEPT)
def sources_of(engines: tuple[Engine, ...], peer: str) -> Sources:
    """Return who runs the containers of a sender: of several Engines the first that is said to."""
    found = {"docker": "", "kubernetes": ""}
    for engine in engines:
        if not found[engine.kind] and _speaks_for(engine, peer):
            found[engine.kind] = engine.name
    parts = tuple(engine.name for engine in engines if engine.part and engine.name in found.values())
    return Sources(found["docker"], found["kubernetes"], parts)


def _speaks_for(engine: Engine, peer: str) -> bool:
    if not engine.peers or peer in engine.peers:
        return True
    if peer.partition(":")[0] == UNIX:
        return UNIX in engine.peers
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in map(_network, engine.peers) if network is not None)


@lru_cache(SENDERS_KEPT)
def _network(peers: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(peers, strict=False)
    except ValueError:
        return None
