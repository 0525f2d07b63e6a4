"""What every consumer of the journal may rely on: wherever it begins, it gets what an uninterrupted one gets."""

import asyncio
import itertools
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from collector import reader
from collector.balance.book import Book
from collector.batches import START, Source, Window
from collector.internal import TICK_ENCODING, TICK_ORIGIN
from collector.journal import checkpoints as files
from collector.journal.checkpoints import Checkpoint, checkpoints, write_checkpoint
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry
from collector.journal.segments import first_position, segment_files
from collector.journal.writer import Journal
from collector.reader import Listeners, Reader
from pipelines.batch import Batch
from pipelines.configuration import ENCODING, configuration_message, encode_settings
from pipelines.detect.carried import ENCODING as RULES
from pipelines.detect.carried import AlertLimits
from pipelines.frame import INTERNAL, Origin, Position
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import STATE_VERSION
from tests.kit.clock import FakeClock
from tests.kit.detection import ANY, rules_message
from tests.kit.journals import ORIGIN, open_journal
from tests.kit.pieces import CONTAINERS, docker_pieces, packed

SEED: Final = 20261129
FRAMES: Final = 60
SEGMENT_BYTES: Final = 6000
SETTINGS: Final = Settings(version="0.1.0")
LIMITS: Final = AlertLimits(burst=3, rule_burst=40)
"""So that some alerts of the lines are suppressed."""

EVERY: Final = 5
"""So many batches lie between the positions where a consumer goes on; it is no divisor of what frames hold."""

pytestmark = pytest.mark.timeout(60)


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def pipeline() -> Pipeline:
    """Make a pipeline."""
    return Pipeline(SETTINGS, failed)


class Consumer:
    """A journal as a worker sees it, with what its readers said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.passed_over: list[str] = []
        self.written: list[Checkpoint] = []
        self.window = Window(directory, pipeline, Listeners(failed, self._keep, self.passed_over.append))

    def _keep(self, checkpoint: Checkpoint) -> None:
        self.written.append(checkpoint)
        write_checkpoint(self.directory, checkpoint)

    def source(self, start: Position = START) -> Source:
        """Return the source of an output."""
        return Source(self.window, Book(start), lambda: None)

    async def taken(self, source: Source, journal: Journal, *, count: int = -1) -> list[Batch]:
        """Return the batches up to the journal's end, or so many."""
        self.window.grow(journal.durable)
        found: list[Batch] = []
        while len(found) != count and (not found or found[-1].next != journal.durable.position):
            found.append(await asyncio.wait_for(source.next(), 10))
        return found


async def fill(journal: Journal) -> None:
    """Append frames that hold pieces of interleaved lines, many of them across frames and segments, under a rule."""
    chance = random.Random(SEED)
    await journal.append(Entry(Origin("tidewaiter", INTERNAL, "rules"), RULES, (rules_message(ANY, limits=LIMITS),)))
    waiting: dict[str, list[bytes]] = {}
    for number in range(FRAMES):
        entries = []
        for container in CONTAINERS:
            if not waiting.get(container):
                line = b"%d " % number + bytes([97]) * chance.randrange(200)
                pieces = docker_pieces(line, 40, container=container, name=f"p{number}")
                waiting[container] = [packed(each) for each in pieces]
            taken = chance.randrange(3)
            entries += waiting[container][:taken]
            del waiting[container][:taken]
        await journal.append(
            Entry(ORIGIN, "forward", (b"".join(entries) or packed({"log": "x"}),), claimed=len(entries))
        )


@pytest.fixture
def clock() -> FakeClock:
    """The journal's clock."""
    return FakeClock()


@pytest.fixture
async def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """A journal of several segments."""
    journal = open_journal(tmp_path, clock, segment_bytes=SEGMENT_BYTES)
    await fill(journal)
    return journal


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let batches hold one record, and replays go in small steps."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("pipelines.") and hasattr(module, "RECORDS_LIMIT"):
            monkeypatch.setattr(module, "RECORDS_LIMIT", 1)
    monkeypatch.setattr(reader, "REPLAY_STEP_BYTES", 300)


