"""Lines of `key=value` pairs, as Go's loggers write them: logfmt -> an object of texts.

A key holds no blank, quote or equals sign; a value is bare (no blank, no quote) or quoted with Go's or JSON's escapes.
"""

import re
from typing import Any, Final

PAIRS_LIMIT: Final = 1024
"""Pairs of a line; one with more is no log line of an application."""

_PAIR: Final = re.compile(r'([^\s="]{1,128})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s"]*))(?:[ \t]{1,64}|\Z)', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SHORT: Final = {
    "n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    '"': '"', "\\": "\\", "/": "/", "'": "'",
}  # fmt: skip


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
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(found: "re.Match[str]") -> str:
    byte, short, long, letter = found.groups()
    if letter is not None:
        return _SHORT.get(letter, found[0])
    code = int(byte or short or long, 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code <= 0x10FFFF else found[0]
