"""What becomes of sealed segments: rolled by age, kept as an archive, compressed, deleted."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from collector.evidence.verify import Verifier
from collector.journal.cursors import write_cursor
from collector.journal.options import JournalOptions
from collector.journal.reclaim import Reclaimer
from collector.journal.seals import TOMBSTONE_FILE, Tombstone, read_seal
from collector.journal.segment_file import SUFFIX, is_compressed
from collector.journal.segments import segment_files
from collector.journal.state import VerificationKey, load_state
from collector.journal.survey import survey
from collector.journal.writer import Journal
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, gaps_in, open_journal, payloads_in, read_all

LINE = b"a line of a container that says the same again and again\n" * 20


async def fill(journal: Journal, entries: int) -> None:
    """Append so many entries, each a segment of its own where those are small."""
    for number in range(entries):
        await journal.append(entry_of(b"%d " % number + LINE))


def settle(folder: Path, journal: Journal) -> None:
    """Let the consumer pass everything."""
    write_cursor(folder / "journal", "store", journal.durable.position)


async def swept(journal: Journal) -> None:
    """Reclaim until there is nothing left to do."""
    for _ in range(30):
        journal.reclaim()
        running = journal._reclaimer._running
        if running is not None:
            await asyncio.wrap_future(running)


def newest_plain(folder: Path) -> Path:
    """The newest segment that is not compressed."""
    return max((folder / "journal").glob("*.segment"))


def findings(folder: Path) -> list[str]:
    """Verify a folder."""
    key = msgspec.json.decode((folder / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
    return [each.reason for each in Verifier(folder / "journal", folder / "evidence", key).run().findings]


async def test_a_segment_is_sealed_when_it_is_old(tmp_path: Path) -> None:
    """Little traffic must not leave a month open to forgery: the key ratchets once an hour; nothing is nothing new."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_age_s=3600.0)
    await fill(journal, 1)
    clock.advance(3599)
    await swept(journal)
    before = len(segment_files(tmp_path / "journal"))
    clock.advance(2)
    journal.reclaim()
    await journal.append(entry_of(b"behind"))
    clock.advance(10_000)
    await swept(journal)
    await swept(journal)

    assert (before, len(segment_files(tmp_path / "journal"))) == (1, 3)  # the third is empty, and stays so
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"0 " + LINE, b"behind"]
    await journal.close()
    assert findings(tmp_path) == []


async def test_what_is_appended_while_a_segment_rolls_is_kept(tmp_path: Path) -> None:
    """Rolling is a step of the writer like any other: entries wait for it, and a stop does."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_age_s=1.0)
    await fill(journal, 1)
    clock.advance(2)
    journal.reclaim()
    receipts = [journal.append(entry_of(b"%d" % number)) for number in range(3)]
    await journal.close()

    assert [each.result().value for each in receipts] == ["durable"] * 3


async def test_the_segment_that_is_being_written_is_never_deleted(tmp_path: Path) -> None:
    """The writer may open the next one while it is looked at: what it was told is the newest stays all the same."""
    journal = open_journal(tmp_path, segment_bytes=1)
    await fill(journal, 4)
    names = segment_files(tmp_path / "journal")
    state = load_state(tmp_path / "journal", export_to=tmp_path / "evidence")
    reclaimer = Reclaimer(tmp_path / "journal", tmp_path / "evidence", FakeClock(), JournalOptions())

    count = reclaimer.delete_before(journal.durable.position, names[2], state, spare_bytes=0, wait=True)

    assert (count, segment_files(tmp_path / "journal")) == (2, names[2:])
    reclaimer.close()
    await journal.close()


async def test_an_archive_keeps_what_all_have_passed_for_its_time(tmp_path: Path) -> None:
    """By journal time since a segment was sealed; then it goes, with a tombstone."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, archive_s=3600.0, compress=False)
    await fill(journal, 3)
    clock.advance(1800)
    await fill(journal, 3)
    settle(tmp_path, journal)
    clock.advance(1799)

    assert journal.reclaim(wait=True) == 0
    clock.advance(2)
    assert journal.reclaim(wait=True) == 2
    assert len(payloads_in(read_all(tmp_path / "journal", journal.durable))) == 4
    await journal.close()
    assert findings(tmp_path) == []


async def test_an_archive_never_makes_senders_wait(tmp_path: Path) -> None:
    """Near the limit the oldest of it goes, however young; what a consumer still needs stays and presses as ever."""
    clock = FakeClock()
    limit_bytes = 40 * len(LINE)
    journal = open_journal(tmp_path, clock, segment_bytes=2000, archive_s=86400.0, limit_bytes=limit_bytes)
    pressed: list[bool] = []
    journal.room.on_pressure(pressed.append)
    for _ in range(60):
        await fill(journal, 1)
        settle(tmp_path, journal)
        journal.reclaim(wait=True)

    assert pressed == []
    assert 5 < len(segment_files(tmp_path / "journal")) < 40
    await journal.close()


