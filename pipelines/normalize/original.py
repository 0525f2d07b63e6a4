"""The line as it came, beside what its document says of it: `event.original`, where the configuration wants it.

A parser leaves nothing out but a terminal's colours: what no field holds stays in the message or under
`tidewaiter.app`. So a line that became something else is told by its document as to its meaning, and to the letter by
its original only. Of audit events and scanners' reports none is kept: it would hold the secrets that their documents
leave out.
"""

from collections.abc import Sequence
from typing import Literal

from parsers.canonical import encode_text
from parsers.colours import ESCAPE, without_colours

Original = Literal["never", "needed", "changed", "always"]
"""For which lines it is kept: those whose colours no field holds, those whose message is not the line, or all."""


def original_of(kept: Original, came: str, message: str) -> str | None:
    """Return what a document keeps of the line that came; `message` is the document's."""
    match kept:
        case "always":
            return came
        case "changed":
            return came if message != came else None
        case "needed":
            return came if ESCAPE in came and message != came and without_colours(came) != came else None
        case "never":
            return None


def is_wanted(kept: Original, *, coloured: bool) -> bool:
    """Tell whether any of many lines may have to be kept; `coloured`: something was left out of what was parsed."""
    return kept in ("changed", "always") or (kept == "needed" and coloured)


def originals(kept: Original, came: Sequence[str], messages: Sequence[str], of_lines: Sequence[bool]) -> list[bytes]:
    """Return for each line the member of `event`, behind a comma, or nothing; `of_lines`: which records are lines."""
    found = [
        original_of(kept, line, message) if is_line else None
        for line, message, is_line in zip(came, messages, of_lines, strict=True)
    ]
    return [b"" if each is None else b',"original":' + encode_text(each) for each in found]
