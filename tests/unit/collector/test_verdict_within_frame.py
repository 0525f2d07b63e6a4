"""A verdict on a frame that consumers stand in the middle of: nothing is lost, and nothing comes twice."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgpack
import pytest

from collector.balance.book import Book
from collector.batches import START, Source, Window
from collector.dead_letters import PIPELINE, DeadLetterFile, Letter, read_letters
from collector.journal.entry import Entry, Receipt
from collector.journal.writer import Journal
from collector.outputs.dead_letters import letters_of
from collector.reader import Listeners
from pipelines import layout, reference
from pipelines.batch import Batch
from pipelines.condemned import Part, Verdict
from pipelines.frame import Frame, Origin, Position, position_of
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.pieces import docker_pieces, packed

SETTINGS = Settings(version="0.1.0")
ORIGIN = Origin("docker", "tcp", "192.0.2.7")
SLICE = 8


def entries(count: int) -> bytes:
    """Return a message of so many records."""
    fields = {"container_id": "ab" * 32, "container_name": "/web", "source": "stdout", "log": "a line"}
    return b"".join(msgpack.packb([1_700_000_000 + number, fields]) for number in range(count))


def failed(path: str, frame: Frame, error: Exception) -> None:
    """No path may fail here."""
    raise error


class Workers:
    """A journal with one frame of interest, and workers that follow one another; the book of one consumer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal.open(folder / "journal", name="c")
        self.verdicts: dict[Position, Verdict] = {}
        self.book = Book(START)

    async def append(self, *payloads: bytes) -> Position:
        """Append messages; those behind the first come while that is synced, and are one frame. Return the last's."""
        receipts = [self.journal.append(Entry(ORIGIN, "forward", (payload,))) for payload in payloads]
        assert {Receipt.DURABLE} == set(await asyncio.gather(*receipts))
        end = self.journal.durable.position
        return end._replace(sequence=end.sequence - 1)

    def source(self, *, hand_from: Position | None = None) -> Source:
        """Start another worker's source of the same consumer."""
        listeners = Listeners(lambda _: None, lambda _: None, lambda _: None)
        window = Window(self.folder / "journal", lambda: Pipeline(SETTINGS, failed, dict(self.verdicts)), listeners)
        window.grow(self.journal.durable)
        return Source(window, self.book, lambda: None, hand_from=hand_from or self.book.position)

    def condemn(
        self, frame: Position, *, messages: int = 1, first: int = 0, indexes: int = 0, lines: Sequence[Position] = ()
    ) -> None:
        """Have whole messages of a frame condemned."""
        parts = (Part(first, messages, indexes=indexes),) if messages else ()
        self.verdicts[frame] = Verdict(frame, "crash", parts, tuple(lines))


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """A fresh journal, and slices of a few records."""
    monkeypatch.setattr(layout, "RECORDS_LIMIT", SLICE)
    monkeypatch.setattr(reference, "RECORDS_LIMIT", SLICE)
    return Workers(tmp_path)


def settle(source: Source, batches: int = 1000) -> list[Batch]:
    """Take so many batches at hand and settle each; return them."""
    taken: list[Batch] = []
    while len(taken) < batches and (batch := source.ready()) is not None:
        taken.append(batch)
        source.settle(batch.position)
    return taken


def letters(batches: Sequence[Batch]) -> list[Letter]:
    """Return the letters as the built-in output writes them."""
    return [letter for batch in batches for letter in letters_of(batch)]


HELD = 4 * SLICE
"""Records of a message that is condemned; it is known, so those behind it have the indexes that they had."""


def records_of(batches: Sequence[Batch]) -> list[int]:
    """Return the indexes of all documents."""
    return [position_of(each).record for batch in batches for made in batch.documents for each in made.ids]