async def test_what_stays_is_compressed_and_nobody_notices(tmp_path: Path) -> None:
    """While an output is down: less disk, the same frames for followers, cursors, survey and verification."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=60.0)
    await fill(journal, 5)
    plain_bytes = journal.room.disk_bytes
    await swept(journal)
    too_young = [name for name in segment_files(tmp_path / "journal") if is_compressed(tmp_path / "journal", name)]
    clock.advance(61)
    await fill(journal, 1)
    await swept(journal)
    names = segment_files(tmp_path / "journal")
    found = read_all(tmp_path / "journal", journal.durable)

    assert too_young == []
    assert [is_compressed(tmp_path / "journal", name) for name in names] == [True] * 4 + [False] * 2
    assert journal.room.disk_bytes == sum(path.stat().st_size for path in (tmp_path / "journal").glob("*.segment*"))
    assert journal.room.disk_bytes < plain_bytes
    assert [int(payload.split()[0]) for payload in payloads_in(found)] == [0, 1, 2, 3, 4, 0]
    assert gaps_in(found) == []
    facts = survey(tmp_path / "journal").segments
    assert [each.stored_bytes < each.bytes for each in facts] == [True] * 4 + [False] * 2
    await journal.close()
    assert findings(tmp_path) == []


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_start_goes_on_behind_a_compressed_segment(tmp_path: Path, *, damaged: bool) -> None:
    """The newest with frames may be compressed, when a run wrote nothing: the chain holds.

    It is read, and not cut, when the header of that run's segment is damaged.
    """
    clock = FakeClock()
    for entries in (3, 0, 0):
        journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=0.0)
        await fill(journal, entries)
        clock.advance(1)
        await swept(journal)
        await journal.close()
    if damaged:
        os.truncate(newest_plain(tmp_path), 10)
    journal = open_journal(tmp_path, clock, compress_after_s=0.0)
    await fill(journal, 1)

    names = segment_files(tmp_path / "journal")
    assert [is_compressed(tmp_path / "journal", name) for name in names] == [True, True, True, False]
    assert (journal.recovered.cut_bytes, journal.recovered.gaps, journal.recovered.set_aside) == (0, 0, ())
    assert len(payloads_in(read_all(tmp_path / "journal", journal.durable))) == 4
    await journal.close()
    assert findings(tmp_path) == []


async def test_a_compressed_segment_is_deleted_like_any_other(tmp_path: Path) -> None:
    """Once all consumers have passed it, it is gone, and so are its bytes in the count."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=0.0)
    await fill(journal, 4)
    clock.advance(1)
    await swept(journal)
    assert len(list((tmp_path / "journal").glob(f"*{SUFFIX}"))) == 3
    settle(tmp_path, journal)
    await swept(journal)

    assert [name for name in os.listdir(tmp_path / "journal") if "segment" in name] == [journal.durable.segment]
    assert journal.room.disk_bytes == (tmp_path / "journal" / journal.durable.segment).stat().st_size
    await journal.close()
    assert findings(tmp_path) == []


async def test_a_compressed_segment_nobody_can_read_is_set_aside(tmp_path: Path) -> None:
    """The newest with frames, of which both tables are gone, is kept for whoever investigates; the start goes on."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=0.0)
    await fill(journal, 2)
    await journal.close()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=0.0)
    clock.advance(10)
    await swept(journal)
    await journal.close()
    newest = sorted((tmp_path / "journal").glob(f"*{SUFFIX}"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    os.truncate(newest_plain(tmp_path), 10)
    clock.advance(10)

    journal = open_journal(tmp_path, clock)

    assert journal.recovered.set_aside == (newest.with_suffix(".damaged").name,)
    await fill(journal, 1)
    assert len(payloads_in(read_all(tmp_path / "journal", journal.durable))) == 2
    await journal.close()


async def test_a_deletion_that_fails_frees_nothing(tmp_path: Path) -> None:
    """What stays on disk stays in the count, and in the tombstone's: the limit drifted off, and counts doubled."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress=False)
    await fill(journal, 4)
    settle(tmp_path, journal)
    evidence, before_bytes = tmp_path / "evidence", journal.room.disk_bytes
    evidence.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            journal.reclaim(wait=True)
    assert journal.room.disk_bytes == before_bytes
    (tmp_path / "away").rename(evidence)

    assert journal.reclaim(wait=True) == 3
    assert journal.room.disk_bytes == sum(path.stat().st_size for path in (tmp_path / "journal").glob("*.segment"))
    tombstone = read_seal(evidence / TOMBSTONE_FILE, Tombstone)
    assert tombstone is not None
    assert (tombstone.segments, tombstone.bytes) == (3, before_bytes - journal.room.disk_bytes)
    await journal.close()


async def test_a_segment_that_cannot_be_compressed_holds_up_no_other(tmp_path: Path) -> None:
    """It is told once, and not read again and again; those behind it are compressed, and deletion goes on."""
    clock = FakeClock()
    journal = open_journal(tmp_path, clock, segment_bytes=1, compress_after_s=0.0)
    await fill(journal, 4)
    clock.advance(1)
    first = segment_files(tmp_path / "journal")[0]
    (tmp_path / "journal" / f".{first}{SUFFIX}.new").mkdir()
    failures = 0
    for _ in range(12):
        try:
            await swept(journal)
        except OSError:
            failures += 1

    names = segment_files(tmp_path / "journal")
    assert failures == 1
    assert [is_compressed(tmp_path / "journal", name) for name in names] == [False, True, True, False]
    settle(tmp_path, journal)
    assert journal.reclaim(wait=True) == 3
    await journal.close()
