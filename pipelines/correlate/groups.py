"""One correlation with all its groups: their events, which of them are quiet after an alert, and what is counted."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

import msgspec

from pipelines.correlate.keys import KEY_BYTES, LEVELS, Keys
from pipelines.correlate.match import Counts
from pipelines.correlate.plan import Plan, State

QUIET_BYTES: Final = 192
"""What it costs to remember an alert of a group beside the bytes of the group's name."""


class GroupsState(msgspec.Struct, array_like=True):
    """What is written down: groups by level with their states, and until when which are quiet."""

    key: str
    signature: bytes
    levels: list[list[tuple[bytes, bytes]]]
    quiet: list[tuple[bytes, int, int]]
    counts: Counts
    untold: int
    told_ns: int


class Groups:
    """The groups of a plan. `untold` of them were forgotten since that was told last, at `told_ns`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.keys = Keys()
        self.counts = Counts()
        self.untold = 0
        self.told_ns = 0
        # Until when a group makes no alerts, and how many events came meanwhile; the latest alert last.
        self._quiet: dict[bytes, tuple[int, int]] = {}
        self._quiet_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Return what all of it takes, about."""
        return self.keys.size_bytes + self._quiet_bytes

    def cost(self, key: bytes, state: State) -> int:
        """Return what a group takes."""
        return KEY_BYTES + len(key) + len(state)

    def suppress(self, key: bytes, time_ns: int, last_ns: int) -> bool:
        """Count an event of a group that is quiet then; return whether it can make no alert, with this last event."""
        quiet = self._quiet.get(key)
        if quiet is None or time_ns > quiet[0]:
            return False
        self._quiet[key] = (quiet[0], quiet[1] + 1)
        self.counts.suppressed += 1
        return last_ns <= quiet[0]

    def suppressed(self, key: bytes, time_ns: int, watermark_ns: int) -> int | None:
        """Return how many events are to be told with an alert at this time; None where there is to be none."""
        quiet = self._quiet.get(key)
        if quiet is None:
            return 0
        until_ns, count = quiet
        if time_ns <= until_ns:
            return None
        return count if self._is_told(until_ns, watermark_ns) else 0

    def be_quiet(self, key: bytes, time_ns: int) -> int:
        """Begin the time within which a group makes no further alert; return by how much that is larger."""
        before = self._quiet_bytes
        if self._quiet.pop(key, None) is None:
            self._quiet_bytes += QUIET_BYTES + len(key)
        self._quiet[key] = (time_ns + self.plan.timespan_ns, 0)
        return self._quiet_bytes - before

    def _is_told(self, until_ns: int, watermark_ns: int) -> bool:
        """Whether what was suppressed is still told: for a timespan behind that in which it was."""
        return until_ns + self.plan.timespan_ns >= watermark_ns

    def sweep(self, journal_ns: int) -> int:
        """Forget the groups that no window can reach any more; return the bytes that are free by that."""
        before = self.size_bytes
        watermark_ns = journal_ns - self.plan.lateness_ns
        gone = list(
            takewhile(lambda key: not self._is_told(self._quiet[key][0], watermark_ns), self._quiet),
        )
        self._unquiet(gone)
        if not self.plan.at_close:
            for names in [list(self._past(level, watermark_ns)) for level in self.keys.oldest()]:
                for key in names:
                    self.keys.take(key)
        return before - self.size_bytes

    def _past(self, level: Iterator[tuple[bytes, State]], watermark_ns: int) -> Iterator[bytes]:
        for key, state in level:
            if self.plan.time_at(state, len(state) // self.plan.size - 1) >= watermark_ns - self.plan.timespan_ns:
                return
            yield key

    def _unquiet(self, names: list[bytes]) -> None:
        for key in names:
            del self._quiet[key]
            self._quiet_bytes -= QUIET_BYTES + len(key)

    def evict(self, wanted_bytes: int) -> int:
        """Forget groups for want of room, those that have come least far first; return the bytes that are free then.

        That a group is quiet is forgotten last: it costs a second alert, where a group that is gone may cost one.
        """
        before = self.size_bytes
        gone = self.keys.evict(max(1, wanted_bytes))
        if not gone:
            gone = list(self._quiet)[: 1 + wanted_bytes // QUIET_BYTES]
            self._unquiet(gone)
        self.counts.evicted += len(gone)
        self.untold += len(gone)
        return before - self.size_bytes

    def encoded(self) -> GroupsState:
        """Return what is to be written down."""
        levels: list[list[tuple[bytes, bytes]]] = [[] for _ in range(LEVELS)]
        for level, key, state in self.keys.items():
            levels[level].append((key, bytes(state)))
        quiet = [(key, until_ns, count) for key, (until_ns, count) in self._quiet.items()]
        signature = self.plan.signature()
        return GroupsState(self.plan.key, signature, levels, quiet, self.counts, self.untold, self.told_ns)

    def restore(self, state: GroupsState | None) -> None:
        """Go on with what was written down, if the correlation is defined as it was then; else begin anew."""
        self.keys = Keys()
        self._quiet, self._quiet_bytes = {}, 0
        if state is None or state.signature != self.plan.signature():
            self.counts, self.untold, self.told_ns = Counts(), 0, 0
            return
        self.counts, self.untold, self.told_ns = state.counts, state.untold, state.told_ns
        for number, level in enumerate(state.levels[:LEVELS]):
            for key, rows in level:
                self.keys.put(key, rows, number)
        for key, until_ns, count in state.quiet:
            self._quiet[key] = (until_ns, count)
            self._quiet_bytes += QUIET_BYTES + len(key)
