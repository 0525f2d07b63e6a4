"""Finding what of a frame ends a worker, by trying parts of it: halves of halves, down to one record.

A half that does harm alone is gone on with. Where none does, beginnings are tried: where one passes and the same with
one record more does not, that record is the culprit, in the very state that those before it leave. It is condemned, and
the whole frame tried again: it may hold more of the kind. Before the frame's own
records those are tried that wait since frames before: where the frame passes without them, it only let them go.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from pipelines.condemned import Cause, Part, Verdict
from pipelines.frame import Frame, Position

Outcome = Literal["passed", "outside"] | Cause
"""Of a try: `outside` says that somebody else ended it, so nothing is known."""

RECORDS_LIMIT: Final = 16
"""So many records of one frame are found one by one; then the messages in which the next ones stand go as a whole."""

MESSAGES_LIMIT: Final = 16
"""So many messages of one frame are condemned as a whole; with one more the frame is."""


LINES_LIMIT: Final = 16
"""So many lines that wait are found one by one; then all of them go."""

Lines = tuple[Position, ...]
Parts = tuple[Part, ...]


class Attempt(Protocol):
    """Tries the frame with parts and waiting lines condemned; a `patient` try has all the time there is."""

    def __call__(self, parts: Parts, lines: Lines, *, patient: bool) -> Outcome:
        """Blocking; return how it ended."""


Entries = Callable[[int], Sequence[int]]
"""Returns where the records of a message end; of one that cannot be cut, its length alone."""


class UnclearError(Exception):
    """Nothing can be condemned; the text says why."""


class HarmlessError(UnclearError):
    """The frame does no harm where it is tried."""


class Narrowing:
    """One search. `budget` says whether there is time left: without, what is known so far is condemned as a whole.

    `waiting` are the lines that wait before the frame, in the order of the journal.
    """

    def __init__(
        self, frame: Frame, attempt: Attempt, entries: Entries, budget: Callable[[], bool], waiting: Lines = ()
    ) -> None:
        self._frame = frame
        self._attempt = attempt
        self._entries = entries
        self._budget = budget
        self._waiting = waiting
        self._lines: Lines = ()
        self._cut: dict[int, list[int]] = {}
        self._whole: set[int] = set()

    def condemn(self, before: Verdict | None = None) -> tuple[Parts, Lines]:
        """Return what has to be condemned, with what is already; raise UnclearError."""
        if before is not None:
            self._begin_with(before)
        if self._passes(self._parts(), self._lines, patient=True):
            raise HarmlessError("tried apart, the same frame did no harm")
        every = (Part(0, len(self._frame.messages)),)
        while self._budget() and len(self._whole) < MESSAGES_LIMIT:
            if self._may_be_lines() and self._passes(self._parts(), self._waiting, patient=True):
                self._add_line(self._parts())
            elif self._passes(every, self._lines, patient=True):
                self._add_first()
            elif self._may_be_lines() and self._passes(every, self._waiting, patient=True):
                self._add_line(every)
            else:
                raise UnclearError("the harm is done by none of the frame's own records, nor by what waited before it")
            if self._passes(self._parts(), self._lines, patient=True):
                return self._parts(), self._lines
        for parts, lines in ((every, self._lines), (every, self._waiting)):
            if self._passes(parts, lines, patient=True):
                return parts, lines
        raise UnclearError("the harm is done by none of the frame's own records, nor by what waited before it")

    def _may_be_lines(self) -> bool:
        return len(self._lines) < len(self._waiting)

    def _add_line(self, parts: Parts) -> None:
        """Condemn the first waiting line without which what waited before it passes."""
        if len(self._lines) >= LINES_LIMIT:
            self._lines = self._waiting
            return
        others = [line for line in self._waiting if line not in self._lines]
        found = self._first(len(others), lambda kept: (parts, tuple(sorted({*self._lines, *others[kept:]}))))
        self._lines = tuple(sorted({*self._lines, others[found]}))

    def _begin_with(self, before: Verdict) -> None:
        self._lines = before.lines
        self._waiting = tuple(sorted({*self._waiting, *before.lines}))
        for part in before.parts:
            if part.is_whole:
                self._whole.update(range(part.message, part.message + part.messages))
            else:
                ends = self._entries(part.message)
                self._cut.setdefault(part.message, []).append(bisect_left(ends, part.end))

    def _add_first(self) -> None:
        """Condemn a record that does harm alone, or the first without which a beginning passes."""
        message = self._one_of(
            len(self._frame.messages), self._only_messages, lambda count: self._only_messages(0, count)
        )
        ends = self._entries(message)
        found = self._cut.setdefault(message, [])
        if len(ends) > 1 and self._budget() and sum(map(len, self._cut.values())) < RECORDS_LIMIT:
            record = self._one_of(
                len(ends),
                lambda low, high: self._only_records(message, low, high),
                lambda count: (*self._before(message), *self._only_records(message, 0, count)[bool(message) :]),
            )
            if record not in found and self._budget():
                found.append(record)
                found.sort()
                return
        del self._cut[message]
        self._whole.add(message)

    def _one_of(self, count: int, only: Callable[[int, int], Parts], beginning: Callable[[int], Parts]) -> int:
        """Return which of `count` does harm: by halves alone, which costs twice the whole, else by beginnings."""
        low, high = 0, count
        while high - low > 1 and self._budget():
            middle = (low + high) // 2
            if not self._passes(only(low, middle), self._lines):
                high = middle
            elif not self._passes(only(middle, high), self._lines):
                low = middle
            else:
                # Only with what comes before it, such as the pieces of its line.
                return self._first(count, lambda kept: (beginning(kept), self._lines))
        return high - 1

    def _first(self, count: int, without: Callable[[int], tuple[Parts, Lines]]) -> int:
        """Return the first of `count` with which what keeps all before it does not pass any more.

        What keeps none passes, and what keeps all does not; so there is one, however the tries in between end.
        """
        low, high = 0, count
        while high - low > 1 and self._budget():
            middle = (low + high) // 2
            low, high = (middle, high) if self._passes(*without(middle)) else (low, middle)
        return high - 1

    def _passes(self, parts: Parts, lines: Lines, *, patient: bool = False) -> bool:
        outcome = self._attempt(parts, lines, patient=patient)
        if outcome == "outside":
            raise UnclearError("a try was ended from outside")
        return outcome == "passed"

    def _parts(self) -> Parts:
        """Return what is condemned."""
        return self._before(len(self._frame.messages))

    def _before(self, message: int, first: int = 0) -> Parts:
        """Return what is condemned of the messages from `first` up to one."""
        parts: list[Part] = []
        for number in sorted(number for number in {*self._cut, *self._whole} if first <= number < message):
            parts += [self._whole_part(number)] if number in self._whole else self._parts_of(number)
        return tuple(parts)

    def _whole_part(self, number: int) -> Part:
        """Return a whole message, with how many records it holds where that is known."""
        found = len(self._entries(number))
        return Part(number, indexes=found if found > 1 or self._frame.messages[number].claimed == 1 else 0)

    def _only_messages(self, low: int, high: int) -> Parts:
        """Return what is condemned where nothing but these messages is kept."""
        every = len(self._frame.messages)
        before = (Part(0, low),) if low else ()
        behind = (Part(high, every - high),) if high < every else ()
        return (*before, *self._before(high, low), *behind)

    def _only_records(self, message: int, low: int, high: int) -> Parts:
        """Return what is condemned where nothing but these records of a message is kept."""
        every = len(self._frame.messages)
        before = (Part(0, message),) if message else ()
        behind = (Part(message + 1, every - message - 1),) if message + 1 < every else ()
        return (*before, *self._parts_of(message, low, high), *behind)

    def _parts_of(self, message: int, low: int = 0, high: int | None = None) -> list[Part]:
        """Return the condemned records of a message, and all those that are not of the ones from `low` to `high`."""
        ends = self._entries(message)
        high = len(ends) if high is None else high
        spans = [(at, at + 1) for at in self._cut.get(message, ()) if low <= at < high]
        spans = [*([(0, low)] if low else []), *spans, *([(high, len(ends))] if high < len(ends) else [])]
        parts = []
        for number, (first, last) in enumerate(spans):
            before = first - (spans[number - 1][1] if number else 0)
            behind = (spans[number + 1][0] if number + 1 < len(spans) else len(ends)) - last
            start = ends[first - 1] if first else 0
            parts.append(Part(message, 1, start, ends[last - 1], before, behind, last - first))
        return parts
