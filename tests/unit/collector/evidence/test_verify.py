"""Whatever is done to a journal's bytes is noticed, at its place; what is lawful is no alarm."""

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import xxhash

from collector.evidence.verdict import Finding, Verdict
from collector.evidence.verify import Verifier
from collector.journal.cursors import write_cursor
from collector.journal.format import FrameHeader, encode_frame_head
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, read_seal
from collector.journal.segments import FrameHead, Segment, segment_files, walk
from collector.journal.state import VerificationKey
from pipelines.frame import Position
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, open_journal

EDITS = 10_000
SEED = 20261123


def verified(root: Path, *, partial: bool = False, anchors: tuple[Anchor, ...] = ()) -> Verdict:
    """Verify the data folder `root`."""
    evidence = root / "evidence"
    key = msgspec.json.decode((evidence / "verification.key").read_bytes(), type=VerificationKey)
    return Verifier(root / "journal", evidence, key, partial=partial, anchors=anchors).run()


def fill(root: Path, *, starts: int = 3, entries: int = 14, segment_bytes: int = 1500) -> None:
    """Write a journal over several starts and segments, and stop cleanly."""

    async def write() -> None:
        clock = FakeClock()
        for start in range(starts):
            clock.advance(10)
            journal = open_journal(root, clock, segment_bytes=segment_bytes)
            for number in range(entries):
                await journal.append(entry_of(b"%d-%d " % (start, number) + bytes(200)))
            await journal.close()

    asyncio.run(write())


def reclaim(root: Path, segments: int) -> None:
    """Let the consumer pass so many segments, and delete them; stop cleanly."""

    async def delete() -> None:
        clock = FakeClock()
        clock.advance(1000)
        journal = open_journal(root, clock, compress=False)
        names = segment_files(root / "journal")
        with_frames = Segment(root / "journal", names[segments])
        write_cursor(root / "journal", "store", with_frames.first)
        with_frames.close()
        assert journal.reclaim(wait=True) == segments
        await journal.append(entry_of(b"behind"))
        await journal.close()

    asyncio.run(delete())


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a dozen segments of three epochs, the oldest two deleted lawfully, stopped cleanly."""
    root = tmp_path_factory.mktemp("lawful")
    fill(root)
    reclaim(root, 2)
    return root


def test_what_was_written_and_deleted_lawfully_is_no_alarm(lawful: Path) -> None:
    """Several starts, rolled segments, deleted ones, a clean stop: nothing is found, and all of it is covered."""
    verdict = verified(lawful)

    assert (verdict.findings, verdict.notices) == ([], [])
    assert verdict.segments == len(segment_files(lawful / "journal"))
    assert verdict.frames > 30
    assert verdict.anchored == verdict.end


def _live(root: Path, clock: FakeClock) -> Anchor:
    """Start, append, stop cleanly; return the last anchor."""

    async def live() -> Anchor:
        clock.advance(10)
        journal = open_journal(root, clock)
        for number in range(5):
            await journal.append(entry_of(b"%d" % number))
        await journal.close()
        assert journal.anchored is not None
        return journal.anchored

    return asyncio.run(live())


def test_anchors_of_earlier_stops_in_the_log_are_no_alarm(tmp_path: Path) -> None:
    """A collector that was stopped and started again writes behind the end of that stop; so it should."""
    clock = FakeClock()
    anchors = [_live(tmp_path, clock) for _ in range(3)]

    assert verified(tmp_path, anchors=tuple(anchors)).findings == []
    assert verified(tmp_path, anchors=tuple(anchors[:1])).findings == []


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_journal_put_back_and_gone_on_is_betrayed_by_an_anchor(tmp_path: Path, deleted: int) -> None:
    """Segments say from where they go on: before what an anchor in the log names; though that one was deleted since."""
    clock = FakeClock()

    async def live(root: Path, copy: Path | None = None) -> Anchor:
        clock.advance(10)
        journal = open_journal(root, clock)
        await journal.append(entry_of(b"1"))
        if copy is not None:
            await asyncio.to_thread(shutil.copytree, root, copy)
        await journal.append(entry_of(b"2"))
        await journal.close()
        assert journal.anchored is not None
        return journal.anchored

    anchor = asyncio.run(live(tmp_path / "now", tmp_path / "copy"))
    asyncio.run(live(tmp_path / "copy"))
    if deleted:
        reclaim(tmp_path / "copy", deleted)
    verdict = verified(tmp_path / "copy", anchors=(anchor,))

    assert [finding.kind for finding in verdict.findings] == ["cut"]
    assert verdict.findings[0].first == anchor.end.position._replace(sequence=1)


@pytest.mark.parametrize("back", [(1,), (0,), (0, 1)], ids=["the newest", "the oldest", "both"])
def test_a_deletion_that_a_crash_undid_is_no_alarm(tmp_path: Path, back: tuple[int, ...]) -> None:
    """The tombstone comes first: segments it speaks of may still be there, or again after a power cut, in part."""
    fill(tmp_path)
    deleted = [tmp_path / "journal" / name for name in segment_files(tmp_path / "journal")[:2]]
    contents = [path.read_bytes() for path in deleted]
    reclaim(tmp_path, 2)
    for number in back:
        deleted[number].write_bytes(contents[number])
    verdict = verified(tmp_path)

    assert verdict.findings == []
    assert verdict.notices == [f"{deleted[back[0]].name} was deleted lawfully, and is there: a crash came in between"]


class Frames(NamedTuple):
    """A segment's bytes and frames."""

    path: Path
    content: bytes
    heads: list[FrameHead]
    first: Position
    seed: int

    def position(self, index: int) -> Position:
        """Return the position of a frame."""
        return self.first._replace(sequence=self.heads[index].header.sequence)

    def bytes_of(self, index: int) -> bytes:
        """Return a frame's bytes."""
        return self.content[self.heads[index].at : self.heads[index].end]

    def at(self, offset: int) -> Position:
        """Return the position of the frame that has the byte at `offset`; the first one's for the header."""
        return next(
            (self.position(number) for number, head in enumerate(self.heads) if head.at <= offset < head.end),
            self.first,
        )

    def with_frames(self, frames: list[bytes]) -> bytes:
        """Return the segment's header with these frames behind it."""
        return self.content[: self.heads[0].at] + b"".join(frames)


