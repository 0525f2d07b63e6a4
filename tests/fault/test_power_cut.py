"""The power goes, at any moment: nothing acknowledged is lost, no position given twice, nothing seen is another thing.

Lives of a real journal, with a worker that follows it, are recorded call by call (`recorder`); what a cut may leave of
them is computed (`disk_model`); there it starts again, and is cut again. What a reader saw of frames that were written
and then lost counts as well: nothing later may bear their position, and so no document their id.
"""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.evidence.verdict import Finding
from collector.evidence.verify import Verifier
from collector.journal.arrivals import SenderConnection, client_of
from collector.journal.cursors import read_cursor
from collector.journal.follow import Gap
from collector.journal.recogniser import Recogniser
from collector.journal.segments import FrameHead, Segment, segment_files, walk
from collector.journal.state import VerificationKey
from collector.store.files import StoreFiles
from pipelines.frame import Frame, Position
from tests.fault.disk_model import Disk, Worst
from tests.fault.power_life import SEGMENT_BYTES, SENDER, Life, message, submit
from tests.fault.recorder import Call, Player, Recorder
from tests.kit.clock import START_NS, FakeClock
from tests.kit.forward_sender import number_in
from tests.kit.journals import ORIGIN, frames_in, gaps_in, open_journal, read_all
from tests.kit.stores import EVER_S, SIZE_BYTES

SEED = 20261128
CHAINS = 18
LIVES = 5
CUTS_OF_A_LIFE = 6
MESSAGES = 24
"""New ones in each life."""

NEW = 10_000
"""A message that none of them sent."""

START_SYNCS = 20
"""One cut of a life is before one of its first syncs: in its start, or just behind."""

SYNCS = frozenset({"fsync", "fdatasync"})
PROGRAM = Path(__file__).with_name("power_life.py")


class History(msgspec.Struct):
    """What was promised and seen in a chain of lives up to a cut; `positions` says what each frame ever held."""

    marks: list[bytes] = []
    positions: dict[Position, bytes] = {}

    def lines(self, kind: str) -> Iterator[list[str]]:
        """Yield the words of each mark of this kind."""
        for mark in self.marks:
            word, *rest = mark.decode().split()
            if word == kind:
                yield rest

    def acked(self) -> list[int]:
        """Return the numbers of acknowledged messages, in order."""
        return [int(number) for (number,) in self.lines("acked")]

    def produced(self) -> int:
        """Return how many records the internal producer knows to be durable."""
        return max((int(number) for (number,) in self.lines("produced")), default=0)

    def cursor(self) -> Position:
        """Return the farthest cursor that may be on disk."""
        found = (Position(0, int(epoch), int(sequence)) for epoch, sequence in self.lines("cursor"))
        return max(found, default=Position(0, 0, 0))

    def seen(self) -> dict[int, Position]:
        """Return where the worker saw which number."""
        return {
            int(number): Position(0, int(epoch), int(sequence))
            for epoch, sequence, _, number in self.lines("seen")
            if number != "None"
        }

    def note_all(self, journal: Path) -> None:
        """Take note of every frame that somebody could read: its position belongs to it for ever.

        A frame is known by its link, which no other has, be its record the same.
        """
        for name in segment_files(journal):
            segment = Segment(journal, name)
            for head in walk(segment, segment.size):
                if isinstance(head, FrameHead):
                    position = segment.first._replace(sequence=head.header.sequence)
                    link = segment.link_of(head)
                    assert self.positions.setdefault(position, link) == link, f"{position} was given twice"
            segment.close()


class _Stored:
    """What the store holds after a cut: which numbers, how often, and from where on it goes on."""

    def __init__(self, root: Path, cursor: Position) -> None:
        files = StoreFiles(root / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES)
        self.until = files.open(cursor) or Position(0, 0, 0)
        files.close()
        lines = [line for path in root.glob("store/*/*.ndjson") for line in path.read_text().splitlines()]
        found = (number_in(line, SENDER.name) for line in lines)
        self.numbers = Counter(number for number in found if number is not None)


