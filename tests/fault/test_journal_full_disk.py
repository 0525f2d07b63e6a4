"""A disk that is really full: a small tmpfs."""

import contextlib
from pathlib import Path

import pytest

from collector.durable_files import free_bytes
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd
from collector.journal.options import JournalOptions
from collector.journal.writer import Journal
from pipelines.frame import Origin, Producer
from tests.kit.journals import entry_of, gaps_in, payloads_in, read_all

SEGMENT_BYTES = 128 << 10
RESERVE_BYTES = 64 << 10


@pytest.mark.parametrize("size", [900, 30_000, 100_000])
async def test_a_full_disk_loses_nothing_and_recovers_when_consumers_move(small_disk: Path, size: int) -> None:
    """ENOSPC at some write: that group gets RETRY, senders wait, and once a consumer has passed, it goes on."""
    directory = small_disk / "journal"
    options = JournalOptions(segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES, consumers=frozenset({"store"}))
    journal = Journal.open(directory, name="test", options=options)
    pressed: list[bool] = []
    journal.room.on_pressure(pressed.append)
    taken: list[int] = []
    while (receipt := await journal.append(entry_of(b"%d " % len(taken) + b"x" * size))) is Receipt.DURABLE:
        taken.append(len(taken))

    assert receipt is Receipt.RETRY
    assert (journal.full, pressed) == (True, [True])
    assert await journal.append(entry_of(b"0")) is Receipt.RETRY
    journal.reclaim()
    assert journal.full
    found = read_all(directory, journal.durable)
    assert [int(payload.split()[0]) for payload in payloads_in(found)] == taken
    write_cursor(directory, "store", journal.durable.position)
    assert journal.reclaim() > 0
    assert (journal.full, pressed) == (False, [True, False])
    assert await journal.append(entry_of(b"after")) is Receipt.DURABLE
    found = read_all(directory, journal.durable)
    assert (payloads_in(found)[-1], gaps_in(found)) == (b"after", [])
    await journal.close()


async def test_a_disk_that_one_segment_fills_is_not_full_for_ever(small_disk: Path) -> None:
    """What fills the disk stands in the open segment: once all of it is settled, it is sealed and deleted."""
    directory = small_disk / "journal"
    options = JournalOptions(reserve_bytes=RESERVE_BYTES, consumers=frozenset({"store"}))
    journal = Journal.open(directory, name="test", options=options)
    followed: list[DurableEnd] = []
    journal.on_durable(followed.append)
    while await journal.append(entry_of(b"x" * 30_000)) is Receipt.DURABLE:
        pass
    assert (journal.reclaim(), journal.full) == (0, True)

    write_cursor(directory, "store", journal.durable.position)

    assert (journal.reclaim(), journal.full) == (1, False)
    assert [followed[-1].segment] == [path.name for path in directory.glob("*.segment")]
    assert await journal.append(entry_of(b"after")) is Receipt.DURABLE
    assert payloads_in(read_all(directory, journal.durable)) == [b"after"]
    await journal.close()


async def test_a_verdict_is_taken_by_a_journal_that_is_full(small_disk: Path) -> None:
    """Without it the worker would end again and again with what it is about, and nothing would ever be deleted.

    Everybody else waits as before; and what cursors and stores need stays free all the same.
    """
    directory = small_disk / "journal"
    options = JournalOptions(reserve_bytes=RESERVE_BYTES, consumers=frozenset({"store"}))
    journal = Journal.open(directory, name="test", options=options)
    while await journal.append(entry_of(b"x" * 1000)) is Receipt.DURABLE:
        pass
    assert journal.full

    together = [journal.append(entry_of(b"waits")), journal.append(_urgent(1)), journal.append(entry_of(b"waits"))]
    assert [Receipt.RETRY, Receipt.DURABLE, Receipt.RETRY] == [await each for each in together]
    assert journal.full
    last = journal.last_produced("isolation")
    assert last is not None
    assert b"1" == last.cursor
    assert b"verdict 1" == payloads_in(read_all(directory, journal.durable))[-1]
    number = 2
    while await journal.append(_urgent(number)) is Receipt.DURABLE:
        number += 1
    assert RESERVE_BYTES // 4 < free_bytes(directory) < RESERVE_BYTES
    write_cursor(directory, "store", journal.durable.position)
    journal.reclaim()
    assert await journal.append(entry_of(b"after")) is Receipt.DURABLE
    await journal.close()


def _urgent(number: int) -> Entry:
    producer = Producer("isolation", number, b"%d" % number)
    return Entry(
        Origin("tidewaiter", "internal", "isolation"),
        "audit",
        (b"verdict %d" % number,),
        producer=producer,
        urgent=True,
    )


async def test_what_is_on_a_full_disk_is_there_after_a_restart(small_disk: Path) -> None:
    """A start on a full disk keeps what stands there, or refuses; it never cuts what was acknowledged."""
    directory = small_disk / "journal"
    options = JournalOptions(segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES, consumers=frozenset({"store"}))
    journal = Journal.open(directory, name="test", options=options)
    taken = 0
    while await journal.append(entry_of(b"%d " % taken + b"x" * 3000)) is Receipt.DURABLE:
        taken += 1
    _fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space"):
        await _restart(journal, directory, options)
    (small_disk / "filler").unlink()
    again = Journal.open(directory, name="test", options=options)

    assert len(payloads_in(read_all(directory, again.durable))) == taken
    assert await again.append(entry_of(b"after")) in (Receipt.DURABLE, Receipt.RETRY)
    await again.close()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass


async def _restart(journal: Journal, directory: Path, options: JournalOptions) -> None:
    await journal.close()
    Journal.open(directory, name="test", options=options)