def starts(batches: list[Batch]) -> Iterator[tuple[Position, list[Batch]]]:
    """Yield every position where a consumer may have stopped, and what comes from there on."""
    for number, batch in enumerate(batches):
        yield batch.position, batches[number:]


async def test_a_consumer_that_goes_on_anywhere_gets_the_same_bytes(journal: Journal, small: None) -> None:
    """At any batch of the journal, also within a frame: from a checkpoint, and without any."""
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)

    assert len(checkpoints(first.directory)) == len(segment_files(first.directory)) - 1 > 3
    assert sum(batch.tally.joined for batch in whole) > 50
    counts = [count for batch in whole for count in batch.tally.rules.values()]
    assert all(sum(each) > 3 for each in zip(*counts, strict=True))
    for position, expected in itertools.islice(starts(whole), 0, None, EVERY):
        consumer = Consumer(journal._directory)
        assert await consumer.taken(consumer.source(position), journal) == expected
        assert consumer.passed_over == []
    for written in first.written:
        files.checkpoint_file(first.directory, written.position).unlink()
    position, expected = list(starts(whole))[-1]
    consumer = Consumer(journal._directory)
    assert await consumer.taken(consumer.source(position), journal) == expected
    await journal.close()


async def test_a_consumer_of_the_oldest_there_is_goes_on_from_the_state_of_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What came before was deleted; a line that began there still becomes one. Before, it began with nothing."""
    journal = open_journal(tmp_path, clock, segment_bytes=SEGMENT_BYTES, replayed=True)
    await fill(journal)
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)
    kept = first.written[1].position
    write_cursor(journal._directory, "store", kept)
    journal.reclaim(wait=True)
    consumer = Consumer(journal._directory)

    assert first_position(segment_files(journal._directory)[0]) == kept
    assert await consumer.taken(consumer.source(), journal) == [batch for batch in whole if batch.position >= kept]
    await journal.close()


async def test_whoever_passes_writes_the_same_checkpoint(journal: Journal) -> None:
    """Those of a consumer that began in the middle are those of the one that read all."""
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)
    second = Consumer(journal._directory)
    await second.taken(second.source(whole[len(whole) // 2].position), journal)

    assert [each for each in first.written if each.position >= second.written[0].position] == second.written
    await journal.close()


async def test_who_began_without_a_checkpoint_leaves_those_of_others_alone(journal: Journal) -> None:
    """Which configuration held in an archive is not known to it: what it took for that would hold for all behind it."""
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)
    for written in first.written[:2]:
        files.checkpoint_file(first.directory, written.position).unlink()
    second = Consumer(journal._directory)

    assert whole == await second.taken(second.source(), journal)
    assert ([], True) == (second.written, len(first.written) > 3)
    await journal.close()


async def test_a_configuration_makes_up_for_a_checkpoint(journal: Journal) -> None:
    """From its frame on, states are of the configuration that holds."""
    first = Consumer(journal._directory)
    await first.taken(first.source(), journal)
    message = configuration_message("h", encode_settings(SETTINGS))
    await journal.append(Entry(Origin("tidewaiter", INTERNAL, "configuration"), ENCODING, (message,)))
    met = journal.durable.position
    await fill(journal)
    for written in first.written[:2]:
        files.checkpoint_file(first.directory, written.position).unlink()
    second = Consumer(journal._directory)
    await second.taken(second.source(), journal)

    assert [] != second.written
    assert min(each.position for each in second.written) >= met
    await journal.close()


async def test_a_state_of_a_newer_version_is_passed_over_by_name(journal: Journal) -> None:
    """The file is sound, and what it holds cannot be read."""
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)
    newest = first.written[-1]
    newer = STATE_VERSION + 1
    write_checkpoint(first.directory, Checkpoint(newest.position, "", msgspec.msgpack.encode((newer, (0, 0), {}))))
    consumer = Consumer(journal._directory)

    assert await consumer.taken(consumer.source(whole[-1].position), journal) == whole[-1:]
    path = str(files.checkpoint_file(first.directory, newest.position))
    assert [path in each and f"version {newer}" in each for each in consumer.passed_over] == [True]
    await journal.close()


async def test_a_damaged_checkpoint_costs_nothing_but_reading(journal: Journal) -> None:
    """The one before is restored, the log names the file, and the damaged one is written again."""
    first = Consumer(journal._directory)
    whole = await first.taken(first.source(), journal)
    damaged = checkpoints(first.directory)[-1]
    path = files.checkpoint_file(first.directory, damaged)
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    consumer = Consumer(journal._directory)

    assert await consumer.taken(consumer.source(whole[-1].position), journal) == whole[-1:]
    assert [str(path) in each for each in consumer.passed_over] == [True]
    assert path.read_bytes() == sound
    await journal.close()


async def test_consumers_at_one_frame_do_not_wait_for_each_other(journal: Journal, small: None) -> None:
    """One takes half of a large frame; the other goes on, and the first still gets the rest, with nothing twice."""
    alone, consumer = Consumer(journal._directory), Consumer(journal._directory)
    whole = await alone.taken(alone.source(), journal)
    large = next(batch.position._replace(record=0) for batch in whole if batch.position.record == 3)
    slow, fast = consumer.source(), consumer.source()
    begun: list[Batch] = []
    while not begun or begun[-1].position != large:
        begun += await consumer.taken(slow, journal, count=1)

    assert await consumer.taken(fast, journal) == whole
    assert begun + await consumer.taken(slow, journal) == whole
    await journal.close()


async def test_a_checkpoint_is_due_after_much_payload(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where segments are larger than that; and at the end of one that was sealed with nothing behind it."""
    monkeypatch.setattr(reader, "INTERVAL_BYTES", 1000)
    consumer = Consumer(journal._directory)
    await consumer.taken(consumer.source(), journal)
    count = len(consumer.written)

    assert count > 2 * (len(segment_files(consumer.directory)) - 1)
    await journal.close()
    again = open_journal(journal._directory.parent, FakeClock())
    source = consumer.source(again.durable.position)
    consumer.window.grow(again.durable)
    assert source.ready() is None
    assert consumer.written[-1].position == again.durable.position
    await again.close()


