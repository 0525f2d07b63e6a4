"""The engine of correlations: the mistakes that others made, times that nobody believes, bounds, and going on."""

import random
from itertools import pairwise

import pytest

from pipelines.correlate.engine import Engine, StateError
from pipelines.correlate.fields import TEXT_LIMIT, VALUES_LIMIT, fields_of
from pipelines.correlate.match import Alert, Match, Pressure
from pipelines.detect.predicate import View
from pipelines.detect.rule import Correlated
from tests.kit.correlations import Oracle, alerts_of, correlation_of, correlations_of, found, match_of, moment

MANY = "{type: event_count, rules: [a], group-by: [g], timespan: 1m, condition: {gte: 3}}"
CHAIN = """\
title: Many
name: many
correlation: {type: event_count, rules: [a], group-by: [g], timespan: 1m, condition: {gte: 3}}
---
title: Then
name: then
correlation: {type: temporal_ordered, rules: [many, b], group-by: [g], timespan: 10s}
"""


def test_events_of_different_groups_are_never_mixed() -> None:
    """Also where the values of two fields read the same one behind the other (Hayabusa 1841)."""
    both = correlation_of(MANY.replace("[g]", "[g, v]"))
    engine = Engine([both])
    pairs = (("ab", "c"), ("a", "bc"), ("abc", ""))

    assert [[], [], []] == [engine.match(match_of("a", at, g=g, v=v)) for at, (g, v) in enumerate(pairs)]


def test_a_window_is_not_overrun() -> None:
    """Events a nanosecond further apart than the timespan are in no window together (Hayabusa 1896)."""
    engine = Engine([correlation_of(MANY.replace("gte: 3", "gte: 2"))])

    assert [] == engine.match(match_of("a", 0, g="x"))
    assert [] == engine.match(match_of("a", 60.000000001, g="x"))
    assert 1 == len(engine.match(match_of("a", 120.000000001, g="x")))


def test_a_window_has_no_fixed_borders() -> None:
    """Wherever three events lie within a minute, they are found: none is split over the boundary of a bucket."""
    for offset in range(0, 60, 7):
        stream = f"a{offset} a{offset + 30} a{offset + 60}"

        assert 1 == len(alerts_of([correlation_of(MANY)], stream))


def test_every_correlation_is_asked() -> None:
    """That one holds hides no other (Falco 1541)."""
    text = "\n---\n".join(f"title: {name}\nname: {name}\ncorrelation: {MANY}" for name in ("x", "y", "z"))

    assert ["x", "y", "z"] == [each.correlation for each in alerts_of(correlations_of(text).correlations, "a0 a1 a2")]


def test_an_alert_says_what_made_it() -> None:
    """Its group, the ids of its events, the one that completed it; its id is that one's, with more behind it."""
    (alert,) = alerts_of([correlation_of(MANY)], "a0 a1 a2")

    assert (("g",), 3, 3, moment(2)) == (alert.group, alert.count, alert.value, alert.time_ns)
    assert [f"a{second}".rjust(24, "0") for second in range(3)] == list(alert.ids)
    assert alert.ids[-1] == alert.match
    assert alert.id.startswith(alert.match)
    assert 37 == len(alert.id)


def test_alerts_of_two_groups_or_correlations_differ_in_their_ids() -> None:
    """One event may complete several."""
    text = f"title: X\nname: x\ncorrelation: {MANY}\n---\ntitle: Y\nname: y\ncorrelation: {MANY}"
    engine = Engine(correlations_of(text).correlations)
    groups = {"g": ("p", "q")}
    made = [alert for at in range(3) for alert in engine.match(Match("a", moment(at), moment(at), f"{at:024}", groups))]

    assert 4 == len(made)
    assert 4 == len({alert.id for alert in made if isinstance(alert, Alert)})


