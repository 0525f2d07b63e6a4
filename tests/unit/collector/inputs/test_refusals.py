"""Failed proofs: counted, slowed down, told once a minute; bounded."""

from collector.inputs.refusals import (
    FAILURES_LIMIT,
    FAILURES_S,
    FORGOTTEN,
    PEERS_LIMIT,
    REPORT_INTERVAL_S,
    Refusal,
    Refusals,
)


class Clock:
    """Seconds that pass only when told."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the present time."""
        return self.now_s


def test_the_first_failure_is_told_at_once_and_the_rest_together() -> None:
    """A guesser makes one event a minute, which says how often it tried; the last reason and name are told."""
    clock = Clock()
    refusals = Refusals("docker", clock)
    refusals.failed("192.0.2.1", "wrong key", "web-1")
    assert refusals.due() == [Refusal("docker", "192.0.2.1", "wrong key", "web-1", 1)]
    for number in range(5):
        refusals.failed("192.0.2.1", "wrong password", f"web-{number}")
    assert refusals.due() == []

    clock.now_s += REPORT_INTERVAL_S

    assert refusals.due() == [Refusal("docker", "192.0.2.1", "wrong password", "web-4", 5)]
    clock.now_s += REPORT_INTERVAL_S
    assert refusals.due() == []


def test_who_failed_too_often_is_blocked_for_the_rest_of_a_minute_and_nobody_else() -> None:
    """Then the count begins anew."""
    clock = Clock()
    refusals = Refusals("docker", clock)
    for _ in range(FAILURES_LIMIT):
        assert not refusals.blocks("192.0.2.1")
        refusals.failed("192.0.2.1", "wrong key")
    assert refusals.blocks("192.0.2.1")
    assert not refusals.blocks("192.0.2.2")

    clock.now_s += FAILURES_S + 1

    assert not refusals.blocks("192.0.2.1")


def test_no_more_than_so_many_peers_are_remembered() -> None:
    """A flood from forged or many addresses costs bounded memory; the newest are kept, all are told once."""
    refusals = Refusals("docker", Clock())
    for number in range(PEERS_LIMIT + 10):
        refusals.failed(f"peer-{number}", "wrong key")

    due = refusals.due()

    assert len(due) == PEERS_LIMIT + 1
    assert due[-1].peer == f"peer-{PEERS_LIMIT + 9}"


def test_at_the_end_everything_is_told() -> None:
    """What a stop did not wait for was lost: nine failures of ten."""
    refusals = Refusals("docker", Clock())
    refusals.failed("192.0.2.1", "wrong key")
    assert [each.attempts for each in refusals.due()] == [1]
    for _ in range(9):
        refusals.failed("192.0.2.1", "wrong key")
    assert refusals.due() == []

    assert [each.attempts for each in refusals.due(last=True)] == [9]


def test_failures_of_peers_that_were_forgotten_are_told_by_number() -> None:
    """Of more peers than are remembered no failure goes uncounted."""
    refusals = Refusals("docker", Clock())
    for number in range(PEERS_LIMIT + 10):
        refusals.failed(f"peer-{number}", "wrong key")

    due = refusals.due()

    assert (due[0].peer, due[0].attempts) == (FORGOTTEN, 10)
    assert sum(each.attempts for each in due) == PEERS_LIMIT + 10
