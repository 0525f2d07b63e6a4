"""A stream's choice of parsers while lines of it are parsed on the chunk path."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from parsers.table import Parsed, Payload
from pipelines.parse import (
    Choice,
    Choices,
    ParserRule,
    Stream,
    asked_choice,
    kept_choice,
    must_fit,
    parted,
    sniffed_general,
    sniffed_narrow,
    with_general,
    with_narrow,
)

Names = tuple[str, ...]


class Kind(NamedTuple):
    """How formats of a kind are looked for: in a line that none of those held takes, and what holds one found."""

    sniffed: Callable[[Stream, Choice, Payload, int], tuple[str, Parsed | None, Choice]]
    held: Callable[[Choice, str], Choice]


NARROW: Final = Kind(
    lambda stream, choice, payload, near_s: sniffed_narrow(choice, payload, near_s, contained=stream.contained),
    with_narrow,
)
GENERAL: Final = Kind(lambda _, choice, payload, near_s: sniffed_general(choice, payload, near_s), with_general)


class Held:
    """A stream's choice while lines of it are parsed. What was asked for is found once."""

    def __init__(self, stream: Stream, rules: Sequence[ParserRule]) -> None:
        """Ask label and rules."""
        self.stream = stream
        self.asked = asked_choice(stream, rules)
        self.must_fit = self.asked is not None and must_fit(stream, self.asked)
        self.choice = self.asked or Choice((), "lines")
        self.misses = 0
        self.is_new = False
        self.narrow: Names = self.asked.formats if self.asked else ()
        self.general: Names = ()

    def refresh(self, choices: Choices) -> None:
        """Take over what is kept of the stream."""
        if self.asked is None:
            self.is_new = choices.get(self.stream.key) is None
            self._become(kept_choice(self.stream, choices))

    def sniff(self, kind: Kind, payload: Payload, near_s: int) -> tuple[str, Parsed | None]:
        """Look at a miss for formats of a kind that are not held."""
        name, parsed, choice = kind.sniffed(self.stream, self._now, payload, near_s)
        self._become(choice)
        return name, parsed

    def hold(self, kind: Kind, name: str) -> None:
        """Hold a format that a miss was found to be of."""
        self._become(kind.held(self._now, name))

    def keep(self, choices: Choices) -> None:
        """Give back what is to be kept."""
        choices.put(self.stream.key, self._now)

    @property
    def _now(self) -> Choice:
        return Choice(self.choice.formats, self.choice.reason, self.misses)

    def _become(self, choice: Choice) -> None:
        self.choice, self.misses = choice, choice.misses
        self.narrow, self.general = parted(choice.formats)
