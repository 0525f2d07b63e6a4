"""Colours of a terminal are no part of what a line says."""

import time
from typing import Final

import pytest

from parsers.colours import without_colours
from parsers.values import to_level

SLOW_S: Final = 0.25
"""Bound for 64 Ki characters, as of formats."""


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x1b[1mup\x1b[0m \x1b[38;5;7mx=\x1b[0m1\x1b[K", "up x=1"),
        ("\x1b[38:2::255:0:0mred\x1b[m", "red"),
        ("\x1b[?25hshown", "shown"),
        ("\x1b[0m", ""),
        ("a\x1bb \x1b[", "a\x1bb \x1b["),
        ("\x1b[" + "1" * 33 + "m", "\x1b[" + "1" * 33 + "m"),
        ("[32mtext[0m", "[32mtext[0m"),
    ],
)
def test_sequences_are_left_out_and_nothing_else(raw: str, text: str) -> None:
    """Whole ones of a bounded length; a bracket without its escape is text."""
    assert without_colours(raw) == text


def test_a_coloured_level_is_that_level() -> None:
    """Written so into JSON by winston."""
    assert to_level("\x1b[32minfo\x1b[39m") == "info"


@pytest.mark.parametrize("filler", ["\x1b[", "\x1b[1;", "\x1b[0", "\x1b[0 ", "\x1b[0m"])
def test_it_takes_time_in_proportion(filler: str) -> None:
    """However many sequences are begun and not ended."""
    text = filler * (65536 // len(filler))
    start = time.process_time()
    without_colours(text)

    assert time.process_time() - start < SLOW_S
