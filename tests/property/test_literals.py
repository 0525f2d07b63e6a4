"""Texts that a pattern requires stand in every line that it matches."""

import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.format import formats
from parsers.literals import ALTERNATIVES_LIMIT, required_texts
from parsers.table import PATTERN_FLAGS

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "formats"
PATTERNS: Final = [table.pattern for each in formats().values() for table in each.tables if table.pattern]


@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_line_that_matches_holds_what_is_required(pattern: str, data: st.DataObject) -> None:
    """Lines made from a pattern hold one of its required texts."""
    required = required_texts(pattern, PATTERN_FLAGS)
    if not required:
        return
    line = data.draw(st.from_regex(re.compile(_simple(pattern), PATTERN_FLAGS), fullmatch=True))

    if re.compile(pattern, PATTERN_FLAGS).fullmatch(line):
        assert any(text in line for text in required), (required, line)


def _simple(pattern: str) -> str:
    """A pattern without what the generator of lines does not know; it may match more."""
    pattern = re.sub(r"\(\?\(\w+\)([^()]*)\)", r"(?:\1)?", pattern)
    return re.sub(r"(?<=[*+?}])\+", "", pattern)


def test_golden_lines_are_found_by_their_required_texts() -> None:
    """No golden line that a table takes lacks what the table's pattern requires."""
    lines = {line for file in GOLDEN.rglob("*.log") for line in file.read_text(errors="replace").splitlines()}
    matched = 0
    for pattern in PATTERNS:
        required = required_texts(pattern, PATTERN_FLAGS)
        match = re.compile(pattern, PATTERN_FLAGS).fullmatch
        for line in lines if required else ():
            if match(line):
                matched += 1
                assert any(text in line for text in required), (pattern, line)
    assert matched > 100


@pytest.mark.parametrize(
    ("pattern", "required"),
    [
        (r"a(?P<x>\d+)bcd(?:efgh)?", ("bcd",)),
        (r"(?:abc|def) x{2,3}", ("abc", "def")),
        (r"(?:abc|d?)xyz", ("xyz",)),
        (r"(?:abcd)*", ()),
        (r"(?:abcd){1,3}z", ("abcd",)),
        (r"(?i)abcd", ()),
        (r"(?i:abcd)xy", ("xy",)),
        (r"(?=abcd).*", ()),
        (r"(?!abcd).*q", ("q",)),
        (r"(?>abcd)", ("abcd",)),
        (r"(?:a|b|c|d|e)", ()),
        (r"[ab]cd[^x]", ("cd",)),
        (r"\d+: .*", ()),
        (r"(a)?(?(1)bcdef|x)yz", ("yz",)),
    ],
)
def test_required_texts(pattern: str, required: tuple[str, ...]) -> None:
    """The longest texts that every match holds; of a choice all, where they are few."""
    assert required_texts(pattern, PATTERN_FLAGS) == required
    assert len(required) <= ALTERNATIVES_LIMIT
