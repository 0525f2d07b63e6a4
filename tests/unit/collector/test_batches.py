"""Sources hand every batch to every output once, share the work of those that keep up, and move cursors in order."""

import asyncio
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import batches
from collector.balance.book import Book
from collector.batches import START, Source, Window
from collector.journal.checkpoints import Checkpoint
from collector.journal.entry import Entry, Receipt
from collector.journal.follow import Gap
from collector.journal.writer import Journal
from collector.outputs.output import Stopped
from collector.reader import Listeners
from pipelines.batch import Batch, DeadLetter
from pipelines.frame import Frame, Origin, Position
from pipelines.state import State
from tests.kit.batches import batch_of

ORIGIN = Origin("docker", "tcp", "192.0.2.7")


class Counting:
    """A pipeline that makes one batch per frame, as many as the payload says, and counts its work.

    A payload with an exclamation mark gives a dead letter as well.
    """

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.state = State()
        self.fingerprint = ""

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Make slices of a frame: its payload is their number."""
        self.frames.append(frame.sequence)
        payload = bytes(frame.payload)
        letter = DeadLetter(frame.position, "decode", "bad_entry", "no event", "docker/192.0.2.7", payload)
        letters = (letter,) if b"!" in payload else ()
        slices = int(payload.strip(b"!") or b"1")
        for number in range(slices):
            made = batch_of(frame.sequence, [f"{frame.sequence}.{number}"])
            here = frame.position._replace(record=number)
            last = number == slices - 1
            after = frame.position._replace(sequence=frame.sequence + 1) if last else here._replace(record=number + 1)
            yield Batch(here, after, frame.journal_time, made.documents, letters, made.tally, 1)


class Setting:
    """A journal, a window over it, and what its sources settled."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal.open(folder / "journal", name="c")
        self.pipeline = Counting()
        self.gaps: list[Gap] = []
        self.passed_over: list[str] = []
        self.checkpoints: list[Checkpoint] = []
        listeners = Listeners(self.gaps.append, self.checkpoints.append, self.passed_over.append)
        self.window = Window(folder / "journal", lambda: self.pipeline, listeners)
        self.settled: list[Position] = []

    async def append(self, *payloads: bytes) -> None:
        """Append frames and let the window know of them."""
        for payload in payloads:
            assert await self.journal.append(Entry(ORIGIN, "forward", (payload,))) is Receipt.DURABLE
        self.window.grow(self.journal.durable)

    def source(self, start: Position = START, *, leads: bool = True) -> Source:
        """Make a source."""
        self.book = Book(start)
        return self.source_of(self.book, leads=leads)

    def source_of(
        self, book: Book, *, hand_from: Position = START, skip_to: Position = START, leads: bool = True
    ) -> Source:
        """Make a source that goes on with a book."""
        return Source(
            self.window,
            book,
            lambda: self.settled.append(book.position),
            hand_from=hand_from,
            skip_to=skip_to,
            leads=leads,
        )


@pytest.fixture
async def setting(tmp_path: Path) -> Setting:
    """A fresh journal and window."""
    return Setting(tmp_path)


def taken_one(source: Source) -> Batch:
    """The next batch, which must be at hand."""
    batch = source.ready()
    assert batch is not None
    return batch


def taken(source: Source) -> list[tuple[int, int]]:
    """(sequence, record) of every batch at hand."""
    found = []
    while (batch := source.ready()) is not None:
        found.append((batch.position.sequence, batch.position.record))
    return found


async def test_outputs_that_keep_up_share_one_computation(setting: Setting) -> None:
    """Two sources get every batch, and the pipeline runs once per frame."""
    first, second = setting.source(), setting.source()
    await setting.append(b"1", b"2", b"1")

    assert taken(first) == taken(second) == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert sorted(set(setting.pipeline.frames)) == [0, 1, 2]
    assert setting.pipeline.frames.count(0) == setting.pipeline.frames.count(2) == 1


