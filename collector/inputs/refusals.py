"""Failed proofs: counted by peer, slowed down, and told as events of their own."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from collector.inputs.sockets import neighbours_of

FAILURES_LIMIT: Final = 10
"""Failed handshakes of one peer within FAILURES_S; who has had so many is not listened to until that has passed."""

FAILURES_S: Final = 60.0
PEERS_LIMIT: Final = 10_000
"""Peers that are remembered; beyond, the one that failed longest ago is forgotten, and told with other such."""

FORGOTTEN: Final = "others"
"""The peer of an event that tells of failures of peers that were forgotten before they were told."""

REPORT_INTERVAL_S: Final = 60.0
"""An event per peer at most so often, with the number of failures since the last."""


class Refusal(msgspec.Struct, frozen=True):
    """Failures of one peer since the last report: how many, and the last one's address, reason and claimed name."""

    input: str
    peer: str
    reason: str
    claimed: str
    attempts: int


class _Peer(msgspec.Struct):
    address: str
    first_s: float
    failures: int = 0
    reason: str = ""
    claimed: str = ""
    unreported: int = 0
    reported_s: float = float("-inf")


class Refusals:
    """What is known of the peers of one input that failed to prove who they are; all of an IPv6 /64 are one."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._input = name
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._forgotten = 0

    def failed(self, peer: str, reason: str, claimed: str = "") -> None:
        """Take note of a failure."""
        now_s = self._clock()
        name = neighbours_of(peer)
        found = self._peers.get(name)
        if found is None:
            found = self._peers[name] = _Peer(peer, now_s)
            if len(self._peers) > PEERS_LIMIT:
                self._forgotten += self._peers.popitem(last=False)[1].unreported
        if now_s - found.first_s > FAILURES_S:
            found.first_s, found.failures = now_s, 0
        found.failures += 1
        found.unreported += 1
        found.address, found.reason, found.claimed = peer, reason, claimed
        self._peers.move_to_end(name)

    def blocks(self, peer: str) -> bool:
        """Tell whether a peer has failed too often lately."""
        found = self._peers.get(neighbours_of(peer))
        recent = found is not None and self._clock() - found.first_s <= FAILURES_S
        return found is not None and recent and found.failures >= FAILURES_LIMIT

    def due(self, *, last: bool = False) -> list[Refusal]:
        """Return what is to be told now, for the `last` time all; forget peers of which nothing is left to say."""
        now_s = self._clock()
        told = []
        if self._forgotten:
            told.append(Refusal(self._input, FORGOTTEN, "too many peers failed to tell each", "", self._forgotten))
            self._forgotten = 0
        for name, found in tuple(self._peers.items()):
            if found.unreported and (last or now_s - found.reported_s >= REPORT_INTERVAL_S):
                told.append(Refusal(self._input, found.address, found.reason, found.claimed, found.unreported))
                found.unreported, found.reported_s = 0, now_s
            elif not found.unreported and now_s - max(found.first_s, found.reported_s) > FAILURES_S:
                del self._peers[name]
        return told
