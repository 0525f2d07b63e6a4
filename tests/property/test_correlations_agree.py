"""The correlation engine tells what looking at all events anew tells, also where it goes on from its encoded state."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.correlate.engine import Engine, Output
from pipelines.correlate.match import Alert, Match
from pipelines.detect.rule import Correlation
from tests.kit.correlations import SECOND, Found, Oracle, correlations_of, found

GROUPS = ("g", "h", "longer")

SLIDING = {
    "event_count": "type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {gte: 3}",
    "event_count of several": "type: event_count, rules: [a, b, c], group-by: [g], timespan: 7s, condition: {gt: 3}",
    "event_count of one": "type: event_count, rules: [a], group-by: [g], timespan: 4s, condition: {gte: 1}",
    "event_count without group": "type: event_count, rules: [a], timespan: 10s, condition: {gte: 5}",
    "value_count": "type: value_count, rules: [a, b], group-by: [g], timespan: 12s, condition: {field: v, gte: 3}",
    "value_count of two": "type: value_count, rules: [a], timespan: 9s, condition: {field: [v, g], gte: 4}",
    "value_sum": "type: value_sum, rules: [a, b], group-by: [g], timespan: 10s, condition: {field: v, gt: 7}",
    "temporal": "type: temporal, rules: [a, b, c], group-by: [g], timespan: 9s",
    "temporal of two": "type: temporal, rules: [a, b, c], group-by: [g], timespan: 5s, condition: {gte: 2}",
    "temporal of a condition": "type: temporal, condition: a and (b or c), group-by: [g], timespan: 6s",
    "ordered": "type: temporal_ordered, rules: [a, b, c], group-by: [g], timespan: 15s",
    "ordered of two": "type: temporal_ordered, rules: [c, a, b], group-by: [g], timespan: 9s, condition: {gte: 2}",
    "ordered by a condition": "type: temporal_ordered, condition: b and a or c and a, group-by: [g], timespan: 9s",
}
AT_CLOSE = {
    "fewer": "type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {lt: 3}",
    "at most": "type: event_count, rules: [a, b], group-by: [g], timespan: 6s, condition: {lte: 2}",
    "just": "type: event_count, rules: [a, b, c], group-by: [g], timespan: 8s, condition: {eq: 3}",
    "other": "type: value_count, rules: [a], group-by: [g], timespan: 8s, condition: {field: v, neq: 2}",
    "range": "type: event_count, rules: [a, b, c], group-by: [g], timespan: 12s, condition: {gt: 2, lte: 5}",
    "sum": "type: value_sum, rules: [a, b], group-by: [g], timespan: 10s, condition: {field: v, lt: 6}",
    "average": "type: value_avg, rules: [a, b], group-by: [g], timespan: 10s, condition: {field: v, gt: 2}",
    "median": "type: value_median, rules: [a, b], group-by: [g], timespan: 10s, condition: {field: v, lte: 2}",
    "percentile": (
        "type: value_percentile, rules: [a], group-by: [g], timespan: 10s, "
        "condition: {field: v, percentile: 90, gte: 3}"
    ),
    "fewer rules": "type: temporal, rules: [a, b, c], group-by: [g], timespan: 10s, condition: {lt: 3}",
    "shorter chains": "type: temporal_ordered, rules: [a, b, c], group-by: [g], timespan: 10s, condition: {eq: 2}",
    "without": "type: temporal, condition: a and not b, group-by: [g], timespan: 6s",
    "without in order": "type: temporal_ordered, condition: a and c and not b, group-by: [g], timespan: 9s",
}
CHAINS = {
    "ordered on counts": (
        ("many", "type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {gte: 3}"),
        ("then", "type: temporal_ordered, rules: [many, b], group-by: [g], timespan: 8s"),
    ),
    "counts on counts": (
        ("many", "type: event_count, rules: [a], group-by: [g], timespan: 5s, condition: {gte: 2}, generate: true"),
        ("often", "type: event_count, rules: [many, c], timespan: 30s, condition: {gte: 3}, generate: true"),
        ("last", "type: temporal, rules: [often, many], timespan: 20s"),
    ),
    "on what closed": (
        ("few", "type: event_count, rules: [a], group-by: [g], timespan: 4s, condition: {lt: 3}"),
        ("again", "type: event_count, rules: [few, b], group-by: [g], timespan: 30s, condition: {gte: 3}"),
        ("none", "type: temporal, condition: few and not c, group-by: [g], timespan: 9s"),
    ),
    "by another field": (
        ("many", "type: event_count, rules: [a], group-by: [g], timespan: 10s, condition: {gte: 2}"),
        ("values", "type: value_count, rules: [many, b], timespan: 20s, condition: {field: v, gte: 3}"),
        ("same", "type: temporal_ordered, rules: [many, b], group-by: [v], timespan: 20s"),
    ),
}
ALONE = SLIDING | AT_CLOSE


class Step(NamedTuple):
    """What comes next: how much later, of which rule (none: a tick), how late, of which group, with which value."""

    later: int
    rule: str
    delay: int
    group: str
    value: int


STREAMS = st.lists(
    st.builds(
        Step,
        st.sampled_from((0, 0, 0, 1, 1, 2, 3, 5, 11)),
        st.sampled_from(("a", "a", "b", "b", "c", "")),
        st.sampled_from((0, 0, 0, 1, 2, 3, 4, 5, 6, 60, -1, -90)),
        st.sampled_from(GROUPS),
        st.integers(0, 4),
    ),
    max_size=40,
)


def set_of(*sections: tuple[str, str]) -> tuple[Correlation, ...]:
    """Load correlations by name and section."""
    documents = (f"title: {name}\nname: {name}\ncorrelation: {{{section}}}\n" for name, section in sections)
    made = correlations_of("---\n".join(documents)).correlations
    assert [each.never for each in made] == [None] * len(sections)
    return made


def matches(steps: list[Step]) -> list[Match]:
    """Return the stream; a tick has no rule."""
    journal_ns = 100 * SECOND
    made = []
    for number, step in enumerate(steps):
        journal_ns += step.later * SECOND
        fields = {"g": (step.group,), "v": (str(step.value),)}
        made.append(Match(step.rule, journal_ns - step.delay * SECOND, journal_ns, f"{number:024}", fields))
    return made


def told(engine: Engine, match: Match) -> list[Output]:
    """Give a match, or a tick."""
    return engine.match(match) if match.rule else engine.tick(match.journal_ns)


def run(correlations: tuple[Correlation, ...], stream: list[Match], *, restored: bool) -> list[Found]:
    """Return what the engine tells of a stream and of all windows' closing behind it."""
    engine = Engine(correlations)
    made: list[Output] = []
    for match in stream:
        if restored:
            encoded = engine.encode()
            engine = Engine(correlations)
            engine.restore(encoded)
            assert encoded == engine.encode()
        made += told(engine, match)
    made += engine.tick(10_000 * SECOND)
    return [found(each) for each in made if isinstance(each, Alert)]


def expected(correlations: tuple[Correlation, ...], stream: list[Match]) -> list[Found]:
    """Return what is to be told."""
    oracle = Oracle(correlations)
    for match in stream:
        if match.rule:
            oracle.match(match)
        else:
            oracle.tick(match.journal_ns)
    oracle.tick(10_000 * SECOND)
    return oracle.found


@pytest.mark.parametrize("name", ALONE)
@settings(max_examples=25)
@given(steps=STREAMS)
def test_a_correlation_agrees(name: str, steps: list[Step]) -> None:
    """One correlation, events in any order, restored from its state before each of them."""
    correlations = set_of(("one", ALONE[name]))
    stream = matches(steps)
    tell = expected(correlations, stream)

    assert tell == run(correlations, stream, restored=False)
    assert tell == run(correlations, stream, restored=True)


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=25)
@given(steps=STREAMS)
def test_a_chain_agrees(name: str, steps: list[Step]) -> None:
    """Correlations on one another, the same."""
    correlations = set_of(*CHAINS[name])
    stream = matches(steps)
    tell = expected(correlations, stream)

    assert tell == run(correlations, stream, restored=False)
    assert tell == run(correlations, stream, restored=True)
