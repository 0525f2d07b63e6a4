"""Entries that wait for the next group, so that no client can make the others wait for all that it has to say."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from collector.company import Company
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
        self.size_bytes += pending.entry.cost_bytes - pending.taken_bytes

    @property
    def has_begun(self) -> bool:
        """Whether a portion of the first of them is written, or about to be."""
        return bool(self.waiting) and self.waiting[0].is_begun

    def take(self, limit_bytes: int, group: list[Pending], *, portion_bytes: int, begins: bool) -> int:
        """Let a group have entries until they have reached the limit; return their bytes.

        Of one that is longer than a portion it has that, and the entry stays first until all of it is taken. Unless it
        `begins` a long one that is not begun has to wait.
        """
        before_bytes = self.size_bytes
        while self.waiting and before_bytes - self.size_bytes < limit_bytes:
            pending = self.waiting[0]
            entry, is_begun = pending.entry, pending.is_begun
            if entry.payload_bytes - pending.taken_bytes > portion_bytes:
                if begins or is_begun:
                    pending.take_portion(portion_bytes)
                    self.size_bytes -= portion_bytes
                    group.append(pending)
                break
            self.size_bytes -= entry.cost_bytes - pending.taken_bytes
            if is_begun:
                pending.take_rest()
            group.append(self.waiting.popleft())
        return before_bytes - self.size_bytes


class FairQueue:
    """Each client's entries in order, the clients in turn. A client is a peer, with what it has proven.

    Who has no more than a share waiting goes before who has, in every second group. An entry that is taken in portions
    stays here until its last is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, portion_bytes: int) -> None:
        self._clock = clock
        self._portion_bytes = portion_bytes
        self._clients: dict[tuple[str, str], _Client] = {}
        self._begun: set[tuple[str, str]] = set()
        self._company = Company()
        self._light_went = False

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._clients)

    @property
    def has_begun(self) -> bool:
        """Whether there are entries of which portions are written, or about to be."""
        return bool(self._begun)

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
        if client.has_begun:
            self._begun.add(name)
        return name

    def next_group(self, *, begins: bool = True) -> list[Pending]:
        """Take the next group: of every client its share, or of as many as there is room for.

        Unless it `begins` no long entry is begun, if one is already.
        """
        in_portions = bool(self._begun) or not self._company.is_alone(self._clock())
        portion_bytes = self._portion_bytes if in_portions else sys.maxsize
        begins = begins or not self._begun
        clients, share_bytes = self._turn()
        group: list[Pending] = []
        group_bytes = 0
        for name in clients:
            if group_bytes >= GROUP_BYTES:
                break
            client = self._clients.pop(name)
            group_bytes += client.take(share_bytes, group, portion_bytes=portion_bytes, begins=begins)
            self._begun.discard(name)
            if client.waiting:
                self._clients[name] = client  # behind everybody else
                if client.has_begun:
                    self._begun.add(name)
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
        self._begun.clear()
        return left

    def take_where(self, is_wanted: Callable[[Pending], bool]) -> list[Pending]:
        """Take those of which this is true."""
        taken: list[Pending] = []
        for pending in self.take_all():
            if is_wanted(pending):
                taken.append(pending)
            else:
                self._put(pending)
        return taken
