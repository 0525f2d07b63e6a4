"""Entries that wait for the next group, so that no client can make the others wait for all that it has to say."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from collector.company import Company
from collector.journal.entry import Entry
from collector.journal.receipts import Pending

SHARE_BYTES: Final = 64 << 10
"""What one client may have in a group, be it more than that in one entry: with more, everybody else waits for a write
and a sync of all that a single one had to say (measured: `make bench`, case `fairness`)."""

LONE_SHARE_BYTES: Final = 1 << 20
"""The share of a client that is alone: more saves hardly a sync, and whoever comes then has to wait for it."""

GROUP_BYTES: Final = 4 << 20
"""Where a group ends, however many clients wait: those that are left come first in the next."""


class _Client:
    """What one client has waiting."""

    def __init__(self) -> None:
        self.waiting: deque[Pending] = deque()
        self.size_bytes = 0

    def append(self, pending: Pending) -> None:
        self.waiting.append(pending)
        self.size_bytes += pending.entry.cost_bytes

    def take(self, limit_bytes: int, group: list[Pending]) -> int:
        """Move entries to a group until they have reached the limit; return their bytes."""
        before_bytes = self.size_bytes
        while self.waiting and before_bytes - self.size_bytes < limit_bytes:
            pending = self.waiting.popleft()
            self.size_bytes -= pending.entry.cost_bytes
            group.append(pending)
        return before_bytes - self.size_bytes


class FairQueue:
    """Each client's entries in order, the clients in turn. A client is a peer, with what it has proven.

    Who has no more than a share waiting goes before who has, in every second group.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clients: dict[tuple[str, str], _Client] = {}
        self._company = Company()
        self._light_went = False

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._clients)

    def append(self, pending: Pending) -> None:
        """Let an entry wait behind those of its client."""
        name = self._put(pending)
        if pending.entry.producer is None:
            self._company.heard(name, self._clock())

    def _put(self, pending: Pending) -> tuple[str, str]:
        origin = pending.entry.origin
        name = origin.peer, origin.auth
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client()
        client.append(pending)
        return name

    def next_group(self) -> list[Pending]:
        """Take the next group: of every client its share, or of as many as there is room for."""
        clients, share_bytes = self._turn()
        group: list[Pending] = []
        group_bytes = 0
        for name in clients:
            if group_bytes >= GROUP_BYTES:
                break
            client = self._clients.pop(name)
            group_bytes += client.take(share_bytes, group)
            if client.waiting:
                self._clients[name] = client  # behind everybody else
        return group

    def _turn(self) -> tuple[list[tuple[str, str]], int]:
        """Return whose turn it is, and their share."""
        clients = list(self._clients)
        if len(clients) == 1:
            return clients, LONE_SHARE_BYTES if self._company.is_alone(self._clock()) else SHARE_BYTES
        if not self._light_went:
            light = [name for name, client in self._clients.items() if client.size_bytes <= SHARE_BYTES]
            self._light_went = 0 < len(light) < len(clients)
            return light or clients, SHARE_BYTES
        self._light_went = False
        return clients, SHARE_BYTES

    def take_all(self) -> list[Pending]:
        """Take everything."""
        left = [pending for client in self._clients.values() for pending in client.waiting]
        self._clients.clear()
        return left

    def take_where(self, is_wanted: Callable[[Entry], bool]) -> list[Pending]:
        """Take those of which this is true."""
        taken: list[Pending] = []
        for pending in self.take_all():
            if is_wanted(pending.entry):
                taken.append(pending)
            else:
                self._put(pending)
        return taken
