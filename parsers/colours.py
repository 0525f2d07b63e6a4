"""Colours of terminals in lines: loggers write them where they take their output for a terminal, or are told to."""

import re
from typing import Final

ESCAPE: Final = "\x1b"
"""What every such sequence begins with."""

_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]")
"""A control sequence (ECMA-48 section 5.4): colours, and moves of the cursor; a longer one is none."""


def without_colours(text: str) -> str:
    """Return a text without control sequences of a terminal."""
    return _SEQUENCE.sub("", text) if ESCAPE in text else text
