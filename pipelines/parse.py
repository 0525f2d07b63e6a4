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
from typing import Final, Protocol

import msgspec

from parsers.format import formats, sniffed
from parsers.table import Parsed, Payload

HELD: Final = 4
"""Formats that a stream may show."""

MISSES_TRIED: Final = 64
"""So many lines of no format are each sniffed; of further ones each RETRIED_EVERY-th."""

RETRIED_EVERY: Final = 16

NO_PARSER: Final = "none"
"""What a label or rule says to keep lines as they are."""

DAY_S: Final = 86400

StreamKey = tuple[str, ...]
"""Input, peer, container (its id, else the tag) and stream (`stdout`, `stderr` or empty)."""


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """A stream's formats in the order in which they are tried, why, and how many lines in a row of none."""

    formats: tuple[str, ...]
    reason: str
    misses: int = 0

    @property
    def asked(self) -> bool:
        """Whether somebody asked for it: then nothing else is tried, and a line that does not fit is tagged."""
        return self.reason in ("label", "rule")


class ParserRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's rule: streams whose image, container name and namespace match these globs have this parser."""

    parser: str
    image: str = "*"
    name: str = "*"
    namespace: str = "*"


class Stream(msgspec.Struct, frozen=True):
    """What decides about a stream before its lines do."""

    key: StreamKey
    label: str = ""
    image: str = ""
    name: str = ""
    namespace: str = ""


class Choices(Protocol):
    """Where choices are kept: part of the pipeline's state."""

    def get(self, key: StreamKey) -> Choice | None:
        """Return a stream's choice."""

    def put(self, key: StreamKey, choice: Choice) -> None:
        """Replace a stream's choice."""


def near_second(journal_time: int) -> int:
    """Return the second that times without a year are near to: a day's first, so that what is kept of them serves."""
    second = journal_time // 1_000_000_000
    return second - second % DAY_S


def first_choice(stream: Stream, rules: Sequence[ParserRule]) -> Choice:
    """Return the choice of a stream of which no line was seen; a label or rule that names no format says so."""
    if stream.label:
        return Choice(_named(stream.label), "label")
    for rule in rules:
        found = ((stream.image, rule.image), (stream.name, rule.name), (stream.namespace, rule.namespace))
        if all(fnmatchcase(value, pattern) for value, pattern in found):
            return Choice(_named(rule.parser), "rule")
    base = stream.image.rpartition("/")[2]
    known = tuple(name for name, each in formats().items() if base and base in each.images)
    return Choice(known[:HELD], "image" if known else "lines")


def parse_line(choice: Choice, text: str, near_s: int) -> tuple[Parsed | None, Choice]:
    """Parse a line by a stream's choice: what was found, and the choice after it."""
    payload = Payload(text)
    for name in choice.formats:
        parsed = formats()[name].parse(payload, near_s)
        if parsed is not None:
            return parsed, choice
    return missed(choice, payload, near_s)


def missed(choice: Choice, payload: Payload, near_s: int) -> tuple[Parsed | None, Choice]:
    """Go on with a line that no held format took."""
    if choice.asked:
        return None, choice
    misses = choice.misses + 1
    if is_tried(misses) and (found := sniffed(payload, near_s)) is not None:
        name, parsed = found
        held = (*choice.formats[: HELD - 1], name)
        return parsed, Choice(held, choice.reason if choice.reason == "image" else "lines")
    return None, msgspec.structs.replace(choice, misses=misses)


def is_tried(misses: int) -> bool:
    """Tell whether a line is sniffed that is the `misses`-th of no format."""
    return misses <= MISSES_TRIED or misses % RETRIED_EVERY == 0


def _named(name: str) -> tuple[str, ...]:
    return () if name == NO_PARSER or name not in formats() else (name,)
