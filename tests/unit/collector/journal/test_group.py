"""How entries become frames."""

import pytest

from collector.journal.entry import Entry
from collector.journal.group import MESSAGES_LIMIT, RECORDS_LIMIT, TABLE_LIMIT_BYTES, FrameParts, fits, frames_of
from pipelines.frame import Origin, Producer, Run

A = Origin("docker", "tcp", "192.0.2.7")
B = Origin("docker", "tcp", "192.0.2.8")


def _frames(entries: list[Entry], *, frame_bytes: int = 1000) -> list[FrameParts]:
    return list(frames_of(entries, frame_bytes=frame_bytes))


def _payload(parts: FrameParts) -> bytes:
    return b"".join(parts.payload)


def test_messages_of_one_encoding_form_a_run_in_their_order() -> None:
    """Runs come in the order in which their encodings appeared; within a run the order of appends is kept."""
    entries = [
        Entry(A, "forward", (b"1",)),
        Entry(A, "json", (b"2",)),
        Entry(B, "forward", (b"3", b"3")),
        Entry(A, "json", (b"4",)),
    ]

    (frame,) = _frames(entries)

    assert frame.runs == (Run("forward", 2), Run("json", 2))
    assert _payload(frame) == b"13324"
    assert [message.length for message in frame.messages] == [1, 2, 1, 1]


def test_origins_are_kept_once() -> None:
    """Messages refer to a frame's origins by index."""
    (frame,) = _frames([Entry(A, "f", (b"1",)), Entry(B, "f", (b"2",)), Entry(A, "f", (b"3",))])

    assert frame.origins == (A, B)
    assert [message.origin for message in frame.messages] == [0, 1, 0]


def test_a_frame_ends_before_it_grows_beyond_its_size() -> None:
    """The size is soft: one message may be larger, but nothing is added to it."""
    entries = [Entry(A, "f", (b"x" * size,)) for size in (600, 400, 1, 5000, 2)]

    assert [len(_payload(frame)) for frame in _frames(entries)] == [1000, 1, 5000, 2]


def test_an_entry_of_a_producer_has_a_frame_of_its_own() -> None:
    """The triple in a header speaks for the whole frame."""
    triple = Producer("engine", 1)
    entries = [Entry(A, "f", (b"1",)), Entry(A, "f", (b"2",), producer=triple), Entry(A, "f", (b"3",))]

    frames = _frames(entries)

    assert [(_payload(frame), frame.producer) for frame in frames] == [(b"1", None), (b"2", triple), (b"3", None)]


@pytest.mark.parametrize(
    ("entry", "count", "expected"),
    [
        (Entry(A, "f", (b"",)), MESSAGES_LIMIT + 1, 2),
        (Entry(A, "f", (b"",), claimed=RECORDS_LIMIT // 2), 5, 3),
        (Entry(A, "f", (b"",), tag=b"t" * (TABLE_LIMIT_BYTES // 8)), 17, 3),
    ],
    ids=["messages", "records", "table"],
)
def test_a_frame_is_bounded_in_more_than_bytes(entry: Entry, count: int, expected: int) -> None:
    """Messages, claimed records and the table's bytes of a frame have limits too."""
    assert len(_frames([entry] * count)) == expected


def test_what_no_header_could_hold_does_not_fit() -> None:
    """A tag of megabytes is refused before it is written and could not be read."""
    assert fits(Entry(A, "f", (b"x",), tag=b"t" * 1000))
    assert not fits(Entry(A, "f", (b"x",), tag=b"t" * (2 << 20)))
    assert not fits(Entry(A, "f", [bytes(1 << 20)] * 1025))
