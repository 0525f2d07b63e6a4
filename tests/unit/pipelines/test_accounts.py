"""A batch says whose its records are: by the hour of each record's own frame, and by input and peer."""

from pathlib import Path

import pytest

from pipelines.accounts import RESEND
from pipelines.batch import Account, Counts
from pipelines.frame import Frame, Origin, position_of
from pipelines.settings import Settings
from pipelines.state import HOUR_NS
from tests.kit.ecs import Schema
from tests.kit.frames import JOURNAL_TIME, ORIGIN, frame_of
from tests.kit.paths import Paths
from tests.kit.pieces import at_time, docker_pieces, frames_of, packed

HOUR = JOURNAL_TIME // HOUR_NS
OWN = Account(HOUR, "docker", "192.0.2.7")
NIL = b"\xc0"


SCHEMA = Schema(Path(__file__).parents[2] / "data")


@pytest.fixture
def paths() -> Paths:
    """Both paths, which must count the same."""
    return Paths(Settings(version="0.1.0"), SCHEMA)


def rows(paths: Paths, *frames: Frame) -> dict[Account, Counts]:
    """Add up what frames give by account."""
    found: dict[Account, Counts] = {}
    for frame in frames:
        paths.check(frame)
        for account, counts in paths.batches[-1].accounts.rows.items():
            total = found.setdefault(account, Counts())
            for name in Counts.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(counts, name))
    return found


def test_records_of_several_senders_in_one_frame_are_told_apart(paths: Paths) -> None:
    """Each message counts for its own origin, and a dead letter for the sender of its bytes."""
    other = Origin("socket", "unix", "unix:uid=0")
    entry = packed({"log": "x"})
    messages = [(entry * 2, b"", 2)] * 3 + [(entry + NIL, b"", 2)] * 3

    assert {
        OWN: Counts(messages=3, bytes=6 * len(entry), claimed=6, records=6, documents=6),
        Account(HOUR, "socket", "unix:uid=0"): Counts(
            messages=3, bytes=3 * len(entry) + 3, claimed=6, records=6, documents=3, dead=3
        ),
    } == rows(paths, frame_of(("forward", messages), origins=(ORIGIN, other)))


def test_a_piece_counts_in_the_hour_in_which_it_came(paths: Paths) -> None:
    """A line that begins in one hour and ends in the next is one document of the first, and joined pieces of both."""
    first, second, third, last = docker_pieces(b"0123456789", 3)
    before, behind = frames_of([[packed(first), packed(second)], [packed(third), packed(last)]])
    found = rows(paths, before, at_time(behind, (HOUR + 1) * HOUR_NS))

    assert (2, 1, 1, 2, 2) == _told(found[OWN])
    assert (2, 0, 2, 1, 1) == _told(found[OWN._replace(hour=HOUR + 1)])


def test_a_claim_that_is_wrong_is_counted_for_itself(paths: Paths) -> None:
    """Too many of one message and too few of another do not make it right together."""
    entry = packed({"log": "x"})
    found = rows(paths, frame_of(("forward", [(entry * 2, b"", 5), (entry * 4, b"", 3), (entry, b"", -1)])))

    assert (8, 7, 3, 1) == tuple(
        getattr(found[OWN], name) for name in ("claimed", "records", "claimed_more", "claimed_fewer")
    )


def test_a_message_that_came_again_claims_nothing(paths: Paths) -> None:
    """It is one record, which steers the collector; what it claims was counted with the stored one."""
    found = rows(paths, frame_of((RESEND, [(b"", b"", 100)])))

    assert {OWN: Counts(messages=1, resends=1, records=1, control=1)} == found


def test_a_document_is_found_by_its_id(paths: Paths) -> None:
    """Also that of a line whose first piece came with an earlier frame."""
    first, last = docker_pieces(b"0123456", 5)
    for frame in frames_of([[packed({"log": "x"}), packed(first)], [packed(last)]]):
        paths.check(frame)
    batch = paths.batches[-1]
    (part,) = batch.documents

    assert [1] == [position_of(identifier).record for identifier in part.ids]
    assert [OWN] == [batch.accounts.of(position_of(identifier)) for identifier in part.ids]


def _told(counts: Counts) -> tuple[int, ...]:
    return counts.records, counts.documents, counts.joined, counts.parked, counts.taken_up
