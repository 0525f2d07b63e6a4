"""Correlation rules become correlations; what is wrong is told with its place, and stops only itself."""

import msgspec
import pytest

from pipelines.detect.load import load
from pipelines.detect.rule import Bound, Correlation, RuleSet, Term
from pipelines.detect.tables import SOURCES
from tests.kit.rules import loaded

FAILED = """\
title: A login failed
id: 929a690e-bef0-4204-a928-ef5e620d6fcc
name: failed
logsource: {product: linux, service: sshd}
detection: {s: {event.outcome: failure}, condition: s}
"""
GOOD = """\
title: A login
name: good
logsource: {product: linux, service: sshd}
detection: {s: {event.outcome: success}, condition: s}
"""
MANY = """\
title: Many logins failed
id: 0e95725d-7320-415d-80f7-004da920fc11
name: many
status: test
author: A. Author
tags: [attack.t1110]
level: high
correlation:
  type: event_count
  rules:
    - failed
  group-by:
    - source.ip
  timespan: 10m
  condition:
    gte: 10
"""
LATER = "are not evaluated by this version"


def joined(*documents: str) -> str:
    """Return one file of several rules."""
    return "---\n".join(documents)


def problems(made: RuleSet) -> list[str]:
    """Return the sentences of problems with their places, but for the one that each correlation has."""
    return [str(problem) for problem in made.problems if LATER not in problem.message]


def only(made: RuleSet) -> Correlation:
    """Return the one correlation of a set without problems."""
    assert [] == problems(made)
    (correlation,) = made.correlations
    return correlation


def test_a_correlation_has_what_it_was_published_with() -> None:
    """Id, name, level, author, tags, as rules have them; its rules by their keys, its timespan in nanoseconds."""
    made = only(loaded(joined(FAILED, MANY), SOURCES))

    assert ("0e95725d-7320-415d-80f7-004da920fc11", "many", "high", "A. Author", ("attack.t1110",)) == (
        made.key, made.name, made.level, made.author, made.tags
    )  # fmt: skip
    assert ["929a690e-bef0-4204-a928-ef5e620d6fcc"] == [part.rule for part in made.parts]
    assert (600 * 10**9, 30 * 10**9, (Bound("gte", 10),)) == (made.timespan_ns, made.lateness_ns, made.bounds)
    assert made.never is None


def test_a_set_with_correlations_is_data() -> None:
    """What is encoded and decoded is the same set."""
    made = loaded(joined(FAILED, GOOD, MANY), SOURCES)

    assert made.correlations
    assert made == msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=RuleSet)


def test_rules_are_named_by_id_or_name_across_files() -> None:
    """In whatever order the files come."""
    by_id = MANY.replace("- failed", "- 929a690e-bef0-4204-a928-ef5e620d6fcc")

    for text in (MANY, by_id):
        made = only(load([("b.yml", text), ("a.yml", FAILED)]))

        assert ["929a690e-bef0-4204-a928-ef5e620d6fcc"] == [part.rule for part in made.parts]


@pytest.mark.parametrize(("timespan", "lateness_s"), [("2s", 5), ("1m", 6), ("2m", 12), ("10m", 30), ("1d", 30)])
def test_lateness_is_a_tenth_of_the_timespan_from_five_seconds_to_thirty(timespan: str, lateness_s: int) -> None:
    """So long a correlation waits for events that are on their way."""
    made = only(loaded(joined(FAILED, MANY.replace("10m", timespan)), SOURCES))

    assert lateness_s * 10**9 == made.lateness_ns


def test_a_range_has_both_its_bounds() -> None:
    """Specification, "Condition": `gt: 100` with `lte: 200` is 101 to 200; pySigma alone would refuse it."""
    made = only(loaded(joined(FAILED, MANY.replace("gte: 10", "gt: 100\n    lte: 200")), SOURCES))

    assert (Bound("gt", 100), Bound("lte", 200)) == made.bounds
    assert made.at_close


def test_fields_are_mapped_as_those_of_rules() -> None:
    """A field of Sigma's taxonomy is where the rule's log source has it in our documents, and is taken along."""
    rule = FAILED.replace("{product: linux, service: sshd}", "{category: webserver}").replace("event.outcome", "c-uri")
    many = MANY.replace("source.ip", "c-ip").replace("type: event_count", "type: value_count")
    made = loaded(joined(rule, many.replace("gte: 10", "{gte: 10, field: cs-uri-stem}")), SOURCES)

    assert [] == problems(made)
    (correlated,) = made.correlated
    assert (("c-ip", ("source.ip", "client.ip")), ("cs-uri-stem", ("url.path",))) == correlated.fields


