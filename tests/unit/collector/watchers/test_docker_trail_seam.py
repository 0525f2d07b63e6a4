"""Where a trail goes on: each event is told once, wherever it was interrupted, or it is told that some are missing."""

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.watchers.docker_trail_records import TrailEvent, read_event
from collector.watchers.docker_trail_seam import (
    ANCHORS,
    EXCEEDED,
    KEYS,
    MEMORY_EVENTS,
    RESTARTED,
    STARTING_NS,
    Missing,
    Seam,
    TrailCursor,
    decoded_cursor,
    first_cursor,
)

FIRST_NS = 1_700_000_000_000_000_000


def event(number: int, time_ns: int = 0) -> TrailEvent:
    """An event that is another than all others."""
    line = {"Type": "container", "Action": "start", "Actor": {"ID": str(number)}}
    found = read_event(msgspec.json.encode(line | {"timeNano": time_ns or FIRST_NS + number}))
    assert isinstance(found, TrailEvent)
    return found


def events(*numbers: int) -> list[TrailEvent]:
    """Several."""
    return [event(number) for number in numbers]


def told(cursor: TrailCursor, remembered: Sequence[TrailEvent], stream: Sequence[TrailEvent]) -> list[int | Missing]:
    """What is told as new: the numbers of events, and what is missing."""
    seam = Seam(cursor, [(each.key, each.time_ns) for each in remembered])
    found: list[TrailEvent | Missing] = [*seam.begin()]
    for each in stream:
        found += seam.take(each)
    numbers = {event_.key: number for number, event_ in enumerate(events(*range(400)))}
    return [each if isinstance(each, Missing) else numbers[each.key] for each in found]


def test_at_every_place_the_rest_is_told_once() -> None:
    """Whether the cursor knows all that the Engine remembers, or the last of it."""
    memory = events(*range(120))
    for interrupted in range(1, 120):
        cursor = TrailCursor().behind(memory[:interrupted])

        assert list(range(interrupted, 121)) == told(cursor, memory, [*memory, event(120)])


def test_what_stands_between_events_that_were_told_is_behind_none_of_them() -> None:
    """Where all that was told is known, the stream tells nothing new before the last of it has come again."""
    memory = events(*range(5))
    for since_ns in (0, 1):
        cursor = TrailCursor(since_ns=since_ns).behind(memory[:4])
        seam = Seam(cursor, [(each.key, each.time_ns) for each in memory])
        seam.begin()
        found = []
        for each in memory:
            seam.take(each)
            found.append(seam.is_behind)

        assert [False, False, False, True, True] == found


@given(st.integers(1, 300), st.integers(0, 100), st.lists(st.integers(0, 20), min_size=1))
@settings(max_examples=150)
def test_events_told_in_another_order_than_remembered_are_told_once(said: int, later: int, jitter: list[int]) -> None:
    """Those of one moment are noted in one order and told in another, and the interruption is between them."""
    noted = range(said + later)
    spoken = sorted(noted, key=lambda number: number + jitter[number % len(jitter)])
    cursor = TrailCursor(since_ns=FIRST_NS).behind(events(*spoken[:said]))
    memory = events(*noted[-MEMORY_EVENTS:])

    assert sorted(spoken[said:]) == sorted(found for found in told(cursor, memory, memory) if isinstance(found, int))


def test_what_is_told_as_remembered_and_as_new_is_told_once() -> None:
    """An Engine may do so where both meet."""
    cursor = TrailCursor().behind(events(0, 1))

    assert [2, 3, 4] == told(cursor, events(0, 1, 2, 3), events(0, 1, 2, 3, 3, 2, 4))


def test_an_engine_that_restarted_and_is_silent_is_told_at_once() -> None:
    """It remembers nothing, so no event need come before it is known."""
    assert [Missing(RESTARTED)] == told(TrailCursor().behind(events(0, 1)), [], [])


def test_an_engine_that_restarted_and_goes_on_is_told_before_its_events() -> None:
    """With the time of the first."""
    cursor = TrailCursor().behind(events(0, 1))

    assert [Missing(RESTARTED, FIRST_NS + 7), 7, 8, 9] == told(cursor, events(7, 8), events(7, 8, 9))


