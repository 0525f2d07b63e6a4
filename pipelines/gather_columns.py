"""Which lines of a message may belong together (`pipelines.gather`): found for all of them at once.

Lines that a format with marks of its own took begin nothing. So a message is parsed first, as if nothing in it belonged
together (`Trial`), and only lines that no such format took are looked at, all together by a few calls: 0.08 us per line
of the bench's corpus. Where one of them begins something, or something of the message's streams is open, the lines of
these streams are looked at one by one.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from parsers.audit_event import MARK as AUDIT_MARK
from parsers.format import formats
from parsers.slabs import Slab
from parsers.trace_rules import MARKS
from parsers.traces import TOO_HIGH, begins_with_head, may_begin
from pipelines.batch import Outcomes
from pipelines.gather import AUDIT_FORMAT, may_belong, trace_key
from pipelines.parse import Choice, parted, text_to_parse
from pipelines.sections import Key
from pipelines.state import State

ERROR, EXCEPTION = MARKS

ALL_MARKS: Final = (*MARKS, AUDIT_MARK)

_PASSED: Final = frozenset(parted(tuple(formats()))[0]) - {AUDIT_FORMAT}
"""Parsers whose lines begin nothing. Nor do those of tables of objects, which all begin with a brace."""


class Grouped(Protocol):
    """A stream of lines."""

    @property
    def group(self) -> Key | None:
        """The key under which its lines are put together, None where it stands for none."""

    @property
    def gathers(self) -> bool:
        """Whether its lines may begin something."""

    @property
    def is_asked(self) -> bool:
        """Whether somebody said how its lines are parsed."""


class Trial:
    """Choices of parsers and outcomes of lines, which are kept only if the parsing turns out to count."""

    def __init__(self, state: State) -> None:
        """Begin with what the state holds."""
        self._state = state
        self._changed: dict[Key, Choice] = {}
        self.room = state.choices.room
        self.outcomes: Outcomes = {}

    def get(self, key: Key) -> Choice | None:
        """Return a stream's choice."""
        return self._changed.get(key) or self._state.choices.get(key)

    def put(self, key: Key, value: Choice) -> object:
        """Take note of a stream's choice."""
        if key not in self._changed and self._state.choices.get(key) is None:
            if self.room == 0:
                return None
            self.room -= 1
        self._changed.pop(key, None)
        self._changed[key] = value
        return None

    def keep(self) -> None:
        """Let it count."""
        for key, value in self._changed.items():
            self._state.choices.put(key, value)
        counted = self._state.outcomes
        for outcome, lines in self.outcomes.items():
            counted[outcome] = counted.get(outcome, 0) + lines


def begins_among(
    lines: Sequence[str], streams: Sequence[Grouped], slabs: Sequence[Slab], plain: Sequence[int]
) -> set[int]:
    """Return the places of lines that begin something; `slabs` are what parsers found in them, `plain` the others."""
    # A format that was asked for takes lines that it would not claim by itself: such a line may begin something.
    taken = frozenset() if any(each.is_asked for each in set(streams)) else _PASSED
    others = [slab.places for slab in slabs if slab.parser not in taken]
    rest = [places for places in others if not lines[places[0]].startswith(TOO_HIGH)]
    texts = [lines[at] for places in (*rest, plain) for at in places if "" < lines[at] < TOO_HIGH]
    return _begins(lines, streams) if texts and may_begin(texts, ALL_MARKS) else set()


def has_open(streams: Iterable[Grouped], state: State) -> bool:
    """Tell whether a trace of one of these streams is open."""
    return len(state.events) > 0 and any(_is_open(each, state) for each in set(streams))


class Concerned:
    """The places of lines that are to be looked at: of all lines of streams where something begins, or is open.

    `begin` are the places where something begins, None where that is to be found.
    """

    def __init__(
        self, lines: Sequence[str], streams: Sequence[Grouped], state: State, begin: set[int] | None = None
    ) -> None:
        """Look at the lines of streams that nothing is known of yet."""
        if begin is None:
            texts = [line for line in lines if "" < line < TOO_HIGH]
            begin = _begins(lines, streams) if may_begin(texts, ALL_MARKS) else set()
        self._state = state
        self._streams = streams
        self._begin = begin
        groups = {streams[at].group for at in begin}
        if len(state.events):
            groups |= {each.group for each in set(streams) if _is_open(each, state)}
        groups.discard(None)
        self.places = [at for at, stream in enumerate(streams) if stream.group in groups] if groups else []

    def takes(self, at: int) -> bool:
        """Tell whether the line at one of the places begins something, or something of its stream is open by now."""
        return at in self._begin or _is_open(self._streams[at], self._state)


def _is_open(stream: Grouped, state: State) -> bool:
    return stream.group is not None and state.events.get(trace_key(stream.group)) is not None


def _begins(lines: Sequence[str], streams: Sequence[Grouped]) -> set[int]:
    """Return the places of lines that begin something: flat, for where one line has a mark all are asked."""
    marked = [
        at
        for at, line in enumerate(lines)
        if "" < line < TOO_HIGH and (ERROR in line or EXCEPTION in line or AUDIT_MARK in line or begins_with_head(line))
    ]
    return {at for at in marked if streams[at].gathers and may_belong(text_to_parse(lines[at]))}