def test_an_alias_is_another_field_in_each_rule() -> None:
    """Specification, "Field Name Aliases"."""
    text = """\
title: From one to the other
correlation:
  type: temporal
  rules: [failed, good]
  group-by: [peer]
  timespan: 10s
  aliases: {peer: {failed: source.ip, good: destination.ip}}
"""
    made = only(loaded(joined(FAILED, GOOD, text), SOURCES))

    assert [("source.ip",), ("destination.ip",)] == [part.group for part in made.parts]


def test_a_condition_over_rules_is_the_ways_in_which_it_holds() -> None:
    """It may stand without `rules`, and without parentheses it is one term or several."""
    text = "title: T\ncorrelation: {type: temporal, condition: many and not (good or failed) or good, timespan: 1m}\n"
    made = loaded(joined(FAILED, GOOD, MANY, text), SOURCES)

    assert [] == problems(made)
    assert {Term((0,), (1, 2)), Term((1,))} == set(made.correlations[-1].terms)


CHAIN = """\
title: A login after many that failed
correlation:
  type: temporal_ordered
  rules: [many, good]
  group-by: [user.name]
  timespan: 20m
"""


def test_a_chain_comes_behind_what_it_names_and_takes_fields_from_below() -> None:
    """The specification's example: the outer one groups by its own field, whatever the inner one groups by."""
    made = loaded(joined(CHAIN, MANY, GOOD, FAILED), SOURCES)

    assert [] == problems(made)
    assert ["many", None] == [each.name for each in made.correlations]
    assert [True, False] == [part.chained for part in made.correlations[1].parts]
    assert made.correlations[1].lateness_ns > made.correlations[0].lateness_ns
    assert {"source.ip", "user.name"} == {
        field for each in made.correlated if each.rule.startswith("929a") for field, _ in each.fields
    }


@pytest.mark.parametrize(
    ("generate", "silent"), [("", True), ("  generate: false\n", True), ("  generate: true\n", False)]
)
def test_rules_of_a_correlation_alert_by_themselves_where_it_says_so(generate: str, silent: bool) -> None:
    """Specification, "Generate": the default is that they do not."""
    made = loaded(joined(FAILED, GOOD, MANY + generate, CHAIN + generate), SOURCES)

    assert {silent} == {each.silent for each in made.correlated}
    assert [not silent, True] == [each.alerts for each in made.correlations]


BROKEN = (
    ("gte: 10", "gtr: 10", "16:5", "'gtr' is not known in a condition; is gt meant?"),
    ("gte: 10", "gte: ten", "16:5", "'ten' is no number"),
    ("gte: 10", "gte: true", "16:5", "True is no number"),
    ("gte: 10", "gte: 1000000", "16:5", "more than 100000 cannot be counted"),
    ("gte: 10", "field: user.name", "15:3", "a condition compares with a number"),
    ("gte: 10", "gte: 10\n    field: user.name", "17:5", "looks at no `field`"),
    ("gte: 10", "gte: 10\n    percentile: 3", "17:5", "has no `percentile`"),
    ("type: event_count", "type: event_cuont", "9:3", "is event_count meant?"),
    ("type: event_count", "type: 7", "9:3", "the type 7 is none of"),
    ("type: event_count", "type: value_count", "15:3", "names the `field`"),
    ("type: event_count", "type: value_percentile", "15:3", "names the `field`"),
    ("timespan: 10m", "timespan: 10", "14:3", "It is a number and s, m, h or d"),
    ("timespan: 10m", "timespan: 0s", "14:3", "greater than zero"),
    ("timespan: 10m", "timespan: 9y", "14:3", "a year at most"),
    ("group-by", "group_by", "12:3", "is group-by meant?"),
    ("- source.ip", "- 7", "13:7", "7 is none"),
    ("- source.ip", "- source.ip\n    - source.ip", "14:7", "stands twice"),
    ("- failed", "- failde", "11:7", "no rule has the id or name failde; is failed meant?"),
    ("- failed", "- failed\n    - failed", "12:7", "stands twice"),
    ("- failed", "- failed\n    - 929a690e-bef0-4204-a928-ef5e620d6fcc", "12:7", "stands in `rules` already"),
    ("- failed", "- many", "11:7", "names this correlation in turn"),
    ("- failed", "- broken", "11:7", "the rule broken did not load"),
    ("  timespan", "  aliases: {a: {good: user.name}}\n  timespan", "14:17", "none of this correlation's rules"),
    ("  timespan", "  aliases: {a: {faild: user.name}}\n  timespan", "14:17", "is failed meant?"),
    ("  timespan", "  aliases: {a: user.name}\n  timespan", "14:13", "a mapping of rules"),
    ("  timespan", "  generate: maybe\n  timespan", "14:3", "true or false"),
    ("condition:\n    gte: 10", "condition: failed", "15:3", "its condition is a mapping"),
    ("  condition:\n    gte: 10\n", "", "8:1", "needs a condition"),
    ("level: high", "level: hgih", "7:1", "level"),
)


