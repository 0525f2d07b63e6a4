"""Pauses between the starts of a role."""

from collector.child import Backoff


def test_pauses_double_up_to_a_limit() -> None:
    """A role that dies at once is started again after 0.1 s, 0.2 s, … and never later than after 10 s."""
    backoff = Backoff()

    pauses = [backoff.after(0.01) for _ in range(9)]

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == pauses


def test_a_life_that_was_long_enough_begins_anew() -> None:
    """After 30 s of life the next pause is the first again."""
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.01)

    assert [0.1, 0.2] == [backoff.after(30.0), backoff.after(29.9)]
