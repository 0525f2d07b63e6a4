"""What a running collector does to a journal while it is verified is no alarm; what it does not do is one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from collector.evidence.verdict import Verdict
from collector.evidence.verify import Verifier
from collector.journal.cursors import write_cursor
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE
from collector.journal.segment_file import compress
from collector.journal.segments import Segment, first_position, segment_files
from collector.journal.state import VerificationKey
from collector.journal.writer import Journal
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, open_journal
from tests.unit.collector.evidence.test_verify import fill, verified

Step = Callable[[], None]


def verifier(root: Path, on_progress: Callable[[int], None]) -> Verifier:
    """A verifier that tells of each segment it has looked at."""
    key = msgspec.json.decode((root / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
    return Verifier(root / "journal", root / "evidence", key, on_progress=on_progress)


def verified_meanwhile(root: Path, step: Step, *, at: int = 1) -> Verdict:
    """Verify, and do something behind the segment `at`."""
    looked_at = 0

    def on_progress(_: int) -> None:
        nonlocal looked_at
        looked_at += 1
        if looked_at == at:
            step()

    return verifier(root, on_progress).run()


def pass_segments(root: Path, journal: Journal, count: int) -> None:
    """Let the consumer pass so many segments, and delete them."""
    segment = Segment(root / "journal", segment_files(root / "journal")[count])
    segment.close()
    write_cursor(root / "journal", "store", segment.first)
    assert journal.reclaim(wait=True) == count


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A journal of a dozen segments of two starts."""
    fill(tmp_path / "running", starts=2)
    return tmp_path / "running"


@pytest.mark.parametrize(("at", "count"), [(1, 1), (1, 4), (3, 2), (3, 3), (2, 6)])
async def test_segments_deleted_lawfully_meanwhile_are_no_alarm(running: Path, at: int, count: int) -> None:
    """Those that were verified already, and those that were still to come."""
    journal = open_journal(running, FakeClock(), compress=False)
    await journal.append(entry_of(b"newest"))
    verdict = verified_meanwhile(running, lambda: pass_segments(running, journal, count), at=at)
    await journal.close()

    ahead = max(count - at, 0)
    notice = f"{ahead:,} segments were deleted lawfully while others were verified"
    assert (verdict.findings, verdict.notices) == ([], [notice] if ahead else [])


