"""What the connections of one peer share: how many there are, memory of unfinished messages, and turns."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from collector.wire.blocks import Blocks, PeerBlocks

TURN_BYTES: Final = 64 << 10
"""What is done for a peer before everybody else is asked whether there is something to do: about 0.3 ms of work."""

MESSAGE_BYTES: Final = 1 << 10
"""What a message counts for beside its bytes: a flood of tiny ones is no less work."""


class Peer:
    """One peer that has connections."""

    def __init__(self, peers: "Peers", blocks: Blocks) -> None:
        self.blocks = PeerBlocks(blocks)
        self._peers = peers
        self.connections = 0
        self._spent_bytes = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def takes_turns(self, count: int, messages: int, go_on: Callable[[], None]) -> bool:
        """Count what was done for a connection; tell whether it has to wait now, until `go_on` is called.

        Everything of a peer that has had its turn waits: with more connections nobody gets more turns. Who is alone
        has nobody to wait for.
        """
        if self._peers.count == 1:
            return False
        self._spent_bytes += count + messages * MESSAGE_BYTES
        if self._spent_bytes < TURN_BYTES:
            return False
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(go_on)
        return True

    def _next(self) -> None:
        self._spent_bytes = 0
        self._waiting.popleft()()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)


class Places:
    """How many connections all inputs together may have: as many as files may be opened for them."""

    def __init__(self, limit: int = sys.maxsize) -> None:
        self.left = limit


class Peers:
    """The peers of one input. `connections` is how many they have together."""

    def __init__(
        self,
        blocks: Blocks,
        *,
        connection_limit: int,
        connection_limit_per_peer: int,
        places: Places | None = None,
    ) -> None:
        self.connections = 0
        self._places = places or Places()
        self._blocks = blocks
        self._limit = connection_limit
        self._limit_per_peer = connection_limit_per_peer
        self._peers: dict[str, Peer] = {}

    @property
    def count(self) -> int:
        """How many peers there are."""
        return len(self._peers)

    @property
    def limit(self) -> int:
        """How many connections there may be at present."""
        return min(self._limit, self.connections + self._places.left)

    def __getitem__(self, name: str) -> Peer:
        """Return a peer that was admitted and has not left."""
        return self._peers[name]

    def admit(self, name: str) -> str:
        """Note a new connection of a peer; return why not when it is one too many."""
        peer = self._peers.get(name)
        if self.connections >= self._limit:
            return "too many"
        if self._places.left <= 0:
            return "too many for the files that the process may open: see ulimit -n"
        if peer is None:
            peer = self._peers[name] = Peer(self, self._blocks)
        elif peer.connections >= self._limit_per_peer:
            return "too many of one peer"
        peer.connections += 1
        self.connections += 1
        self._places.left -= 1
        return ""

    def leave(self, name: str) -> None:
        """Forget a connection that was admitted."""
        self.connections -= 1
        self._places.left += 1
        peer = self._peers[name]
        peer.connections -= 1
        if not peer.connections:
            del self._peers[name]
