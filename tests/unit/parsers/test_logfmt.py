"""Lines of `key=value` pairs."""

from typing import Any

import pytest

from parsers.logfmt import PAIRS_LIMIT, logfmt_pairs


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
