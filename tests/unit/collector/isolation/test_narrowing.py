"""The search for what ends a worker: the first record without which a beginning passes, again until all passes."""

import pytest

from collector.isolation.narrowing import (
    LINES_LIMIT,
    MESSAGES_LIMIT,
    RECORDS_LIMIT,
    Lines,
    Narrowing,
    Outcome,
    UnclearError,
)
from pipelines.condemned import Cause, Part, Verdict, apart
from pipelines.frame import Frame, Position
from pipelines.reference import messages
from tests.kit.frames import frame_of

Harm = dict[tuple[int, int], Cause]
"""What does harm: message and record, and how."""


class Tried:
    """A frame of records of one byte each, the message's number; what is harmful of them, and what was tried."""

    def __init__(self, sizes: list[int], harm: Harm, *, cut: bool = True) -> None:
        self.sizes, self.harm, self.cut = sizes, harm, cut
        self.together: set[tuple[int, int]] = {(-1, -1)}
        self.waiting: Lines = ()
        self.harmful_lines: Lines = ()
        self.tries = 0
        self.time = 10_000

    @property
    def frame(self) -> Frame:
        """The frame: each record is its number, as a byte."""
        return frame_of(
            ("forward", [(bytes(range(size)), bytes([number]), size) for number, size in enumerate(self.sizes)])
        )

    def attempt(self, parts: tuple[Part, ...], lines: Lines, *, patient: bool) -> Outcome:
        """Go through what waits, and the records that are not condemned; the first that does harm tells."""
        self.tries += 1
        if set(self.harmful_lines) - set(lines):
            return "crash"
        whole, met = self.frame, set()
        tried = apart(whole, Verdict(whole.position, "crash", parts)) if parts else whole
        for message, encoding, payload in messages(tried):
            for record in bytes(payload) if encoding == "forward" else b"":
                met.add((message.tag[0], record))
                if met.issuperset(self.together):
                    return "crash"
                if outcome := self.harm.get((message.tag[0], record)):
                    return outcome
        return "passed"

    def entries(self, number: int) -> list[int]:
        """Return where the records of a message end."""
        size = self.sizes[number]
        return list(range(1, size + 1)) if self.cut else [size]

    def found(self, before: Verdict | None = None) -> tuple[Part, ...]:
        """Search; return the parts."""
        return self.searched(before)[0]

    def searched(self, before: Verdict | None = None) -> tuple[tuple[Part, ...], Lines]:
        """Search."""
        return Narrowing(self.frame, self.attempt, self.entries, lambda: self.tries < self.time, self.waiting).condemn(
            before
        )


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("cause", ["crash", "hang", "memory"])
def test_the_one_record_is_found_wherever_it_stands(size: int, cause: Cause) -> None:
    """Each place of each message; the search takes a logarithm of tries."""
    for message in range(3):
        for record in range(size):
            tried = Tried([size] * 3, {(message, record): cause})

            expected = (
                Part(message, 1, record, record + 1, record, size - record - 1)
                if size > 1
                else Part(message, indexes=1)
            )
            assert (expected,) == tried.found()
            assert tried.tries <= 20


