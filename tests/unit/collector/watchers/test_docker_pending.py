"""What waits to be asked for: one entry a container, bounded, and a cursor that passes nothing that is not settled."""

from typing import Any

import pytest

from collector.watchers import docker_pending
from collector.watchers.docker_pending import Backlog, Cursor, Pending, decoded_cursor
from collector.watchers.docker_stream import Actor, Event

A, B, C = (letter * 64 for letter in "abc")


def event(action: str, identity: str, time_ns: int, **attributes: str) -> Event:
    """An event of a container."""
    return Event("container", action, Actor(identity, attributes or {"name": identity[:1]}), 0, time_ns)


def backlog(*events: Event, cursor: Cursor | None = None) -> Backlog:
    """What waits when these were read."""
    made = Backlog(cursor or Cursor())
    assert all(made.read(each, 100) for each in events)
    return made


def test_a_container_waits_once_however_much_happened() -> None:
    """With the first cause and the newest attributes, in the order of the first events."""
    made = backlog(event("create", A, 1), event("start", B, 2), event("destroy", A, 3, name="z"))

    first, second = made.take(10)

    assert (A, "create", True, {"name": "z"}) == (first.identity, first.cause, first.is_destroyed, first.attributes)
    assert (B, "start", False) == (second.identity, second.cause, second.is_destroyed)
    assert 0 == len(made)


def test_a_destroyed_container_that_is_there_again_is_not_destroyed() -> None:
    """Events of one id come in order: the last one says."""
    made = backlog(event("destroy", A, 1), event("create", A, 2))

    assert [False] == [entry.is_destroyed for entry in made.take(1)]


def test_a_cursor_stands_before_what_is_not_settled() -> None:
    """Waiting or taken up; at the end it names the instant that was read last, and the events of it."""
    made = backlog(event("start", A, 100), event("start", B, 200), event("die", A, 300))

    waiting = made.cursor("E")
    (first,) = made.take(1)
    taken = made.cursor("E")
    made.settled(first)
    one_settled = made.cursor("E")
    (second,) = made.take(1)
    made.settled(second)

    assert [Cursor("E", 99), Cursor("E", 99), Cursor("E", 199)] == [waiting, taken, one_settled]
    assert Cursor("E", 300, (event("die", A, 300).key,)) == made.cursor("E")


def test_events_of_the_cursors_instant_are_known_again() -> None:
    """The Engine repeats that instant; another event of it is news."""
    made = backlog(event("start", A, 100), event("start", B, 100))
    for entry in made.take(2):
        made.settled(entry)

    again = Backlog(decoded_cursor(made.cursor("E").encoded()))

    assert [True, True, False, False] == [
        again.is_settled(each)
        for each in (event("start", A, 100), event("start", B, 100), event("die", A, 100), event("start", A, 101))
    ]


def test_a_clock_that_is_set_back_hides_no_event() -> None:
    """What was read last counts, not what is highest."""
    made = backlog(event("start", A, 50), cursor=Cursor("E", 1000, ()))

    (entry,) = made.take(1)
    made.settled(entry)

    assert 50 == made.cursor("E").time_ns


def test_what_a_list_names_takes_up_what_waits_for_it() -> None:
    """Its attributes serve when it cannot be asked for, and its time holds the cursor until it is settled."""
    made = backlog(event("destroy", A, 100, name="web"), event("start", B, 200))
    listed = Pending(A, "list")

    made.take_listed(listed)
    held = made.cursor("E")
    made.settled(listed)

    assert (True, {"name": "web"}, "destroy") == (listed.is_destroyed, listed.attributes, listed.cause)
    assert (99, 199) == (held.time_ns, made.cursor("E").time_ns)
    assert [B] == [entry.identity for entry in made.take(10)]


@pytest.mark.parametrize(("limit", "value"), [("ENTRIES_LIMIT", 2), ("BYTES_LIMIT", 250)])
def test_what_is_too_much_is_forgotten_as_a_whole(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number or bytes: it is said, and room is there again."""
    monkeypatch.setattr(docker_pending, limit, value)
    made = backlog(event("start", A, 1), event("start", B, 2))

    assert not made.read(event("start", C, 3), 100)
    assert 0 == len(made)
    assert made.read(event("start", A, 4), 100)


def test_taken_up_entries_make_room() -> None:
    """Bytes count only as long as they wait."""
    made = backlog(event("start", A, 1))
    for number in range(docker_pending.BYTES_LIMIT // (1 << 20) + 2):
        assert made.read(event("start", B, 2 + number), 1 << 20)
        made.take(10)


@pytest.mark.parametrize("kept", [b"", b"\x00", b"[]", b'{"time_ns":"x"}', b'{"at":5}'])
def test_a_cursor_that_cannot_be_read_is_a_beginning(kept: bytes) -> None:
    """Of another version, or none."""
    assert Cursor() == decoded_cursor(kept)


@pytest.mark.parametrize(
    "cursor", [Cursor(), Cursor("E", 1_700_000_000_123_456_789, ("a", "b")), Cursor("E", 5, (), is_away=True)]
)
def test_a_cursor_is_what_was_kept(cursor: Any) -> None:
    """Encoded and decoded."""
    assert cursor == decoded_cursor(cursor.encoded())
