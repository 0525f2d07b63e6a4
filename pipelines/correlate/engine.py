"""The correlations of a rule set on one stream of matches: bounded, restorable, the same from the same stream."""

import heapq
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from pipelines.correlate import closing, sliding
from pipelines.correlate.groups import Groups, GroupsState
from pipelines.correlate.match import ID_BYTES, IDS_LIMIT, Alert, Counts, Held, Match, Pressure
from pipelines.correlate.plan import Plan
from pipelines.correlate.sliding import Completion
from pipelines.detect.rule import Correlation

STATE_BYTES_LIMIT: Final = 64 << 20
"""What the groups of all correlations take at most, about: some 350,000 of them with few events each."""
STATE_VERSION: Final = 1

SWEEP_NS: Final = 5_000_000_000
"""So often groups are looked for that no window can reach any more."""
PRESSURE_NS: Final = 60_000_000_000
"""So often it is told that groups of a correlation were forgotten."""
EVICTED_PART: Final = 16
"""Where room is needed, the correlation with most gives up this part of what it has."""
TIMERS_SLACK: Final = 1024

ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
SUFFIX_CHARACTERS: Final = 13

Output = Alert | Pressure


class StateError(ValueError):
    """Bytes that are no state that this program reads."""


class _Encoded(msgspec.Struct, array_like=True):
    version: int
    journal_ns: int
    swept_ns: int
    groups: list[GroupsState]


