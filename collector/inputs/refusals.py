"""Failed proofs: counted by peer, slowed down, and told as events of their own."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from collector.inputs.sockets import neighbours_of

FAILURES_LIMIT: Final = 10
"""Wrong proofs of one peer within FAILURES_S; who has had so many is not listened to until that has passed."""

FAILURES_S: Final = 60.0
PEERS_LIMIT: Final = 10_000
"""Peers that are remembered; beyond, the one that failed longest ago is forgotten, and told with other such."""

CAUSES_LIMIT: Final = 4
"""Reasons, each with a claimed name, that are told apart of one peer within REPORT_INTERVAL_S."""

FORGOTTEN: Final = "others"
"""The peer of an event that tells of failures of peers that were forgotten before they were told."""

FURTHER: Final = "further reasons or claimed names"
"""The reason of an event that tells of a peer's failures beyond CAUSES_LIMIT."""

REPORT_INTERVAL_S: Final = 60.0
"""An event per peer, reason and claimed name at most so often, with the number of failures since the last."""


class Refusal(msgspec.Struct, frozen=True):
    """Failures of one peer for one reason under one claimed name since the last report, and the last one's address."""

    input: str
    peer: str
    reason: str
    claimed: str
    attempts: int


class Block(msgspec.Struct, frozen=True):
    """A peer is not listened to for `seconds`, since it had so many `failures`."""

    input: str
    peer: str
    failures: int
    seconds: int


class _Cause(msgspec.Struct):
    """What failures of a peer have in common, by reason and claimed name."""

    address: str = ""
    unreported: int = 0
    reported_s: float = float("-inf")


class _Peer(msgspec.Struct):
    first_s: float
    failures: int = 0
    causes: dict[tuple[str, str], _Cause] = {}

    @property
    def unreported(self) -> int:
        return sum(cause.unreported for cause in self.causes.values())

    def cause(self, reason: str, claimed: str) -> _Cause:
        """Return the cause to count a failure under; one too many is counted with other such."""
        key = reason, claimed
        if key not in self.causes and len(self.causes) >= CAUSES_LIMIT:
            key = FURTHER, ""
        return self.causes.setdefault(key, _Cause())


class Refusals:
    """What is known of the peers of one input that failed to prove who they are; all of an IPv6 /64 are one."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._input = name
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._forgotten = 0
        self._blocks: list[Block] = []

    def failed(self, peer: str, reason: str, claimed: str = "", *, wrong: bool = True) -> None:
        """Take note of a failure; only what is `wrong` is an attempt that `blocks`, not what gave nothing at all."""
        now_s = self._clock()
        name = neighbours_of(peer)
        found = self._peers.get(name)
        if found is None:
            found = self._peers[name] = _Peer(now_s)
            if len(self._peers) > PEERS_LIMIT:
                self._forgotten += self._peers.popitem(last=False)[1].unreported
        if now_s - found.first_s > FAILURES_S:
            found.first_s, found.failures = now_s, 0
        found.failures += wrong
        if wrong and found.failures == FAILURES_LIMIT and len(self._blocks) < PEERS_LIMIT:
            seconds = round(found.first_s + FAILURES_S - now_s)
            self._blocks.append(Block(self._input, peer, FAILURES_LIMIT, seconds))
        cause = found.cause(reason, claimed)
        cause.address = peer
        cause.unreported += 1
        self._peers.move_to_end(name)

    def blocks(self, peer: str) -> bool:
        """Tell whether a peer has failed too often lately."""
        found = self._peers.get(neighbours_of(peer))
        recent = found is not None and self._clock() - found.first_s <= FAILURES_S
        return found is not None and recent and found.failures >= FAILURES_LIMIT

    def blocked(self) -> list[Block]:
        """Return the peers that are not listened to since the last call."""
        blocked, self._blocks = self._blocks, []
        return blocked

    def due(self, *, last: bool = False) -> list[Refusal]:
        """Return what is to be told now, for the `last` time all; forget peers of which nothing is left to say."""
        now_s = self._clock()
        told = []
        if self._forgotten:
            told.append(Refusal(self._input, FORGOTTEN, "too many peers failed to tell each", "", self._forgotten))
            self._forgotten = 0
        for name, found in tuple(self._peers.items()):
            for (reason, claimed), cause in tuple(found.causes.items()):
                if cause.unreported and (last or now_s - cause.reported_s >= REPORT_INTERVAL_S):
                    told.append(Refusal(self._input, cause.address, reason, claimed, cause.unreported))
                    cause.unreported, cause.reported_s = 0, now_s
                elif not cause.unreported and now_s - cause.reported_s >= REPORT_INTERVAL_S:
                    del found.causes[reason, claimed]
            if not found.causes and now_s - found.first_s > FAILURES_S:
                del self._peers[name]
        return told
