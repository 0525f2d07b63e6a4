"""Test files of rules: what they say, and how their mistakes are told."""

import textwrap
from datetime import UTC, datetime

import pytest

from pipelines.detect.cases import Expected, Line, Placed, read_cases

ONE = """\
cases:
  - name: a
    lines: [x]
    expect: none
"""


def cases(text: str) -> list[Placed]:
    """Read a file without mistakes."""
    found, problems = read_cases("rule.test.yml", textwrap.dedent(text))
    assert [] == [str(problem) for problem in problems]
    return found


def problems_of(text: str) -> list[str]:
    """Return a file's mistakes, without its name."""
    _, problems = read_cases("rule.test.yml", textwrap.dedent(text))
    return [str(problem).removeprefix("rule.test.yml:") for problem in problems]


def test_a_case_needs_a_name_lines_and_what_is_expected() -> None:
    """All else is built in: a container's line, the file's rule."""
    (placed,) = cases(ONE)

    assert ("a", "forward", None, "none") == (
        placed.case.name,
        placed.case.input,
        placed.case.container,
        placed.case.expect,
    )
    assert (0, (), (Line(0, "x"),), 2) == (placed.expected, placed.rules, placed.lines, placed.place.line)


def test_lines_come_a_second_apart_unless_they_say_when() -> None:
    """`@+N` is counted from the start; what is not marked comes a second behind the line before."""
    (placed,) = cases(ONE.replace("[x]", '["a", "@+10 b", "c", "@+7 d", "@+60"]'))

    assert [Line(0, "a"), Line(10, "b"), Line(11, "c"), Line(7, "d"), Line(60, "")] == list(placed.lines)


def test_a_line_can_come_again() -> None:
    """A second apart; what follows comes behind the last of them."""
    (placed,) = cases(ONE.replace("[x]", '["@+5 {repeat: 3} a", "b"]'))

    assert [Line(5, "a"), Line(6, "a"), Line(7, "a"), Line(8, "b")] == list(placed.lines)


def test_lines_may_be_one_text() -> None:
    """A block of YAML is a line for each of its lines."""
    (placed,) = cases("cases:\n  - name: a\n    lines: |\n      one\n        two\n    expect: 1\n")

    assert [Line(0, "one"), Line(1, "  two")] == list(placed.lines)


def test_a_mapping_is_a_record() -> None:
    """It stays what it is until it is posted."""
    (placed,) = cases(ONE.replace("[x]", "[{log: x, n: [1, true]}]"))

    assert [Line(0, {"log": "x", "n": [1, True]})] == list(placed.lines)


def test_expected_alerts_are_counted() -> None:
    """A number, none, or a list of which each stands for so many."""
    text = ONE.replace("none", "[{fields: {user.name: root}}, {count: 3}]")
    (placed,) = cases(text)

    assert 4 == placed.expected
    assert [Expected({"user.name": "root"}), Expected(count=3)] == placed.case.expect


def test_a_case_may_be_of_another_rule_than_its_file() -> None:
    """Its own word goes before that of the file."""
    placed = cases(
        """\
        rule: one
        cases:
          - {name: a, lines: [x], expect: 1}
          - {name: b, rule: [two, three], lines: [x], expect: 1}
        """
    )

    assert [("one",), ("two", "three")] == [each.rules for each in placed]


def test_a_case_may_begin_at_another_time() -> None:
    """Quoted or as YAML makes a time of it."""
    for written in ("2026-11-29T02:00:00Z", "'2026-11-29T02:00:00Z'"):
        (placed,) = cases(f"{ONE}    start: {written}\n")

        assert datetime(2026, 11, 29, 2, tzinfo=UTC) == placed.case.start


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE.replace("lines:", "linse:"), ["3:5: unknown key 'linse'; did you mean lines?"]),
        (ONE.replace("none", "[{feilds: {a: b}}]"), ["4:15: unknown key 'feilds'; did you mean fields?"]),
        (ONE + "    container: {nmae: web}\n", ["5:17: unknown key 'nmae'; did you mean name?"]),
        (
            ONE + "extra: 1\nruel: x\n",
            ["5:1: unknown key 'extra'; known: cases, rule", "6:1: unknown key 'ruel'; did you mean rule?"],
        ),
        (
            ONE + "    input: dockre_events\n",
            ["5:5: input: unknown value 'dockre_events'; did you mean docker_events?"],
        ),
        (ONE.replace("none", "some"), ["4:5: expect: unknown value 'some'; did you mean none?"]),
        (ONE.replace("none", "-1"), ["4:5: expect: expected a whole number >= 0"]),
        (ONE.replace("none", ""), ["4:5: expect: expected a whole number or text or a list, got nothing"]),
        (ONE.replace("[x]", "[1]"), ["3:13: expected text or a mapping, got a whole number"]),
        (ONE.replace("[x]", "[]"), ["3:5: a case needs a line"]),
        (ONE.replace("[x]", "['@+x y']"), ["3:13: a line begins with `@+N `, N in whole seconds"]),
        (
            ONE.replace("[x]", "[{a: !!binary aGk=}]"),
            ["3:13: a record that cannot be posted: Type is not JSON serializable: bytes"],
        ),
        (ONE.replace("    expect: none\n", ""), ["2:5: expect is required"]),
        (ONE + ONE.removeprefix("cases:\n"), ["5:5: two cases have the name 'a'"]),
        (
            ONE + "    input: file\n    container: {name: web}\n",
            ["6:5: lines of the input file are no container's: what they say of one stands in them"],
        ),
        (ONE + "---\n" + ONE, ["6:1: a test file is one document: leave out the `---`"]),
        ("", ["1:1: no cases: a test file begins with `cases:`"]),
        ("cases: []\n", ["1:1: cases: expected a list of length >= 1"]),
        ("- a\n", ["1:1: expected a mapping, got a list"]),
        ("cases: [\n", ["2:1: no YAML: while parsing a flow node, did not find expected node content"]),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, expected: list[str]) -> None:
    """Line and column, and the nearest known word; of a file with mistakes no case is run."""
    assert expected == problems_of(text)


def test_a_line_does_not_come_in_another_year() -> None:
    """What a case lets pass is bounded: a year, and so many repetitions."""
    (late,) = problems_of(ONE.replace("[x]", "['@+31622401 y']"))
    (often,) = problems_of(ONE.replace("[x]", "['@+0 {repeat: 100001} y']"))

    expected = "3:13: a line lies up to 31622400 seconds behind the start, and repeats up to 100000 times"
    assert [expected, expected] == [late, often]
