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
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from parsers.colours import ESCAPE, without_colours
from parsers.format import GENERAL_RANK, formats
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes

HELD: Final = 12
"""Formats with marks of their own that a stream may hold; lines of further ones are parsed, each found anew."""

MISSES_TRIED: Final = 64
"""So many lines of no format are each sniffed; of further ones each RETRIED_EVERY-th."""

RETRIED_EVERY: Final = 16

RETRIED_OFTEN: Final = 1024
"""Of lines behind so many misses each RARELY-th is sniffed."""

RARELY: Final = 1024

DAY_S: Final = 86400

NO_PARSER: Final = "none"
"""What a label or a rule says where lines are to stay as they are."""

MULTILINE_OFF: Final = "off"
"""What the label `tidewaiter.multiline` says where each line is to be a document of its own."""

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
    """An operator's rule: streams whose image, container name and namespace match these globs have this parser.

    With `multiline` alone it says only that: the rules behind it decide about the parser.
    """

    parser: Annotated[
        str,
        Meta(
            description="Name of a parser (`tidewaiter parsers list`), or `none`: lines stay as they are. Empty: the "
            "rule says nothing of the parser."
        ),
    ] = ""

    image: Annotated[
        str, Meta(description="Glob of the image's name as `container.image.name` has it: with its registry, no tag.")
    ] = "*"

    name: Annotated[str, Meta(description="Glob of the container's name, `container.name`.")] = "*"

    namespace: Annotated[str, Meta(description="Glob of the namespace, `orchestrator.namespace`.")] = "*"

    multiline: Annotated[
        bool | None,
        Meta(description="Whether stack traces and audit events become one document each; they do if no rule says no."),
    ] = None

    def fits(self, stream: "Stream") -> bool:
        """Whether it is about this stream."""
        found = ((stream.image, self.image), (stream.name, self.name), (stream.namespace, self.namespace))
        return all(fnmatchcase(value, pattern) for value, pattern in found)


class Stream(msgspec.Struct, frozen=True):
    """What decides about a stream before its lines do; `contained`: a container writes it."""

    key: StreamKey
    label: str = ""
    image: str = ""
    name: str = ""
    namespace: str = ""
    multiline: str = ""
    contained: bool = False


class Choices(Protocol):
    """Where the choices of streams are kept, or only looked up."""

    def get(self, key: StreamKey) -> Choice | None:
        """Return a stream's choice, None where its lines made none yet."""

    def put(self, key: StreamKey, value: Choice) -> object:
        """Keep a stream's choice; that of a new one only while there is `room`."""

    @property
    def room(self) -> int:
        """Of how many more new streams the choice is kept."""


class NothingKept:
    """The choices of streams of which none is kept: each line is as if it were its stream's first."""

    room: Final = 0

    def get(self, key: StreamKey) -> Choice | None:
        """Return none."""

    def put(self, key: StreamKey, value: Choice) -> None:
        """Forget it."""


NOTHING_KEPT: Final = NothingKept()


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
    """Return what of a line is parsed: without its end, which some senders keep, and without a terminal's colours."""
    return without_colours(line.rstrip("\r\n"))


def texts_to_parse(lines: Sequence[str]) -> Sequence[str]:
    """The same of many: most hold nothing of the kind, and that all do not is found at once."""
    together = "".join(lines)
    if "\n" in together or "\r" in together or ESCAPE in together:
        return list(map(text_to_parse, lines))
    return lines


def asked_choice(stream: Stream, rules: Sequence[ParserRule]) -> Choice | None:
    """Return what the container's label or an operator's rule asks for; a name that is no format keeps lines plain."""
    if stream.label and not is_testimony(stream.label):
        return Choice(_named(stream.label), "label")
    for rule in rules:
        if rule.parser and rule.fits(stream):
            return Choice(_named(rule.parser), "rule")
    return None


def is_testimony(name: str) -> bool:
    """Tell whether a format says what others did."""
    return name in formats() and formats()[name].testimony


def is_gathered(stream: Stream, rules: Sequence[ParserRule]) -> bool:
    """Tell whether lines of a stream that belong together become one document: label, else rule, else yes."""
    if stream.multiline:
        return stream.multiline != MULTILINE_OFF
    return next((rule.multiline for rule in rules if rule.multiline is not None and rule.fits(stream)), True)


def must_fit(stream: Stream, asked: Choice) -> bool:
    """Tell whether a line is tagged that what was asked for does not take: not where that is NO_PARSER.

    A label that names no parser was meant to ask for one.
    """
    return asked.formats != () or (asked.reason == "label" and stream.label != NO_PARSER)


