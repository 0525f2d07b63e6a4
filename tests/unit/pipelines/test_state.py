"""What a pipeline remembers: bounded, in order, taken back when a path fails, and the same when it was written down."""

import copy
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.frame import JournalIdentity, Position
from pipelines.sections import ENTRY_BYTES, Section
from pipelines.state import OPEN_LINES_LIMIT, STEP_NS, OpenLine, State, StateError
from tests.kit.frames import JOURNAL_TIME, ORIGIN

keys = st.sampled_from("abcde").map(lambda text: (text,))
changes = st.lists(st.tuples(st.sampled_from(["put", "take"]), keys, st.integers(0, 9)), max_size=20)


def section(*, limit: int = 3, limit_bytes: int = 1 << 20, grouped: int = 0, fair: bool = False) -> Section[int]:
    """Make a section of numbers, each of which counts for as many bytes."""
    return Section(int, limit=limit, limit_bytes=limit_bytes, cost=lambda value: value, grouped=grouped, fair=fair)


def change(changed: Section[int], steps: Sequence[tuple[str, tuple[str, ...], int]]) -> None:
    """Put and take."""
    for step, key, value in steps:
        if step == "put":
            changed.put(key, value)
        else:
            changed.take(key)


def line(number: int = 0, *, size: int = 1) -> OpenLine:
    """Make an open line."""
    return OpenLine(
        journal=JournalIdentity(1, "collector-1"),
        position=Position(0, 5, number, 2),
        journal_time=JOURNAL_TIME,
        origin=ORIGIN,
        tag=b"web\xff",
        encoding="forward",
        entry=bytes(size),
        more=(b"more",),
        line_bytes=4,
        ordinal=2,
        touched_ns=JOURNAL_TIME,
    )


@settings(max_examples=300, deadline=None, database=None)
@given(changes, changes)
def test_undo_takes_everything_back_also_the_order(
    before: list[tuple[str, tuple[str], int]], steps: list[tuple[str, tuple[str], int]]
) -> None:
    """Entries, their order, their bytes, and what would have no room next."""
    changed = section()
    change(changed, before)
    expected = copy.deepcopy((list(changed.items()), changed.size_bytes))
    changed.mark()
    change(changed, steps)

    assert changed.at_mark() == expected[0]
    changed.undo()
    assert (list(changed.items()), changed.size_bytes) == expected


@settings(max_examples=300, deadline=None, database=None)
@given(changes, changes, st.booleans())
def test_entries_of_groups_are_found_in_their_order(
    before: list[tuple[str, tuple[str], int]], steps: list[tuple[str, tuple[str], int]], undone: bool
) -> None:
    """Whatever was put, taken, had no room or was taken back: those that a look at all would find."""
    grouped = section(grouped=1)
    pairs = [(step, (*key, str(value)), value) for step, key, value in before + steps]
    change(grouped, pairs[: len(before)])
    grouped.mark()
    change(grouped, pairs[len(before) :])
    if undone:
        grouped.undo()

    expected = [key for key, _ in grouped.items() if key[0] in "bd"]
    assert grouped.in_groups([("d",), ("b",), ("x",)]) == expected


def test_where_room_is_made_fairly_the_largest_group_gives_up_its_oldest() -> None:
    """Also by bytes, and where many go at once; of groups as large, that with the oldest entry."""
    fair = section(limit=4, grouped=1, fair=True)
    for key in ("bx", "ax", "ay", "az"):
        fair.put(tuple(key), 1)

    assert fair.put(("a", "v"), 1) == [(("a", "x"), 1)]
    assert fair.put(("c", "x"), 1) == [(("a", "y"), 1)]
    assert fair.put(("c", "y"), 1) == [(("a", "z"), 1)]
    assert fair.put(("b", "y"), 1) == [(("b", "x"), 1)]
    small = section(limit=1000, limit_bytes=200 * ENTRY_BYTES, grouped=1, fair=True)
    outdone = [key for number in range(1000) for key, _ in small.put(("ab"[number > 0], str(number)), 0)]
    assert ("a", "0") not in outdone
    assert sorted(outdone, key=lambda key: int(key[1])) == outdone
    assert len(outdone) + len(small) == 1000
    assert small.size_bytes <= 200 * ENTRY_BYTES


