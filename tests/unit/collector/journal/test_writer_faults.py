"""Appending when the disk fails or fills, when limits are reached, and what is deleted then."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.seals import TOMBSTONE_FILE, Tombstone, read_seal
from collector.journal.segments import segment_files
from pipelines.frame import Producer
from tests.kit.journals import (
    ORIGIN,
    Gate,
    entry_of,
    gaps_in,
    open_journal,
    payloads_in,
    read_all,
)


@pytest.mark.parametrize("kept", [1, 0], ids=["behind a kept frame", "first of its segment"])
@pytest.mark.parametrize("cut", [True, False], ids=["tail cut", "tail left"])
async def test_a_failed_sync_acknowledges_nothing_and_ends_segment_and_epoch(
    tmp_path: Path, *, cut: bool, kept: int
) -> None:
    """A failed sync is never tried again; what follows goes to a new segment of a new epoch.

    Nothing of the group that failed is ever read, even where the disk did not let us cut it off.
    """
    failing: list[bytes] = []

    def sync(_: int) -> None:
        if armed:
            armed.clear()
            failing.append(file.read_bytes())
            raise OSError(errno.EIO, "Input/output error")

    armed: list[bool] = []
    journal = open_journal(tmp_path, sync=sync)
    for _ in range(kept):
        await journal.append(entry_of(b"kept"))
    before = journal.durable
    file = tmp_path / "journal" / before.segment
    armed.append(True)

    assert await journal.append(entry_of(b"lost")) is Receipt.RETRY
    assert journal.failure == "Input/output error"
    assert file.stat().st_size == before.offset < len(failing[0])
    if not cut:
        file.write_bytes(failing[0])
    assert await journal.append(entry_of(b"after")) is Receipt.DURABLE
    found = read_all(tmp_path / "journal", journal.durable)
    assert (payloads_in(found), gaps_in(found)) == ([b"kept"] * kept + [b"after"], [])
    assert journal.durable.position.epoch > before.position.epoch
    assert len(segment_files(tmp_path / "journal")) == 2
    await journal.close()


async def test_a_group_whose_write_failed_half_way_leaves_no_trace(tmp_path: Path) -> None:
    """Short writes are completed; a failed one is cut off."""
    failing = [False]
    calls = [0]

    def write(descriptor: int, pieces: object) -> int:
        calls[0] += 1
        if failing[0] and calls[0] > 3:
            failing[0] = False
            raise OSError(errno.EIO, "Input/output error")
        return os.write(descriptor, memoryview(pieces[0])[:7])  # type: ignore[index]

    journal = open_journal(tmp_path, write=write)
    await journal.append(entry_of(b"a" * 100))
    size = journal.durable.offset
    file = tmp_path / "journal" / journal.durable.segment
    failing[0], calls[0] = True, 0

    assert await journal.append(entry_of(b"b" * 100)) is Receipt.RETRY
    assert file.stat().st_size == size
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"a" * 100]
    await journal.close()


async def test_a_full_disk_is_not_written_to_until_there_is_space(tmp_path: Path) -> None:
    """ENOSPC: RETRY, senders wait, and the next reclaim that finds space lets them go on in a new epoch."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    pressed: list[bool] = []
    journal.room.on_pressure(pressed.append)
    gate.errors = [OSError(errno.ENOSPC, "No space left on device")]

    assert await journal.append(entry_of(b"1")) is Receipt.RETRY
    assert (journal.full, pressed) == (True, [True])
    gate.entered.clear()
    assert await journal.append(entry_of(b"2")) is Receipt.RETRY
    assert not gate.entered.is_set()
    journal.reclaim()
    assert (journal.full, pressed) == (False, [True, False])
    assert await journal.append(entry_of(b"3")) is Receipt.DURABLE
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"3"]
    await journal.close()


