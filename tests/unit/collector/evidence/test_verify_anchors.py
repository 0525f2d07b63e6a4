"""What an anchor that was kept elsewhere betrays of a journal that is whole by itself, and what it does not."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from collector.evidence.anchors import Anchors
from collector.evidence.keys import Keys
from collector.evidence.verdict import ELSEWHERE, Verdict
from collector.journal.seals import ANCHOR_FILE, Anchor, read_seal, sealed
from collector.journal.segments import first_position, segment_files
from collector.journal.state import VerificationKey
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, open_journal
from tests.unit.collector.evidence.test_verify import fill, reclaim, verified

ONE_MONTH_MINUTES = 43_200


def anchor_of(root: Path) -> Anchor:
    """The anchor beside a journal."""
    anchor = read_seal(root / "evidence" / ANCHOR_FILE, Anchor)
    assert anchor is not None
    return anchor


def live(root: Path, lengths: tuple[int, ...], *, segment_bytes: int = 1 << 20) -> list[Anchor]:
    """Write a journal with messages of these lengths, anchored behind each, and stop; return the anchors."""
    anchors = []

    async def write() -> None:
        clock = FakeClock()
        clock.advance(100)
        journal = open_journal(root, clock, segment_bytes=segment_bytes)
        for length in lengths:
            await journal.append(entry_of(bytes(length)))
            await asyncio.wrap_future(journal._thread.submit(journal._committer.anchor))
            anchors.append(anchor_of(root))
        await journal.close()

    asyncio.run(write())
    return anchors


@pytest.mark.parametrize(
    ("other", "first"),
    [
        pytest.param((100, 200, 333, 299, 400), 2, id="longer frames"),
        pytest.param((100, 200, 200, 100, 300), 2, id="as long in all, other frames"),
        pytest.param((101, 201, 300, 300, 1), 0, id="none the same"),
    ],
)
def test_a_journal_written_anew_with_the_present_key_and_other_frame_sizes_is_forged(
    tmp_path: Path, other: tuple[int, ...], first: int
) -> None:
    """Two lives of one folder: an anchor of one is where no frame of the other ends, and that is found.

    First is what stands behind the last anchor that both agree with.
    """
    kept, forged = tmp_path / "kept", tmp_path / "forged"
    fill(kept, starts=1)
    shutil.copytree(kept, forged)
    anchors = live(kept, (100, 200, 300, 100))
    live(forged, other)
    segment = anchors[0].end.segment
    assert segment == segment_files(forged / "journal")[-1]

    assert verified(kept, anchors=tuple(anchors)).findings == []
    assert verified(forged).findings == []
    (found,) = verified(forged, anchors=tuple(anchors)).findings
    (last_alone,) = verified(forged, anchors=(anchors[-2],)).findings

    assert (found.kind, found.file, found.offset) == ("forged", segment, anchors[first].end.offset)
    assert found.first == first_position(segment)._replace(sequence=first)
    assert (last_alone.kind, last_alone.first) == ("forged", first_position(segment))


def test_a_shorter_life_put_in_place_of_an_anchored_one_is_cut(tmp_path: Path) -> None:
    """The chain ends before the anchor: the first position that is gone is the one behind its end."""
    kept, other = tmp_path / "kept", tmp_path / "other"
    fill(kept, starts=1)
    shutil.copytree(kept, other)
    anchors = live(kept, (100, 200, 300))
    live(other, (100, 10, 10))
    (found,) = verified(other, anchors=(anchors[-1],)).findings

    assert (found.kind, found.first) == ("cut", first_position(anchors[0].end.segment)._replace(sequence=3))


def test_anchors_of_earlier_clean_stops_in_the_log_are_no_alarm(tmp_path: Path) -> None:
    """A log holds the anchors of every stop; what a later start wrote stands behind them lawfully."""
    anchors = []
    for _ in range(3):
        live(tmp_path, (50, 60))
        anchors.append(anchor_of(tmp_path))

        assert verified(tmp_path, anchors=tuple(anchors)).findings == []
    assert [anchor.stopped for anchor in anchors] == [True, True, True]


def test_an_anchored_segment_without_a_frame_that_a_start_removed_is_no_alarm(tmp_path: Path) -> None:
    """Killed before the first frame: the start removes the segment, and the log still names it."""
    fill(tmp_path, starts=1)

    async def start() -> None:
        journal = open_journal(tmp_path, FakeClock())
        await journal.close()

    asyncio.run(start())
    empty = anchor_of(tmp_path)
    fill(tmp_path, starts=1)

    assert empty.end.segment not in segment_files(tmp_path / "journal")
    assert verified(tmp_path, anchors=(empty,)).findings == []


def test_a_segment_without_a_frame_behind_a_clean_stop_is_no_alarm(tmp_path: Path) -> None:
    """Killed between opening the first segment of a start and its anchor."""
    root, killed = tmp_path / "data", tmp_path / "killed"
    fill(root, starts=1)
    before = (root / "evidence" / ANCHOR_FILE).read_bytes()

    async def start() -> None:
        journal = open_journal(root, FakeClock())
        (root / "evidence" / ANCHOR_FILE).write_bytes(before)
        shutil.copytree(root, killed)
        await journal.close()

    asyncio.run(start())

    assert verified(killed).findings == []


def test_an_older_anchor_of_a_clean_stop_put_back_is_forged(tmp_path: Path) -> None:
    """It says that nothing was written behind it, and something was."""
    fill(tmp_path, starts=1)
    before = (tmp_path / "evidence" / ANCHOR_FILE).read_bytes()
    fill(tmp_path, starts=1)
    (tmp_path / "evidence" / ANCHOR_FILE).write_bytes(before)
    names = [name for name in segment_files(tmp_path / "journal") if name > anchor_of(tmp_path).end.segment]
    (found,) = verified(tmp_path).findings

    assert (found.kind, found.file, found.first) == ("forged", names[0], first_position(names[0]))


def test_anchors_of_deleted_segments_are_one_notice(tmp_path: Path) -> None:
    """A month of the log names mostly what was deleted since: how many is said once."""
    fill(tmp_path, starts=1)
    anchors = live(tmp_path, (10,) * 20, segment_bytes=400)
    reclaim(tmp_path, len(segment_files(tmp_path / "journal")) - 3)
    verdict = verified(tmp_path, anchors=tuple(anchors))

    gone = sum(anchor.end.segment < segment_files(tmp_path / "journal")[0] for anchor in anchors)
    assert gone > 5
    assert (verdict.findings, verdict.notices) == ([], [f"{gone} anchors name segments that have been deleted since"])


def test_anchors_beyond_the_end_are_one_finding(tmp_path: Path) -> None:
    """Many anchors of segments that are gone say the same once, and name the first position that is gone."""
    root, earlier = tmp_path / "data", tmp_path / "earlier"
    fill(root, starts=1)
    shutil.copytree(root, earlier)
    anchors = live(root, (10,) * 20, segment_bytes=400)
    (found,) = verified(earlier, anchors=tuple(anchors)).findings

    assert (found.kind, found.first) == ("cut", first_position(anchors[0].end.segment))


def test_a_month_of_anchors_costs_each_frame_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Anchors are looked up by their place; what each of a month's costs is that it is proven genuine, once."""
    fill(tmp_path, starts=1)
    anchor = anchor_of(tmp_path)
    exported = msgspec.json.decode((tmp_path / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
    key = Keys(exported).of(anchor.key_number)
    assert key is not None
    places = [msgspec.structs.replace(anchor.end, offset=number) for number in range(ONE_MONTH_MINUTES)]
    month = [sealed(msgspec.structs.replace(anchor, end=end, stopped=False), key) for end in places]
    started = time.perf_counter()
    book = Anchors(None, month, Keys(exported), Verdict())
    made_s = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(ONE_MONTH_MINUTES):
        book.note(anchor.end.segment, 1, b"link")
    noted_s = time.perf_counter() - started
    record_property("microseconds an anchor", f"{made_s / ONE_MONTH_MINUTES * 1e6:.1f}")
    record_property("microseconds a frame", f"{noted_s / ONE_MONTH_MINUTES * 1e6:.2f}")

    assert book.furthest(anchor.end.segment) == ONE_MONTH_MINUTES - 1


def test_anchors_of_other_journals_in_a_shared_log_are_a_notice(tmp_path: Path) -> None:
    """Many collectors log to one place; who forges one of this journal's is found."""
    one, other = tmp_path / "one", tmp_path / "other"
    fill(one, starts=1)
    fill(other, starts=1)
    foreign, own = anchor_of(other), anchor_of(one)
    verdict = verified(one, anchors=(foreign, own, foreign))

    assert (verdict.findings, verdict.notices) == ([], ["2 anchors kept elsewhere are those of other journals"])
    changed = msgspec.structs.replace(own, at_ns=own.at_ns + 1)
    (found,) = verified(one, anchors=(changed, own, changed)).findings
    assert (found.kind, found.file, found.first) == ("forged", ELSEWHERE, None)
