"""Lines of `key=value` pairs."""

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.logfmt import PAIRS_LIMIT, logfmt_pairs, unquoted


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=1 b=two", {"a": "1", "b": "two"}),
        ('msg="hello world" x=', {"msg": "hello world", "x": ""}),
        (r'msg="a \"b\" \n \\ \u00e9 \x1b \U0001f409"', {"msg": 'a "b" \n \\ é \x1b \U0001f409'}),
        (r'msg="\ud800 \q \U00110000"', {"msg": r"\ud800 \q \U00110000"}),
        ("url=/a?b=c q=x=y", {"url": "/a?b=c", "q": "x=y"}),
        ("a=1 a=2 a=3", {"a": ["1", "2", "3"]}),
        ("a=1 b", None),
        ("hello a=1", None),
        ('msg="cut off', None),
        ('msg="a"b=1', None),
        ('a=b"c', None),
        ("=1", None),
        ("", None),
    ],
)
def test_a_line_is_pairs_or_it_is_none(line: str, expected: dict[str, Any] | None) -> None:
    """A word between pairs makes it text; what is quoted cannot be taken for a pair."""
    assert expected == logfmt_pairs(line)


def test_what_is_quoted_is_no_pair() -> None:
    """A message chosen by a remote user does not set a level."""
    assert {"level": "info", "msg": 'x" level=error'} == logfmt_pairs(r'level=info msg="x\" level=error"')


def test_pairs_are_bounded() -> None:
    """A line of more is no log line."""
    line = " ".join(f"k{number}=1" for number in range(PAIRS_LIMIT))

    assert PAIRS_LIMIT == len(logfmt_pairs(line) or {})
    assert logfmt_pairs(f"{line} more=1") is None


_ESCAPES = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_LETTERS = dict(zip("nrtabfv\"\\/'", "\n\r\t\a\b\f\v\"\\/'", strict=True))


def _one_by_one(found: re.Match[str]) -> str:
    letter = found[4]
    if letter is not None:
        return _LETTERS.get(letter, found[0])
    code = int(found[1] or found[2] or found[3], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code <= 0x10FFFF else found[0]


@settings(max_examples=1_000, deadline=None, database=None)
@given(st.text(st.sampled_from("\\\\\\nx4u0U\"/'q\n"), max_size=24))
def test_escapes_are_what_they_are_one_by_one(text: str) -> None:
    """Whatever stands together: runs of escapes are resolved at once, which changes nothing."""
    assert unquoted(text) == _ESCAPES.sub(_one_by_one, text)


@pytest.mark.parametrize(
    "piece", ["\\", '\\"', "\\n", "a=1 ", "\\u00e9", "\\x41", "\\x41\\n", "\\U00000041", "\\na", "\\x41aa"]
)
def test_no_line_takes_long(piece: str) -> None:
    """64 KiB of the worst that could be thought of; the best of some runs counts, for the machine does other things."""
    line = f'level=info msg="{piece * (65_000 // len(piece))}"'

    assert min(_taken_ms(line) for _ in range(5)) < 10


def _taken_ms(line: str) -> float:
    started = time.process_time_ns()
    logfmt_pairs(line)
    return (time.process_time_ns() - started) / 1_000_000
