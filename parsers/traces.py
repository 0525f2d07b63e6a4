"""Stack traces line by line: what begins one, whether a line goes on with it, and what the whole says of the error.

The rules are the tables of `parsers.trace_rules`. This is their reading: pure, one line at a time, in time linear in
the line.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from parsers.trace_rules import HEAD_CHARACTERS, LANGUAGES, MARKS, Step

LINE_CHARACTERS: Final = 16384
"""A longer line is of no trace; container runtimes cut lines there."""

TOO_HIGH: Final = "{"
"""Lines that begin with this character or a higher one are of no trace: JSON above all, whose traces stand within."""

BLANK_END: Final = "!"
"""Lines that begin with a lower character begin with a blank."""

_HEADS: Final = frozenset(head for language in LANGUAGES.values() for head in language.heads)


class Begun(NamedTuple):
    """A trace that a line begins: its stage, where in the line it begins, and what it says of the error, if it does."""

    stage: str
    at: int
    type: str | None
    message: str | None


Matcher = Callable[[str], "re.Match[str] | None"]

_BEGINS: Final[tuple[tuple[Matcher, str], ...]] = tuple(
    (re.compile(step.pattern).search, step.to) for language in LANGUAGES.values() for step in language.begins
)
Steps = dict[str, tuple[tuple[Matcher, str], ...]]


def _compiled(tables: Iterable[dict[str, tuple[Step, ...]]]) -> Steps:
    return {
        stage: tuple((re.compile(step.pattern).fullmatch, step.to) for step in steps)
        for table in tables
        for stage, steps in table.items()
    }


_STAGES: Final = _compiled(language.stages for language in LANGUAGES.values())
_RESUMES: Final = _compiled(language.resumes for language in LANGUAGES.values())


def begun(line: str) -> Begun | None:
    """Return the trace that a line without its end may begin, or None."""
    if not line or line >= TOO_HIGH or len(line) > LINE_CHARACTERS:
        return None
    if not begins_with_head(line) and not any(mark in line for mark in MARKS):
        return None
    for search, stage in _BEGINS:
        found = search(line)
        if found is not None:
            said = found.groupdict()
            return Begun(stage, found.start("at" if "at" in said else 0), said.get("type"), said.get("message"))
    return None


def begins_with_head(line: str) -> bool:
    """Tell whether a line begins as traces without any of MARKS do."""
    return line < BLANK_END or line[:HEAD_CHARACTERS] in _HEADS


def may_begin(texts: Sequence[str], marks: Sequence[str] = MARKS) -> bool:
    """Tell whether any of these lines may begin a trace, or holds any of these marks: true for all that do, and cheap.

    They are searched together; what `parsers.trace_rules` says of beginnings makes that enough. They are not empty and
    lower than TOO_HIGH.
    """
    if not texts:
        return False
    if min(texts) < BLANK_END or not _HEADS.isdisjoint({text[:HEAD_CHARACTERS] for text in texts}):
        return True
    joined = "\n".join(texts)
    return any(mark in joined for mark in marks)


def next_stage(stage: str, line: str) -> str | None:
    """Return the stage of a trace behind this line, END where the line ends it, or None where it is none of its own."""
    return _stage_behind(_STAGES[stage], line)


def resumed_stage(stage: str, line: str) -> str | None:
    """Return the stage of a trace in which this line goes on behind further lines of its message, or None."""
    return _stage_behind(_RESUMES.get(stage, ()), line)


def may_be_of_message(stage: str, line: str) -> bool:
    """Tell whether a line that looks like any other may be a further one of the message of a trace in this stage."""
    return stage in _RESUMES and len(line) <= LINE_CHARACTERS


def _stage_behind(steps: Sequence[tuple[Matcher, str]], line: str) -> str | None:
    if len(line) > LINE_CHARACTERS:
        return None
    for match, to in steps:
        if match(line) is not None:
            return to
    return None


class Error(NamedTuple):
    """What a whole trace says of the error; empty where it does not."""

    type: str
    message: str


def error_of(lines: Sequence[str]) -> Error:
    """Return what a trace of these lines says of its error: of nested ones, the outermost."""
    first = begun(lines[0])
    if first is None:
        return Error("", "")
    found = _OF_STAGE.get(first.stage, _of_first)(lines, first)
    return Error(*found)


def _of_first(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    return first.type or "", first.message or ""


def _of_thrown(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    """Find what stands before the frames, where there are any."""
    frames = next((at for at, line in enumerate(lines) if at and resumed_stage(first.stage, line) is not None), 1)
    message, inner, _ = (first.message or "").partition(" ---> ")
    return first.type or "", message if inner else "\n".join([message, *lines[1:frames]])


_raised = re.compile(r"([A-Za-z_][\w.]{0,1023})(?:: (.*))?").fullmatch
_in_group = re.compile(r" {1,64}\| ([A-Za-z_][\w.]{0,1023})(?:: (.*))?").fullmatch
_in_source = re.compile(r"([A-Za-z_$][\w$.]{0,255})(?: \[[A-Z0-9_]{1,64}\])?(?:: (.*))?(?: \{)?").fullmatch
_panic = re.compile(r"(panic|fatal error): (.*)").fullmatch


def _of_source(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    """Find the error behind the place in the source, the line and the caret."""
    behind = next((line for line in lines[3:] if line), "")
    found = _in_source(behind)
    return (found[1], found[2] or "") if found is not None else ("", "")


def _of_python(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    """Find the last error that was raised: it stands behind frames."""
    for at in range(len(lines) - 1, 0, -1):
        found = _raised(lines[at]) if lines[at - 1][:1] in (" ", "\t") else None
        if found is not None:
            return found[1], found[2] or ""
    ruby = next((found for found in map(begun, lines) if found is not None and found.stage == "ruby.raised"), None)
    return (ruby.type or "", ruby.message or "") if ruby is not None else _of_group(lines, first)


def _of_group(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    found = next(filter(None, map(_in_group, lines)), None)
    return (found[1], found[2] or "") if found is not None else ("", "")


def _of_go(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    found = next(filter(None, map(_panic, lines)), None)
    return (found[1], found[2]) if found is not None else ("", "")


def _of_rust(lines: Sequence[str], first: Begun) -> tuple[str, str]:
    return "panic", first.message if first.message is not None else lines[1] if len(lines) > 1 else ""


_OF_STAGE: Final[dict[str, Callable[[Sequence[str], Begun], tuple[str, str]]]] = {
    "thrown": _of_thrown,
    "node.source": _of_source,
    "python.before": _of_python,
    "python.head": _of_python,
    "python.frames": _of_python,
    "python.group": _of_group,
    "go.panic": _of_go,
    "go.goroutine": _of_go,
    "rust.head": _of_rust,
    "rust.raised": _of_rust,
}
