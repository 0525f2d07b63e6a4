"""What is said of a journal that takes nothing: why, with figures, and who fills it."""

from collector.fullness import Busiest, Fullness
from collector.journal.holders import Holders

GIB = 1 << 30


def test_the_sentence_names_used_and_limit_the_output_that_holds_it_and_who_sends_most() -> None:
    """It said that the limit or the disk was reached, and left the rest to be found out."""
    full = Fullness(20 * GIB, 20 * GIB, None, Holders(("elastic",), 19 * GIB), Busiest("docker", "192.0.2.7", 0.834))

    assert full.sentence() == (
        "full: 20.0 GiB of 20.0 GiB; 19.0 GiB of it wait for output elastic; "
        "83% of what came of late is from 192.0.2.7 by input docker; senders wait"
    )
    assert full.fields() == {
        "used_bytes": 20 * GIB,
        "limit_bytes": 20 * GIB,
        "wait_for": ["elastic"],
        "waiting_bytes": 19 * GIB,
        "busiest_input": "docker",
        "busiest_peer": "192.0.2.7",
        "busiest_share": 0.83,
    }


def test_a_full_disk_is_told_from_a_limit_that_is_reached() -> None:
    """Another thing is to be done about it."""
    full = Fullness(GIB, 20 * GIB, 12 << 20, Holders(("elastic", "store"), GIB), None)

    assert full.sentence() == (
        "full: the disk is, with 12 MiB free; the journal has 1.0 GiB of 20.0 GiB; "
        "1.0 GiB of it wait for outputs elastic, store; senders wait"
    )
    assert full.fields()["disk_free_bytes"] == 12 << 20


def test_what_is_not_known_is_left_out() -> None:
    """A damaged cursor, and no sender since the start."""
    full = Fullness(GIB, GIB, None, Holders((), 0), None)

    assert full.sentence() == "full: 1.0 GiB of 1.0 GiB; senders wait"
    assert full.fields() == {"used_bytes": GIB, "limit_bytes": GIB}
