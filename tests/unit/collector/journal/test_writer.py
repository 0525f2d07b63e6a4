"""Appending: groups, receipts, producers, epochs, time."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal.entry import Entry, Receipt
from collector.journal.format import EPOCH_LIMIT, DurableEnd
from collector.journal.segments import Segment, segment_files
from collector.journal.state import load_state
from pipelines.frame import Position, Producer
from tests.kit.clock import FakeClock
from tests.kit.journals import (
    ORIGIN,
    Gate,
    Kept,
    entry_of,
    frames_in,
    gaps_in,
    messages_of,
    open_journal,
    payloads_in,
    read_all,
)


async def test_what_is_acknowledged_can_be_read(tmp_path: Path) -> None:
    """An entry stands in the journal as it was handed in, up to the durable end."""
    journal = open_journal(tmp_path)
    entry = Entry(ORIGIN, "forward", (b"a", bytearray(b"b"), memoryview(b"c")), tag=b"t", chunk_id=b"id", claimed=3)

    receipt = await journal.append(entry)
    (frame,) = frames_in(read_all(tmp_path / "journal", journal.durable))

    assert receipt is Receipt.DURABLE
    assert messages_of(frame) == [Kept(ORIGIN, "forward", b"abc", b"t", b"id", 3)]
    assert journal.durable.position == frame.position._replace(sequence=1)
    await journal.close()


async def test_what_arrives_during_a_sync_forms_the_next_frame(tmp_path: Path) -> None:
    """Group commit: no timer, one frame and one sync for all that gathered."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    gate.shut()
    first = journal.append(entry_of(b"1"))
    await gate.wait_entered()
    others = [journal.append(entry_of(b"%d" % number)) for number in range(2, 6)]
    gate.open.set()
    await asyncio.gather(first, *others)

    frames = frames_in(read_all(tmp_path / "journal", journal.durable))

    assert [[m.payload for m in messages_of(frame)] for frame in frames] == [[b"1"], [b"2", b"3", b"4", b"5"]]
    assert journal.appended.syncs == 2
    await journal.close()


