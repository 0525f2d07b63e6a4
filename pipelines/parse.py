"""Which parser a stream's lines go through: chosen without configuration, visible, and the same at every replay (P10).

A stream is what one container writes to one of its outputs (or a sender's tag, where no container is known). Its choice
is: the container's label `tidewaiter.parser`, else the operator's rule, else what the image's name says, else what its
lines are found to be. What is asked for is kept. Else formats are held as they are found, in the one order in which all
are tried. A line goes to those held that have marks of their own; one that none of these takes is a miss, and is looked
at for others of them: each of the first MISSES_TRIED, then each RETRIED_EVERY-th. Only then come the general formats
held (JSON of any logger, text with a level), so that these never hide a narrower one. So a stream of JSON with stack
traces between, or of access and error lines, is parsed line by line. A choice changes by misses only: how lines are
grouped into chunks does not matter.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from parsers.format import GENERAL_RANK, formats
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes
from pipelines.sections import Section

HELD: Final = 12
"""Formats with marks of their own that a stream may hold; lines of further ones are parsed, each found anew."""

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

    `misses` counts lines that none of them with marks of its own took, since the last of those was found.
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
    return Choice(known, "image" if known else "lines")


def parse_line(
    stream: Stream, line: str, near_s: int, *, rules: Sequence[ParserRule], choices: Section[Choice]
) -> Step:
    """Parse a line of a stream by its choice, and keep what the line changed of that."""
    payload = Payload(text_to_parse(line))
    asked = asked_choice(stream, rules)
    if asked is not None:
        name, parsed = first_of(asked.formats, payload, near_s)
        return Step(parsed, parsed is None and asked.formats != (), name or "".join(asked.formats))
    choice = kept_choice(stream, choices)
    narrow, general = parted(choice.formats)
    name, parsed = first_of(narrow, payload, near_s)
    if parsed is not None:
        return Step(parsed, False, name)
    choice = msgspec.structs.replace(choice, misses=choice.misses + 1)
    tried = is_tried(choice.misses)
    if tried:
        name, parsed, choice = sniffed_narrow(choice, payload, near_s)
    if parsed is None:
        name, parsed = first_of(general, payload, near_s)
    if parsed is None and tried:
        name, parsed, choice = sniffed_general(choice, payload, near_s)
    choices.put(stream.key, choice)
    return Step(parsed, False, name)


def first_of(names: Iterable[str], payload: Payload, near_s: int) -> tuple[str, Parsed | None]:
    """Parse a line by the first of these formats that takes it: its name, and what it found."""
    known = formats()
    for name in names:
        parsed = known[name].parse(payload, near_s)
        if parsed is not None:
            return name, parsed
    return "", None


@cache
def parted(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the formats with marks of their own among these, and the general ones."""
    narrow = tuple(name for name in names if formats()[name].rank < GENERAL_RANK)
    return narrow, tuple(name for name in names if name not in narrow)


def sniffed_narrow(choice: Choice, payload: Payload, near_s: int) -> tuple[str, Parsed | None, Choice]:
    """Look for a format with marks of its own that takes a line which those held do not take, and hold it."""
    held, _ = parted(choice.formats)
    others = (name for name in parted(tuple(formats()))[0] if name not in held)
    name, parsed = first_of(others, payload, near_s)
    if parsed is None:
        return name, None, choice
    return name, parsed, Choice(_with(choice.formats, name) if len(held) < HELD else choice.formats, choice.reason)


def sniffed_general(choice: Choice, payload: Payload, near_s: int) -> tuple[str, Parsed | None, Choice]:
    """The same among the general formats. Misses go on: the next line may be of a format with marks of its own."""
    _, held = parted(choice.formats)
    others = (name for name in parted(tuple(formats()))[1] if name not in held)
    name, parsed = first_of(others, payload, near_s)
    if parsed is None:
        return name, None, choice
    return name, parsed, msgspec.structs.replace(choice, formats=_with(choice.formats, name))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the formats with one more, in the order in which all are tried."""
    return tuple(each for each in formats() if each == name or each in names)


def is_tried(misses: int) -> bool:
    """Tell whether a line is sniffed that is the `misses`-th of no format."""
    return misses <= MISSES_TRIED or misses % RETRIED_EVERY == 0


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name in formats() else ()
