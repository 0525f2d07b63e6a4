"""What correlations must tell: every event is kept, all of a group are sorted anew, and each window is looked at whole.

Written from what `pipelines.correlate` promises and not from how it does it: groups are texts, events are tuples, and
nothing is forgotten. What it shares with the engine are the types that go in and come out.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

from pipelines.correlate.engine import Engine, Output
from pipelines.correlate.match import Alert, Match
from pipelines.detect.load import load
from pipelines.detect.rule import Correlation, RuleSet
from pipelines.detect.sources import OpenSources

SECOND = 1_000_000_000
RULES = "".join(
    f"title: Rule {name}\nname: {name}\nlogsource: {{category: test}}\n"
    f"detection: {{s: {{n: {name}}}, condition: s}}\n---\n"
    for name in "abc"
)


def correlations_of(text: str) -> RuleSet:
    """Load correlations of the rules a, b and c."""
    made = load([("rule.yml", RULES + textwrap.dedent(text))], OpenSources())
    assert [str(problem) for problem in made.problems if problem.fatal] == []
    return made


def correlation_of(text: str) -> Correlation:
    """Return the one correlation with this section, in braces."""
    (made,) = correlations_of(f"title: A correlation\nname: one\ncorrelation: {text}\n").correlations
    return made


def moment(second: float) -> int:
    """Return the time of a second of a stream."""
    return int((1000 + second) * SECOND)


def match_of(rule: str, second: float, journal: float | None = None, *, name: str = "", **fields: str) -> Match:
    """Return a match at a second, which came at a second of journal time."""
    identifier = name or f"{rule}{second}".rjust(24, "0")
    came = moment(second if journal is None else journal)
    return Match(rule, moment(second), came, identifier, {field: (value,) for field, value in fields.items()})


def alerts_of(correlations: Iterable[Correlation], stream: str) -> list[Alert]:
    """Return the alerts of a stream and of the hour behind it: `b3h7` is the rule b, at second 3, g h and v 7."""
    engine = Engine(correlations)
    made: list[Output] = []
    for word in stream.split():
        found = re.fullmatch(r"([abc])(\d+)([a-z-]?)(.*)", word)
        assert found is not None
        rule, second, group, value = found.groups()
        fields = {"v": value or "1"} if group == "-" else {"v": value or "1", "g": group or "g"}
        made += engine.match(match_of(rule, int(second), None, **fields))
    made += engine.tick(moment(3600))
    return [each for each in made if isinstance(each, Alert)]


class Event(NamedTuple):
    """An event of a group, at the time at which it counts."""

    time_ns: int
    part: int
    value: object
    id: str


class Found(NamedTuple):
    """An alert, as far as it is compared."""

    correlation: str
    group: tuple[str, ...]
    match: str
    time_ns: int
    journal_ns: int
    events: int
    value: float
    suppressed: int


def found(alert: Alert) -> Found:
    """Return what is compared of an alert."""
    return Found(
        alert.correlation, alert.group, alert.match, alert.time_ns, alert.journal_ns, alert.count, alert.value,
        alert.suppressed,
    )  # fmt: skip


class Oracle:
    """Keeps all events of all groups."""

    def __init__(self, correlations: Sequence[Correlation]) -> None:
        self._correlations = correlations
        self._events: dict[tuple[str, tuple[str, ...]], list[Event]] = {}
        self._completed: set[tuple[str, tuple[str, ...], str, int]] = set()
        self._quiet: dict[tuple[str, tuple[str, ...]], tuple[int, int]] = {}
        self._ends: dict[tuple[str, tuple[str, ...]], int] = {}
        self.journal_ns = 0
        self.found: list[Found] = []

    def tick(self, journal_ns: int) -> None:
        """Let journal time go on: each window whose end the watermark has passed is judged, the earliest first."""
        while True:
            due = min(
                (
                    (begin + each.timespan_ns + each.lateness_ns + 1, number, group)
                    for number, each in enumerate(self._correlations)
                    if each.at_close
                    for group in sorted({group for key, group in self._events if key == each.key}, key=_order)
                    if (begin := self._begin(each, group)) is not None
                ),
                key=lambda each: (each[0], each[1], _order(each[2])),
                default=None,
            )
            if due is None or due[0] > journal_ns:
                break
            self.journal_ns = max(self.journal_ns, due[0])
            self._close(self._correlations[due[1]], due[2])
        self.journal_ns = max(self.journal_ns, journal_ns)

    def match(self, match: Match) -> None:
        """Take a match."""
        self.tick(match.journal_ns)
        self._take(match.rule, match.time_ns, match.id, match.fields, alerted=True)

    def _take(
        self, rule: str, time_ns: int, name: str, fields: Mapping[str, tuple[str, ...]], *, alerted: bool
    ) -> None:
        for each in self._correlations:
            for part, reference in enumerate(each.parts):
                if reference.rule != rule or not (alerted or each.type.startswith("temporal")):
                    continue
                time = min(max(time_ns, self.journal_ns - each.lateness_ns), self.journal_ns)
                if any(field not in fields for field in (*reference.group, *reference.value)):
                    continue
                group = tuple(fields[field][0] for field in reference.group)
                value: object = tuple(fields[field][0] for field in reference.value)
                if each.type.startswith("value_") and each.type != "value_count":
                    value = Fraction(fields[reference.value[0]][0])
                self._put(each, group, Event(time, part, value, name), fields)

    def _put(
        self, each: Correlation, group: tuple[str, ...], event: Event, fields: Mapping[str, tuple[str, ...]]
    ) -> None:
        events = self._events.setdefault((each.key, group), [])
        events.append(event)
        if each.at_close:
            return
        until, suppressed = self._quiet.get((each.key, group), (-1, 0))
        if event.time_ns <= until:
            self._quiet[each.key, group] = (until, suppressed + 1)
        events.sort(key=lambda event: (event.time_ns, event.part if each.ordered else 0))
        for last in list(events):
            window = _between(events, last.time_ns - each.timespan_ns, last.time_ns)
            name = (each.key, group, last.id, last.part)
            measure = _measure(each, window)
            if name not in self._completed and _holds(each, measure):
                self._completed.add(name)
                self._complete(each, group, last, window, measure, fields)

    def _complete(
        self,
        each: Correlation,
        group: tuple[str, ...],
        last: Event,
        window: list[Event],
        measure: float,
        fields: Mapping[str, tuple[str, ...]],
    ) -> None:
        until, suppressed = self._quiet.get((each.key, group), (-1, 0))
        alerted = last.time_ns > until
        if alerted:
            told = suppressed if until + each.timespan_ns >= self.journal_ns - each.lateness_ns else 0
            self._quiet[each.key, group] = (last.time_ns + each.timespan_ns, 0)
            self._alert(each, group, last.time_ns, last.id, len(window), measure, told)
        named = {name: (value,) for name, value in zip(each.group_by, group, strict=True)}
        self._take(each.key, last.time_ns, last.id, {**fields, **named}, alerted=alerted)

    def _begin(self, each: Correlation, group: tuple[str, ...]) -> int | None:
        after = self._ends.get((each.key, group), -1)
        begins = {part for term in each.terms for part in term.required} or set(range(len(each.parts)))
        times = [event.time_ns for event in self._events[each.key, group] if event.part in begins]
        return min((time for time in times if time > after), default=None)

    def _close(self, each: Correlation, group: tuple[str, ...]) -> None:
        begin = self._begin(each, group)
        assert begin is not None
        end = self._ends[each.key, group] = begin + each.timespan_ns
        events = sorted(
            self._events[each.key, group], key=lambda event: (event.time_ns, event.part if each.ordered else 0)
        )
        window = _between(events, begin, end)
        measure = _measure(each, window)
        if _holds(each, measure):
            self._alert(each, group, end, window[-1].id, len(window), measure, 0)
            named = {name: (value,) for name, value in zip(each.group_by, group, strict=True)}
            self._take(each.key, end, window[-1].id, named, alerted=True)

    def _alert(
        self, each: Correlation, group: tuple[str, ...], time: int, name: str, count: int, measure: float, told: int
    ) -> None:
        if each.alerts:
            self.found.append(Found(each.key, group, name, time, self.journal_ns, count, float(measure), told))


def _order(group: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Order groups as their encoded names are: a shorter value first."""
    return tuple((len(value), value) for value in group)


