"""Stack traces: what the rules promise of every line, hostile ones too. Whole traces are in `tests/golden/traces`."""

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parsers.trace_rules import END, HEAD_CHARACTERS, LANGUAGES
from parsers.traces import LINE_CHARACTERS, TOO_HIGH, begun, error_of, may_begin, next_stage
from tests.kit.hostile_lines import HOSTILE_LINES

SAMPLES: Final = [
    line
    for path in sorted((Path(__file__).parents[2] / "golden" / "traces").glob("*.log"))
    for line in path.read_text(encoding="utf-8").split("\n")
]
STAGES: Final = sorted(stage for language in LANGUAGES.values() for stage in language.stages)
LINE_MS: Final = 10
"""What the worst line may take; the best of some runs counts, for the machine does other things too."""

REPEATED: Final = [
    "Error: ", "Error", 'Exception in thread "', "a.", "A", "a.A", "$", "(", "((", "\\", "::", ":", " ", "\t", "a(*b)",
    "(Error(code: 0): ", "(code: ", " at ", "at a:1:1", "x.rb:1:in `a': ", " (AError)", "--- ", "a:1", "/", "[", "[a]",
    "{", "goroutine 1 [a", "^", "thread '", "Caused by: ", "\n", '  File "a", line 1', "PHP Fatal error: Uncaught ",
    "Unhandled exception. ",
]  # fmt: skip


def test_every_step_leads_to_a_stage_and_every_stage_is_led_to() -> None:
    """No rule is dead, and none leads nowhere."""
    steps = [step for language in LANGUAGES.values() for steps in language.stages.values() for step in steps]
    begins = [step for language in LANGUAGES.values() for step in language.begins]

    assert {step.to for step in [*steps, *begins]} - {END} == set(STAGES)
    assert {len(head) for language in LANGUAGES.values() for head in language.heads} == {HEAD_CHARACTERS}


@pytest.mark.parametrize("piece", REPEATED)
def test_no_line_takes_long(piece: str) -> None:
    """The longest line that is looked at, of the worst that could be thought of, under each rule."""
    looks: list[Callable[[str], object]] = [begun, *(partial(next_stage, stage) for stage in STAGES)]
    for line in (piece * (LINE_CHARACTERS // len(piece)), f"x Error [A{piece * (LINE_CHARACTERS // len(piece) - 10)}"):
        for look in looks:
            assert min(_taken_ns(look, line) for _ in range(3)) < LINE_MS * 1_000_000, line[:40]


def _taken_ns(look: Callable[[str], object], line: str) -> int:
    started = time.process_time_ns()
    look(line)
    return time.process_time_ns() - started


@settings(max_examples=2_000, deadline=None, database=None)
@given(st.lists(st.one_of(st.sampled_from(SAMPLES), st.sampled_from(HOSTILE_LINES), st.text(max_size=40)), max_size=4))
@example(["Traceback (most recent call last):"])
def test_the_cheap_test_misses_no_beginning(lines: list[str]) -> None:
    """Lines are looked at one by one only where it says that one may begin a trace."""
    texts = [line for line in lines if "" < line < TOO_HIGH]

    assert may_begin(texts) or not any(begun(line) for line in lines)


@settings(max_examples=2_000, deadline=None, database=None)
@given(st.lists(st.one_of(st.sampled_from(SAMPLES), st.sampled_from(HOSTILE_LINES)), min_size=1, max_size=4))
def test_any_lines_say_something_of_an_error_or_nothing(lines: list[str]) -> None:
    """Also lines that no trace consists of."""
    assert all(isinstance(said, str) for said in error_of(lines))


@pytest.mark.parametrize(
    "line",
    [
        '{"error": "java.lang.IllegalStateException: x"}',
        "handled IllegalStateException in 3 ms",
        "no error: all is well",
        "level=error msg=failed",
        "[ERROR] failed",
        "lastError: none",
        "c.e.ErrorHandler - x",
        "\N{BULLET} Error: x",
        "Error: " + "x" * LINE_CHARACTERS,
        "",
    ],
)
def test_a_line_that_begins_no_trace(line: str) -> None:
    """JSON, words that only look like an error's class, what is too long."""
    assert begun(line) is None


@pytest.mark.parametrize(
    ("line", "stage", "error"),
    [
        ("java.lang.IllegalStateException: x: y", "thrown", ("java.lang.IllegalStateException", "x: y")),
        ("2026-11-29 ERROR [main] c.e.App - no: com.a.b.C$DError", "thrown", ("com.a.b.C$DError", "")),
        ('Exception in thread "main" own.Boom: x', "thrown", ("own.Boom", "x")),
        ("TypeError [ERR_X]: x", "thrown", ("TypeError", "x")),
        ("System.IO.IOException (0x80070057): x", "thrown", ("System.IO.IOException", "x")),
        ("PHP Fatal error:  Uncaught App\\CartError: x in /a.php:3", "php.thrown", ("App\\CartError", "x in /a.php:3")),
        (
            "a.rb:1:in 'Integer#/': divided by 0 (ZeroDivisionError)",
            "ruby.raised",
            ("ZeroDivisionError", "divided by 0"),
        ),
    ],
)
def test_a_line_that_begins_one_says_of_what_error(line: str, stage: str, error: tuple[str, str]) -> None:
    """Its class and its message, wherever they stand."""
    found = begun(line)

    assert found is not None
    assert (stage, error) == (found.stage, (found.type, found.message or ""))


def test_patterns_are_of_single_lines() -> None:
    """None matches beyond a line's end."""
    patterns = [step.pattern for language in LANGUAGES.values() for steps in language.stages.values() for step in steps]

    assert [pattern for pattern in patterns if re.compile(pattern).fullmatch("  at a.B.c(D.java:1)\n  at a")] == []
