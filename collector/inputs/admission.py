"""Who may connect to an input: its limits, its peers, and those that failed to prove who they are."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from collector.inputs.input import Counts
from collector.inputs.peers import REASONS, Peer, Peers, Places, Traffic
from collector.inputs.refusals import Refusals
from collector.logs import get_logger
from collector.wire.blocks import Blocks

logger = get_logger("intake")


class Limits(Protocol):
    """The options of an input that are about connections."""

    @property
    def connection_limit(self) -> int:
        """Most connections at once."""

    @property
    def connection_limit_per_peer(self) -> int:
        """Most connections at once from one address."""

    @property
    def rate_limit_per_peer(self) -> int:
        """Bytes that are read from one address in a second."""


class Admission:
    """The connections of one input. `idle` is set while there are none; `kind` begins the names of what is logged."""

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        limits: Limits,
        blocks: Blocks,
        places: Places | None,
        clock: Callable[[], float],
    ) -> None:
        self.counts = Counts()
        self.refusals = Refusals(name, clock)
        self.idle = asyncio.Event()
        self.idle.set()
        self._name = name
        self._refused_event = f"{kind}_connection_refused"
        self._peers = Peers(
            blocks,
            connection_limit=limits.connection_limit,
            connection_limit_per_peer=limits.connection_limit_per_peer,
            rate_bytes_per_s=limits.rate_limit_per_peer,
            places=places,
        )

    def change(self, limits: Limits) -> None:
        """Hold to other limits; connections that stand stay, where there are too many as well."""
        self._peers.change(
            connection_limit=limits.connection_limit,
            connection_limit_per_peer=limits.connection_limit_per_peer,
            rate_bytes_per_s=limits.rate_limit_per_peer,
        )

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._peers.connections

    @property
    def limit(self) -> int:
        """How many there may be at present."""
        return self._peers.limit

    def admit(self, peer: str) -> bool:
        """Note a new connection of a peer; False when it is one too many."""
        self.counts.connections_total += 1
        refused = "handshakes" if self.refusals.blocks(peer) else self._peers.admit(peer)
        if refused is not None:
            self.counts.connections_refused[refused] += 1
            logger.warning(self._refused_event, input=self._name, peer=peer, reason=REASONS[refused])
            return False
        self.counts.connections = self._peers.connections
        self.idle.clear()
        return True

    def leave(self, peer: str) -> None:
        """Forget a connection that was admitted and has nothing in hand any more."""
        self._peers.leave(peer)
        self.counts.connections = self._peers.connections
        if not self._peers.connections:
            self.idle.set()

    def peer(self, name: str) -> Peer:
        """Return what the connections of a peer that was admitted share."""
        return self._peers[name]

    def unproven(self, peer: str, reason: str, claimed: str = "", *, wrong: bool = True) -> None:
        """Note that a peer failed to prove who it is; unless it gave something `wrong`, it is listened to on."""
        self.counts.unproven += 1
        self.refusals.failed(peer, reason, claimed, wrong=wrong)

    def traffic(self) -> Traffic:
        """Return what came of late, and who sent most of it."""
        return self._peers.traffic()

    def age(self, seconds: float) -> None:
        """Let what was sent before count for less."""
        self._peers.age(seconds)