async def test_a_disk_that_takes_no_new_segment_is_tried_again_by_reclaim(tmp_path: Path) -> None:
    """When the new segment fails too, nothing is tried until the next reclaim: epochs are not burnt in a storm."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.errors = [OSError(errno.EIO, "Input/output error"), OSError(errno.EIO, "Input/output error")]

    assert await journal.append(entry_of(b"1")) is Receipt.RETRY
    assert journal.full
    journal.reclaim()
    assert await journal.append(entry_of(b"2")) is Receipt.DURABLE
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"2"]
    await journal.close()


async def test_senders_wait_while_the_disk_takes_no_new_segment(tmp_path: Path) -> None:
    """A journal that takes nothing says so, and asks the disk itself: senders that are kept away could not."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    pressed: list[bool] = []
    journal.room.on_pressure(pressed.append)
    gate.errors = [OSError(errno.EIO, "Input/output error") for _ in range(4)]

    assert await journal.append(entry_of(b"1")) is Receipt.RETRY
    for _ in range(2):
        journal.reclaim()
        assert (journal.full, journal.room.unopened) == (True, "Input/output error")
        assert await journal.append(entry_of(b"2")) is Receipt.RETRY
    journal.reclaim()
    assert (journal.full, journal.room.unopened, pressed) == (False, "", [True, False])
    assert await journal.append(entry_of(b"3")) is Receipt.DURABLE
    await journal.close()


async def test_bytes_in_flight_press_and_release(tmp_path: Path) -> None:
    """Above the limit senders wait; they go on when half of it is free. An entry counts for more than its bytes."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate, in_flight_limit_bytes=1500)
    pressed: list[bool] = []
    journal.room.on_pressure(pressed.append)
    gate.shut()
    entries = [entry_of(b"x" * 60) for _ in range(2)]
    receipts = [journal.append(entries[0])]
    await gate.wait_entered()
    receipts.append(journal.append(entries[1]))

    assert (journal.room.in_flight_bytes, pressed, journal.full) == (2 * entries[0].cost_bytes, [True], False)
    gate.open.set()
    await asyncio.gather(*receipts)
    assert (journal.room.in_flight_bytes, pressed) == (0, [True, False])
    await journal.close()


async def test_the_limit_presses_before_it_is_reached_and_deletes_nothing_needed(tmp_path: Path) -> None:
    """At the limit senders wait, later appends get RETRY, and only what every consumer has passed makes room."""
    journal = open_journal(tmp_path, limit_bytes=64 << 10, in_flight_limit_bytes=8 << 10)
    journal_dir = tmp_path / "journal"
    taken = 0
    while not journal.full:
        assert await journal.append(entry_of(b"x" * 1000)) is Receipt.DURABLE
        taken += 1
    while (receipt := await journal.append(entry_of(b"x" * 1000))) is Receipt.DURABLE:
        taken += 1

    assert receipt is Receipt.RETRY
    assert sum(path.stat().st_size for path in journal_dir.glob("*.segment")) == journal.room.disk_bytes <= 64 << 10
    assert (journal.reclaim(), journal.full) == (0, True)
    assert len(payloads_in(read_all(journal_dir, journal.durable))) == taken
    write_cursor(journal_dir, "store", journal.durable.position)
    assert journal.reclaim() > 4
    assert journal.full is False
    assert await journal.append(entry_of(b"more")) is Receipt.DURABLE
    await journal.close()


async def test_reclaim_deletes_only_what_every_consumer_passed(tmp_path: Path) -> None:
    """A configured consumer without a cursor, or one that is no longer configured, holds everything from its place."""
    journal = open_journal(tmp_path, segment_bytes=1)
    journal_dir = tmp_path / "journal"
    for number in range(6):
        await journal.append(entry_of(b"%d" % number))
    at = journal.durable.position
    write_cursor(journal_dir, "removed", at._replace(sequence=2))

    assert journal.reclaim(wait=True) == 0  # `store` has no cursor yet
    write_cursor(journal_dir, "store", at._replace(sequence=4, record=9))
    assert journal.reclaim(wait=True) == 2
    assert payloads_in(read_all(journal_dir, journal.durable)) == [b"2", b"3", b"4", b"5"]
    write_cursor(journal_dir, "removed", at)
    assert journal.reclaim(wait=True) == 2
    assert payloads_in(read_all(journal_dir, journal.durable)) == [b"4", b"5"]
    assert journal.room.disk_bytes == sum(path.stat().st_size for path in journal_dir.glob("*.segment"))
    await journal.close()


async def test_the_tombstone_is_durable_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, it leaves segments that nobody needs, not a lawful deletion that looks like another's."""
    journal = open_journal(tmp_path, segment_bytes=1)
    for number in range(3):
        await journal.append(entry_of(b"%d" % number))
    write_cursor(tmp_path / "journal", "store", journal.durable.position)
    before = segment_files(tmp_path / "journal")
    told: list[str] = []
    unlink = Path.unlink

    def observed(path: Path, *, missing_ok: bool = False) -> None:
        tombstone = read_seal(tmp_path / "evidence" / TOMBSTONE_FILE, Tombstone)
        told.append(tombstone.first if tombstone is not None else "")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", observed)
    assert journal.reclaim(wait=True) == 2
    monkeypatch.undo()

    assert told == [before[2]] * 2
    await journal.close()