async def test_a_tombstone_and_a_listing_of_different_moments_are_no_alarm(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted between reading the tombstone and listing the segments."""
    journal = open_journal(running, FakeClock(), compress=False)
    await journal.append(entry_of(b"newest"))
    journal.anchor()
    listed = Verifier._listed

    def delete_and_list(self: Verifier) -> list[str]:
        monkeypatch.setattr(Verifier, "_listed", listed)
        pass_segments(running, journal, 3)
        return self._listed()

    monkeypatch.setattr(Verifier, "_listed", delete_and_list)
    verdict = verified(running)
    await journal.close()

    assert (verdict.findings, verdict.notices) == ([], [])


async def test_a_roll_between_listing_and_anchor_is_no_alarm(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The anchor is read first, so the segment it names is in the listing, however much is rolled in between."""
    clock = FakeClock()
    journal = open_journal(running, clock, compress=False, segment_bytes=300)
    await journal.append(entry_of(b"newest"))
    listed = Verifier._listed
    before = len(segment_files(running / "journal"))

    def list_and_roll(self: Verifier) -> list[str]:
        names = listed(self)
        monkeypatch.setattr(Verifier, "_listed", listed)
        journal._thread.submit(journal._committer.roll, ()).result()
        journal._thread.submit(journal._committer.anchor).result()
        return names

    monkeypatch.setattr(Verifier, "_listed", list_and_roll)
    verdict = verified(running)
    await journal.close()

    assert len(segment_files(running / "journal")) == before + 1
    assert verdict.findings == []


@pytest.mark.parametrize("at", [1, 4])
def test_segments_compressed_meanwhile_are_no_alarm(running: Path, at: int) -> None:
    """The bytes are the same, and all of them are verified."""
    expected = verified(running)

    def compress_all() -> None:
        for name in segment_files(running / "journal"):
            compress(running / "journal", name)

    assert verified_meanwhile(running, compress_all, at=at) == expected


async def test_a_segment_that_grows_meanwhile_is_no_alarm(running: Path) -> None:
    """What was written since the beginning is not looked at, nor found wanting."""
    journal = open_journal(running, FakeClock(), compress=False)
    await journal.append(entry_of(b"first"))
    before = verified(running)

    def grow() -> None:
        active = journal._committer._active
        assert active is not None
        active.append(list(journal._committer.frames([entry_of(b"more")])), [active.header.created_ns + 9])

    verdict = verified_meanwhile(running, grow, at=2)
    await journal.close()

    assert verdict == before
    assert verified(running).findings == []


async def test_an_anchor_read_while_it_was_written_is_no_alarm(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the old and half of the new is read again; what stays so is no anchor."""
    path = running / "evidence" / ANCHOR_FILE
    old = path.read_bytes()
    journal = open_journal(running, FakeClock())
    await journal.append(entry_of(b"more"))
    await journal.close()
    new = path.read_bytes()
    pauses = 0

    def finish_writing(_: float) -> None:
        nonlocal pauses
        pauses += 1
        path.write_bytes(new)

    monkeypatch.setattr("collector.evidence.present.time.sleep", finish_writing)
    for length in range(512):
        torn = new[:length] + old[length:]
        path.write_bytes(torn)
        assert torn == old or verified(running).findings == [], length
    monkeypatch.setattr("collector.evidence.present.time.sleep", lambda _: None)
    path.write_bytes(new[:200] + old[200:])

    assert pauses > 200
    assert [each.file for each in verified(running).findings] == [ANCHOR_FILE]


async def test_a_segment_whose_header_is_being_written_is_no_alarm(running: Path) -> None:
    """Its file is there before its header is whole, at this moment or since a crash; an anchored one was whole."""
    killed = running.with_name("killed")
    shutil.copytree(running, killed)
    journal = open_journal(running, FakeClock())
    header = (running / "journal" / journal.durable.segment).read_bytes()
    newest = running / "journal" / segment_files(running / "journal")[-1]
    await journal.close()
    opening = killed / "journal" / newest.name.replace("-18", "-19", 1)

    for length in range(len(header)):
        for content in (header[:length], bytes(length)):
            opening.write_bytes(content)
            assert verified(killed).findings == [], length
        newest.write_bytes(header[:length])
        assert verified(running).findings[0].first == first_position(newest.name), length


@pytest.mark.parametrize("which", [1, 3, -1])
async def test_a_segment_deleted_by_hand_meanwhile_is_missing(running: Path, which: int) -> None:
    """No tombstone says why it went."""
    name = segment_files(running / "journal")[which]
    verdict = verified_meanwhile(running, (running / "journal" / name).unlink)

    assert (verdict.findings[0].kind, verdict.findings[0].first) == ("missing", first_position(name))


async def test_a_start_meanwhile_is_no_alarm(running: Path) -> None:
    """It removes a segment without a frame, opens another, and writes an anchor that says nothing of a stop."""
    journal = open_journal(running, FakeClock())
    killed = running.with_name("killed")
    shutil.copytree(running, killed)
    await journal.close()
    started: list[Journal] = []
    clock = FakeClock()
    clock.advance(5000)
    verdict = verified_meanwhile(killed, lambda: started.append(open_journal(killed, clock)))
    again = verified_meanwhile(killed, lambda: None)
    await started[0].close()

    assert (verdict.findings, again.findings) == ([], [])
    assert verified(killed).findings == []


async def test_a_tombstone_put_back_meanwhile_explains_nothing(running: Path) -> None:
    """Only what was deleted more counts."""
    path = running / "evidence" / TOMBSTONE_FILE
    begun = path.read_bytes()
    journal = open_journal(running, FakeClock(), compress=False)
    await journal.append(entry_of(b"newest"))
    pass_segments(running, journal, 2)
    await journal.close()
    path.write_bytes(begun)

    (found,) = verified(running).findings

    assert (found.kind, found.offset) == ("missing", 0)
    assert "the last lawful deletion ended at" in found.reason
