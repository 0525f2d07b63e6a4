"""Which parser a stream's lines go through: chosen without configuration, visible, and the same at every replay (P10).

A stream is what one container writes to one of its outputs (or a sender's tag, where no container is known). Its choice
is: the container's label `tidewaiter.parser`, else the operator's rule, else what the image's name says, else what its
lines are found to be. A choice that is asked for is kept; the others hold up to HELD formats, in the order in which
they were found, and a line that none of them takes is sniffed again, every line at first, every sixteenth of a stream
that has shown none for long. So a stream of JSON with stack traces between, or of access and error lines, is parsed
line by line. A choice changes by lines that no held format takes, never by others: how lines are grouped into chunks
does not matter.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from parsers.format import formats, sniffed
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes
from pipelines.sections import Section

HELD: Final = 12
"""Formats that a stream may show."""

MISSES_TRIED: Final = 64
"""So many lines of no format are each sniffed; of further ones each RETRIED_EVERY-th."""

RETRIED_EVERY: Final = 16

DAY_S: Final = 86400

NO_PARSER: Final = "none"
"""What a label or a rule says where lines are to stay as they are."""

StreamKey = tuple[str, ...]
"""Input, peer, container (its id, else the tag) and stream (`stdout`, `stderr` or empty)."""


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """A stream's formats in the order in which they are tried, why (`label`, `rule`, `image` or `lines`).

    `misses` counts lines of none of them since the last was found.
    """

    formats: tuple[str, ...]
    reason: str
    misses: int = 0


class ParserRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's rule: streams whose image, container name and namespace match these globs have this parser."""

    parser: Annotated[
        str, Meta(description="Name of a parser (`tidewaiter parsers list`), or `none`: lines stay as they are.")
    ]

    image: Annotated[
        str, Meta(description="Glob of the image's name as `container.image.name` has it: with its registry, no tag.")
    ] = "*"

    name: Annotated[str, Meta(description="Glob of the container's name, `container.name`.")] = "*"

    namespace: Annotated[str, Meta(description="Glob of the namespace, `orchestrator.namespace`.")] = "*"


class Stream(msgspec.Struct, frozen=True):
    """What decides about a stream before its lines do."""

    key: StreamKey
    label: str = ""
    image: str = ""
    name: str = ""
    namespace: str = ""


class Step(NamedTuple):
    """What became of a line: what its parser found, and whether it does not fit the parser that was asked for.

    `parser` is the one that took it, or that was asked for and did not; empty for a plain line.
    """

    parsed: Parsed | None
    failed: bool
    parser: str = ""

    def count_in(self, outcomes: Outcomes) -> None:
        """Count it."""
        outcome = (self.parser, "parsed" if self.parsed is not None else "failed" if self.failed else "plain")
        outcomes[outcome] = outcomes.get(outcome, 0) + 1


def near_second(journal_time: int) -> int:
    """Return the second that times without a year are near to: a day's first, so that what is kept of them serves."""
    second = journal_time // 1_000_000_000
    return second - second % DAY_S


def text_to_parse(line: str) -> str:
    """Return a line without its end: some senders keep it, and terminals write a carriage return."""
    return line.rstrip("\r\n")


def asked_choice(stream: Stream, rules: Sequence[ParserRule]) -> Choice | None:
    """Return what the container's label or an operator's rule asks for; a name that is no format keeps lines plain."""
    if stream.label:
        return Choice(_named(stream.label), "label")
    for rule in rules:
        found = ((stream.image, rule.image), (stream.name, rule.name), (stream.namespace, rule.namespace))
        if all(fnmatchcase(value, pattern) for value, pattern in found):
            return Choice(_named(rule.parser), "rule")
    return None


def kept_choice(stream: Stream, choices: Section[Choice]) -> Choice:
    """Return the choice that a stream's lines made, at first what its image's name says."""
    kept = choices.get(stream.key)
    if kept is not None:
        return kept
    base = stream.image.rpartition("/")[2]
    known = tuple(name for name, each in formats().items() if base and base in each.images)
    return Choice(known[:HELD], "image" if known else "lines")


def parse_line(
    stream: Stream, line: str, near_s: int, *, rules: Sequence[ParserRule], choices: Section[Choice]
) -> Step:
    """Parse a line of a stream by its choice, and keep what the line changed of that."""
    payload = Payload(text_to_parse(line))
    asked = asked_choice(stream, rules)
    choice = asked or kept_choice(stream, choices)
    for name in choice.formats:
        parsed = formats()[name].parse(payload, near_s)
        if parsed is not None:
            return Step(parsed, False, name)
    if asked is not None:
        return Step(None, asked.formats != (), "".join(asked.formats))
    parsed, after = missed(choice, payload, near_s)
    choices.put(stream.key, after)
    return Step(parsed, False, after.formats[-1] if parsed is not None else "")


def missed(choice: Choice, payload: Payload, near_s: int) -> tuple[Parsed | None, Choice]:
    """Go on with a line that no held format took."""
    misses = choice.misses + 1
    found = sniffed(payload, near_s) if is_tried(misses) else None
    if found is None:
        return None, msgspec.structs.replace(choice, misses=misses)
    name, parsed = found
    return parsed, Choice((*choice.formats[: HELD - 1], name), choice.reason)


def is_tried(misses: int) -> bool:
    """Tell whether a line is sniffed that is the `misses`-th of no format."""
    return misses <= MISSES_TRIED or misses % RETRIED_EVERY == 0


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name in formats() else ()