class Chain:
    """Lives of one journal, each begun on what a power cut left of the one before."""

    def __init__(self, recorder: Recorder, folder: Path, seed: int) -> None:
        self.cuts = 0
        self.records = 0
        self.lost = 0
        self.positions = 0
        self._recorder = recorder
        self._folder = folder
        self._chance = random.Random(seed)
        self._history = History()
        self._in_flight = self._chance.choice((1, 4, 8))
        self._sent = 0
        self._unacked: list[int] = []

    async def play(self) -> None:
        """Live, cut, look; a few times."""
        root = self._folder / "life-0"
        root.mkdir(parents=True)
        for number in range(1, LIVES + 1):
            disk = Disk(root)
            following = self._folder / f"life-{number}"
            await self._cut(self._recorder.live(self._life(root)), disk, following)
            shutil.rmtree(root)
            root = following
        self.positions = len(self._history.positions)

    def _life(self, root: Path) -> bytes:
        new = list(range(self._sent, self._sent + MESSAGES))
        self._sent += MESSAGES
        clock_ns = START_NS + self._chance.choice((-3600, 0, 0, 1, 3600)) * 1_000_000_000
        return msgspec.json.encode(
            Life(
                root=str(root),
                marks=str(self._folder / "marks"),
                seed=self._chance.randrange(1 << 30),
                clock_ns=clock_ns,
                unacked=self._unacked,
                new=new,
                in_flight=self._in_flight,
                stop=self._chance.random() < 0.3,
            )
        )

    async def _cut(self, calls: list[Call], disk: Disk, following: Path) -> None:
        """Cut at some moments of a life, most of them just before a sync took effect; go on from one of them."""
        syncs = [number for number, call in enumerate(calls) if call.name in SYNCS]
        moments = {*self._chance.sample(syncs, CUTS_OF_A_LIFE - 2), self._chance.randrange(len(calls))}
        moments.add(self._chance.choice(syncs[:START_SYNCS]))
        chosen = min(moments) if self._chance.random() < 0.5 else self._chance.choice(sorted(moments))
        player, played = Player(disk, str(self._folder / "marks")), 0
        before, after = self._history, self._history
        for moment in sorted(moments):
            for call in calls[played:moment]:
                player.play(call)
            played = moment
            history = History(before.marks + player.marks, dict(before.positions))
            _note_written(disk, self._folder / "written", history)
            await self._look(disk, History(list(history.marks), dict(history.positions)))
            if moment == chosen:
                after = history
                disk.cut(following, self._chance)
        self._history = after
        self._unacked = self._not_heard(after)

    def _not_heard(self, history: History) -> list[int]:
        """Return what the sender sends again: the last acknowledgements before a cut did not reach it, perhaps."""
        acked = history.acked()
        heard = set(acked[: len(acked) - self._chance.randrange(min(self._in_flight, len(acked)) + 1)])
        return [number for number in range(self._sent) if number not in heard]

    async def _look(self, disk: Disk, history: History) -> None:
        """Start on what a cut leaves, compare, send again what was not acknowledged, and compare again."""
        root = self._folder / "cut"
        disk.cut(root, self._chance if self._chance.random() < 0.8 else Worst())
        self.cuts += 1
        clock = FakeClock(START_NS + self._chance.choice((-7200, 0, 1)) * 1_000_000_000)
        journal = open_journal(root, clock, segment_bytes=SEGMENT_BYTES)
        recogniser = Recogniser(journal, root / "journal")
        cursor = read_cursor(root / "journal", "store") or Position(0, 0, 0)
        stored = _Stored(root, cursor)
        written = len([at for at in history.positions if at >= cursor])
        self.lost += written - self._check(read_all(root / "journal", journal.durable), history, cursor, stored)
        connection = SenderConnection(client_of(ORIGIN))
        for number in [*self._not_heard(history), NEW]:
            assert await submit(recogniser, message(number, connection))
        history.marks += [b"acked %d" % number for number in (*range(self._sent), NEW)]
        self._check(read_all(root / "journal", journal.durable), history, cursor, stored)
        history.note_all(root / "journal")
        await journal.close()
        recogniser.close()
        assert _findings(root) == []
        shutil.rmtree(root)

    def _check(self, found: list[Frame | Gap], history: History, cursor: Position, stored: _Stored) -> int:
        """Compare what can be read with what was promised; return how many frames can be, from the cursor on."""
        # Before the cursor a lawful deletion may be undone in part.
        assert [gap for gap in gaps_in(found) if gap.last >= cursor] == []
        frames = frames_in(found)
        numbers = Counter(number for frame in frames for number in _numbers(frame))
        assert [number for number, times in numbers.items() if times > 1] == []
        readable, farthest = {frame.position for frame in frames}, history.cursor()
        seen = history.seen()
        to_come = {number for frame in frames if frame.position >= stored.until for number in _numbers(frame)}
        assert set(history.acked()) - to_come - stored.numbers.keys() == set()
        assert to_come & stored.numbers.keys() == set()
        assert [number for number, times in stored.numbers.items() if times > 1] == []
        assert [at for at in seen.values() if at >= cursor and at not in readable] == []
        assert cursor <= farthest
        assert not frames or cursor < frames[-1].position._replace(sequence=frames[-1].sequence + 2)
        of_producer = [frame for frame in frames if frame.producer is not None and frame.position >= cursor]
        produced = [frame.producer.sequence for frame in of_producer if frame.producer is not None]
        assert produced == list(range(produced[0], produced[-1] + 1)) if produced else True
        assert not produced or produced[-1] >= history.produced()
        self.records += len(numbers)
        return len([frame for frame in frames if frame.position >= cursor])


