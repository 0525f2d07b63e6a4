"""Whose turn it is in the journal's next group."""

import asyncio
import errno
from pathlib import Path

from collector.company import ALONE_AFTER_S
from collector.journal.entry import OVERHEAD_BYTES, Entry, Receipt
from collector.journal.fair_queue import (
    GROUP_BYTES,
    LONE_SHARE_BYTES,
    SHARE_BYTES,
    FairQueue,
)
from collector.journal.receipts import Pending
from pipelines.frame import Origin, Producer
from tests.kit.journals import Gate, open_journal, payloads_in, read_all

FLOODER = Origin("docker", "tcp", "192.0.2.66")
QUIET = Origin("docker", "tcp", "192.0.2.7")
PORTION_BYTES = 1 << 20
OTHER = Origin("docker", "tcp", "192.0.2.8")


class Seconds:
    """A clock that stands still."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def pending(origin: Origin, size_bytes: int) -> Pending:
    """An entry whose receipt nobody waits for."""
    return Pending(Entry(origin, "forward", (bytes(size_bytes),)), lambda: None)


def queue_of(*waiting: Pending, clock: Seconds | None = None) -> FairQueue:
    """A queue with these."""
    queue = FairQueue(clock or Seconds(), portion_bytes=PORTION_BYTES)
    for each in waiting:
        queue.append(each)
    return queue


def groups_of(queue: FairQueue) -> list[list[Pending]]:
    """All groups until nothing waits."""
    groups = []
    while queue:
        groups.append(queue.next_group())
    return groups


def test_little_goes_at_once() -> None:
    """What all clients have waiting, as long as none has more than its share, is one group."""
    waiting = [pending(FLOODER, 10), pending(FLOODER, 10), pending(QUIET, 10)]

    assert groups_of(queue_of(*waiting)) == [waiting]


def test_who_has_little_goes_before_who_has_much() -> None:
    """A flood waits for one group, and then has its share in each second one at least."""
    flood = [pending(FLOODER, SHARE_BYTES) for _ in range(3)]
    quiet = [pending(QUIET, 10), pending(OTHER, 10)]

    assert groups_of(queue_of(*flood, *quiet)) == [quiet, flood[:1], flood[1:2], flood[2:]]


def test_a_stream_of_little_does_not_shut_out_who_has_much() -> None:
    """Quiet clients that always have something waiting get every second group to themselves, not all."""
    flood = [pending(FLOODER, SHARE_BYTES) for _ in range(3)]
    queue = queue_of(*flood)
    groups = []
    for _ in range(6):
        queue.append(pending(QUIET, 10))
        groups.append(queue.next_group())

    assert [each for group in groups for each in group if each in flood] == flood


def test_clients_that_all_have_much_take_turns() -> None:
    """Each has its share of a group."""
    first, second = ([pending(origin, SHARE_BYTES) for _ in range(2)] for origin in (FLOODER, OTHER))

    assert groups_of(queue_of(*first, *second)) == [[first[0], second[0]], [first[1], second[1]]]


def test_a_group_has_an_end_however_many_clients_there_are() -> None:
    """Those that are left come first in the next."""
    count = 2 * GROUP_BYTES // SHARE_BYTES
    waiting = [pending(Origin("docker", "tcp", f"192.0.2.{number}"), SHARE_BYTES) for number in range(count)]

    groups = groups_of(queue_of(*waiting))

    assert [each for group in groups for each in group] == waiting
    assert max(map(len, groups)) <= GROUP_BYTES // SHARE_BYTES


def test_an_entry_larger_than_the_share_is_all_the_client_has_in_a_group() -> None:
    """One message is never too large to be taken."""
    large, small = pending(FLOODER, 3 * SHARE_BYTES), pending(FLOODER, 1)
    queue = queue_of(pending(QUIET, 1), large, small)
    queue.next_group()

    assert groups_of(queue) == [[large], [small]]


def test_many_tiny_entries_are_no_smaller_than_few_large_ones() -> None:
    """Each costs more than its payload."""
    queue = queue_of(pending(QUIET, 1), *(pending(FLOODER, 1) for _ in range(3 * SHARE_BYTES // OVERHEAD_BYTES)))
    queue.next_group()

    assert 0 < len(queue.next_group()) <= SHARE_BYTES // OVERHEAD_BYTES


def test_clients_of_one_address_that_proved_who_they_are_have_shares_of_their_own() -> None:
    """Behind one relay there may be many."""
    first, second = (Origin("docker", "tls", "192.0.2.7", auth=f"certificate:{name}") for name in ("web", "db"))
    waiting = [pending(first, SHARE_BYTES), pending(second, SHARE_BYTES)]

    assert groups_of(queue_of(*waiting)) == [waiting]


def test_who_is_alone_gets_larger_groups_until_somebody_comes() -> None:
    """Small groups cost syncs that nobody has anything of; a client counts as there for a while after it sent."""
    clock = Seconds()
    queue = queue_of(*(pending(FLOODER, SHARE_BYTES) for _ in range(100)), clock=clock)
    alone = len(queue.next_group())
    queue.append(pending(QUIET, 1))
    queue.next_group()
    shared = len(queue.next_group())
    clock.now_s += ALONE_AFTER_S
    queue.append(pending(FLOODER, 1))
    shared_still = len(queue.next_group())
    clock.now_s += ALONE_AFTER_S

    assert (alone, shared, shared_still) == (LONE_SHARE_BYTES // SHARE_BYTES, 1, 1)
    assert len(queue.next_group()) == LONE_SHARE_BYTES // SHARE_BYTES


def test_our_own_records_are_nobody_to_share_with() -> None:
    """An audit record now and then does not make the groups of a lone sender small."""
    queue = queue_of(*(pending(FLOODER, SHARE_BYTES) for _ in range(100)))
    queue.next_group()
    own = Entry(QUIET, "control", (b"1",), producer=Producer("audit", 1))
    queue.append(Pending(own, lambda: None))

    assert len(queue.next_group()) == 1
    assert len(queue.next_group()) == LONE_SHARE_BYTES // SHARE_BYTES


def test_what_is_wanted_is_taken_out() -> None:
    """That only; everything else waits on, in its order."""
    mine, others = (
        Pending(Entry(QUIET, "control", (b"1",), producer=Producer(name, 1)), lambda: None) for name in ("a", "b")
    )
    plain = pending(FLOODER, 10)
    queue = queue_of(mine, others, plain)

    assert queue.take_where(lambda pending: pending is mine) == [mine]
    assert groups_of(queue) == [[others, plain]]


async def test_a_flood_is_written_in_groups_and_all_of_it(tmp_path: Path) -> None:
    """What waits for its turn gets it without anybody appending more, and a quiet client is before it."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    receipts = [journal.append(Entry(FLOODER, "forward", (b"first",)))]
    await gate.wait_entered()
    flood = [b"%d" % number + bytes(SHARE_BYTES) for number in range(4)]
    receipts += [journal.append(Entry(FLOODER, "forward", (payload,))) for payload in flood]
    receipts.append(journal.append(Entry(QUIET, "forward", (b"quiet",))))
    gate.open.set()

    assert set(await asyncio.gather(*receipts)) == {Receipt.DURABLE}

    found = payloads_in(read_all(tmp_path / "journal", journal.durable))
    assert found == [b"first", b"quiet", *flood]
    assert journal.appended.syncs == 6
    await journal.close()


async def test_what_waited_for_its_share_is_answered_when_the_disk_fails(tmp_path: Path) -> None:
    """No entry is forgotten: who was not in the group that could not be written hears RETRY as well."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    receipts = [journal.append(Entry(FLOODER, "forward", (b"first",)))]
    await gate.wait_entered()
    receipts += [journal.append(Entry(FLOODER, "forward", (bytes(LONE_SHARE_BYTES),))) for _ in range(4)]
    gate.errors = [OSError(errno.ENOSPC, "No space left on device")] * 9
    gate.open.set()

    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*receipts)) == {Receipt.RETRY}
    assert journal.room.in_flight_bytes == 0
    gate.errors.clear()
    await journal.close()