class Engine:
    """Takes matches in the order of the journal, and ticks; both return what is to be told.

    What is asked of it takes time in the number of a group's events at most. It raises `ValueError` for a match whose
    id is none; everything else about a match is data. `limit_bytes` bounds the groups of all correlations together: a
    correlation has an equal share of it for certain, and beyond that what others leave.
    """

    def __init__(self, correlations: Iterable[Correlation], *, limit_bytes: int = STATE_BYTES_LIMIT) -> None:
        self._groups = [Groups(Plan(each)) for each in correlations if each.never is None]
        self._limit_bytes = limit_bytes
        self._journal_ns = 0
        self._swept_ns = 0
        self._size_bytes = 0
        # What is to be looked at when: journal time, the correlation's place, the group.
        self._timers: list[tuple[int, int, bytes]] = []
        self._timers_limit = TIMERS_SLACK
        self._takers: dict[str, list[tuple[int, int]]] = {}
        for number, groups in enumerate(self._groups):
            for part, reference in enumerate(groups.plan.correlation.parts):
                self._takers.setdefault(reference.rule, []).append((number, part))
        # Whose completions go on to correlations that take all of them, not alerts alone.
        self._passing = frozenset(
            number
            for number, groups in enumerate(self._groups)
            if any(self._groups[taker].plan.temporal for taker, _ in self._takers.get(groups.plan.key, ()))
        )
        self._outputs: list[Output] = []

    @property
    def rules(self) -> frozenset[str]:
        """Return the keys of the rules whose matches are taken."""
        return frozenset(self._takers).difference(each.plan.key for each in self._groups)

    @property
    def size_bytes(self) -> int:
        """Return what its groups take, about."""
        return self._size_bytes

    def counts(self) -> dict[str, Counts]:
        """Return what became of each correlation's events, by its key."""
        return {each.plan.key: each.counts for each in self._groups}

    def tick(self, journal_ns: int) -> list[Output]:
        """Let journal time go on."""
        self._advance(journal_ns)
        return self._taken()

    def match(self, match: Match) -> list[Output]:
        """Take a match."""
        if not 0 < len(match.id) <= ID_BYTES or not match.id.isascii():
            raise ValueError(f"{match.id!r} is no document's id")
        self._advance(match.journal_ns)
        self._take(match, late=False, alerted=True)
        return self._taken()

    def _taken(self) -> list[Output]:
        made, self._outputs = self._outputs, []
        return made

    def _take(self, match: Match, *, late: bool, alerted: bool) -> None:
        """Give a match to the correlations that take it, or what another correlation found, `alerted` or not."""
        for number, part in self._takers.get(match.rule, ()):
            groups = self._groups[number]
            plan, counts = groups.plan, groups.counts
            if not alerted and not plan.temporal:
                continue
            counts.events += 1
            time_ns, is_late = match.time_ns, late
            if time_ns < self._journal_ns - plan.lateness_ns:
                time_ns, is_late = self._journal_ns - plan.lateness_ns, True
                counts.late += 1
            elif time_ns > self._journal_ns:
                time_ns = self._journal_ns
                counts.ahead += 1
            keys = plan.groups_of(plan.correlation.parts[part], match.fields)
            rows = plan.rows_of(part, match, time_ns, late=is_late)
            counts.ungrouped += not keys
            counts.unusable += not rows
            for key in keys:
                for row in rows:
                    self._put(number, key, row, time_ns, match)
        if self._size_bytes > self._limit_bytes:
            self._evict()

    def _put(self, number: int, key: bytes, row: bytes, time_ns: int, match: Match) -> None:
        groups = self._groups[number]
        before = groups.keys.size_bytes
        state = groups.keys.take(key)
        watermark_ns = self._journal_ns - groups.plan.lateness_ns
        if groups.plan.at_close:
            due_before = closing.due_ns(groups.plan, state) if state is not None else None
            made, cut = closing.with_row(groups.plan, state, row, watermark_ns)
            groups.keys.put(key, made, 0)
            due = closing.due_ns(groups.plan, made)
            if due != due_before:
                self._set_timer(due, number, key)
            groups.counts.cut += cut
            self._size_bytes += groups.keys.size_bytes - before
            return
        rows, place = sliding.with_row(groups.plan, state or b"", row, time_ns, watermark_ns)
        last_ns = groups.plan.time_at(rows, len(rows) // groups.plan.size - 1)
        quiet = groups.suppress(key, time_ns, last_ns) and number not in self._passing
        # Nobody is told of what a quiet group completes: it is not looked for, however many events come.
        found = [] if quiet else sliding.completions(groups.plan, rows, place)
        kept, cut = sliding.settled(groups.plan, rows, watermark_ns)
        groups.keys.put(key, kept, sliding.level_of(groups.plan, kept, found))
        groups.counts.cut += cut
        self._size_bytes += groups.keys.size_bytes - before
        for each in found:
            self._complete(number, key, each, rows, match)

    def _complete(self, number: int, key: bytes, each: Completion, rows: bytes | bytearray, match: Match) -> None:
        """Tell of a completion, unless an alert of the group was a timespan ago at most."""
        groups = self._groups[number]
        plan = groups.plan
        window = rows[each.start * plan.size : each.end * plan.size]
        late = plan.is_late(window)
        groups.counts.completed += 1
        suppressed = groups.suppressed(key, each.time_ns, self._journal_ns - plan.lateness_ns)
        if suppressed is not None:
            self._size_bytes += groups.be_quiet(key, each.time_ns)
            ids = tuple(dict.fromkeys(plan.ids_of(window[-IDS_LIMIT * plan.size :])))
            held = Held(each.time_ns, each.id, each.end - each.start, each.measure, ids, late)
            self._alert(number, key, held, suppressed)
        self._pass_on(number, key, each.time_ns, each.id, match.fields, late=late, alerted=suppressed is not None)

    def _alert(self, number: int, key: bytes, held: Held, suppressed: int) -> None:
        groups = self._groups[number]
        groups.counts.alerts += 1
        if not groups.plan.correlation.alerts:
            return
        name = groups.plan.key
        digest = int.from_bytes(blake2b(name.encode() + b"\0" + key, digest_size=8).digest(), "big")
        suffix = "".join(ALPHABET[digest >> 5 * place & 31] for place in reversed(range(SUFFIX_CHARACTERS)))
        self._outputs.append(
            Alert(
                id=held.match + suffix,
                correlation=name,
                group=_values(key),
                match=held.match,
                time_ns=held.time_ns,
                journal_ns=self._journal_ns,
                count=held.events,
                value=held.measure,
                ids=held.ids,
                late=held.late,
                suppressed=suppressed,
                cut=held.cut,
            )
        )

    def _pass_on(
        self,
        number: int,
        key: bytes,
        time_ns: int,
        identifier: str,
        fields: Mapping[str, tuple[str, ...]],
        *,
        late: bool,
        alerted: bool,
    ) -> None:
        """Give what held to correlations that name this one: those that count take alerts, the others all of it."""
        correlation = self._groups[number].plan.correlation
        if correlation.key not in self._takers:
            return
        grouped = {name: (value,) for name, value in zip(correlation.group_by, _values(key), strict=True)}
        self._take(
            Match(correlation.key, time_ns, self._journal_ns, identifier, {**fields, **grouped}),
            late=late,
            alerted=alerted,
        )

    def _advance(self, journal_ns: int) -> None:
        """Close the windows that are due until then, in the order of their ends, as if each had its own tick."""
        while self._timers and self._timers[0][0] <= journal_ns:
            due_ns, number, key = heapq.heappop(self._timers)
            groups = self._groups[number]
            state = groups.keys.get(key)
            if state is None or closing.due_ns(groups.plan, state) != due_ns:
                continue
            self._journal_ns = max(self._journal_ns, due_ns)
            self._close(number, key)
        self._journal_ns = max(self._journal_ns, journal_ns)
        if self._journal_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns = self._journal_ns
            for groups in self._groups:
                self._size_bytes -= groups.sweep(self._journal_ns)
                self._tell_pressure(groups)

    def _close(self, number: int, key: bytes) -> None:
        groups = self._groups[number]
        plan = groups.plan
        state = groups.keys.take(key)
        if state is None:
            return
        before = groups.keys.size_bytes + groups.cost(key, state)
        left, held = closing.closed(plan, state, self._journal_ns - plan.lateness_ns)
        if left is not None:
            groups.keys.put(key, left, 0)
            self._set_timer(closing.due_ns(plan, left), number, key)
        self._size_bytes += groups.keys.size_bytes - before
        if held is not None:
            groups.counts.completed += 1
            self._alert(number, key, held, 0)
            self._pass_on(number, key, held.time_ns, held.match, {}, late=held.late, alerted=True)

    def _set_timer(self, due_ns: int, number: int, key: bytes) -> None:
        heapq.heappush(self._timers, (due_ns, number, key))
        if len(self._timers) > self._timers_limit:
            self._set_timers()

    def _set_timers(self) -> None:
        """Make the timers anew from the groups: those of groups that are gone or begin earlier stay behind."""
        self._timers = [
            (closing.due_ns(groups.plan, state), number, key)
            for number, groups in enumerate(self._groups)
            if groups.plan.at_close
            for _, key, state in groups.keys.items()
        ]
        heapq.heapify(self._timers)
        self._timers_limit = 2 * len(self._timers) + TIMERS_SLACK

    def _evict(self) -> None:
        """Make room where most is taken: a flood of one correlation's groups forgets none of another's."""
        while self._size_bytes > self._limit_bytes:
            groups = max(self._groups, key=lambda each: each.size_bytes)
            self._size_bytes -= groups.evict(groups.size_bytes // EVICTED_PART)
            self._tell_pressure(groups)

    def _tell_pressure(self, groups: Groups) -> None:
        if groups.untold and self._journal_ns - groups.told_ns >= PRESSURE_NS:
            self._outputs.append(Pressure(groups.plan.key, self._journal_ns, groups.untold))
            groups.untold, groups.told_ns = 0, self._journal_ns

    def encode(self) -> bytes:
        """Return the state, to be gone on with by `restore`."""
        made = _Encoded(STATE_VERSION, self._journal_ns, self._swept_ns, [each.encoded() for each in self._groups])
        return msgspec.msgpack.encode(made)

    def restore(self, encoded: bytes) -> None:
        """Go on with a state that was written down, for correlations that are still defined as they were then.

        Raises `StateError` for what is no state. Of correlations that are defined otherwise now nothing is kept.
        """
        try:
            made = msgspec.msgpack.decode(encoded, type=_Encoded)
        except msgspec.MsgspecError as error:
            raise StateError(f"no state of correlations: {error}") from error
        if made.version != STATE_VERSION:
            raise StateError(f"a state of version {made.version} is not known")
        by_key = {each.key: each for each in made.groups}
        self._journal_ns, self._swept_ns = made.journal_ns, made.swept_ns
        for groups in self._groups:
            groups.restore(by_key.get(groups.plan.key))
        self._size_bytes = sum(each.size_bytes for each in self._groups)
        self._set_timers()


def _values(key: bytes) -> tuple[str, ...]:
    return msgspec.msgpack.decode(key, type=tuple[str, ...])