def _frames(path: Path) -> Frames:
    segment = Segment(path.parent, path.name)
    heads = [each for each in walk(segment, segment.size) if isinstance(each, FrameHead)]
    assert segment.identity is not None
    segment.close()
    return Frames(path, path.read_bytes(), heads, segment.first, segment.identity.seed)


Edit = Callable[[random.Random, Frames], Position]


def _flip(chance: random.Random, frames: Frames) -> Position:
    offset = chance.randrange(len(frames.content))
    changed = bytearray(frames.content)
    changed[offset] ^= 1 << chance.randrange(8)
    frames.path.write_bytes(changed)
    return frames.at(offset)


def _remove(chance: random.Random, frames: Frames) -> Position:
    gone = chance.randrange(len(frames.heads))
    frames.path.write_bytes(
        frames.with_frames([frames.bytes_of(index) for index in range(len(frames.heads)) if index != gone])
    )
    return frames.position(gone)


def _swap(chance: random.Random, frames: Frames) -> Position:
    if len(frames.heads) < 2:
        return _remove(chance, frames)
    one, other = sorted(chance.sample(range(len(frames.heads)), 2))
    order = list(range(len(frames.heads)))
    order[one], order[other] = other, one
    frames.path.write_bytes(frames.with_frames([frames.bytes_of(index) for index in order]))
    return frames.position(one)


def _repeat(chance: random.Random, frames: Frames) -> Position:
    which, behind = (chance.randrange(len(frames.heads)) for _ in range(2))
    order = [*range(behind + 1), which, *range(behind + 1, len(frames.heads))]
    frames.path.write_bytes(frames.with_frames([frames.bytes_of(index) for index in order]))
    last_right = which if which == behind + 1 else behind
    return frames.position(last_right)._replace(sequence=frames.heads[last_right].header.sequence + 1)


