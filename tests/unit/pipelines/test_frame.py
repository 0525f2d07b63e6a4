"""Ids and sequences come from the position and sort like it."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.frame import (
    INDEX_LIMIT,
    INDEXES_KEPT,
    JournalIdentity,
    auth_text,
    document_ids,
    event_sequences,
    id_prefix,
    proven_name,
)
from tests.kit.frames import frame_of

frames = st.integers(0, 2**35 - 1).map(lambda sequence: frame_of(sequence=sequence))
index = st.integers(0, INDEX_LIMIT - 2)


@settings(deadline=None)  # The first of all renders the texts of 131,072 indexes.
@given(st.tuples(st.integers(0, 2**35 - 1), index), st.tuples(st.integers(0, 2**35 - 1), index))
def test_ids_and_sequences_sort_like_positions(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Of two records the one that lies earlier has the smaller id and the smaller event.sequence."""
    first, second = sorted([one, other])
    texts: list[bytes] = []
    numbers: list[int] = []
    for sequence, record in (first, second):
        frame = frame_of(sequence=sequence)
        texts += document_ids(frame, record, 1)
        shared, (digits,) = event_sequences(frame, record, 1)
        numbers.append(int(shared + digits))

    assert (first == second) == (texts[0] == texts[1]) == (numbers[0] == numbers[1])
    assert texts == sorted(texts)
    assert numbers == sorted(numbers)
    assert numbers[1] < 2**63


def test_no_two_records_have_one_id() -> None:
    """P8: a record of another index, sequence, epoch, partition or journal has another id."""
    frame = frame_of(sequence=3)
    replace = msgspec.structs.replace
    others = [
        replace(frame, sequence=4),
        replace(frame, epoch=frame.epoch + 1),
        replace(frame, partition=1),
        replace(frame, journal=JournalIdentity(frame.journal.id + 1, frame.journal.name)),
    ]
    identifiers = [document_ids(each, 7, 1)[0] for each in (frame, *others)] + [document_ids(frame, 8, 1)[0]]

    assert len(set(identifiers)) == 6


def test_no_name_says_more_than_was_proven() -> None:
    """Proofs are joined by `+`: a client that calls itself `a+user:root` is not `a` and root."""
    auth = auth_text(["key:a+user:root", "user:b%2B"])

    assert auth == "key:a%2Buser:root+user:b%252B"
    assert [proven_name(auth, kind) for kind in ("key", "user")] == ["a+user:root", "b%2B"]


@given(frames)
def test_an_id_is_24_characters_that_need_no_escape(frame: object) -> None:
    """Ids are lower-case letters and digits only, so they can be selected, searched and put into a URL as they are."""
    (text,) = document_ids(frame_of(), 7, 1)

    assert len(text) == 24
    assert text.decode().isalnum()
    assert text.startswith(id_prefix(frame_of()))


def test_ids_beyond_the_kept_ones_are_the_same_as_within() -> None:
    """A slice across the bound of kept texts has no seam."""
    frame = frame_of()
    first = INDEXES_KEPT - 2

    assert list(document_ids(frame, first, 4)) == [document_ids(frame, first + step, 1)[0] for step in range(4)]
