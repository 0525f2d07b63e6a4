"""Sigma's specification 2.1, "Correlation rules", point by point: what makes an alert and what does not.

Where the text is silent the section is `pySigma`, whose own semantics count, or `ours`, with the reason.
"""

from typing import NamedTuple

import pytest

from tests.kit.correlations import alerts_of, correlation_of, correlations_of, moment


class Point(NamedTuple):
    """One sentence: a correlation, streams that make an alert, and others. `a0` is the rule a at second 0.

    `a0g` is of the group g, `a0g7` with the value 7.
    """

    section: str
    correlation: str
    holds: tuple[str, ...]
    fails: tuple[str, ...]


def count(condition: str, rules: str = "a", more: str = "") -> str:
    """Return an event_count."""
    return f"{{type: event_count, rules: [{rules}], group-by: [g], timespan: 10s, condition: {{{condition}}}{more}}}"


def value(kind: str, condition: str) -> str:
    """Return a correlation of the values of v."""
    return f"{{type: {kind}, rules: [a], group-by: [g], timespan: 10s, condition: {{field: v, {condition}}}}}"


def temporal(kind: str = "temporal", more: str = "rules: [a, b]") -> str:
    """Return a temporal correlation."""
    return f"{{type: {kind}, {more}, group-by: [g], timespan: 10s}}"


POINTS = [
    Point("Event Count: gte", count("gte: 3"), ("a0 a4 a9",), ("a0 a9",)),
    Point("Event Count: gt", count("gt: 2"), ("a0 a4 a9",), ("a0 a9",)),
    Point("Event Count: each group for itself", count("gte: 3"), ("a0g a1h a2g a3h a4g",), ("a0g a1h a2g a3h",)),
    Point("Event Count: one rule or several", count("gte: 3", "a, b"), ("a0 b1 a2", "b0 b1 b2"), ("a0 b1 c2",)),
    Point("Condition: lt, at close", count("lt: 3"), ("a0 a1",), ("a0 a1 a2",)),
    Point("Condition: lte, at close", count("lte: 2"), ("a0 a1", "a0"), ("a0 a1 a2",)),
    Point("Condition: eq, at close", count("eq: 2"), ("a0 a1",), ("a0", "a0 a1 a2")),
    Point("Condition: neq, at close", count("neq: 2"), ("a0", "a0 a1 a2"), ("a0 a1",)),
    Point("Condition: a range", count("gt: 1, lte: 3"), ("a0 a1", "a0 a1 a2"), ("a0", "a0 a1 a2 a3")),
    Point("Time Selection: the timespan", count("gte: 2"), ("a0 a10",), ("a0 a11",)),
    Point(
        "Grouping: fields are joined by and", count("gte: 2").replace("[g]", "[g, v]"), ("a0g1 a1g1",), ("a0g1 a1g2",)
    ),
    Point("ours: without a field of the group an event counts nowhere", count("gte: 2"), ("a0 a1",), ("a0- a1-",)),
    Point(
        "pySigma: without group-by all are one", count("gte: 2").replace("group-by: [g], ", ""), ("a0g a1h",), ("a0g",)
    ),
    Point("Value Count", value("value_count", "gte: 2"), ("a0g1 a1g2",), ("a0g1 a1g1 a2g1", "a0g1 a1h2")),
    Point(
        "Value Count: several fields are joined by and",
        value("value_count", "gte: 3").replace("field: v", "field: [v, g]").replace("group-by: [g], ", ""),
        ("a0g1 a1h1 a2g2",),
        ("a0g1 a1h1 a2h1",),
    ),
    Point("Value Sum", value("value_sum", "gt: 5"), ("a0g3 a1g3",), ("a0g3 a1g2", "a0g3 a1h3", "a0g5 a11g5")),
    Point("Value Average", value("value_avg", "gte: 3"), ("a0g2 a1g4",), ("a0g2 a1g3", "a0g2 a11g2")),
    Point(
        "Value Percentile",
        value("value_percentile", "percentile: 90, gte: 5"),
        ("a0g5", "a0g1 a1g1 a2g1 a3g1 a4g1 a5g9 a6g9"),
        ("a0g1 a1g1 a2g1 a3g1",),
    ),
    Point("Value Percentile: median is 50", value("value_median", "lt: 3"), ("a0g1 a1g2 a2g9",), ("a0g1 a1g3 a2g9",)),
    Point("ours: a text that is no number is no measurement", value("value_sum", "gt: 5"), ("a0g6",), ("a0gx",)),
    Point("Temporal: in any order", temporal(), ("a0 b1", "b0 a1"), ("a0 a1", "a0 b11", "a0g b1h")),
    Point(
        "Condition: of temporal types it counts rules",
        temporal(more="rules: [a, b, c], condition: {gte: 2}"),
        ("a0 b1", "c0 a1"),
        ("a0 a1 a2",),
    ),
    Point("Ordered: in the order of `rules`", temporal("temporal_ordered"), ("a0 b1", "b0 a1 b2"), ("b0 a1",)),
    Point(
        "Ordered: each step",
        temporal("temporal_ordered", "rules: [a, b, c]"),
        ("a0 b1 c2", "a0 c1 b2 c3"),
        ("a0 c1 b2", "b0 a1 c2", "a0 b9 c11"),
    ),
    Point("ours: events of one time are in order", temporal("temporal_ordered"), ("b0 a0",), ("b1 a2",)),
    Point(
        "pySigma: conditions over rules",
        temporal(more="condition: a and (b or c)"),
        ("a0 b1", "c0 a1"),
        ("a0", "b0 c1"),
    ),
    Point(
        "pySigma: not, at close", temporal(more="condition: a and not b"), ("a0", "a0 b11", "b0 a1"), ("a0 b10", "b0")
    ),
    Point(
        "ours: ordered conditions, in the order in which rules are named first",
        temporal("temporal_ordered", "condition: a and b or c and b"),
        ("a0 b1", "b0 c1"),
        ("c0 b1", "b0 a1"),
    ),
    Point(
        "Aliases",
        temporal(more="rules: [a, b], aliases: {x: {a: g, b: v}}").replace("[g]", "[x]"),
        ("a0k b1hk",),
        ("a0k b1kh",),
    ),
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.section)
def test_a_point_of_the_specification(point: Point) -> None:
    """Each stream makes alerts, or none."""
    correlation = correlation_of(point.correlation)

    for stream in point.holds:
        assert alerts_of([correlation], stream), stream
    for stream in point.fails:
        assert [] == alerts_of([correlation], stream), stream


def test_the_example_of_the_specification() -> None:
    """Many logins that failed, followed by one that succeeds: a correlation on a correlation."""
    many = f"title: Many\nname: many\ncorrelation: {count('gte: 3')}\n"
    chain = temporal("temporal_ordered", "rules: [many, b]").replace("10s", "20s")
    made = correlations_of(f"{many}---\ntitle: Then\nname: then\ncorrelation: {chain}\n").correlations

    assert [("then", moment(15))] == [(each.correlation, each.time_ns) for each in alerts_of(made, "a0 a1 a2 b15")]
    assert [] == alerts_of(made, "a0 a1 b2 a3")
