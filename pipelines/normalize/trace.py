"""A stack trace's document: what a parser found in its first line, what the trace says of the error, its lines."""

from typing import Final

import msgspec

from parsers.table import Parsed
from parsers.traces import begun, error_of
from pipelines.parse import Step

PARSER: Final = "stack_trace"
"""What lines are counted under that are a trace and of no format."""

LEVEL: Final = "error"
"""`log.level` where nothing else says it."""


def trace_step(step: Step, message: str) -> Step:
    """Return what became of a trace, of whose first line `step` tells; `message` are its lines.

    What a parser takes away in front of a line stays away, unless it is of the trace itself. A first line that does not
    fit the parser that was asked for is no failure: it is the trace's.
    """
    lines = message.split("\n")
    start = begun(lines[0])
    at = start.at if start is not None else 0
    parsed = step.parsed or Parsed(None, lines[0], {}, {})
    kept = parsed.message
    if not lines[0].endswith(kept) or len(lines[0]) - len(kept) > at:
        kept = lines[0]
    error = error_of(lines)
    said = {
        "message": error.message,
        "stack_trace": "\n".join([lines[0][at:], *lines[1:]]),
        "type": error.type,
    }
    fields = {
        **parsed.fields,
        "error": {**{name: value for name, value in said.items() if value}, **parsed.fields.get("error", {})},
        "log": {"level": LEVEL, **parsed.fields.get("log", {})},
    }
    found = msgspec.structs.replace(parsed, message="\n".join([kept, *lines[1:]]), fields=fields)
    return Step(found, False, step.parser if step.parsed is not None else PARSER)