@settings(max_examples=200, deadline=None, database=None)
@given(changes, changes, changes)
def test_which_entries_a_fair_section_gives_up_does_not_depend_on_how_it_came_to_be(
    before: list[tuple[str, tuple[str], int]],
    undone: list[tuple[str, tuple[str], int]],
    steps: list[tuple[str, tuple[str], int]],
) -> None:
    """Read back, or with something taken back in between: the entries and their order decide."""

    def in_groups(all_steps: list[tuple[str, tuple[str], int]]) -> list[tuple[str, tuple[str, ...], int]]:
        return [(step, (*key, str(value)), value) for step, key, value in all_steps]

    kept, restored = (section(limit=4, grouped=1, fair=True) for _ in range(2))
    change(kept, in_groups(before))
    kept.mark()
    restored.become(kept.items())
    change(kept, in_groups(undone))
    kept.undo()
    for each in (kept, restored):
        change(each, in_groups(steps))

    assert list(kept.items()) == list(restored.items())
    assert len(kept) <= 4


def test_what_has_no_room_is_given_back_the_oldest_first() -> None:
    """By number and by bytes; what was put again is the newest."""
    few = section(limit=2)
    few.put(("a",), 1)
    few.put(("b",), 2)
    few.put(("a",), 3)

    assert few.put(("c",), 4) == [(("b",), 2)]
    small = section(limit_bytes=2 * ENTRY_BYTES + 10)
    small.put(("a",), 4)
    assert small.put(("b",), 4) == []
    assert small.put(("c",), 1) == [(("a",), 4)]
    assert small.put(("d",), 1 << 20) == [(("b",), 4), (("c",), 1), (("d",), 1 << 20)]
    assert small.size_bytes == len(small) == 0


def test_a_state_is_the_same_when_it_was_written_down() -> None:
    """Also with bytes that are no text in it; and equal states have equal bytes."""
    state = State()
    for number in range(3):
        state.lines.put((f"key {number}",), line(number))
        state.advance(number * STEP_NS // 2 + 1)
    restored = State()
    restored.load(state.encode(), settings_changed=True)

    assert list(restored.lines.items()) == list(state.lines.items())
    assert restored.encode() == state.encode()
    assert restored.waited_ns == STEP_NS
    assert (State().is_open, restored.is_open) == (False, True)


@pytest.mark.parametrize(
    "encoded", [b"", b"\x00", b"\x93\x03\x92\0\0\x80", b"\x93\x01\x92\0\0\x81\xa5lines\x91\xc0", b"\x92\x01\xc0"]
)
def test_bytes_that_are_no_state_change_nothing(encoded: bytes) -> None:
    """A newer version is refused like bytes that cannot be decoded."""
    state = State()
    state.lines.put(("key",), line())

    with pytest.raises(StateError):
        state.load(encoded, settings_changed=False)
    assert len(state.lines) == 1


def test_the_clock_counts_a_pause_for_a_second() -> None:
    """However long nothing came, and whatever it was that came then; a clock that stands still counts for nothing."""
    state = State()
    times = [50, 50, 50 + STEP_NS // 4, 3600 * STEP_NS, 3600 * STEP_NS + 7]
    waited = []
    for time in times:
        state.mark()
        state.advance(time)
        waited.append(state.waited_ns)

    assert waited == [0, 0, STEP_NS // 4, STEP_NS // 4 + STEP_NS, STEP_NS // 4 + STEP_NS + 7]
    assert state.at_mark().waited_ns == waited[-2]
    state.undo()
    assert state.waited_ns == waited[-2]


def test_a_section_that_depends_on_the_settings_begins_anew_under_others() -> None:
    """What lasts is kept: no piece of a line is lost by another configuration."""
    state = State()
    state.lines.put(("key",), line())
    encoded = state.encode()
    state.lines.lasting = False

    state.load(encoded, settings_changed=False)
    assert len(state.lines) == 1
    state.load(encoded, settings_changed=True)
    assert len(state.lines) == 0


def test_open_lines_are_bounded_by_number_and_bytes() -> None:
    """A sender can begin any number of lines."""
    state = State()
    outdone = [out for number in range(OPEN_LINES_LIMIT + 5) for out in state.lines.put((str(number),), line(number))]

    assert [key for key, _ in outdone] == [(str(number),) for number in range(5)]
    state = State()
    for number in range(20):
        state.lines.put((str(number),), line(number, size=1 << 20))
    assert len(state.lines) == 7