def _cut(chance: random.Random, frames: Frames) -> Position:
    offset = chance.randrange(len(frames.content))
    frames.path.write_bytes(frames.content[:offset])
    return frames.at(offset)


def _forge(chance: random.Random, frames: Frames) -> Position:
    """Write another payload, with every checksum right, by somebody who does not have the key."""
    which = chance.randrange(len(frames.heads))
    head = frames.heads[which]
    payload = bytearray(frames.content[head.payload_at : head.end])
    payload[chance.randrange(len(payload))] ^= 0x20
    link_before = frames.content[head.payload_at - 32 : head.payload_at]
    old = head.header
    header = FrameHeader(
        old.epoch,
        old.sequence,
        old.journal_time,
        old.origins,
        old.messages,
        old.runs,
        xxhash.xxh3_64_intdigest(bytes(payload)),
    )
    key = chance.randbytes(32)
    forged, _ = encode_frame_head(header, [memoryview(payload)], key=key, link_before=link_before, seed=frames.seed)
    whole = [frames.bytes_of(index) for index in range(len(frames.heads))]
    whole[which] = forged + bytes(payload)
    frames.path.write_bytes(frames.with_frames(whole))
    return frames.position(which)


def _delete(_: random.Random, frames: Frames) -> Position:
    frames.path.unlink()
    return frames.first


EDITORS: tuple[Edit, ...] = (_flip, _flip, _flip, _remove, _swap, _repeat, _cut, _forge, _delete)


@pytest.mark.timeout(300)
def test_ten_thousand_edits_are_all_noticed_at_their_place(lawful: Path, tmp_path: Path) -> None:
    """Flip, remove, swap, repeat, cut, forge, delete: each is found, and the first position named is the right one."""
    chance = random.Random(SEED)
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    names = segment_files(root / "journal")
    originals = {name: _frames(root / "journal" / name) for name in names}
    for number in range(EDITS):
        frames = originals[chance.choice(names)]
        edit = chance.choice(EDITORS)

        expected = edit(chance, frames)
        found = verified(root).findings

        assert found, (number, edit.__name__, frames.path.name)
        assert found[0].first == expected, (number, edit.__name__, frames.path.name, found[:2])
        frames.path.write_bytes(frames.content)
    assert verified(root).findings == []


@pytest.mark.parametrize("which", [2, -1], ids=["between others", "newest"])
@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        ("altered", "altered"),
        ("removed", "missing"),
        ("swapped", "reordered"),
        ("repeated", "reordered"),
        ("cut", "cut"),
        ("forged", "forged"),
        ("deleted", "missing"),
    ],
)
def test_a_finding_says_what_was_done(lawful: Path, tmp_path: Path, edit: str, kind: str, which: int) -> None:
    """What was changed is `altered`, what is gone `missing` or `cut`, what stands elsewhere `reordered`."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    if which == -1:
        fill(root, starts=1, entries=5, segment_bytes=1 << 20)
    frames = _frames(root / "journal" / segment_files(root / "journal")[which])
    whole = [frames.bytes_of(index) for index in range(len(frames.heads))]
    end = frames.heads[1].end
    edits = {
        "altered": frames.content[: end - 1] + b"!" + frames.content[end:],
        "removed": frames.with_frames([whole[0], *whole[2:]]),
        "swapped": frames.with_frames([whole[0], whole[2], whole[1], *whole[3:]]),
        "repeated": frames.with_frames([whole[0], *whole]),
        "cut": frames.content[: end - 1],
    }
    first = frames.position(1)
    if edit == "forged":
        first = _forge(random.Random(SEED), frames)
    elif edit == "deleted":
        frames.path.unlink()
        first, kind = frames.first, "cut" if which == -1 else kind
    else:
        frames.path.write_bytes(edits[edit])

    found = verified(root).findings[0]

    assert (found.kind, found.first) == (kind, first)


@pytest.mark.parametrize("name", [ANCHOR_FILE, TOMBSTONE_FILE])
def test_every_byte_of_anchor_and_tombstone_counts(lawful: Path, tmp_path: Path, name: str) -> None:
    """A flipped byte, one too few or too many, or no file at all is noticed."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    path = root / "evidence" / name
    whole = path.read_bytes()
    edits = [whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in (1, 0x20)]
    for content in (*edits, whole[:-1], whole + b" ", b""):
        path.write_bytes(content)
        found = verified(root).findings
        assert found, content
        assert found[0].file == name
    path.unlink()
    assert [each.kind for each in verified(root).findings] == ["missing"]


