"""The stream of events: lines at any cut, bounded, and what is no event is lost alone."""

import json
from typing import Any

import pytest

from collector.watchers.docker_stream import LINE_LIMIT_BYTES, Event, EventLines, Lost, decoded, since

CONTAINER = "a" * 64


def line(action: str = "start", **changes: Any) -> bytes:
    """One event as an Engine writes it."""
    event = {
        "status": action,
        "Type": "container",
        "Action": action,
        "Actor": {"ID": CONTAINER, "Attributes": {"image": "nginx:1.25", "name": "web"}},
        "scope": "local",
        "time": 1_700_000_000,
        "timeNano": 1_700_000_000_123_456_789,
    }
    return json.dumps(event | changes).encode() + b"\n"


def read(*received: bytes) -> list[Event | Lost]:
    """Feed these, one after another."""
    lines = EventLines()
    found = [line for part in received for line in lines.feed(part)]
    return [line if isinstance(line, Lost) else decoded(line) for line in found]


def test_events_are_the_same_wherever_the_stream_is_cut() -> None:
    """At every offset, and byte by byte."""
    stream = line("create") + line("start") + b"\n" + line("die")
    whole = read(stream)

    assert ["create", "start", "die"] == [event.action for event in whole if isinstance(event, Event)]
    assert all(whole == read(stream[:at], stream[at:]) for at in range(len(stream) + 1))
    assert whole == read(*(stream[at : at + 1] for at in range(len(stream))))


def test_an_event_tells_its_container_time_and_cause() -> None:
    """The time to the nanosecond, which no float holds; the cause without what stands behind it."""
    (event,) = read(line("health_status: unhealthy"))

    assert isinstance(event, Event)
    assert (CONTAINER, "health_status", 1_700_000_000_123_456_789) == (event.container, event.cause, event.time_ns)


def test_an_event_of_a_network_is_of_the_container_it_names() -> None:
    """Its actor is the network."""
    (event,) = read(line("connect", Type="network", Actor={"ID": "b" * 64, "Attributes": {"container": CONTAINER}}))

    assert isinstance(event, Event)
    assert CONTAINER == event.container


@pytest.mark.parametrize(
    "changes",
    [
        {"Type": "image"},
        {"Actor": {"ID": "../../images/json", "Attributes": {}}},
        {"Actor": {"ID": "", "Attributes": None}},
        {"Type": "network", "Actor": {"ID": "b" * 64, "Attributes": {"container": "web"}}},
    ],
)
def test_what_is_no_container_id_asks_for_nothing(changes: dict[str, Any]) -> None:
    """What stands in an event becomes part of a path only where it is an id."""
    (event,) = read(line(**changes))

    assert isinstance(event, Event)
    assert "" == event.container


@pytest.mark.parametrize(
    "broken",
    [b"{\n", b"[]\n", b'{"time":"soon"}\n', b'{"Action":"\xff"}\n', b"[" * 100_000 + b"\n", b'{"timeNano":1e400}\n'],
    ids=["cut", "list", "text for a time", "no UTF-8", "deep", "no number"],
)
def test_what_is_no_event_is_lost_alone(broken: bytes) -> None:
    """The event behind it is read."""
    lost, event = read(broken + line())

    assert isinstance(lost, Lost)
    assert "malformed" == lost.reason
    assert isinstance(event, Event)


def test_an_event_that_is_too_long_is_passed_over() -> None:
    """Told once, whether it comes in one piece or in many; what stands behind it is read."""
    long = b'{"Action":"' + b"x" * LINE_LIMIT_BYTES + b'"}\n'

    for parts in (
        (long + line(),),
        tuple((long + line())[at : at + 65_536] for at in range(0, len(long) + 500, 65_536)),
    ):
        lost, event = read(*parts)
        assert isinstance(lost, Lost)
        assert "oversized" == lost.reason
        assert isinstance(event, Event)


def test_a_line_without_end_takes_no_memory() -> None:
    """Beyond the limit nothing of it is held, and it is told once."""
    lines = EventLines()
    told = [each for _ in range(64) for each in lines.feed(b"x" * 65_536)]

    assert ["oversized"] == [each.reason for each in told if isinstance(each, Lost)]
    assert 0 == len(lines._held)


def test_a_record_separator_before_an_event_is_no_part_of_it() -> None:
    """As `application/json-seq` has it."""
    (event,) = read(b"\x1e" + line())

    assert isinstance(event, Event)


def test_times_are_written_as_the_engine_reads_them() -> None:
    """Seconds, and nine digits behind the point; nothing where there is no time."""
    assert ("1700000003.000000001", "") == (since(1_700_000_003_000_000_001), since(0))
