"""What waits to be told is bounded, in order, and what is dropped leaves a mark in its place."""

import asyncio
from collections.abc import Callable

import pytest

from collector.watchers import docker_trail_waiting as module
from collector.watchers.docker_trail_records import TrailEvent, read_event, read_execution
from collector.watchers.docker_trail_seam import Missing
from collector.watchers.docker_trail_waiting import OVERFLOW, Queue, Waiting


def waiting(time_ns: int) -> Waiting:
    """An event that waits."""
    event = read_event(b'{"Type":"container","Action":"start","timeNano":%d}' % time_ns)
    assert isinstance(event, TrailEvent)
    return Waiting(event, 0.0, 1.0)


def drained(queue: Queue) -> list[int | Missing]:
    """Times of all that waits, and marks."""
    found = [queue.take() for _ in range(len(queue))]
    return [each.event.time_ns if isinstance(each, Waiting) else each for each in found]


def test_what_is_dropped_leaves_one_mark_with_the_time_of_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until half is told: else every second event would be followed by a gap."""
    monkeypatch.setattr(module, "EVENTS_LIMIT", 4)
    queue = Queue()

    kept = [queue.put(waiting(time_ns)) for time_ns in range(1, 7)]
    queue.take()
    still = queue.put(waiting(7))
    for _ in range(2):
        queue.take()
    again = queue.put(waiting(8))

    assert [True] * 4 + [False] * 2 == kept
    assert (False, True) == (still, again)
    assert [4, Missing(OVERFLOW, 8), 8] == drained(queue)


def test_bytes_are_bounded_as_events_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are free again when they were told."""
    queue, size_bytes = Queue(), len(waiting(1).event.content)
    monkeypatch.setattr(module, "BYTES_LIMIT", 2 * size_bytes)

    kept = [queue.put(waiting(time_ns)) for time_ns in (1, 2, 3)]
    drained(queue)
    again = queue.put(waiting(4))

    assert [True, True, False] == kept
    assert again


def test_what_is_known_of_execs_is_bounded_with_their_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of 300 bytes may have an answer of 700 KiB: where there is no room for it, it goes without."""
    queue, execution = Queue(), read_execution({"ID": "x" * 1_000})
    first, second, third = (waiting(time_ns) for time_ns in (1, 2, 3))
    size_bytes = len(first.event.content)
    monkeypatch.setattr(module, "BYTES_LIMIT", 3 * size_bytes + execution.size_bytes)
    for each in (first, second, third):
        queue.put(each)
    for each in (first, first, second):
        queue.answer(each, execution)
    queue.take()
    for each in (first, third):
        queue.answer(each, execution)

    assert [True, False, True] == [each.execution is not None for each in (first, second, third)]
    assert queue.put(waiting(4))
    assert not queue.put(waiting(5))


def test_the_oldest_event_is_known_behind_a_mark() -> None:
    """Of which it is measured how long it waits; there may be none."""
    queue = Queue()
    queue.mark(Missing(OVERFLOW))
    nothing = queue.first_event
    queue.put(waiting(1))
    queue.put(waiting(2))
    found = queue.first_event

    assert nothing is None
    assert found is not None
    assert 1 == found.event.time_ns


def test_marks_behind_one_another_are_one() -> None:
    """Of the first reason."""
    queue = Queue()
    queue.mark(Missing("unreadable"))
    queue.mark(Missing(OVERFLOW))
    queue.put(waiting(5))
    queue.mark(Missing("unreadable"))

    assert [Missing("unreadable", 5), 5, Missing("unreadable")] == drained(queue)


async def test_whoever_waits_is_woken_by_an_event_and_by_a_mark() -> None:
    """And returns at once where something waits already."""
    adding: list[Callable[[Queue], object]] = [
        lambda queue: queue.put(waiting(1)),
        lambda queue: queue.mark(Missing(OVERFLOW)),
    ]
    for add in adding:
        queue = Queue()
        asking = asyncio.create_task(queue.wait())
        await asyncio.sleep(0)
        assert not asking.done()
        add(queue)
        await asking
        await queue.wait()
        assert len(drained(queue)) == 1


async def test_an_event_waits_for_its_answer_or_its_time() -> None:
    """One that is not asked for waits for nothing."""
    asked, other = waiting(1), waiting(2)
    asked.answered = asyncio.Event()

    assert [False, True, True] == [asked.is_due(0.9), asked.is_due(1.0), other.is_due(0.0)]
    asked.answered.set()
    assert asked.is_due(0.0)
