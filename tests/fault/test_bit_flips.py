"""A flipped bit, in any part of any file, and a whole start on top: it costs at most its frame, and is placed.

Every byte of a single segment is flipped in `unit/collector/journal/test_recovery.py`, every bit of state and cursor in
their own tests; here it is a journal of several segments and two epochs, sealed ones and the open one of a crash, with
a consumer in the middle of it.
"""

import asyncio
import contextlib
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from collector.errors import DataDirError
from collector.journal.checkpoints import Checkpoint, newest_checkpoint, write_checkpoint
from collector.journal.cursors import read_cursor, write_cursor
from collector.journal.format import FRAME_HEAD_BYTES, LINK_BYTES, SEGMENT_HEAD_BYTES
from collector.journal.recogniser import Recogniser
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE
from collector.journal.segments import FrameHead, Segment, segment_files, walk
from pipelines.frame import Position
from tests.kit.clock import FakeClock
from tests.kit.journals import end_of_files, entry_of, frames_in, gaps_in, open_journal, read_all

SEED = 20261128
FLIPS_OF_A_PART = 2
SEGMENT_BYTES = 900
FRAMES = 7
"""Of each of two starts."""


class Part(NamedTuple):
    """Bytes of a segment; `lost` is the frame that a flip in them costs, None for none."""

    name: str
    segment: str
    start: int
    end: int
    lost: Position | None


class Pristine(NamedTuple):
    """A data folder as a crash left it, and its parts."""

    root: Path
    parts: list[Part]
    positions: list[Position]
    cursor: Position

    @property
    def journal(self) -> Path:
        """The journal's folder."""
        return self.root / "journal"


def _parts(journal: Path, name: str) -> Iterator[Part]:
    segment = Segment(journal, name)
    yield Part("segment head", name, 0, SEGMENT_HEAD_BYTES, None)
    yield Part("segment body", name, SEGMENT_HEAD_BYTES, segment.frames_at - LINK_BYTES, None)
    yield Part("segment link", name, segment.frames_at - LINK_BYTES, segment.frames_at, None)
    for head in walk(segment, segment.size):
        assert isinstance(head, FrameHead)
        position = segment.first._replace(sequence=head.header.sequence)
        header_at, link_at = head.at + FRAME_HEAD_BYTES, head.payload_at - LINK_BYTES
        yield Part("frame head", name, head.at, header_at, position)
        yield Part("frame header", name, header_at, link_at, position)
        yield Part("frame link", name, link_at, head.payload_at, position)
        yield Part("payload", name, head.payload_at, head.end, position)
    segment.close()


@pytest.fixture
def pristine(fast_disk: Path) -> Pristine:
    """Two starts with rolls, the second crashed; the consumer has passed some frames."""

    async def write() -> None:
        clock = FakeClock()
        for start in range(2):
            clock.advance(10)
            journal = open_journal(fast_disk / "live", clock, segment_bytes=SEGMENT_BYTES)
            for number in range(FRAMES):
                await journal.append(entry_of(b"%d %d " % (start, number) + bytes(80)))
            if start == 0:
                cursor = journal.durable.position._replace(sequence=2)
                write_cursor(fast_disk / "live" / "journal", "store", cursor)
                await journal.close()
        await asyncio.to_thread(shutil.copytree, fast_disk / "live", fast_disk / "pristine")
        await journal.close()

    asyncio.run(write())
    root = fast_disk / "pristine"
    names = segment_files(root / "journal")
    parts = [part for name in names for part in _parts(root / "journal", name)]
    positions = sorted({part.lost for part in parts if part.lost is not None})
    cursor = read_cursor(root / "journal", "store")
    assert cursor is not None
    return Pristine(root, parts, positions, cursor)


@contextlib.contextmanager
def flipped(pristine: Pristine, file: str, offset: int, bit: int) -> Iterator[Path]:
    """Give a copy of the folder in which one bit of a file is another."""
    root = pristine.root.with_name("flipped")
    shutil.copytree(pristine.root, root)
    content = bytearray((root / file).read_bytes())
    content[offset] ^= 1 << bit
    (root / file).write_bytes(content)
    yield root
    shutil.rmtree(root)


async def _start(root: Path, cursor: Position) -> tuple[list[Position], list[tuple[Position, Position]]]:
    """Start on it, append one frame; return positions and gaps from the cursor on, without that frame."""
    clock = FakeClock()
    journal = open_journal(root, clock, segment_bytes=SEGMENT_BYTES)
    recogniser = Recogniser(journal, root / "journal")
    await journal.append(entry_of(b"after"))
    found = read_all(root / "journal", journal.durable, after=cursor)
    assert read_cursor(root / "journal", "store") == cursor
    await journal.close()
    recogniser.close()
    frames = frames_in(found)
    assert bytes(frames[-1].payload) == b"after"
    return [frame.position for frame in frames[:-1]], [(gap.first, gap.last) for gap in gaps_in(found)]