def _between(events: list[Event], first_ns: int, last_ns: int) -> list[Event]:
    return [event for event in events if first_ns <= event.time_ns <= last_ns]


def _measure(each: Correlation, window: list[Event]) -> float:
    values = [event.value for event in window]
    numbers = sorted(value for value in values if isinstance(value, Fraction))
    if each.type == "event_count":
        return len(window)
    if each.type == "value_count":
        return len(set(values))
    if each.type == "value_sum":
        return float(sum(numbers))
    if each.type == "value_avg":
        return float(sum(numbers) / len(numbers))
    if each.type in ("value_median", "value_percentile"):
        rank = Fraction((each.percentile or 0) * (len(numbers) - 1), 100)
        below = numbers[int(rank)]
        return float(below + (numbers[min(int(rank) + 1, len(numbers) - 1)] - below) * (rank - int(rank)))
    if each.terms:
        return any(_term_holds(each, window, term.required, term.forbidden) for term in each.terms)
    parts = {event.part for event in window}
    if each.type == "temporal":
        return len(parts)
    chains = [chain for size in range(len(parts) + 1) for chain in permutations(sorted(parts), size)]
    return max(len(chain) for chain in chains if list(chain) == sorted(chain) and _in_order(window, chain))


def _term_holds(each: Correlation, window: list[Event], required: tuple[int, ...], forbidden: tuple[int, ...]) -> bool:
    parts = {event.part for event in window}
    if not parts.issuperset(required) or parts.intersection(forbidden):
        return False
    return each.type == "temporal" or _in_order(window, required)


def _in_order(window: list[Event], chain: Sequence[int]) -> bool:
    """Whether there is an event of each rule, none before that of the rule before."""
    after = -(1 << 63)
    for part in chain:
        times = [event.time_ns for event in window if event.part == part and event.time_ns >= after]
        if not times:
            return False
        after = min(times)
    return True


def _holds(each: Correlation, measure: float) -> bool:
    compared = {
        "gt": lambda left, right: left > right,
        "gte": lambda left, right: left >= right,
        "lt": lambda left, right: left < right,
        "lte": lambda left, right: left <= right,
        "eq": lambda left, right: left == right,
        "neq": lambda left, right: left != right,
    }
    return all(compared[bound.operator](measure, bound.number) for bound in each.bounds) if each.bounds else measure > 0