def test_one_alert_a_group_and_timespan_and_the_next_says_how_many_came() -> None:
    """An attack that goes on makes an alert a minute, not one for each event."""
    made = alerts_of([correlation_of(MANY)], " ".join(f"a{second}" for second in range(200)))

    assert [moment(2), moment(63), moment(124), moment(185)] == [alert.time_ns for alert in made]
    assert [0, 60, 60, 60] == [alert.suppressed for alert in made]


def test_another_group_is_not_kept_quiet() -> None:
    """Nor by a flood of the first."""
    made = alerts_of([correlation_of(MANY)], "a0x a0x a0x a0x a1x a2x a3y a3y a3y")

    assert [("x",), ("y",)] == [alert.group for alert in made]


def test_a_date_ahead_switches_nothing_off() -> None:
    """A line dated 20 hours ahead counts at its journal time, and no other event counts as late for it."""
    engine = Engine([correlation_of(MANY)])

    assert [] == engine.match(match_of("a", 72_000, 0, g="x"))
    assert [] == engine.match(match_of("a", 1, g="x"))
    (alert,) = engine.match(match_of("a", 2, g="x"))
    assert isinstance(alert, Alert)
    assert (moment(2), False) == (alert.time_ns, alert.late)
    assert (1, 0) == (engine.counts()["one"].ahead, engine.counts()["one"].late)


def test_a_date_far_back_is_not_lost_but_late() -> None:
    """It counts where the correlation still waits, six seconds back, and its alert says so."""
    engine = Engine([correlation_of(MANY)])
    engine.match(match_of("a", 3599, g="x"))
    engine.match(match_of("a", 3600, g="x"))
    (alert,) = engine.match(match_of("a", 0, 3600, g="x"))

    assert isinstance(alert, Alert)
    assert alert.late
    assert 1 == engine.counts()["one"].late


def test_the_order_of_arrival_does_not_matter() -> None:
    """Events that come in any order within the lateness make an alert of the same groups."""
    correlation = correlation_of("{type: temporal_ordered, rules: [a, b, c], group-by: [g], timespan: 4s}")
    events = [("a", 1), ("b", 2), ("c", 3)]

    for seed in range(12):
        random.Random(seed).shuffle(events)
        engine = Engine([correlation])
        made = [
            alert
            for at, (rule, second) in enumerate(events)
            for alert in engine.match(match_of(rule, second, 3 + at / 2, g="x"))
        ]

        assert [moment(3)] == [alert.time_ns for alert in made if isinstance(alert, Alert)]


def test_the_newest_of_many_failures_counts_for_what_follows() -> None:
    """Three failures alert at second 2; a login 8 s behind the thirtieth, which made no alert, is still behind many."""
    made = alerts_of(correlations_of(CHAIN).correlations, " ".join(f"a{second}" for second in range(30)) + " b37")

    assert [("then", moment(37))] == [(alert.correlation, alert.time_ns) for alert in made]


def test_counting_alerts_counts_no_suppressed_ones() -> None:
    """Three attacks are three alerts; one of thirty events is one."""
    text = CHAIN.replace("temporal_ordered, rules: [many, b]", "event_count, rules: [many]").replace(
        "10s", "1h, condition: {gte: 3}"
    )
    made = correlations_of(text).correlations

    assert [] == alerts_of(made, " ".join(f"a{second}" for second in range(30)))
    assert [moment(402)] == [alert.time_ns for alert in alerts_of(made, "a0 a1 a2 a200 a201 a202 a400 a401 a402")]


def test_windows_close_by_journal_time_alone() -> None:
    """A minute and six seconds behind its first event, whether ticks come often or one comes late; not before."""
    few = correlation_of(MANY.replace("gte", "lt"))
    seldom, often = Engine([few]), Engine([few])
    for engine in (seldom, often):
        engine.match(match_of("a", 0, g="x"))

    assert [] == often.tick(moment(66))
    assert seldom.tick(moment(9000)) == often.tick(moment(66) + 1) != []