async def test_what_waits_is_told_at_the_head_only(journal: Journal, clock: FakeClock) -> None:
    """Ticks are asked for when all that is durable was read and something is open; they are frames of no document."""
    (first,) = docker_pieces(b"abc", 40, last=False)
    await journal.append(Entry(ORIGIN, "forward", (packed(first),)))
    consumer = Consumer(journal._directory)
    source = consumer.source()
    before = await consumer.taken(source, journal)
    opened = sum(batch.tally.parked - batch.tally.taken_up for batch in before)
    assert not consumer.window.waits
    assert source.ready() is None
    assert consumer.window.waits
    await journal.append(Entry(TICK_ORIGIN, TICK_ENCODING, (b"",)))
    consumer.window.grow(journal.durable)
    assert not consumer.window.waits  # an output that does not read lets no tick follow another
    made = await consumer.taken(source, journal)
    assert source.ready() is None
    while consumer.window.waits:
        clock.advance(0.9)
        await journal.append(Entry(TICK_ORIGIN, TICK_ENCODING, (b"",)))
        made += await consumer.taken(source, journal)
        assert source.ready() is None

    assert {(batch.tally.records, batch.tally.control) for batch in made} == {(1, 1)}
    assert sum(batch.tally.taken_up for batch in made) == opened > 0
    assert made[-1].tally.documents > 0
    await journal.close()


async def test_a_reader_stops_where_nothing_is_durable(journal: Journal) -> None:
    """It is not asked again and again while what it waits for does not come."""
    told = Listeners(failed, lambda _: None, failed)
    reading = Reader(journal._directory, journal.durable.position, pipeline(), told)

    assert reading.read(journal.durable) is None
    assert not reading.replaying
    reading.close()
    await journal.close()