def test_a_segment_deleted_by_hand_is_missing_although_others_were_deleted_lawfully(
    lawful: Path, tmp_path: Path
) -> None:
    """The tombstone says how far lawful deletion went."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    oldest = segment_files(root / "journal")[0]
    (root / "journal" / oldest).unlink()

    (found,) = verified(root).findings

    assert (found.kind, found.first) == ("missing", _frames(lawful / "journal" / oldest).first)


def test_a_folder_put_back_to_an_earlier_state_is_betrayed_by_an_anchor_kept_elsewhere(tmp_path: Path) -> None:
    """All of it put back is whole by itself; with an anchor from the log it is not."""
    root, earlier = tmp_path / "data", tmp_path / "earlier"
    fill(root, starts=1)
    shutil.copytree(root, earlier)
    fill(root, starts=1)
    anchor = read_seal(root / "evidence" / ANCHOR_FILE, Anchor)
    assert anchor is not None

    assert verified(earlier).findings == []
    assert [each.kind for each in verified(earlier, anchors=(anchor,)).findings] == ["cut"]
    assert verified(root, anchors=(anchor,)).findings == []


def test_a_copy_of_some_segments_verifies_as_a_part(lawful: Path, tmp_path: Path) -> None:
    """An archive may begin and end anywhere; what is between is proven."""
    root = tmp_path / "archive"
    shutil.copytree(lawful, root)
    names = segment_files(root / "journal")
    for name in (*names[:2], *names[-2:]):
        (root / "journal" / name).unlink()
    (root / "evidence" / ANCHOR_FILE).unlink()
    (root / "evidence" / TOMBSTONE_FILE).unlink()

    assert verified(root, partial=True).findings == []
    assert {each.kind for each in verified(root).findings} == {"missing"}


def test_after_a_crash_the_journal_verifies(tmp_path: Path) -> None:
    """A torn tail is no alarm, nor are frames behind the last anchor."""

    async def crash() -> None:
        journal = open_journal(tmp_path / "running", FakeClock())
        for number in range(5):
            await journal.append(entry_of(b"%d" % number))
        shutil.copytree(tmp_path / "running", tmp_path / "crashed")
        await journal.close()

    asyncio.run(crash())
    (newest,) = segment_files(tmp_path / "crashed" / "journal")
    with (tmp_path / "crashed" / "journal" / newest).open("ab") as tail:
        tail.write(b"\x89TWFtorn")

    verdict = verified(tmp_path / "crashed")

    assert verdict.findings == []
    assert "not whole" in verdict.notices[0]
    assert verdict.frames == 5
    fill(tmp_path / "crashed", starts=1)
    assert verified(tmp_path / "crashed").findings == []


def test_findings_after_the_first_do_not_follow_from_it(lawful: Path, tmp_path: Path) -> None:
    """Two frames altered far apart are two findings, and what stands between is verified."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    names = segment_files(root / "journal")
    expected = []
    for name in (names[0], names[3]):
        frames = _frames(root / "journal" / name)
        changed = bytearray(frames.content)
        changed[frames.heads[1].end - 1] ^= 1
        frames.path.write_bytes(changed)
        expected.append(
            Finding("altered", frames.position(1), name, frames.heads[1].at, "a frame's payload is damaged")
        )

    assert verified(root).findings == expected
