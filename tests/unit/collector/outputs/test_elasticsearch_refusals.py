"""When the refused documents of a data stream wait, and when they may become dead letters."""

import pytest

from collector.outputs.elasticsearch_refusals import IN_A_ROW, LOOKED_AT, PROOF, Refusals


def test_one_poisoned_document_in_many_holds_up_nothing() -> None:
    """However long it goes on."""
    refusals = Refusals()

    assert not any(refusals.are_kept("s", 4999, 1) for _ in range(100))


@pytest.mark.parametrize("size", [1, 7, 499, 5000])
def test_many_in_a_row_make_all_wait(size: int) -> None:
    """Before that no more become dead letters than the bound says."""
    refusals = Refusals()
    dead = 0
    while not refusals.are_kept("s", 0, size):
        dead += size

    assert dead < IN_A_ROW


def test_nearly_all_make_all_wait() -> None:
    """Also where now and then one is stored."""
    refusals = Refusals()
    dead = 0
    while not refusals.are_kept("s", 1, 50):
        dead += 50

    assert dead <= LOOKED_AT


def test_a_stream_holds_up_no_other() -> None:
    """They have templates of their own."""
    refusals = Refusals()
    assert refusals.are_kept("bad", 0, IN_A_ROW)

    assert not refusals.are_kept("good", 10, 1)


def test_what_waited_and_is_taken_ends_it() -> None:
    """A stream that was mended takes what it refused; what it still refuses is a dead letter."""
    refusals = Refusals()
    refusals.are_kept("s", 0, 1000)
    still = refusals.are_kept("s", 0, 1000, repeated=True)
    mended = refusals.are_kept("s", 900, 100, repeated=True)

    assert (True, False) == (still, mended)
    assert not refusals.are_kept("s", 0, 100)


def test_new_documents_that_are_taken_end_it() -> None:
    """A flood of documents that nobody can store holds up for ever neither what comes behind nor itself."""
    refusals = Refusals()
    refusals.are_kept("s", 0, 1000)
    first = refusals.are_kept("s", 5, 20)

    assert first
    assert not refusals.are_kept("s", PROOF, 0)
    assert not refusals.are_kept("s", 0, 100, repeated=True)