@pytest.mark.parametrize(("good", "bad", "place", "why"), BROKEN)
def test_what_is_wrong_is_told_at_its_place(good: str, bad: str, place: str, why: str) -> None:
    """File, line and column; the rules beside it load."""
    broken = "title: B\nname: broken\nlogsource: {product: linux}\ndetection: {s: {a: b}, condition: t}\n"
    assert good in MANY
    made = load([("rule.yml", MANY.replace(good, bad)), ("other.yml", joined(FAILED, GOOD, broken))])
    mine = [problem for problem in problems(made) if problem.startswith("rule.yml")]

    assert 1 == len(mine)
    assert mine[0].startswith(f"rule.yml:{place}: ")
    assert why in mine[0]
    assert () == made.correlations
    assert 2 == len(made.rules)


@pytest.mark.parametrize(
    ("condition", "column", "why"),
    [
        ("failed and", 66, "ends too early"),
        ("failed good", 63, "not understood from 'good' on"),
        ("not failed", 45, "without any event"),
        ("failed and faild", 45, "is failed meant?"),
    ],
)
def test_a_condition_over_rules_is_told_of_within(condition: str, column: int, why: str) -> None:
    """Where it is that it is not understood."""
    text = f"title: T\ncorrelation: {{type: temporal, timespan: 1m, condition: {condition}}}\n"
    made = load([("rule.yml", text), ("other.yml", joined(FAILED, GOOD))])

    (said,) = problems(made)
    assert why in said
    assert said.startswith(f"rule.yml:2:{column}: ")


def test_two_correlations_on_one_another_are_both_told() -> None:
    """Neither is loaded, nor what names them."""
    other = MANY.replace("many", "other").replace("0e9", "1e9").replace("- failed", "- many")
    made = loaded(joined(MANY.replace("- failed", "- other"), other, CHAIN, GOOD), SOURCES)

    assert () == made.correlations
    assert 3 == len(problems(made))


NEVER = (
    (MANY.replace("source.ip", "source.pi"), "source.pi"),
    (MANY.replace("- failed", "- elsewhere"), None),
    (CHAIN.replace("many", "failed").replace("good", "elsewhere"), None),
)


@pytest.mark.parametrize(("text", "field"), NEVER)
def test_what_can_never_hold_says_so(text: str, field: str | None) -> None:
    """A field that no document of its rules has, or rules that can never match."""
    elsewhere = GOOD.replace("good", "elsewhere").replace("product: linux, service: sshd", "product: windows")
    made = load([("rule.yml", text), ("other.yml", joined(FAILED, GOOD, elsewhere))])
    (correlation,) = made.correlations

    assert correlation.never is not None
    assert (field is not None) is any("source.pi" in remark.message for remark in correlation.remarks)


@pytest.mark.parametrize("condition", ["lt: 1", "eq: 0", "lte: 0", "gt: 5\n    lt: 6"])
def test_a_count_that_cannot_be_is_remarked(condition: str) -> None:
    """A window begins with an event, so that none at all is not seen."""
    made = only(loaded(joined(FAILED, MANY.replace("gte: 10", condition)), SOURCES))

    assert ["it can never hold" in remark.message for remark in made.remarks] == [True]


def test_after_the_close_only_groups_are_known() -> None:
    """What is judged when its window has closed has no event to take another field from."""
    made = loaded(joined(FAILED, GOOD, MANY.replace("gte: 10", "lt: 10"), CHAIN), SOURCES)

    (said,) = problems(made)
    assert "user.name is not known then: many is judged when its window has closed" in said


def test_a_chain_has_an_end() -> None:
    """So many correlations on one another, and no more."""
    section = "type: event_count, rules: [{1}], timespan: 1m, condition: {{gte: 2}}"
    link = "title: L\nname: link{0}\ncorrelation: {{" + section + "}}\n"
    links = [link.format(number, f"link{number + 1}" if number < 9 else "failed") for number in range(10)]

    assert "more than 8 correlations" in problems(loaded(joined(FAILED, *links), SOURCES))[0]


def test_a_correlation_may_have_no_groups() -> None:
    """The specification calls `group-by` mandatory and optional: all events are one group then."""
    made = only(loaded(joined(FAILED, MANY.replace("  group-by:\n    - source.ip\n", "")), SOURCES))

    assert () == made.group_by