async def test_a_damaged_cursor_deletes_nothing(tmp_path: Path) -> None:
    """What a damaged cursor holds is not known: the error names it, and nothing goes."""
    journal = open_journal(tmp_path, segment_bytes=1)
    for number in range(3):
        await journal.append(entry_of(b"%d" % number))
    write_cursor(tmp_path / "journal", "store", journal.durable.position)
    (tmp_path / "journal" / "cursors" / "old.json").write_bytes(b"{}")

    with pytest.raises(DataDirError, match=r"old\.json"):
        journal.reclaim()
    assert len(segment_files(tmp_path / "journal")) == 3
    await journal.close()


async def test_a_repeated_sequence_in_flight_waits_for_the_first(tmp_path: Path) -> None:
    """A duplicate is not acknowledged before the original is durable, and shares its fate."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    first = journal.append(entry_of(b"1", producer=Producer("engine", 1)))
    again = journal.append(entry_of(b"1", producer=Producer("engine", 1)))
    await gate.wait_entered()

    assert not again.done()
    gate.errors = [OSError(errno.EIO, "Input/output error")]
    gate.open.set()
    assert [await first, await again] == [Receipt.RETRY, Receipt.RETRY]
    assert journal.last_produced("engine") is None
    await journal.close()


async def test_what_a_producer_sent_behind_a_failed_entry_fails_too(tmp_path: Path) -> None:
    """Were the later sequence kept, the repeated earlier one would be dropped as a duplicate: lost, though acked."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    first = journal.append(entry_of(b"1", producer=Producer("engine", 1)))
    await gate.wait_entered()
    second = journal.append(entry_of(b"2", producer=Producer("engine", 2)))
    other = journal.append(entry_of(b"other", producer=Producer("audit", 1)))
    gate.errors = [OSError(errno.EIO, "Input/output error")]
    gate.open.set()

    assert [await first, await second, await other] == [Receipt.RETRY, Receipt.RETRY, Receipt.DURABLE]
    assert await journal.append(entry_of(b"1", producer=Producer("engine", 1))) is Receipt.DURABLE
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"other", b"1"]
    await journal.close()


async def test_a_fault_of_ours_acknowledges_nothing(tmp_path: Path) -> None:
    """What is no OSError is reported to the loop, and the group gets RETRY; the journal goes on after a reclaim."""
    journal = open_journal(tmp_path)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    wrong = await journal.append(Entry(ORIGIN, object(), (b"x",)))  # type: ignore[arg-type]
    journal.reclaim()

    assert wrong is Receipt.RETRY
    assert [type(each) for each in reported] == [TypeError]
    assert await journal.append(entry_of(b"2")) is Receipt.DURABLE
    await journal.close()


async def test_a_fault_of_ours_in_the_middle_of_a_group_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Half a frame was written when it happened: the next group goes to another segment and is read."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    failing: list[bool] = []

    def write(descriptor: int, pieces: Sequence[memoryview]) -> int:
        if failing:
            failing.clear()
            os.write(descriptor, pieces[0][:50])
            raise RuntimeError("a fault of ours")
        return os.writev(descriptor, pieces)

    journal = open_journal(tmp_path, write=write)
    await journal.append(entry_of(b"1"))
    first = journal.durable
    failing.append(True)

    assert await journal.append(entry_of(b"2")) is Receipt.RETRY
    journal.reclaim()
    assert await journal.append(entry_of(b"3")) is Receipt.DURABLE
    assert (tmp_path / "journal" / first.segment).stat().st_size == first.offset
    found = read_all(tmp_path / "journal", journal.durable)
    assert (payloads_in(found), gaps_in(found)) == ([b"1", b"3"], [])
    await journal.close()


async def test_an_entry_that_cannot_be_framed_hurts_no_other(tmp_path: Path) -> None:
    """A fault of ours before the write: its group is answered RETRY, nothing of it is kept, and the journal goes on."""
    journal = open_journal(tmp_path)
    with pytest.raises(TypeError):
        journal.append(Entry(ORIGIN, "forward", ("no bytes",)))  # type: ignore[arg-type]

    assert journal.room.in_flight_bytes == 0
    assert await journal.append(entry_of(b"after")) is Receipt.DURABLE
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"after"]
    await journal.close()
