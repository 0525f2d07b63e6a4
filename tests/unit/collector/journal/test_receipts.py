"""Who has a share of the next group."""

import asyncio
import errno
from pathlib import Path

from collector.journal.entry import Entry, Receipt
from collector.journal.receipts import ENTRY_OVERHEAD_BYTES, SHARE_BYTES, Pending, shared_out
from collector.testing.journals import Gate, open_journal, payloads_in, read_all
from pipelines.frame import Origin

FLOODER = Origin("docker", "tcp", "192.0.2.66")
QUIET = Origin("docker", "tcp", "192.0.2.7")


def pending(origin: Origin, size_bytes: int) -> Pending:
    """An entry whose receipt nobody waits for."""
    return Pending(Entry(origin, "forward", (bytes(size_bytes),)), lambda: None)


def test_little_goes_as_it_came() -> None:
    """Below the share of a single client nobody is asked who they are."""
    waiting = [pending(FLOODER, 10), pending(QUIET, 10), pending(FLOODER, 10)]

    assert shared_out(waiting) == (waiting, [])


def test_a_client_that_has_its_share_waits_for_the_next_group() -> None:
    """Everybody else's entries go first; what is left keeps its order."""
    flood = [pending(FLOODER, SHARE_BYTES // 2) for _ in range(4)]
    quiet = pending(QUIET, 10)

    group, left = shared_out([*flood, quiet])

    assert (group, left) == ([flood[0], flood[1], quiet], [flood[2], flood[3]])


def test_an_entry_larger_than_the_share_goes_alone() -> None:
    """One message is never too large to be taken, and then it is all the client has in that group."""
    large, small = pending(FLOODER, 3 * SHARE_BYTES), pending(FLOODER, 1)

    assert shared_out([large, small]) == ([large], [small])


def test_many_tiny_entries_are_no_smaller_than_few_large_ones() -> None:
    """Each costs more than its payload."""
    group, left = shared_out([pending(FLOODER, 1) for _ in range(3 * SHARE_BYTES // ENTRY_OVERHEAD_BYTES)])

    assert 0 < len(group) <= SHARE_BYTES // ENTRY_OVERHEAD_BYTES < len(left)


def test_clients_of_one_address_that_proved_who_they_are_have_shares_of_their_own() -> None:
    """Behind one relay there may be many."""
    first, second = (Origin("docker", "tls", "192.0.2.7", auth=f"certificate:{name}") for name in ("web", "db"))
    waiting = [pending(first, SHARE_BYTES), pending(second, SHARE_BYTES)]

    assert shared_out(waiting) == (waiting, [])


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
    assert found == [b"first", flood[0], b"quiet", *flood[1:]]
    assert journal.appended.syncs == 5
    await journal.close()


async def test_what_waited_for_its_share_is_answered_when_the_disk_fails(tmp_path: Path) -> None:
    """No entry is forgotten: who was not in the group that could not be written hears RETRY as well."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    receipts = [journal.append(Entry(FLOODER, "forward", (b"first",)))]
    await gate.wait_entered()
    receipts += [journal.append(Entry(FLOODER, "forward", (bytes(SHARE_BYTES),))) for _ in range(4)]
    gate.errors = [OSError(errno.ENOSPC, "No space left on device")] * 9
    gate.open.set()

    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*receipts)) == {Receipt.RETRY}
    assert journal.in_flight_bytes == 0
    gate.errors.clear()
    await journal.close()
