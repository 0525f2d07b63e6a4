"""A body of JSON is cut into its records, as it came: an object, an array, or objects one behind the other (NDJSON).

The body is never decoded as a whole: one value after the other is stepped over, so what is held is the body and one
record. What cannot be read is handed on as it stands, up to the end of its line or, within an array, of the body; what
is around it stands.
"""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Final, NamedTuple

from pipelines.trails.trail import RECORDS_LIMIT

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_step: Final = JSONDecoder(object_pairs_hook=len, parse_int=len, parse_float=len, parse_constant=len).raw_decode
"""Steps over one value (RFC 8259) and says where it ends; of objects and numbers nothing is made on the way."""

DEPTH_LIMIT: Final = 500
"""Objects and arrays in one another; half of what an interpreter's stack and our decoder take."""

_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
"""Brackets of a value, and texts, for these may hold brackets."""

BROKEN_LIMIT: Final = 1000
"""Lines of a body that are no JSON; what stands behind so many is one dead letter."""

WASTE_FACTOR: Final = 4
"""So many times its length is read of a body in vain, and WASTE_SPARE; then all that is left of it is one dead
letter."""

WASTE_SPARE: Final = 4 << 20
"""Characters that are read in vain of any body."""

LOOKED_AT_FACTOR: Final = 8
"""To find a broken value costs a look at all that stands before it: the error counts its line ends (the module `json`
of Python). So many characters are looked at in the time in which one is read: 0.3 to 0.4 ns and 2.9 ns, measured."""


class Cut(NamedTuple):
    """A record's text, and what is wrong with it; empty: nothing so far."""

    text: str
    wrong: str = ""


def records(body: str) -> Iterator[Cut]:
    """Yield the records of a body in order: objects as they stand, all else with what is wrong with it."""
    start = _behind_space(body, 0)
    if body.startswith("[", start):
        yield from _of_array(body, start + 1)
    elif body.startswith("{", start):
        yield from _in_a_row(body, start)
    elif start < len(body):
        yield Cut(body[start:], "neither an object nor an array of objects")


def _of_array(body: str, at: int) -> Iterator[Cut]:
    at = _behind_space(body, at)
    if body.startswith("]", at):
        yield from _rest(body, at + 1)
        return
    left = at - 1
    for _ in range(RECORDS_LIMIT):
        end = _end_of(body, at)
        behind = _behind_space(body, end) if end is not None else len(body)
        mark = body[behind : behind + 1]
        if mark not in (",", "]") or end is None:
            yield Cut(body[left:], "not JSON")
            return
        yield _object(body[at:end]) if body[at] == "{" else Cut(body[at:end], "not an object")
        if mark == "]":
            yield from _rest(body, behind + 1)
            return
        left, at = behind, _behind_space(body, behind + 1)
    yield Cut(body[left:], "too many records")


def _in_a_row(body: str, at: int) -> Iterator[Cut]:
    broken = wasted = 0
    for _ in range(RECORDS_LIMIT):
        if at == len(body):
            return
        if broken == BROKEN_LIMIT or wasted > WASTE_FACTOR * len(body) + WASTE_SPARE:
            yield Cut(body[at:], "behind too much that is not JSON")
            return
        end, cost = _step_over(body, at) if body[at] == "{" else (None, 0)
        if end is not None and body[end : end + 1] in ("", "{", " ", "\t", "\r", "\n"):
            yield _object(body[at:end])
        else:
            broken, wasted = broken + 1, wasted + (cost if end is None else end - at)
            end = _line_end(body, at if end is None else end)
            yield Cut(body[at : end + 1], "not JSON")
        at = _behind_space(body, end)
    if at < len(body):
        yield Cut(body[at:], "too many records")


def _object(text: str) -> Cut:
    """Refuse an object that is nested too deep: how deep a value is read depends on the interpreter's stack."""
    if text.count("{") + text.count("[") <= DEPTH_LIMIT:
        return Cut(text)
    depth = deepest = 0
    for found in _BRACKET.finditer(text):
        if found[0] in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in "}]":
            depth -= 1
    return Cut(text, "nested too deep" if deepest > DEPTH_LIMIT else "")


def _end_of(body: str, at: int) -> int | None:
    """Return where the value ends that begins here, None where none does."""
    try:
        return _step(body, at)[1]
    except (JSONDecodeError, RecursionError, StopIteration):
        return None


def _step_over(body: str, at: int) -> tuple[int | None, int]:
    """Return where the value ends that begins here; None where none does, and how much was read in vain, in characters.

    Of one nested too deep it may be all.
    """
    try:
        return _step(body, at)[1], 0
    except JSONDecodeError as error:
        return None, error.pos - at + error.pos // LOOKED_AT_FACTOR
    except RecursionError:
        line = body[at : _line_end(body, at)]
        return None, len(line) if _end_of(line, 0) is None else len(body) - at
    except StopIteration:
        return None, 0


def _line_end(body: str, at: int) -> int:
    found = body.find("\n", at)
    return len(body) if found < 0 else found


def _rest(body: str, at: int) -> Iterator[Cut]:
    """Refuse what stands behind the end of an array."""
    at = _behind_space(body, at)
    if at < len(body):
        yield Cut(body[at:], "not JSON")


def _behind_space(body: str, at: int) -> int:
    found = _SPACE.match(body, at)
    return found.end() if found else at
