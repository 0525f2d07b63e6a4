"""What an answer settles, and how long the output waits after one that settles nothing."""

import msgspec
import pytest

from collector.outputs.bulk import Body, slices
from collector.outputs.elasticsearch_answers import Answer, Pace, Verdict, request_error, verdict_of
from tests.kit.batches import batch_of

NOW = "2026-11-23T00:00:00.000000000Z"
PACE = Pace(first_s=0.1, longest_s=30, refused_s=5, unreachable_s=3)


def pauses(verdict: Verdict, *, tries: int, retry_after_s: float | None = None) -> tuple[float, float]:
    """Return the shortest and the longest of many jittered pauses."""
    made = [PACE.pause_s(tries, verdict, retry_after_s) for _ in range(500)]
    return min(made), max(made)


@pytest.mark.parametrize(
    ("tries", "cause", "longest_s"),
    [
        (0, 503, 0.1),
        (3, 429, 0.8),
        (20, 503, 30),
        (10_000, 429, 30),
        (0, 403, 5),  # an operator has to act
        (20, 0, 3),  # nobody answers
    ],
)
def test_a_pause_doubles_up_to_its_bound_and_is_jittered(tries: int, cause: int, longest_s: float) -> None:
    """The pause lies between half of the bound and the bound."""
    shortest, longest = pauses(Verdict(cause=cause), tries=tries)

    assert longest_s / 2 <= shortest < longest_s * 0.6
    assert longest_s * 0.9 < longest <= longest_s


@pytest.mark.parametrize(("asked_s", "kept_s"), [(7, 7), (0, 0.1), (86_400, 30)])
def test_retry_after_is_kept_within_our_bounds(asked_s: float, kept_s: float) -> None:
    """A server may slow us down, not stop us; and 0 makes no busy loop."""
    assert (kept_s, kept_s) == pauses(Verdict(cause=503), tries=9, retry_after_s=asked_s)


def test_an_answer_that_is_not_utf8_is_no_success() -> None:
    """Its text is read by nobody: all documents are sent again, and the output goes on."""
    batch = batch_of(0, ["a"])
    body = Body(NOW)
    body.add(next(slices(batch.position, batch.documents[0], limit_bytes=1 << 20)))

    verdict = verdict_of(body, Answer(200, b'{"items":[{"create":{"status":400,"error":{"type":"\xff"}}}]}'))

    assert body is verdict.again
    assert not verdict.refused
    assert ("", "") == request_error(b'{"error":{"type":"\xff","reason":"\xfe"}}')


def test_a_conflict_is_a_duplicate_only_where_it_says_so() -> None:
    """What is stored already is settled; a conflict of any other kind says nothing of the document."""
    batch = batch_of(0, ["a", "b", "c"])
    body = Body(NOW)
    for part in slices(batch.position, batch.documents[0], limit_bytes=1_000_000):
        body.add(part)
    kinds = ["version_conflict_engine_exception", "some_other_exception"]
    items = [{"create": {"status": 409, "error": {"type": kind, "reason": "r"}}} for kind in kinds]
    items.append({"create": {"status": 409}})

    verdict = verdict_of(body, Answer(200, msgspec.json.encode({"errors": True, "items": items})))

    assert ([(batch.position, 2)], [], []) == (verdict.found, verdict.stored, verdict.refused)
    assert verdict.again is not None
    assert verdict.again.identifier(0) == batch.documents[0].ids[1].decode()