async def test_nothing_is_acknowledged_or_readable_before_its_sync(tmp_path: Path) -> None:
    """P1: until the sync is over there is no receipt, and the durable end stands still."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    before = journal.durable
    gate.shut()
    receipt = journal.append(entry_of(b"1"))
    await gate.wait_entered()

    assert (receipt.done(), journal.durable) == (False, before)
    assert read_all(tmp_path / "journal", before) == []
    gate.open.set()
    assert await receipt is Receipt.DURABLE
    await journal.close()


async def test_receipts_come_in_the_order_of_appends(tmp_path: Path) -> None:
    """First in, first answered, within groups and across them."""
    journal = open_journal(tmp_path, frame_bytes=10)
    order: list[int] = []

    def note(number: int) -> Callable[[asyncio.Future[Receipt]], None]:
        return lambda _: order.append(number)

    receipts = []
    for number in range(50):
        receipts.append(journal.append(entry_of(b"12345")))
        receipts[-1].add_done_callback(note(number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*receipts)
    await asyncio.sleep(0)

    assert order == list(range(50))
    await journal.close()


async def test_durable_ends_are_told_after_each_group(tmp_path: Path) -> None:
    """Followers hear of every group once."""
    journal = open_journal(tmp_path)
    told: list[DurableEnd] = []
    journal.on_durable(told.append)
    await journal.append(entry_of(b"1"))
    await journal.append(entry_of(b"2"))

    assert [end.position.sequence for end in told] == [1, 2]
    assert told[-1] == journal.durable
    await journal.close()


async def test_a_producers_sequence_is_kept_once(tmp_path: Path) -> None:
    """An equal or lower sequence is acknowledged and dropped, also after restarts and rolls."""
    for _ in range(3):
        journal = open_journal(tmp_path, segment_bytes=1)
        for sequence in (3, 5, 4, 5):
            triple = Producer("engine", sequence, b"%d" % sequence)
            assert await journal.append(entry_of(b"%d" % sequence, producer=triple)) is Receipt.DURABLE
        await journal.append(entry_of(b"other"))
        await journal.append(entry_of(b"other"))
        assert journal.last_produced("engine") == Producer("engine", 5, b"5")
        assert journal.last_produced("audit") is None
        await journal.close()

    payloads = payloads_in(read_all(tmp_path / "journal", journal.durable))

    assert [payload for payload in payloads if payload != b"other"] == [b"3", b"5"]


async def test_what_can_never_be_kept_is_rejected(tmp_path: Path) -> None:
    """An impossible entry is refused alone; its neighbours are kept."""
    journal = open_journal(tmp_path)
    receipts = [
        journal.append(entry_of(b"1")),
        journal.append(Entry(ORIGIN, "forward", (b"x",), tag=b"t" * (2 << 20))),
        journal.append(entry_of(b"2")),
    ]

    assert [await each for each in receipts] == [Receipt.DURABLE, Receipt.REJECTED, Receipt.DURABLE]
    await journal.close()


async def test_closing_finishes_what_is_pending_and_erases_the_key(tmp_path: Path) -> None:
    """A clean stop loses nothing; the key of the sealed segment is gone, and later appends are answered RETRY."""
    gate = Gate()
    journal = open_journal(tmp_path, sync=gate)
    state = tmp_path / "journal" / "state.json"
    key_before = state.read_text()
    gate.shut()
    receipts = [journal.append(entry_of(b"1"))]
    await gate.wait_entered()
    receipts.append(journal.append(entry_of(b"2")))
    gate.open.set()
    await journal.close()

    assert [await each for each in receipts] == [Receipt.DURABLE, Receipt.DURABLE]
    assert state.read_text() != key_before
    assert await journal.append(entry_of(b"3")) is Receipt.RETRY
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"1", b"2"]


async def test_segments_roll_within_an_epoch(tmp_path: Path) -> None:
    """Sequences go on across the segments of an epoch, and each segment has a key of its own."""
    journal = open_journal(tmp_path, segment_bytes=2000)
    for number in range(20):
        await journal.append(entry_of(b"%02d" % number + b"x" * 500))
    frames = frames_in(read_all(tmp_path / "journal", journal.durable))

    assert [frame.sequence for frame in frames] == list(range(20))
    assert len({frame.epoch for frame in frames}) == 1
    assert 5 <= len(segment_files(tmp_path / "journal")) <= 10
    await journal.close()


async def test_epoch_and_key_are_on_disk_before_their_segment_is(tmp_path: Path) -> None:
    """Before a segment's first byte its epoch is taken and its key has replaced the one before, durably."""
    directory = tmp_path / "journal"
    taken: list[tuple[int, int]] = []

    def write(descriptor: int, pieces: Sequence[memoryview]) -> int:
        state = load_state(directory, export_to=tmp_path / "evidence")
        taken.append((state.epoch, state.key_number))
        return os.writev(descriptor, pieces)

    journal = open_journal(tmp_path, segment_bytes=1, write=write)
    for number in range(4):
        await journal.append(entry_of(b"%d" % number))
    headers = [Segment(directory, name).header for name in segment_files(directory)]
    expected = [(header.epoch, header.key_number) for header in headers if header is not None]

    assert len(set(expected)) == 4
    assert sorted(set(taken)) == expected
    await journal.close()


