"""Lines of `key=value` pairs, as Go's loggers write them: logfmt -> an object of texts.

A key holds no blank, quote or equals sign; a value is bare (no blank, no quote) or quoted with Go's or JSON's escapes.
"""

import re
from typing import Any, Final

PAIRS_LIMIT: Final = 1024
"""Pairs of a line; one with more is no log line of an application."""

_PAIR: Final = re.compile(r'([^\s="]{1,128})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s"]*))(?:[ \t]{1,64}|\Z)', re.DOTALL)
ESCAPES_LIMIT: Final = 8_192
"""Backslashes of a value; in one with more they stay: nobody's text, and it takes time to resolve them."""

_ESCAPES: Final = re.compile(r"(?:\\[nrtabfv\"\\/'])+|\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")
_LETTERS: Final = str.maketrans("nrtabfv", "\n\r\t\a\b\f\v")


def logfmt_pairs(line: str) -> dict[str, Any] | None:
    """Return the values by key of a line that is pairs and nothing else; a key that stands twice has all its values."""
    found: dict[str, Any] = {}
    at, count = 0, 0
    while at < len(line):
        pair = _PAIR.match(line, at)
        count += 1
        if pair is None or count > PAIRS_LIMIT:
            return None
        key, quoted, bare = pair.groups()
        value = bare if quoted is None else unquoted(quoted)
        if key not in found:
            found[key] = value
        elif isinstance(found[key], list):
            found[key].append(value)
        else:
            found[key] = [found[key], value]
        at = pair.end()
    return found or None


def unquoted(text: str) -> str:
    """Resolve the escapes of a quoted value; one that names no character stays as it is."""
    return _ESCAPES.sub(_characters, text) if 0 < text.count("\\") <= ESCAPES_LIMIT else text


def _characters(found: "re.Match[str]") -> str:
    escapes = found[0]
    if escapes[1] not in "xuU":
        return escapes[1::2].translate(_LETTERS)  # several at once
    code = int(escapes[2:], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code <= 0x10FFFF else escapes
