"""Whoever has the folder, and not the keys of the time, moves whole files about: all of it is noticed, at its place."""

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.evidence.verdict import Verdict
from collector.journal.cursors import write_cursor
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, read_seal
from collector.journal.segment_file import SUFFIX, compress, path_of
from collector.journal.segments import Segment, first_position, segment_files
from pipelines.frame import Position
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, open_journal
from tests.unit.collector.evidence.test_verify import fill, verified

ATTACKS = 600
SEED = 20261129
STARTS = 4


class Life:
    """A data folder as it was behind each start; the oldest segments are deleted lawfully from the third on."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self.states: list[Path] = []
        self.anchors: list[Anchor] = []
        root = folder / name
        clock = FakeClock()
        for start in range(STARTS):
            clock.advance(1000)
            asyncio.run(self._write(root, clock, start))
            state = folder / f"{name}-{start}"
            shutil.copytree(root, state)
            self.states.append(state)
            anchor = read_seal(root / "evidence" / ANCHOR_FILE, Anchor)
            assert anchor is not None
            self.anchors.append(anchor)

    async def _write(self, root: Path, clock: FakeClock, start: int) -> None:
        journal = open_journal(root, clock, segment_bytes=1300, compress=False)
        for number in range(14):
            await journal.append(entry_of(b"%d-%d " % (start, number) + bytes(150 + 10 * start)))
        if start >= STARTS - 2:
            names = segment_files(root / "journal")
            write_cursor(root / "journal", "store", first_position(names[3]))
            assert journal.reclaim(wait=True) == 3
        await journal.close()


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Life, Life]:
    """Two journals; of the first, some segments are compressed."""
    folder = tmp_path_factory.mktemp("lives")
    one, other = Life(folder, name="one"), Life(folder, name="other")
    for name in segment_files(one.states[-1] / "journal")[1::2]:
        compress(one.states[-1] / "journal", name)
    return one, other


Attack = Callable[[random.Random, Path, tuple[Life, Life]], tuple[Position | None, Position | None]]
"""What is done to a folder; returns between which positions the first finding must be, None where it has none."""


def _names(root: Path) -> list[str]:
    return segment_files(root / "journal")


def _delete_some(chance: random.Random, root: Path, _: tuple[Life, Life]) -> tuple[Position, Position]:
    """Delete segments in a row: where others follow in another epoch, how far the one before went is not known."""
    names = _names(root)
    start = chance.randrange(len(names))
    gone = names[start : start + chance.randrange(1, len(names))]
    lengths = [Segment(root / "journal", name) for name in names[max(start - 1, 0) : start]]
    behind = first_position(gone[0])
    for segment in lengths:
        following = segment.search(segment.frames_at, segment.size)
        while following is not None:
            behind = segment.first._replace(sequence=following.header.sequence + 1)
            following = segment.search(following.end, segment.size)
        segment.close()
    for name in gone:
        path_of(root / "journal", name).unlink()
    return min(behind, first_position(gone[0])), first_position(gone[0])


def _swap_files(chance: random.Random, root: Path, _: tuple[Life, Life]) -> tuple[Position, Position]:
    one, other = sorted(chance.sample(_names(root), 2))
    paths = [path_of(root / "journal", name) for name in (one, other)]
    contents = [path.read_bytes() for path in paths]
    suffixes = [path.suffix == SUFFIX for path in paths]
    for path in paths:
        path.unlink()
    for name, content, is_compressed in zip((other, one), contents, suffixes, strict=True):
        (root / "journal" / (name + SUFFIX * is_compressed)).write_bytes(content)
    return first_position(one), first_position(one)


def _duplicate(chance: random.Random, root: Path, _: tuple[Life, Life]) -> tuple[Position, Position]:
    path = path_of(root / "journal", chance.choice(_names(root)))
    behind = first_position(chance.choice(_names(root)))
    copy = behind._replace(sequence=behind.sequence + 1)
    name = f"{copy.partition:02d}-{copy.epoch:010d}-{copy.sequence:011d}.segment"
    if name in _names(root):
        return _swap_files(chance, root, ())  # type: ignore[arg-type]
    (root / "journal" / (name + SUFFIX * (path.suffix == SUFFIX))).write_bytes(path.read_bytes())
    return behind, copy


def _rename(chance: random.Random, root: Path, lives: tuple[Life, Life]) -> tuple[Position, Position]:
    before = _names(root)
    span = _duplicate(chance, root, lives)
    added = [name for name in _names(root) if name not in before]
    if not added:
        return span
    content = path_of(root / "journal", added[0]).read_bytes()
    same = [name for name in before if path_of(root / "journal", name).read_bytes() == content]
    path_of(root / "journal", same[0]).unlink()
    lowest = min(span[0], first_position(same[0]))
    return lowest, min(span[1], first_position(same[0]))


def _put_foreign(chance: random.Random, root: Path, lives: tuple[Life, Life]) -> tuple[Position, Position]:
    """A segment of another journal in place of one of this."""
    name = chance.choice(_names(root))
    foreign = chance.choice(segment_files(lives[1].states[-1] / "journal"))
    path_of(root / "journal", name).unlink()
    shutil.copy(lives[1].states[-1] / "journal" / foreign, root / "journal" / name)
    return first_position(name), first_position(name)


def _put_foreign_anchor(_: random.Random, root: Path, lives: tuple[Life, Life]) -> tuple[None, None]:
    shutil.copy(lives[1].states[-1] / "evidence" / ANCHOR_FILE, root / "evidence")
    return None, None


def _put_older_anchor(chance: random.Random, root: Path, lives: tuple[Life, Life]) -> tuple[Position, Position]:
    start = chance.randrange(STARTS - 1)
    shutil.copy(lives[0].states[start] / "evidence" / ANCHOR_FILE, root / "evidence")
    stop = lives[0].anchors[start].end
    behind = next(first_position(name) for name in _names(root) if name > stop.segment)
    return behind, behind


def _put_older_tombstone(chance: random.Random, root: Path, lives: tuple[Life, Life]) -> tuple[Position, Position]:
    older = lives[0].states[chance.randrange(STARTS - 1)]
    shutil.copy(older / "evidence" / TOMBSTONE_FILE, root / "evidence")
    first = first_position(_names(older)[0])
    return first, first


ATTACKS_MADE: tuple[Attack, ...] = (
    _delete_some,
    _delete_some,
    _swap_files,
    _duplicate,
    _rename,
    _put_foreign,
    _put_foreign_anchor,
    _put_older_anchor,
    _put_older_tombstone,
)


def _findings(root: Path, lives: tuple[Life, Life], *, with_log: bool) -> Verdict:
    return verified(root, anchors=tuple(lives[0].anchors) if with_log else ())


@pytest.mark.timeout(120)
def test_whole_files_moved_about_are_noticed_at_their_place(lives: tuple[Life, Life], tmp_path: Path) -> None:
    """Deleted in a row, swapped, repeated, renamed, foreign, older: plain and compressed, with the log and without."""
    chance = random.Random(SEED)
    root = tmp_path / "attacked"
    assert _findings(lives[0].states[-1], lives, with_log=True).findings == []
    for number in range(ATTACKS):
        shutil.copytree(lives[0].states[-1], root)
        attack, with_log = chance.choice(ATTACKS_MADE), chance.random() < 0.5

        first, last = attack(chance, root, lives)
        found = _findings(root, lives, with_log=with_log).findings

        assert found, (number, attack.__name__, with_log)
        seen = found[0].first
        is_right = seen is None if first is None or last is None else seen is not None and first <= seen <= last
        assert is_right, (number, attack.__name__, with_log, first, last, found[:2])
        shutil.rmtree(root)


def test_a_whole_older_folder_is_betrayed_by_the_log(lives: tuple[Life, Life]) -> None:
    """Each earlier state is whole by itself; the log, or the tombstone that was left, says what is gone."""
    for start, older in enumerate(lives[0].states[:-1]):
        assert verified(older).findings == []
        (found,) = verified(older, anchors=(lives[0].anchors[-1],)).findings
        gone = next(name for name in _names(lives[0].states[start + 1]) if name not in _names(older))
        assert (found.kind, found.offset) == ("cut", -1)
        assert found.first is not None
        assert lives[0].anchors[start].end.position <= found.first
        with_all = verified(older, anchors=tuple(lives[0].anchors)).findings
        assert with_all[0].first is not None
        assert lives[0].anchors[start].end.position <= with_all[0].first <= first_position(gone)


def test_an_older_folder_with_the_tombstone_left_is_cut_or_noticed(lives: tuple[Life, Life], tmp_path: Path) -> None:
    """The tombstone is younger than all that is there."""
    for start, older in enumerate(lives[0].states[:-1]):
        root = tmp_path / str(start)
        shutil.copytree(older, root)
        shutil.copy(lives[0].states[-1] / "evidence" / TOMBSTONE_FILE, root / "evidence")
        verdict = verified(root)

        assert verdict.findings or any("deleted lawfully, and is there" in each for each in verdict.notices)


def test_a_segment_gone_behind_one_without_a_frame_is_missing(tmp_path: Path) -> None:
    """An empty segment hands on what the next must go on from, also where it is the oldest that is left."""
    fill(tmp_path, starts=1)

    async def fail_and_go_on() -> None:
        clock = FakeClock()
        clock.advance(100)
        journal = open_journal(tmp_path, clock)
        names = segment_files(tmp_path / "journal")
        committer = journal._committer
        committer._let_go(committer._active)  # type: ignore[arg-type]
        committer._open((), epoch=committer._next_epoch(), first_sequence=0)  # the one before stays, empty
        await journal.append(entry_of(b"one"))
        committer._let_go(committer._active)  # type: ignore[arg-type]
        committer._open((), epoch=committer._next_epoch(), first_sequence=0)
        await journal.append(entry_of(b"two"))
        write_cursor(tmp_path / "journal", "store", first_position(names[-1]))
        assert journal.reclaim(wait=True) == len(names) - 1
        await journal.close()

    asyncio.run(fail_and_go_on())
    empty, with_one, _ = _names(tmp_path)
    assert verified(tmp_path).findings == []
    (tmp_path / "journal" / with_one).unlink()
    found = verified(tmp_path).findings

    assert empty < with_one
    assert (found[0].kind, found[0].first) == ("missing", first_position(with_one))


def test_a_cut_hidden_behind_an_empty_file_of_a_later_segment_is_found(tmp_path: Path) -> None:
    """A segment that is being made holds nothing; it does not make the one before it whole."""
    fill(tmp_path, starts=1)
    newest = tmp_path / "journal" / _names(tmp_path)[-1]
    segment = Segment(newest.parent, newest.name)
    head = segment.head(segment.frames_at, segment.size)
    segment.close()
    content = newest.read_bytes()
    (newest.parent / "00-1999999999-00000000000.segment").touch()
    newest.write_bytes(content[: head.end])
    (cut,) = verified(tmp_path).findings
    newest.unlink()
    (gone,) = verified(tmp_path).findings

    assert (cut.kind, cut.first) == ("cut", segment.first._replace(sequence=head.header.sequence + 1))
    assert gone.first == segment.first
