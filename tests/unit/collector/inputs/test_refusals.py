"""Failed proofs: counted, slowed down, told once a minute; bounded."""

from collector.inputs.refusals import (
    CAUSES_LIMIT,
    FAILURES_LIMIT,
    FAILURES_S,
    FORGOTTEN,
    FURTHER,
    PEERS_LIMIT,
    REPORT_INTERVAL_S,
    Block,
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
    """A guesser makes one event a minute, which says how often it tried."""
    clock = Clock()
    refusals = Refusals("docker", clock)
    refusals.failed("192.0.2.1", "wrong key", "web-1")
    assert refusals.due() == [Refusal("docker", "192.0.2.1", "wrong key", "web-1", 1)]
    for _ in range(5):
        refusals.failed("192.0.2.1", "wrong key", "web-1")
    assert refusals.due() == []

    clock.now_s += REPORT_INTERVAL_S

    assert refusals.due() == [Refusal("docker", "192.0.2.1", "wrong key", "web-1", 5)]
    clock.now_s += REPORT_INTERVAL_S
    assert refusals.due() == []


def test_each_reason_and_claimed_name_is_told() -> None:
    """Only the last one was: who tried many names, or many ways, looked as if it had tried one."""
    refusals = Refusals("docker", Clock())
    refusals.failed("192.0.2.1", "wrong key", "web-1")
    refusals.failed("192.0.2.1", "wrong key", "web-2")
    refusals.failed("192.0.2.1", "no PING")
    refusals.failed("192.0.2.1", "wrong key", "web-2")

    assert refusals.due() == [
        Refusal("docker", "192.0.2.1", "wrong key", "web-1", 1),
        Refusal("docker", "192.0.2.1", "wrong key", "web-2", 2),
        Refusal("docker", "192.0.2.1", "no PING", "", 1),
    ]


def test_reasons_and_names_of_one_peer_are_bounded_and_none_goes_uncounted() -> None:
    """What is over the bound is told together, and the next minute has room for others."""
    clock = Clock()
    refusals = Refusals("docker", clock)
    for number in range(CAUSES_LIMIT + 5):
        refusals.failed("192.0.2.1", "wrong key", f"web-{number}")

    due = refusals.due()

    assert len(due) == CAUSES_LIMIT + 1
    assert due[-1] == Refusal("docker", "192.0.2.1", FURTHER, "", 5)
    clock.now_s += REPORT_INTERVAL_S
    assert refusals.due() == []
    refusals.failed("192.0.2.1", "wrong key", "db-1")
    assert refusals.due() == [Refusal("docker", "192.0.2.1", "wrong key", "db-1", 1)]


def test_a_peer_that_is_not_listened_to_any_more_is_told_once() -> None:
    """With how long that lasts; when it fails too often again, again."""
    clock = Clock()
    refusals = Refusals("docker", clock)
    for _ in range(FAILURES_LIMIT):
        assert refusals.blocked() == []
        clock.now_s += 1.0
        refusals.failed("192.0.2.1", "wrong key")
    refusals.failed("192.0.2.1", "wrong key")

    left_s = FAILURES_S - FAILURES_LIMIT + 1
    assert refusals.blocked() == [Block("docker", "192.0.2.1", FAILURES_LIMIT, round(left_s))]
    assert refusals.blocked() == []
    clock.now_s += FAILURES_S
    for _ in range(FAILURES_LIMIT):
        refusals.failed("192.0.2.1", "wrong key")
    assert len(refusals.blocked()) == 1


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