@pytest.mark.parametrize("settled", [1, 3])
async def test_a_condemned_frame_of_which_slices_are_settled_is_a_letter_all_the_same(
    workers: Workers, settled: int
) -> None:
    """Its one batch begins before the cursor, so it was passed over: what came behind the cursor was gone."""
    frame = await workers.append(entries(5 * SLICE))
    settle(workers.source(), settled)
    workers.condemn(frame)

    (batch,) = settle(workers.source())
    (letter,) = letters([batch])
    cursor = frame._replace(record=settled * SLICE)
    assert (cursor, cursor) == (batch.position, letter.position)
    assert entries(5 * SLICE) == letter.payload_bytes
    assert frame._replace(sequence=frame.sequence + 1) == workers.book.position
    assert [] == workers.book.problems


async def test_the_letter_of_such_a_frame_is_on_disk_once_after_a_crash(workers: Workers) -> None:
    """It stands at the cursor: a start from there cuts it, and meets it again."""
    frame = await workers.append(entries(5 * SLICE))
    settle(workers.source(), 2)
    workers.condemn(frame)
    cursor = workers.book.position
    found = workers.source().ready()
    assert found is not None
    kept = DeadLetterFile(workers.folder, PIPELINE)
    kept.open(cursor)
    kept.append(letters([found]))

    kept.open(cursor)
    assert [] == list(read_letters(workers.folder, PIPELINE))
    (batch,) = settle(workers.source())
    kept.append(letters([batch]))
    kept.open(workers.book.position)
    assert [each.id for each in letters([found])] == [each.id for each in read_letters(workers.folder, PIPELINE)]


async def test_what_was_delivered_before_a_condemned_message_comes_once(workers: Workers) -> None:
    """Of the batch in which both stand the letter is handed out, and the documents behind it; the books agree."""
    first, behind = entries(3), entries(2)
    frame = await workers.append(entries(1), first, entries(HELD), behind)
    settle(workers.source(), 3)
    assert (frame.sequence, 2 * SLICE) == workers.book.position[2:]
    workers.condemn(frame, first=1, indexes=HELD)

    batches = settle(workers.source())
    assert [3 + HELD, 4 + HELD] == records_of(batches)
    assert 1 == len(letters(batches))
    (row,) = workers.book.rows.values()
    assert (1 + 2 * SLICE + 2, 1, True) == (row.documents, row.dead, row.is_balanced)
    assert [] == workers.book.problems


async def test_a_store_that_is_ahead_of_its_book_gets_what_is_behind_a_condemned_message(workers: Workers) -> None:
    """It is given what it lacks, without what it has; the book counts all that it had not counted."""
    frame = await workers.append(entries(1), entries(3), entries(HELD), entries(2))
    workers.condemn(frame, first=1, indexes=HELD)

    batches = settle(workers.source(hand_from=frame._replace(record=2 * SLICE)))
    assert [3 + HELD, 4 + HELD] == records_of(batches)
    (row,) = workers.book.rows.values()
    assert (1 + 5, 1) == (row.documents, row.dead)
    assert [] == workers.book.problems


async def test_letters_of_condemned_lines_come_to_who_stands_in_the_middle_of_the_frame(workers: Workers) -> None:
    """They are with the last batch, which nobody has settled; at a start they are cut with it, and met again."""
    pieces = docker_pieces(b"0123456789", 4)
    line = await workers.append(packed(pieces[0]))
    frame = await workers.append(entries(3 * SLICE))
    settle(workers.source(), 2)
    assert frame._replace(record=SLICE) == workers.book.position
    workers.condemn(frame, messages=0, lines=[line])

    batches = settle(workers.source())
    (letter,) = letters(batches)
    assert [1, 2] == [batch.position.record // SLICE for batch in batches]
    assert ("join", packed(pieces[0])) == (letter.stage, letter.payload_bytes)
    assert (batches[-1].position, True) == (letter.position, letter.id.endswith("-1"))
    assert [] == workers.book.problems
    (row,) = workers.book.rows.values()
    assert (3 * SLICE, 1, 0, True) == (row.documents, row.dead, row.waiting, row.is_balanced)