async def _flip_and_start(pristine: Pristine, part: Part, offset: int, bit: int) -> None:
    with flipped(pristine, f"journal/{part.segment}", offset, bit) as root:
        positions, gaps = await _start(root, pristine.cursor)
    expected = [at for at in pristine.positions if at >= pristine.cursor and at != part.lost]
    # The very end is cut: nothing behind it tells damage from what was never written whole. An anchor does.
    is_told = part.lost is not None and pristine.cursor <= part.lost != pristine.positions[-1]
    where = f"{part.name} of {part.segment} at {offset}, bit {bit}"

    assert positions == expected, where
    assert gaps == ([(part.lost, part.lost)] if is_told else []), where


@pytest.mark.timeout(600)
def test_a_flip_in_any_part_of_any_segment_costs_its_frame_at_most_and_is_placed(pristine: Pristine) -> None:
    """Head, body and link of segments, head, header, link and payload of frames; sealed and open; a start on top."""
    chance = random.Random(SEED)
    flips = 0
    for part in pristine.parts:
        for _ in range(FLIPS_OF_A_PART):
            asyncio.run(_flip_and_start(pristine, part, chance.randrange(part.start, part.end), chance.randrange(8)))
            flips += 1
    segments = len({part.segment for part in pristine.parts})

    assert segments > 4
    sys.stdout.write(f"{flips} flips in {len(pristine.parts)} parts of {segments} segments, each placed\n")


def test_a_flip_in_the_state_or_a_cursor_refuses_by_name(pristine: Pristine) -> None:
    """Keys, epoch and cursors are never guessed: the start, or whoever needs the cursor, names the file."""
    chance = random.Random(SEED)
    for _ in range(20):
        size = (pristine.journal / "cursors" / "store.json").stat().st_size - 1  # but the line's end
        with flipped(pristine, "journal/cursors/store.json", chance.randrange(size), chance.randrange(8)) as root:
            with pytest.raises(DataDirError, match=r"store\.json: damaged"):
                read_cursor(root / "journal", "store")
            assert asyncio.run(_reclaim(root)) == "refused"
    whole = (pristine.journal / "state.json").read_bytes()
    for _ in range(40):
        offset = chance.choice([at for at, byte in enumerate(whole) if not chr(byte).isspace()])
        with (
            flipped(pristine, "journal/state.json", offset, chance.randrange(8)) as root,
            pytest.raises(DataDirError, match=r"state\.json"),
        ):
            asyncio.run(_start(root, pristine.cursor))


async def _reclaim(root: Path, *, replayed: bool = False) -> str:
    journal = open_journal(root, segment_bytes=SEGMENT_BYTES, replayed=replayed)
    before = segment_files(root / "journal")
    try:
        journal.reclaim(wait=True)
    except DataDirError:
        return "refused" if segment_files(root / "journal") == before else "deleted"
    finally:
        await journal.close()
    return "done"


def test_a_flip_in_a_checkpoint_costs_reading(pristine: Pristine) -> None:
    """Every part of it: the one before is used, then none; a start goes on, and no segment goes that is needed then."""
    chance = random.Random(SEED)
    older, newer = pristine.positions[1], pristine.cursor
    for position in (older, newer):
        write_checkpoint(pristine.journal, Checkpoint(position, "print", b"state" * 20))
    names = sorted(path.name for path in (pristine.journal / "checkpoints").iterdir())
    size = (pristine.journal / "checkpoints" / names[-1]).stat().st_size
    for _ in range(60):
        file = f"journal/checkpoints/{names[-1]}"
        with flipped(pristine, file, chance.randrange(size), chance.randrange(8)) as root:
            told: list[str] = []
            restored = newest_checkpoint(root / "journal", newer, take=lambda _: None, passed_over=told.append)
            positions, gaps = asyncio.run(_start(root, pristine.cursor))
            assert asyncio.run(_reclaim(root, replayed=True)) == "done"
            left = read_all(root / "journal", end_of_files(root / "journal"), after=older)

        assert (restored, [names[-1] in each for each in told]) == (older, [True])
        assert (positions, gaps) == ([at for at in pristine.positions if at >= pristine.cursor], [])
        kept = [frame.position for frame in frames_in(left)]
        assert [at for at in kept if at in pristine.positions] == [at for at in pristine.positions if at >= older]


@pytest.mark.parametrize("file", ["journal/writer.lock", f"evidence/{ANCHOR_FILE}", f"evidence/{TOMBSTONE_FILE}"])
def test_a_flip_in_lock_anchor_or_tombstone_costs_nothing(pristine: Pristine, file: str) -> None:
    """What stands beside the journal is no part of it: a start goes on, and deletes what may be deleted."""
    chance = random.Random(SEED)
    for _ in range(10):
        size = (pristine.root / file).stat().st_size
        with flipped(pristine, file, chance.randrange(size), chance.randrange(8)) as root:
            positions, gaps = asyncio.run(_start(root, pristine.cursor))
            assert asyncio.run(_reclaim(root)) == "done"

        assert positions == [at for at in pristine.positions if at >= pristine.cursor]
        assert gaps == []