def test_a_state_goes_on_as_if_nothing_had_been() -> None:
    """Bytes that are none are refused; a correlation that is defined otherwise now begins anew."""
    engine = Engine([correlation_of(MANY)])
    engine.match(match_of("a", 0, g="x"))
    engine.match(match_of("a", 1, g="x"))
    encoded = engine.encode()
    same, other = Engine([correlation_of(MANY)]), Engine([correlation_of(MANY.replace("1m", "2m"))])
    same.restore(encoded)
    other.restore(encoded)

    assert 1 == len(same.match(match_of("a", 2, g="x")))
    assert 0 == len(other.match(match_of("a", 2, g="x")))
    for damaged in (b"", encoded[:-1], b"\x94\x09" + encoded[2:]):
        with pytest.raises(StateError):
            same.restore(damaged)


def test_a_flood_of_one_rules_groups_forgets_no_groups_of_another() -> None:
    """It gives up its own, and says so once a minute."""
    text = f"title: X\nname: x\ncorrelation: {MANY}\n---\ntitle: Y\nname: y\ncorrelation: {MANY.replace('[a]', '[b]')}"
    engine = Engine(correlations_of(text).correlations, limit_bytes=100_000)
    for second in (0, 1):
        engine.match(match_of("b", second, g="quiet"))
    flood = [
        output for number in range(5000) for output in engine.match(match_of("a", 2 + number / 1000, g=f"{number}"))
    ]

    assert [("x", "Pressure")] == [(each.correlation, type(each).__name__) for each in flood]
    assert engine.size_bytes <= 100_000
    assert engine.counts()["x"].evicted > 4000
    assert 0 == engine.counts()["y"].evicted
    assert ["y"] == [each.correlation for each in engine.match(match_of("b", 8, g="quiet"))]


def test_who_has_come_furthest_is_forgotten_last() -> None:
    """Ninety-nine events of a hundred outlast groups with one, though these are newer."""
    engine = Engine([correlation_of(MANY.replace("gte: 3", "gte: 100"))], limit_bytes=100_000)
    for number in range(99):
        engine.match(match_of("a", number / 100, name=f"{number:024}", g="far"))
    for number in range(2000):
        engine.match(match_of("a", 2 + number / 1000, g=f"{number}"))

    assert engine.counts()["one"].evicted > 1000
    assert [("far",)] == [each.group for each in engine.match(match_of("a", 8, g="far")) if isinstance(each, Alert)]


def test_evictions_are_told_again_with_their_number() -> None:
    """Whatever was forgotten between is in the next report, a minute later at least."""
    engine = Engine([correlation_of(MANY)], limit_bytes=10_000)
    made = [each for number in range(1000) for each in engine.match(match_of("a", number / 5, g=f"{number}"))]
    made += engine.tick(moment(900))
    told = [each for each in made if isinstance(each, Pressure)]

    assert engine.counts()["one"].evicted == sum(each.evicted for each in told)
    assert all(later.journal_ns - before.journal_ns >= 60 * 10**9 for before, later in pairwise(told))


@pytest.mark.parametrize("condition", ["gte: 3", "lt: 3"])
def test_groups_that_no_window_can_reach_are_forgotten(condition: str) -> None:
    """What was a timespan and the lateness ago takes no room."""
    engine = Engine([correlation_of(MANY.replace("gte: 3", condition))])
    for number in range(100):
        engine.match(match_of("a", number / 100, g=f"{number}"))
    taken = engine.size_bytes
    engine.tick(moment(80))

    assert taken > 100 * 100
    assert 0 == engine.size_bytes


FLOODS = (
    "{type: event_count, rules: [a], timespan: 30s, condition: {gte: 5}}",
    "{type: value_count, rules: [a], timespan: 30s, condition: {field: v, gte: 5}}",
    "{type: value_sum, rules: [a], timespan: 30s, condition: {field: v, gte: 1000000000}}",
    "{type: temporal, rules: [a, b], timespan: 30s}",
    "{type: temporal_ordered, rules: [b, a, c], timespan: 30s}",
    "{type: event_count, rules: [a], timespan: 30s, condition: {lt: 5}}",
    "{type: value_count, rules: [a], timespan: 30s, condition: {field: v, lt: 5}}",
    "{type: value_avg, rules: [a], timespan: 30s, condition: {field: v, lt: 5}}",
    "{type: temporal_ordered, condition: b and a and not c, timespan: 30s}",
)