def kept_choice(stream: Stream, choices: Choices) -> Choice:
    """Return the choice that a stream's lines made, at first what its image's name says."""
    kept = choices.get(stream.key)
    if kept is not None:
        return kept
    base = stream.image.rpartition("/")[2]
    known = tuple(name for name, each in formats().items() if base and base in each.images)
    return Choice(known, "image" if known else "lines")


def parse_line(stream: Stream, line: str, near_s: int, *, rules: Sequence[ParserRule], choices: Choices) -> Step:
    """Parse a line of a stream by its choice, and keep what the line changed of that."""
    payload = Payload(text_to_parse(line))
    asked = asked_choice(stream, rules)
    if asked is not None:
        name, parsed = first_of(asked.formats, payload, near_s, asked=True)
        return Step(parsed, parsed is None and must_fit(stream, asked), name or "".join(asked.formats))
    return parse_unasked(stream, payload, near_s, choices)


def parse_unasked(stream: Stream, payload: Payload, near_s: int, choices: Choices) -> Step:
    """Parse a line of a stream that nobody said anything of."""
    choice = kept_choice(stream, choices)
    narrow, general = parted(choice.formats)
    name, parsed = first_of(believed(narrow, contained=stream.contained), payload, near_s)
    if parsed is not None:
        return Step(parsed, False, name)
    choice = msgspec.structs.replace(choice, misses=choice.misses + 1)
    tried = is_tried(choice.misses)
    if tried:
        name, parsed, choice = sniffed_narrow(choice, payload, near_s, contained=stream.contained)
    if parsed is None:
        name, parsed = first_of(general, payload, near_s)
    if parsed is None and tried:
        name, parsed, choice = sniffed_general(choice, payload, near_s)
    choices.put(stream.key, choice)
    return Step(parsed, False, name)


def first_of(names: Iterable[str], payload: Payload, near_s: int, *, asked: bool = False) -> tuple[str, Parsed | None]:
    """Parse a line by the first of these formats that takes it: its name, and what it found."""
    known = formats()
    for name in names:
        parsed = known[name].parse(payload, near_s, asked=asked)
        if parsed is not None:
            return name, parsed
    return "", None


@cache
def parted(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the formats with marks of their own among these, and the general ones."""
    narrow = tuple(name for name in names if formats()[name].rank < GENERAL_RANK)
    return narrow, tuple(name for name in names if name not in narrow)


@cache
def believed(names: tuple[str, ...], *, contained: bool) -> tuple[str, ...]:
    """Return the formats that a line may be found to be of: a container's of none that says what others did.

    Asked of formats held too: what is held by a tag may have been found in lines that no container wrote.
    """
    return tuple(name for name in names if not (contained and formats()[name].testimony))


def sniffed_narrow(
    choice: Choice, payload: Payload, near_s: int, *, contained: bool
) -> tuple[str, Parsed | None, Choice]:
    """Look for a format with marks of its own that takes a line which those held do not take, and hold it.

    In a line that is `contained`, a container's, nothing is looked for that says what others did.
    """
    held, _ = parted(choice.formats)
    looked_for = believed(parted(tuple(formats()))[0], contained=contained)
    name, parsed = first_of((each for each in looked_for if each not in held), payload, near_s)
    return name, parsed, choice if parsed is None else with_narrow(choice, name)


def with_narrow(choice: Choice, name: str) -> Choice:
    """Return the choice that holds a format with marks of its own too, as far as it may hold any more."""
    held, _ = parted(choice.formats)
    return Choice(_with(choice.formats, name) if len(held) < HELD else choice.formats, choice.reason)


def sniffed_general(choice: Choice, payload: Payload, near_s: int) -> tuple[str, Parsed | None, Choice]:
    """The same among the general formats. Misses go on: the next line may be of a format with marks of its own."""
    _, held = parted(choice.formats)
    name, parsed = first_of((each for each in parted(tuple(formats()))[1] if each not in held), payload, near_s)
    return name, parsed, choice if parsed is None else with_general(choice, name)


def with_general(choice: Choice, name: str) -> Choice:
    """Return the choice that holds a general format too."""
    return msgspec.structs.replace(choice, formats=_with(choice.formats, name))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the formats with one more, in the order in which all are tried."""
    return tuple(each for each in formats() if each == name or each in names)


def is_tried(misses: int) -> bool:
    """Tell whether a line is sniffed that is the `misses`-th of no format."""
    return misses <= MISSES_TRIED or misses % (RETRIED_EVERY if misses <= RETRIED_OFTEN else RARELY) == 0


def any_tried(misses: int, count: int) -> bool:
    """Tell whether any of `count` lines behind the `misses`-th is sniffed."""
    last = misses + count
    if misses < MISSES_TRIED:
        return count > 0
    if last <= RETRIED_OFTEN:
        return last // RETRIED_EVERY > misses // RETRIED_EVERY
    return last // RARELY > misses // RARELY or misses < RETRIED_OFTEN


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name in formats() else ()
