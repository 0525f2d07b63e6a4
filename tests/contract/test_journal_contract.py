"""What every journal promises, whatever it is made of: one suite, and a factory per kind.

To add a kind (Kafka), write a `JournalUnderTest` and put it into `KINDS`. Resend detection and the single chain are
promises of segments only and not in here (design section 3).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Protocol

import pytest

from collector.journal.cursors import read_cursor, write_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.follow import Gap
from collector.journal.options import JournalOptions
from collector.journal.writer import Journal
from pipelines.frame import Frame, Origin, Position, Producer
from tests.kit.journals import frames_in, gaps_in, kept_of, messages_of, read_all

ORIGINS: Final = [Origin("docker", "tcp", "192.0.2.7"), Origin("socket", "unix", "unix:uid=0")]


class JournalUnderTest(Protocol):
    """A journal with writer, reader and cursors, as the contract sees it."""

    async def start(self) -> None:
        """Open it for appending; what was kept before is still there."""

    async def stop(self) -> None:
        """Stop cleanly."""

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Append as an input does."""

    def last_produced(self, name: str) -> Producer | None:
        """Return a producer's last durable triple."""

    def read(self, after: Position | None = None) -> list[Frame | Gap]:
        """Read everything durable from a position on."""

    def commit(self, consumer: str, position: Position) -> None:
        """Move a consumer's cursor."""

    def committed(self, consumer: str) -> Position | None:
        """Return a consumer's cursor."""


class Segments:
    """The embedded journal: segment files."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "journal"
        self._journal: Journal

    async def start(self) -> None:
        """Open the folder."""
        options = JournalOptions(segment_bytes=2000, reserve_bytes=0, consumers=frozenset({"store"}))
        self._journal = await asyncio.to_thread(Journal.open, self._directory, name="test", options=options)

    async def stop(self) -> None:
        """Close it."""
        await self._journal.close()

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Append to the open segment."""
        return self._journal.append(entry)

    def last_produced(self, name: str) -> Producer | None:
        """Ask the writer."""
        return self._journal.last_produced(name)

    def read(self, after: Position | None = None) -> list[Frame | Gap]:
        """Follow up to the durable end."""
        return read_all(self._directory, self._journal.durable, after=after)

    def commit(self, consumer: str, position: Position) -> None:
        """Write the cursor's file."""
        write_cursor(self._directory, consumer, position)

    def committed(self, consumer: str) -> Position | None:
        """Read the cursor's file."""
        return read_cursor(self._directory, consumer)


KINDS: Final[dict[str, Callable[[Path], JournalUnderTest]]] = {"segments": Segments}


@pytest.fixture(params=KINDS, ids=str)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JournalUnderTest]:
    """Give each kind, started; stop it afterwards."""
    made = KINDS[request.param](tmp_path)
    await made.start()
    yield made
    await made.stop()


def _entry(number: int, *, producer: Producer | None = None) -> Entry:
    origin = ORIGINS[number % len(ORIGINS)]
    payload = (b"%d:" % number, b"x" * (number % 300))
    return Entry(origin, "forward", payload, tag=b"tag%d" % number, chunk_id=b"c", claimed=number, producer=producer)


async def test_acknowledged_is_durable_and_whole(journal: JournalUnderTest) -> None:
    """P1: once the receipt says DURABLE the message can be read, with everything that was said of it."""
    entries = [_entry(number) for number in range(50)]

    for entry in entries:
        assert await journal.append(entry) is Receipt.DURABLE
        assert messages_of(frames_in(journal.read())[-1])[-1] == kept_of(entry)
    assert [kept for frame in frames_in(journal.read()) for kept in messages_of(frame)] == list(map(kept_of, entries))


async def test_many_senders_at_once_keep_their_order(journal: JournalUnderTest) -> None:
    """What is appended concurrently is kept once each, what one client sent in the order in which it did."""
    entries = [_entry(number) for number in range(200)]
    receipts = [journal.append(entry) for entry in entries]

    assert set(await asyncio.gather(*receipts)) == {Receipt.DURABLE}
    kept = [each for frame in frames_in(journal.read()) for each in messages_of(frame)]
    for origin in ORIGINS:
        assert [each for each in kept if each.origin == origin] == [
            kept_of(entry) for entry in entries if entry.origin == origin
        ]
    assert len(kept) == len(entries)


async def test_positions_and_journal_time_rise_and_are_never_given_twice(journal: JournalUnderTest) -> None:
    """P8: a position names one frame for ever, over restarts too; journal time never goes back."""
    for _ in range(3):
        for number in range(10):
            await journal.append(_entry(number))
        await journal.stop()
        await journal.start()
    frames = frames_in(journal.read())
    positions = [frame.position for frame in frames]
    times = [frame.journal_time for frame in frames]

    assert len(frames) == 30
    assert positions == sorted(set(positions))
    assert times == sorted(set(times))


async def test_reading_again_gives_the_same(journal: JournalUnderTest) -> None:
    """P10: the frames of a journal never change."""
    for number in range(20):
        await journal.append(_entry(number))
    before = [(frame.position, frame.journal_time, messages_of(frame)) for frame in frames_in(journal.read())]
    await journal.stop()
    await journal.start()
    after = [(frame.position, frame.journal_time, messages_of(frame)) for frame in frames_in(journal.read())]

    assert before == after


async def test_a_consumer_goes_on_where_its_cursor_says(journal: JournalUnderTest) -> None:
    """From every frame's position the rest is read, no more and no less, without a gap."""
    for number in range(15):
        await journal.append(_entry(number))
    frames = frames_in(journal.read())

    for index, frame in enumerate(frames):
        journal.commit("store", frame.position)
        rest = journal.read(journal.committed("store"))
        assert [each.position for each in frames_in(rest)] == [each.position for each in frames[index:]]
        assert gaps_in(rest) == []
    assert journal.committed("nobody") is None


async def test_producers_are_kept_exactly_once(journal: JournalUnderTest) -> None:
    """An internal producer that repeats from any point, after any restart, leaves each sequence in the journal once."""
    for repeat_from in (0, 3, 5, 0):
        for sequence in range(repeat_from, 10):
            producer = Producer("engine", sequence, b"at %d" % sequence)
            assert await journal.append(_entry(sequence, producer=producer)) is Receipt.DURABLE
        assert journal.last_produced("engine") == Producer("engine", 9, b"at 9")
        await journal.stop()
        await journal.start()

    produced = [frame.producer for frame in frames_in(journal.read())]

    assert produced == [Producer("engine", sequence, b"at %d" % sequence) for sequence in range(10)]
    assert journal.last_produced("stranger") is None