async def test_an_output_that_lags_reads_by_itself_and_catches_up(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What left the window is computed again, nothing is left out, and at the head the work is shared again."""
    monkeypatch.setattr(batches, "WINDOW_BYTES", 1)
    first, second = setting.source(), setting.source()
    await setting.append(b"1", b"1", b"1")

    assert taken(first) == [(0, 0), (1, 0), (2, 0)]
    assert taken(second) == [(0, 0), (1, 0), (2, 0)]
    await setting.append(b"1")
    assert taken(first) == taken(second) == [(3, 0)]
    assert setting.pipeline.frames.count(3) == 1


async def test_what_every_output_has_taken_is_not_kept(setting: Setting) -> None:
    """Memory is held for outputs that are behind, and for nothing else."""
    first, second = setting.source(), setting.source()
    await setting.append(b"1", b"1")
    kept = weakref.ref(taken_one(first).documents[0])
    taken(first)
    assert kept() is not None
    taken(second)
    assert kept() is None

    await setting.append(b"1", b"1")
    kept = weakref.ref(taken_one(first).documents[0])
    taken(first)
    assert kept() is not None
    second.close()
    assert kept() is None


async def test_a_source_that_does_not_lead_waits_for_the_others(setting: Setting) -> None:
    """It never makes the head move, and takes what the leader had made."""
    leader, follower = setting.source(), setting.source(leads=False)
    await setting.append(b"1", b"1")

    assert taken(follower) == []
    assert taken(leader) == taken(follower) == [(0, 0), (1, 0)]
    assert setting.pipeline.frames == [0, 1]


async def test_documents_are_gone_before_the_next_are_made(setting: Setting) -> None:
    """A source that only wants letters keeps no documents in memory, and nothing is computed twice for it."""
    leader, follower = setting.source(), setting.source(leads=False)
    await setting.append(b"1", b"1!", b"1")
    plain = weakref.ref(taken_one(leader).documents[0])
    with_letter = weakref.ref(taken_one(leader).documents[0])
    assert plain() is None

    taken(leader)

    assert with_letter() is not None
    found = [taken_one(follower) for _ in range(3)]
    assert [(len(batch.documents), len(batch.dead_letters)) for batch in found] == [(0, 0), (1, 1), (0, 0)]
    assert (taken(follower), setting.pipeline.frames) == ([], [0, 1, 2])


async def test_an_output_that_starts_anew_gets_the_documents_again(setting: Setting) -> None:
    """What is kept without documents is not for it: it reads the journal by itself until it is at the head."""
    leader, follower = setting.source(), setting.source(leads=False)
    await setting.append(b"1", b"1", b"1")
    taken(leader)
    leader.close()

    again = setting.source()
    found = [taken_one(again) for _ in range(3)]

    assert [len(batch.documents) for batch in found] == [1, 1, 1]
    assert taken(again) == []
    assert len(taken(follower)) == 3


async def test_the_cursor_moves_in_order_and_past_whole_frames(setting: Setting) -> None:
    """Settling a later batch settles those before it; the cursor names what comes next."""
    source = setting.source()
    await setting.append(b"1", b"3")
    taken(source)
    epoch = setting.journal.durable.position.epoch
    source.settle(Position(0, epoch, 1, 0))
    source.settle(Position(0, epoch, 1, 2))

    assert setting.settled == [Position(0, epoch, 1, 1), Position(0, epoch, 2, 0)]


async def test_a_source_starts_at_a_record_within_a_frame(setting: Setting) -> None:
    """Slices before its start are not handed out again."""
    await setting.append(b"1", b"3")
    epoch = setting.journal.durable.position.epoch
    source = setting.source(Position(0, epoch, 1, 1))

    assert taken(source) == [(1, 1), (1, 2)]


async def test_a_waiting_source_wakes_for_new_frames_and_stops_when_told(setting: Setting) -> None:
    """`next` returns what becomes durable later, and raises Stopped once the worker drains."""
    source = setting.source()
    waiting = asyncio.create_task(source.next())
    await setting.append(b"1")

    assert (await asyncio.wait_for(waiting, 5)).position.sequence == 0
    waiting = asyncio.create_task(source.next())
    setting.window.stop()
    with pytest.raises(Stopped):
        await asyncio.wait_for(waiting, 5)


async def test_the_lag_is_told_in_frames_and_seconds(setting: Setting) -> None:
    """Frames behind the durable end, and the age of the oldest batch in hand."""
    source = setting.source()
    await setting.append(b"1", b"1")
    epoch = setting.journal.durable.position.epoch
    first = source.ready()
    assert first is not None

    assert source.lag(first.journal_time + 2 * 10**9)[1] == 2.0
    taken(source)
    source.settle(Position(0, epoch, 0, 0))
    assert source.lag(first.journal_time)[0] == 1
    source.settle(Position(0, epoch, 1, 0))
    assert source.lag(first.journal_time) == (0, 0.0)


async def test_an_output_that_never_delivered_is_behind_by_everything(setting: Setting) -> None:
    """Its lag stood still at what it had in hand, so no alert told of the first outage."""
    source = setting.source()
    await setting.append(b"1", b"1")
    assert source.ready() is not None
    await setting.append(b"1", b"1", b"1")

    assert source.lag(0)[0] == 5


async def test_what_an_output_has_already_is_counted_and_not_handed_out(setting: Setting) -> None:
    """A store that committed more than the book knows of is not given it again, and the book has it all the same."""
    await setting.append(b"1", b"3", b"1")
    first = setting.journal.durable.position._replace(sequence=0)
    book = Book(START)
    source = setting.source_of(book, hand_from=first._replace(sequence=1, record=2))

    assert taken(source) == [(1, 2), (2, 0)]
    assert setting.settled == [first._replace(sequence=1, record=at) for at in (0, 1, 2)]
    assert book.skipped == 0


async def test_what_an_output_skips_is_read_and_counted(setting: Setting) -> None:
    """Each batch of it settles, in order and as skipped; what the output is known to have is not."""
    await setting.append(b"1", b"1", b"1", b"1")
    first = setting.journal.durable.position._replace(sequence=0)
    book = Book(START)
    source = setting.source_of(book, hand_from=first._replace(sequence=1), skip_to=first._replace(sequence=3))

    assert taken(source) == [(3, 0)]
    assert book.position == first._replace(sequence=3)
    assert [1, 2, 3] == [at.sequence for at in setting.settled]