def test_more_events_than_an_engine_remembers_are_told_to_be_missing() -> None:
    """All that it remembers is told behind that."""
    cursor, memory = TrailCursor().behind(events(0, 1)), events(*range(3, 3 + MEMORY_EVENTS))

    expected = [Missing(EXCEEDED, FIRST_NS + 3), *range(3, 3 + MEMORY_EVENTS)]
    assert expected == told(cursor, memory, memory)


def test_exactly_as_many_events_as_an_engine_remembers_leave_no_gap() -> None:
    """The last that is known is the oldest it remembers."""
    cursor, memory = TrailCursor().behind(events(0)), events(*range(MEMORY_EVENTS))

    assert list(range(1, MEMORY_EVENTS)) == told(cursor, memory, memory)


def test_what_is_forgotten_between_stream_and_question_is_no_gap() -> None:
    """The stream began with the place, and what is remembered at the question does not."""
    cursor = TrailCursor().behind(events(0, 1))
    stream = events(*range(MEMORY_EVENTS + 5))

    assert list(range(2, MEMORY_EVENTS + 5)) == told(cursor, stream[-MEMORY_EVENTS:], stream)


def test_events_that_were_forgotten_before_the_question_are_told_behind_the_gap() -> None:
    """The stream has more than what is remembered later."""
    cursor = TrailCursor().behind(events(0, 1))
    stream = events(*range(3, MEMORY_EVENTS + 9))

    expected = [Missing(EXCEEDED, FIRST_NS + 3), *range(3, MEMORY_EVENTS + 9)]
    assert expected == told(cursor, stream[-MEMORY_EVENTS:], stream)


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    """The place is found by what an event is, not by when it was."""
    memory = [*events(0, 1), event(2, FIRST_NS - 5_000_000_000)]
    seam = Seam(TrailCursor().behind(memory[:2]), [(each.key, each.time_ns) for each in memory])

    assert [] == seam.begin()
    assert [memory[2]] == [found for each in memory for found in seam.take(each)]
    assert 0 == TrailCursor().behind(memory[:2]).opening_ns


def test_a_first_start_begins_a_little_before() -> None:
    """And what happened before that was promised to nobody, however much of it was forgotten."""
    cursor = first_cursor(FIRST_NS + 3)
    crowded = events(*range(3, 3 + MEMORY_EVENTS))

    assert FIRST_NS + 3 - STARTING_NS == cursor.opening_ns
    assert [0, 1, 2, 3] == told(cursor, events(0, 1, 2), events(0, 1, 2, 3))
    assert list(range(3, 3 + MEMORY_EVENTS)) == told(cursor, crowded, crowded)


def test_what_was_before_the_first_start_is_told_in_no_later_life() -> None:
    """Though the Engine remembers it, and tells it again with what was told."""
    cursor = TrailCursor(since_ns=FIRST_NS + 2).behind(events(3))

    assert 0 == cursor.opening_ns
    assert [2, 4] == told(cursor, events(0, 1, 2, 3, 4), events(0, 1, 2, 3, 4))


def test_what_was_forgotten_since_a_first_start_is_missing() -> None:
    """We were killed before the first event came."""
    memory = events(*range(4, 4 + MEMORY_EVENTS))

    assert Missing(EXCEEDED, FIRST_NS + 4) == told(first_cursor(FIRST_NS + 3), memory, memory)[0]


def test_behind_a_gap_that_was_told_it_goes_on_without_telling_it_again() -> None:
    """Though none of the events before it are remembered; later events are the place again."""
    behind = TrailCursor().behind(events(0, 1)).behind_gap(FIRST_NS + 7)

    assert FIRST_NS + 7 == behind.opening_ns
    assert [7, 8] == told(behind, events(7, 8), events(7, 8))
    assert [8] == told(behind.behind(events(7)), events(7, 8), events(7, 8))
    assert [Missing(RESTARTED)] == told(behind.behind(events(7)), [], [])
    assert FIRST_NS + 2 == TrailCursor().behind(events(0, 1)).behind_gap(0).opening_ns


def test_a_cursor_is_short_and_read_as_it_was_written() -> None:
    """It stands in every frame's header."""
    cursor = TrailCursor(since_ns=1).behind(events(*range(300)))

    assert cursor == decoded_cursor(cursor.encoded())
    assert 500 > len(cursor.encoded())
    assert ANCHORS < KEYS
    assert (None, None) == (decoded_cursor(b""), decoded_cursor(b"[]"))
