"""What the connections of one peer share: how many there are, memory of unfinished messages, and turns."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from collector.company import Company
from collector.inputs.sockets import neighbours_of
from collector.wire.blocks import Blocks, PeerBlocks

TURN_S: Final = 0.001
"""A peer may be so far ahead of its rate; then it waits, while everybody else is asked what there is to do."""

MESSAGE_BYTES: Final = 2 << 10
"""What a message counts for beside its bytes: a flood of tiny ones is no less work."""


TRAFFIC_HALF_LIFE_S: Final = 60.0
"""What a peer sent counts half as much after so long, where it is asked who sent most of late."""


NotAdmitted = Literal["limit", "files", "peer", "handshakes"]

REASONS: Final[Mapping[NotAdmitted, str]] = {
    "limit": "too many",
    "files": "too many for the files that the process may open: see ulimit -n",
    "peer": "too many of one peer",
    "handshakes": "too many failed handshakes",
}
"""Why a connection is closed at once: as metrics name it, and for people."""


class Traffic(NamedTuple):
    """Bytes of late: of all peers that are connected, and of the one that sent most."""

    bytes: float
    busiest: str
    busiest_bytes: float


class Peer:
    """One peer that has connections; `late_bytes` is what came from it of late.

    At `paid_until_s` of the loop's clock what was done for it so far is paid, by `rate_bytes_per_s`.
    """

    def __init__(self, name: str, blocks: Blocks, company: Company, *, rate_bytes_per_s: int) -> None:
        self.blocks = PeerBlocks(blocks)
        self.connections = 0
        self.late_bytes = 0.0
        self._name = name
        self._company = company
        self.rate_bytes_per_s = rate_bytes_per_s
        self.paid_until_s = 0.0
        self._waiting: deque[Callable[[], None]] = deque()

    def spend(self, count: int, messages: int) -> bool:
        """Count what was done for a connection; tell whether it has to wait now (`wait`).

        Everything of a peer that is ahead of its rate waits: with more connections nobody gets more turns. Who is alone
        has nobody to wait for.
        """
        now_s = asyncio.get_running_loop().time()
        self.late_bytes += count
        self._company.heard(self._name, now_s)
        if self._company.is_alone(now_s):
            return False
        cost_s = (count + messages * MESSAGE_BYTES) / self.rate_bytes_per_s
        self.paid_until_s = max(self.paid_until_s, now_s) + cost_s
        return self.paid_until_s - now_s >= TURN_S

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when what was done for this peer is paid, and for its connections that waited before."""
        if not self._waiting:
            asyncio.get_running_loop().call_at(self.paid_until_s, self._next)
        self._waiting.append(go_on)

    def _next(self) -> None:
        """Let the connection go on that has waited longest; the others when that has been paid for."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if now_s + TURN_S < self.paid_until_s:
            loop.call_at(self.paid_until_s, self._next)
            return
        go_on = self._waiting.popleft()
        if self._waiting:
            loop.call_later(TURN_S, self._next)  # first: the others go on even if this one fails
        go_on()


class Places:
    """How many connections all inputs together may have: as many as files may be opened for them."""

    def __init__(self, limit: int = sys.maxsize) -> None:
        self.left = limit


class Peers:
    """The peers of one input; all of an IPv6 /64 are one. `connections` is how many they have together.

    `rate_bytes_per_s` is what is read of one of them at most, while others send as well.
    """

    def __init__(
        self,
        blocks: Blocks,
        *,
        connection_limit: int,
        connection_limit_per_peer: int,
        rate_bytes_per_s: int,
        places: Places | None = None,
    ) -> None:
        self.connections = 0
        self._rate_bytes_per_s = rate_bytes_per_s
        self._places = places or Places()
        self._blocks = blocks
        self._limit = connection_limit
        self._limit_per_peer = connection_limit_per_peer
        self._peers: dict[str, Peer] = {}
        self._company = Company()

    def change(self, *, connection_limit: int, connection_limit_per_peer: int, rate_bytes_per_s: int) -> None:
        """Hold to other limits from now on."""
        self._limit, self._limit_per_peer = connection_limit, connection_limit_per_peer
        self._rate_bytes_per_s = rate_bytes_per_s
        for peer in self._peers.values():
            peer.rate_bytes_per_s = rate_bytes_per_s

    @property
    def limit(self) -> int:
        """How many connections there may be at present."""
        return min(self._limit, self.connections + self._places.left)

    def __getitem__(self, name: str) -> Peer:
        """Return a peer that was admitted and has not left."""
        return self._peers[neighbours_of(name)]

    def __len__(self) -> int:
        """How many peers there are."""
        return len(self._peers)

    def admit(self, name: str) -> NotAdmitted | None:
        """Note a new connection of a peer; return why not when it is one too many."""
        name = neighbours_of(name)
        peer = self._peers.get(name)
        if self.connections >= self._limit:
            return "limit"
        if self._places.left <= 0:
            return "files"
        if peer is None:
            peer = Peer(name, self._blocks, self._company, rate_bytes_per_s=self._rate_bytes_per_s)
            self._peers[name] = peer
        elif peer.connections >= self._limit_per_peer:
            return "peer"
        peer.connections += 1
        self.connections += 1
        self._places.left -= 1
        return None

    def age(self, seconds: float) -> None:
        """Let what was sent before count for less."""
        part = 0.5 ** (seconds / TRAFFIC_HALF_LIFE_S)
        for peer in self._peers.values():
            peer.late_bytes *= part

    def traffic(self) -> Traffic:
        """Return what came of late, and who sent most of it."""
        total_bytes = sum(peer.late_bytes for peer in self._peers.values())
        busiest, peer = max(self._peers.items(), key=lambda each: each[1].late_bytes, default=("", None))
        return Traffic(total_bytes, busiest, peer.late_bytes if peer is not None else 0.0)

    def leave(self, name: str) -> None:
        """Forget a connection that was admitted."""
        self.connections -= 1
        name = neighbours_of(name)
        self._places.left += 1
        peer = self._peers[name]
        peer.connections -= 1
        if not peer.connections:
            del self._peers[name]