@pytest.mark.parametrize("text", FLOODS)
def test_a_flood_of_one_group_is_bounded(text: str) -> None:
    """Its state does not grow with its events, in whatever order they come."""
    engine = Engine([correlation_of(text)])
    chance = random.Random(1)
    sizes = []
    for number in range(4000):
        second = 1 + number / 500
        at = second - chance.choice((0, 0, 1, 4))
        engine.match(match_of("a", at, second, name=f"{number:024}", g="x", v=str(chance.randrange(50))))
        sizes.append(engine.size_bytes)

    assert max(sizes) < 70_000


CLOSED = (
    "{type: event_count, rules: [a], timespan: 30s, condition: {gt: 700, lte: 800}}",
    "{type: value_sum, rules: [a], timespan: 30s, condition: {field: v, lt: 100000}}",
    "{type: value_avg, rules: [a], timespan: 30s, condition: {field: v, gte: 24}}",
    "{type: value_median, rules: [a], timespan: 30s, condition: {field: v, gte: 20}}",
)


@pytest.mark.parametrize("text", CLOSED)
def test_a_large_window_is_judged_by_all_its_events(text: str) -> None:
    """Of 750 events what is not kept is counted; the result is that of looking at all of them."""
    correlation = correlation_of(text)
    engine, oracle = Engine([correlation]), Oracle([correlation])
    chance = random.Random(7)
    made = []
    for number in range(1500):
        second = 20 + number / 25
        match = match_of(
            "a", second - chance.choice((0, 0, 1, 3)), second, name=f"{number:024}", v=str(chance.randrange(50))
        )
        made += engine.match(match)
        oracle.match(match)
    made += engine.tick(moment(900))
    oracle.tick(moment(900))

    assert len(oracle.found) >= 1
    assert oracle.found == [found(each) for each in made if isinstance(each, Alert)]
    assert 0 == engine.counts()["one"].cut


def test_more_values_than_are_kept_are_a_sample_and_said_to_be_one() -> None:
    """The median of 20,000 values is about right, and its alert says that it is of part of them."""
    engine = Engine([correlation_of("{type: value_median, rules: [a], timespan: 1h, condition: {field: v, gte: 0}}")])
    for number in range(20_000):
        engine.match(match_of("a", number / 10, name=f"{number:024}", v=str(number % 1000)))
    (alert,) = engine.tick(moment(9000))

    assert isinstance(alert, Alert)
    assert (20_000, True) == (alert.count, alert.cut)
    assert 450 < alert.value < 550


def test_no_id_is_cut() -> None:
    """What is no document's id is refused, for an alert would name another document."""
    engine = Engine([correlation_of(MANY)])

    for name in ("", "0" * 28, "\u00e9"):
        with pytest.raises(ValueError, match="no document's id"):
            engine.match(Match("a", moment(0), moment(0), name, {"g": ("x",)}))


def test_a_document_brings_the_values_of_its_first_path() -> None:
    """As text, each once, so many of them; a long one is known by its beginning and a hash of all."""
    correlated = Correlated("a", (("ip", ("source.ip", "client.ip")), ("n", ("n",)), ("none", ("none",))))
    long = "x" * 1000
    view = View({"client": {"ip": ["192.0.2.1", "192.0.2.1", long + "y", long + "z"]}, "n": list(range(99))})
    fields = fields_of(view, correlated)

    assert {"ip", "n"} == set(fields)
    assert "192.0.2.1" in fields["ip"]
    assert 3 == len(set(fields["ip"]))
    assert TEXT_LIMIT == max(map(len, fields["ip"]))
    assert VALUES_LIMIT == len(fields["n"])
