r"""Literals that every match of a pattern holds, read from the pattern's text without understanding all of it.

Of alternatives one literal each counts; a class, and what may be left out, ends one. What is not known for sure does as
well, and a pattern with `\Q…\E` has none.
"""

from typing import Final

_PUNCTUATION: Final = frozenset(r"""\.+*?()|[]{}^$-/"'`~!@#%&=:;,<> """)
"""What a backslash before it makes a plain character."""
DEPTH_LIMIT: Final = 32
"""Groups within one another that are looked into."""
_FOLDS_BEYOND_ASCII: Final = frozenset("kKsS")
"""RE2 folds these with U+212A and U+017F as well, which the scan does not."""


class _Unknown(Exception):
    """The pattern has something of which nothing is said here."""


def required(pattern: str, flags: str) -> list[frozenset[str]]:
    """Return sets of literals; of each, one is in every text in which the pattern is found."""
    if r"\Q" in pattern:
        return []
    try:
        return _alternatives(pattern, caseless="i" in flags or "(?" in pattern, depth=0)
    except _Unknown:
        return []


def _alternatives(pattern: str, *, caseless: bool, depth: int) -> list[frozenset[str]]:
    """Return the sets of a pattern or a group: with alternatives, one set of the longest literal of each."""
    if depth > DEPTH_LIMIT:
        raise _Unknown
    reader = _Reader(pattern, caseless=caseless, depth=depth)
    every = reader.alternatives()
    if len(every) == 1:
        return every[0]
    best = [max(one, key=_shortest, default=None) for one in every]
    if any(one is None for one in best):
        return []
    return [frozenset(literal for one in best if one is not None for literal in one)]


def _shortest(literals: frozenset[str]) -> int:
    return min(map(len, literals))


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str, *, caseless: bool, depth: int) -> None:
        self._pattern = pattern
        self._caseless = caseless
        self._depth = depth
        self._place = 0
        self._run: list[str] = []
        self._found: list[frozenset[str]] = []
        self._every: list[list[frozenset[str]]] = []

    def alternatives(self) -> list[list[frozenset[str]]]:
        """Return the sets of each alternative."""
        while self._place < len(self._pattern):
            self._piece()
        self._close()
        return self._every

    def _close(self) -> None:
        self._end()
        self._every.append(self._found)
        self._found = []

    def _end(self) -> None:
        if self._run:
            self._found.append(frozenset(("".join(self._run),)))
            self._run = []

    def _piece(self) -> None:
        """Read one character, class or group, with what says how often it stands there."""
        character = self._pattern[self._place]
        self._place += 1
        literal: str | None = None
        if character == "|":
            self._close()
            return
        if character == "\\":
            literal = self._escaped()
        elif character == "[":
            self._skip_class()
        elif character == "(":
            self._group()
            return
        elif character in ")*+?":
            raise _Unknown
        elif character not in ".^$":
            literal = character
        self._add(literal, self._repeats())

    def _add(self, literal: str | None, repeats: str) -> None:
        """Take a character into the literal at hand; `repeats` is what stands behind it."""
        if literal is None or not literal.isascii() or (self._caseless and literal in _FOLDS_BEYOND_ASCII):
            self._end()
        elif repeats == "":
            self._run.append(literal)
        elif repeats == "+":
            self._run.append(literal)
            self._end()
        else:
            self._end()

    def _escaped(self) -> str | None:
        """Return the character that an escape stands for, None for a class or a boundary."""
        if self._place >= len(self._pattern):
            raise _Unknown
        character = self._pattern[self._place]
        self._place += 1
        if character in _PUNCTUATION:
            return character
        if character in "dDwWsSbBAzntrfva":
            return None
        raise _Unknown

    def _repeats(self) -> str:
        """Return what says how often the piece stands there: nothing, `+`, or `*` for all that may be none."""
        found = ""
        while self._place < len(self._pattern) and self._pattern[self._place] in "*+?{":
            if self._pattern[self._place] == "{":
                end = self._pattern.find("}", self._place)
                inner = self._pattern[self._place + 1 : end]
                if end < 0 or not inner or not set(inner) <= set("0123456789,"):
                    return "*"  # A brace that counts nothing is a character of its own: it is read as one, then.
                self._place = end + 1
                found = "*"
            else:
                found = "+" if not found and self._pattern[self._place] == "+" else found or "*"
                self._place += 1
        return found

    def _skip_class(self) -> None:
        if self._pattern[self._place : self._place + 1] == "^":
            self._place += 1
        if self._pattern[self._place : self._place + 1] == "]":
            self._place += 1
        while self._place < len(self._pattern):
            character = self._pattern[self._place]
            if self._pattern.startswith("[:", self._place):
                end = self._pattern.find(":]", self._place)
                if end > 0:
                    self._place = end + 2
                    continue
            self._place += 2 if character == "\\" else 1
            if character == "]":
                return
        raise _Unknown

    def _group(self) -> None:
        """Take the sets of a group that stands there once at least."""
        self._end()
        inner = self._skipped_group()
        if self._repeats() == "*":
            return
        if inner.startswith("?"):
            head, colon, inner = inner.partition(":")
            if not colon or not set(head[1:]) <= set("imsU-"):
                return
        self._found += _alternatives(inner, caseless=self._caseless, depth=self._depth + 1)

    def _skipped_group(self) -> str:
        start, depth = self._place, 1
        while self._place < len(self._pattern):
            character = self._pattern[self._place]
            self._place += 1
            if character == "\\":
                self._place += 1
            elif character == "[":
                self._skip_class()
            elif character == "(":
                depth += 1
            elif character == ")":
                depth -= 1
                if depth == 0:
                    return self._pattern[start : self._place - 1]
        raise _Unknown