async def test_a_segment_its_name_and_its_state_are_durable_before_its_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may take a file whose folder was not synced, with every frame that was synced in it."""
    steps: list[str] = []

    def sync(descriptor: int) -> None:
        steps.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def write(descriptor: int, pieces: Sequence[memoryview]) -> int:
        steps.append("written")
        return os.writev(descriptor, pieces)

    monkeypatch.setattr(os, "fsync", sync)
    journal = open_journal(tmp_path, segment_bytes=1, write=write, sync=sync)
    await journal.append(entry_of(b"1"))
    del steps[:]
    await journal.append(entry_of(b"2"))
    name = journal.durable.segment

    # The state and its name, the header, its name, then the frame.
    assert steps == [".state.json.new", "journal", "written", name, "journal", "written", name]
    await journal.close()


async def test_journal_time_never_goes_back(tmp_path: Path) -> None:
    """Clock jumps change nothing but the clock's part; a restart continues from the last frame."""
    clock = FakeClock()
    start = clock.now_ns
    for step_s in (0, -3600, 7200, -7200):
        clock.advance(step_s)
        journal = open_journal(tmp_path, clock)
        for _ in range(2):
            await journal.append(entry_of(b"x"))
        await journal.close()
    frames = frames_in(read_all(tmp_path / "journal", journal.durable))
    times = [frame.journal_time for frame in frames]

    assert times == sorted(set(times))
    assert times[4] == start + 3600 * 10**9 + 1  # its segment was created one nanosecond before
    assert times[-1] < times[4] + 100
    epochs = [frame.epoch for frame in frames]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 4


async def test_an_older_copy_of_the_folder_gives_no_position_again(tmp_path: Path) -> None:
    """A restored snapshot knows an old epoch only; the clock keeps it from taking one that was used since."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock)
    await journal.append(entry_of(b"old"))
    await journal.close()
    snapshot = {path: path.read_bytes() for path in (tmp_path / "journal").iterdir()}
    used = set()
    for _ in range(3):
        clock.advance(1)
        journal = open_journal(tmp_path, clock)
        await journal.append(entry_of(b"new"))
        used.add(journal.durable.position.epoch)
        await journal.close()
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    for path, content in snapshot.items():
        path.write_bytes(content)
    clock.advance(1)
    journal = open_journal(tmp_path, clock)

    assert journal.durable.position.epoch not in used
    await journal.close()


async def test_a_clock_beyond_the_width_of_an_epoch_is_refused(tmp_path: Path) -> None:
    """An epoch has 32 bits of every document's id: one more would be another record's."""
    with pytest.raises(DataDirError, match="beyond the year 2106"):
        open_journal(tmp_path, lambda: EPOCH_LIMIT * 10**9)

    last = open_journal(tmp_path, lambda: EPOCH_LIMIT * 10**9 - 1)
    assert last.durable.position.epoch == EPOCH_LIMIT - 1
    await last.close()


async def test_an_epoch_ends_long_before_its_sequences_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence has 35 bits of every document's id; the next epoch begins at the first roll beyond half of them."""
    monkeypatch.setattr("collector.journal.committer.SEQUENCE_LIMIT", 8)
    journal = open_journal(tmp_path, segment_bytes=1)
    for number in range(12):
        await journal.append(entry_of(b"%d" % number))
    frames = frames_in(read_all(tmp_path / "journal", journal.durable))

    assert max(frame.sequence for frame in frames) == 4
    assert len({(frame.epoch, frame.sequence) for frame in frames}) == 12
    await journal.close()


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two processes on one journal: the second says who holds it; after a close the next may open."""
    journal = open_journal(tmp_path)

    with pytest.raises(DataDirError, match=f"pid {os.getpid()}"):
        open_journal(tmp_path)
    await journal.close()
    await open_journal(tmp_path).close()


async def test_positions_of_cursors_survive_a_restart(tmp_path: Path) -> None:
    """A consumer that passed everything of an old epoch reads only what came since."""
    journal = open_journal(tmp_path)
    await journal.append(entry_of(b"1"))
    cursor: Position = journal.durable.position
    await journal.close()
    journal = open_journal(tmp_path)
    await journal.append(entry_of(b"2"))
    found = read_all(tmp_path / "journal", journal.durable, after=cursor)

    assert (payloads_in(found), gaps_in(found)) == ([b"2"], [])
    await journal.close()