@pytest.mark.parametrize(("first", "second"), [((0, 3), (0, 9)), ((0, 3), (1, 0)), ((0, 19), (2, 19))])
def test_records_that_do_harm_together_only_cost_the_last_of_them(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    """No half does harm then; beginnings tell which one it was."""
    tried = Tried([20, 20, 20], {})
    tried.together = {first, second}
    message, record = second

    assert (Part(message, 1, record, record + 1, record, 19 - record),) == tried.found()


def test_several_records_are_all_found() -> None:
    """One after the other, each a part of its own."""
    tried = Tried([20, 30], {(0, 3): "hang", (0, 4): "crash", (1, 29): "crash"})

    parts = (Part(0, 1, 3, 4, 3, 0), Part(0, 1, 4, 5, 0, 15), Part(1, 1, 29, 30, 29, 0))
    assert parts == tried.found()


def test_what_cannot_be_cut_goes_as_a_whole_message() -> None:
    """A message of one object, or of another encoding than Forward's."""
    assert (Part(1),) == Tried([9, 9], {(1, 4): "crash"}, cut=False).found()


def test_of_very_many_records_their_messages_go() -> None:
    """Tries are bounded: sixteen single ones, then the message in which the next one stands."""
    tried = Tried([200, 5], {(0, record): "crash" for record in range(0, 200, 2)})

    assert (Part(0, indexes=200),) == tried.found()
    assert tried.tries < (RECORDS_LIMIT + 2) * 20


def test_of_very_many_messages_the_frame_goes() -> None:
    """The last resort: nothing of it is looked at, and all of it is kept."""
    count = 3 * MESSAGES_LIMIT
    tried = Tried([1] * count, {(message, 0): "crash" for message in range(count)})

    assert (Part(0, count),) == tried.found()


def test_without_time_what_is_known_goes() -> None:
    """The search ends when its time does; what is condemned passes all the same."""
    tried = Tried([50] * 50, {(20, 20): "hang"})
    tried.time = 6

    parts = tried.found()
    assert "passed" == tried.attempt(parts, (), patient=True)


def test_what_does_no_harm_apart_is_not_condemned() -> None:
    """A bit that flipped, a fault of an output, a signal from outside: none of it is a record's."""
    with pytest.raises(UnclearError, match="did no harm"):
        Tried([5], {}).found()


def test_harm_of_none_of_the_records_is_not_condemned() -> None:
    """Data first: what would not help is not done."""
    tried = Tried([5], {})
    narrowing = Narrowing(tried.frame, lambda parts, lines, *, patient: "crash", tried.entries, lambda: True)

    with pytest.raises(UnclearError, match="none of the frame's own records"):
        narrowing.condemn()


def test_a_try_that_was_ended_from_outside_condemns_nothing() -> None:
    """The out-of-memory killer of the system cannot be told from an operator."""
    tried = Tried([5], {})
    narrowing = Narrowing(tried.frame, lambda parts, lines, *, patient: "outside", tried.entries, lambda: True)

    with pytest.raises(UnclearError, match="from outside"):
        narrowing.condemn()


def test_what_is_condemned_already_stays_so() -> None:
    """A frame that ends the next worker as well, by another record of it."""
    tried = Tried([20], {(0, 3): "crash", (0, 9): "crash"})
    first = Tried([20], {(0, 3): "crash"}).found()

    before = Verdict(tried.frame.position, "crash", first)

    assert (Part(0, 1, 3, 4, 3, 5), Part(0, 1, 9, 10, 5, 10)) == tried.found(before)


WAITING = tuple(Position(0, 1, number) for number in range(50))


@pytest.mark.parametrize("number", [0, 17, 49])
def test_a_line_that_waits_is_found_and_no_record_condemned_for_it(number: int) -> None:
    """The frame in hand only let it go: nothing of that is to be blamed."""
    tried = Tried([20], {})
    tried.waiting, tried.harmful_lines = WAITING, (WAITING[number],)

    assert ((), (WAITING[number],)) == tried.searched()


def test_lines_that_wait_and_records_are_told_apart() -> None:
    """A frame may hold one, and let go of others."""
    tried = Tried([20], {(0, 3): "crash"})
    tried.waiting, tried.harmful_lines = WAITING, (WAITING[3], WAITING[4])

    assert ((Part(0, 1, 3, 4, 3, 16),), (WAITING[3], WAITING[4])) == tried.searched()


def test_of_very_many_lines_that_wait_all_go() -> None:
    """Sixteen are found one by one."""
    tried = Tried([20], {})
    tried.waiting = tried.harmful_lines = WAITING

    assert ((), WAITING) == tried.searched()
    assert tried.tries < (LINES_LIMIT + 2) * 10