def _note_written(disk: Disk, folder: Path, history: History) -> None:
    """Note every frame that was ever written, safe or not."""
    folder.mkdir()
    for name, content in disk.every_file():
        (folder / name).write_bytes(content)
    history.note_all(folder)
    shutil.rmtree(folder)


def _numbers(frame: Frame) -> list[int]:
    at, found = 0, []
    for each in frame.messages:
        number = number_in(bytes(frame.payload[at : at + each.length]).decode("ascii", "replace"), SENDER.name)
        at += each.length
        found += [number] if number is not None else []
    return found


def _findings(root: Path) -> list[Finding]:
    key = msgspec.json.decode((root / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
    return Verifier(root / "journal", root / "evidence", key).run().findings


@pytest.mark.timeout(600)
async def test_no_power_cut_loses_what_was_acknowledged_or_gives_a_position_twice(fast_disk: Path) -> None:
    """More than 500 cuts, in a row, with a worker: every acked record once, positions and ids unique, chain whole."""
    with Recorder(PROGRAM, fast_disk) as recorder:
        chains = [Chain(recorder, fast_disk / str(number), SEED + number) for number in range(CHAINS)]
        for chain in chains:
            await chain.play()
    cuts, records = sum(chain.cuts for chain in chains), sum(chain.records for chain in chains)
    positions, lost = sum(chain.positions for chain in chains), sum(chain.lost for chain in chains)

    told = f"{cuts} power cuts, {records} records read back, {lost} frames lost that nobody was promised, "
    sys.stdout.write(f"{told}{positions} positions, none given twice\n")
    assert cuts >= 500
    assert lost > 0


async def test_an_epoch_that_left_no_file_is_not_taken_again(fast_disk: Path) -> None:
    """All its frames are lost, its empty file is removed by the next start, and that is cut before it made its own.

    Only the state remembers it then; the clock stands still.
    """
    history = History()
    root, marks = fast_disk / "0", str(fast_disk / "marks")
    root.mkdir()
    with Recorder(PROGRAM, fast_disk) as recorder:
        for number, syncs in enumerate((1, 0, 3)):
            life = Life(
                root=str(root),
                marks=marks,
                seed=number,
                clock_ns=START_NS,
                unacked=[],
                new=[1],
                in_flight=1,
                stop=False,
            )
            disk = Disk(root)
            player = Player(disk, marks)
            for call in recorder.live(msgspec.json.encode(life)):
                # The first sync is of a segment's header, its folder's comes behind it; the second of the first frame.
                if call.name == "fdatasync" and syncs == 0:
                    break
                syncs -= call.name == "fdatasync"
                player.play(call)
            _note_written(disk, fast_disk / "written", history)
            root = fast_disk / str(number + 1)
            disk.cut(root, Worst())
    epochs = sorted({position.epoch for position in history.positions})

    assert epochs == [START_NS // 10**9, START_NS // 10**9 + 2]
