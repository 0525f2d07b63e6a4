"""What is appended is in the journal once and in order, whatever becomes of a receipt, a connection or a life."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from collector import producer as module
from collector.internal import MESSAGE_LIMIT_BYTES, InternalServer
from collector.journal.entry import Entry, Receipt
from collector.producer import HEADERS_BYTES, LIFE, JournalProducer, RejectedError
from pipelines.frame import Origin, Producer
from tests.kit.memory_journal import MemoryJournal

URL = "unix:///var/run/docker.sock"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(module, "RETRY_S", 0.01)


def made(path: Path) -> JournalProducer:
    """The producer of an input that is asked."""
    return JournalProducer(path, "watcher-engine", encoding="docker-inspect", input_name="engine", peer=URL)


def payloads(journal: MemoryJournal) -> list[bytes]:
    """What the journal took."""
    return [bytes(part) for entry in journal.entries for part in entry.payload]


@pytest.mark.usefixtures("server")
async def test_messages_come_under_the_input_of_the_one_that_is_asked(journal: MemoryJournal, path: Path) -> None:
    """Internal, with sequences that rise, and the cursor of each."""
    async with made(path) as producer:
        first = await producer.cursor()
        await producer.append(b"a", b"1")
        await producer.append(b"b", b"2")
        last = await producer.cursor()

    assert (b"", b"2") == (first, last)
    assert [b"a", b"b"] == payloads(journal)
    assert {Origin("engine", "internal", URL)} == {entry.origin for entry in journal.entries}
    assert {"docker-inspect"} == {entry.encoding for entry in journal.entries}
    assert [Producer("watcher-engine", 1, b"1"), Producer("watcher-engine", 2, b"2")] == [
        entry.producer for entry in journal.entries
    ]


@pytest.mark.usefixtures("server")
async def test_what_the_journal_does_not_take_now_is_offered_again(journal: MemoryJournal, path: Path) -> None:
    """Under the same sequence, until it does."""
    journal.receipts = [Receipt.RETRY, Receipt.RETRY]
    async with made(path) as producer:
        await producer.cursor()
        await producer.append(b"a", b"")
        await producer.append(b"b", b"")

    assert [b"a", b"b"] == payloads(journal)
    assert [1, 2] == [entry.producer.sequence for entry in journal.entries if entry.producer]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("limit_bytes", [1, 400, 4 << 20])
async def test_several_messages_are_kept_in_order_however_many_go_together(
    journal: MemoryJournal, path: Path, monkeypatch: pytest.MonkeyPatch, limit_bytes: int
) -> None:
    """Those behind one that was not kept are offered again with it, under their sequences."""
    monkeypatch.setattr(module, "TOGETHER_LIMIT_BYTES", limit_bytes)
    if limit_bytes > 400:
        journal.receipts = [Receipt.DURABLE, Receipt.RETRY, Receipt.RETRY, Receipt.RETRY]
    async with made(path) as producer:
        await producer.cursor()
        await producer.append_all([(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")])
        cursor = await producer.cursor()

    assert [b"a", b"b", b"c", b"d"] == payloads(journal)
    assert [1, 2, 3, 4] == [entry.producer.sequence for entry in journal.entries if entry.producer]
    assert b"4" == cursor


@pytest.mark.usefixtures("server")
async def test_what_the_journal_never_takes_is_said(journal: MemoryJournal, path: Path) -> None:
    """And what follows is appended."""
    journal.receipts = [Receipt.REJECTED]
    async with made(path) as producer:
        await producer.cursor()
        with pytest.raises(RejectedError):
            await producer.append_all([(b"a", b""), (b"b", b"")])
        await producer.append(b"c", b"")

    assert [b"b", b"c"] == payloads(journal)


@pytest.mark.usefixtures("server")
async def test_a_message_over_the_limit_of_the_socket_is_rejected_and_no_fault(
    journal: MemoryJournal, path: Path
) -> None:
    """The longest that fits is appended, and so is what stands behind; its cursor counts."""
    texts_bytes = len(f"watcher-enginedocker-inspectengine{URL}")
    longest = b"x" * (MESSAGE_LIMIT_BYTES - HEADERS_BYTES - texts_bytes - 1)
    async with made(path) as producer:
        await producer.cursor()
        await producer.append(longest, b"1")
        with pytest.raises(RejectedError, match="over the limit"):
            await producer.append_all([(longest, b"22"), (b"b", b"3")])

    assert [longest, b"b"] == payloads(journal)


class Mute(MemoryJournal):
    """Takes the first entry, and never says so."""

    def append(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Keep an entry."""
        is_first = not self.entries
        answer = super().append(entry)
        return asyncio.get_running_loop().create_future() if is_first else answer


async def test_a_message_whose_receipt_was_lost_is_there_once(path: Path) -> None:
    """The intake ended after it had kept the message and before it said so."""
    journal = Mute()
    first = InternalServer(journal, path)
    await first.start()
    async with made(path) as producer:
        await producer.cursor()
        appending = asyncio.create_task(producer.append(b"a", b"1"))
        while not journal.entries:  # noqa: ASYNC110 - the journal is no product of ours to be told by
            await asyncio.sleep(0)
        await first.close()
        second = InternalServer(journal, path)
        await second.start()
        await appending
        await producer.append(b"b", b"2")
        await second.close()

    assert [b"a", b"b"] == payloads(journal)


async def test_an_intake_that_comes_later_is_waited_for(journal: MemoryJournal, path: Path) -> None:
    """As at a start of everything."""
    async with made(path) as producer:
        asking = asyncio.create_task(producer.cursor())
        await asyncio.sleep(0)
        server = InternalServer(journal, path)
        await server.start()

        assert b"" == await asking
        await server.close()


@pytest.mark.usefixtures("server")
async def test_a_new_life_begins_above_all_that_the_former_left_on_its_way(journal: MemoryJournal, path: Path) -> None:
    """Else a message of the former that comes late would take the place of one of ours."""
    async with made(path) as former:
        await former.cursor()
        await former.append(b"a", b"1")
    async with made(path) as ours:
        assert b"1" == await ours.cursor()
        await ours.append(b"b", b"2")
    async with made(path) as late:
        late._sequence = 1
        await late.append(b"late", b"")

    assert [b"a", b"b"] == payloads(journal)
    assert LIFE < journal.produced["watcher-engine"].sequence


async def test_an_append_that_was_cancelled_leaves_no_reply_for_the_next(path: Path) -> None:
    """What is asked next has its own answer, and its message is kept."""
    journal = Mute()
    server = InternalServer(journal, path)
    await server.start()
    async with made(path) as producer:
        await producer.cursor()
        appending = asyncio.create_task(producer.append(b"a", b"1"))
        while not journal.entries:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        appending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await appending
        await producer.append(b"b", b"2")
        cursor = await producer.cursor()
    await server.close()

    assert b"2" == cursor
    assert [b"a", b"b"] == payloads(journal)


@pytest.mark.usefixtures("server")
async def test_a_cursor_is_kept_though_there_is_nothing_to_tell(journal: MemoryJournal, path: Path) -> None:
    """By a tick, under the next sequence."""
    async with made(path) as producer:
        await producer.cursor()
        await producer.append(b"a", b"1")
        await producer.keep(b"2")
        cursor = await producer.cursor()

    assert b"2" == cursor
    assert [("docker-inspect", 1), ("tick", 2)] == [
        (entry.encoding, entry.producer.sequence) for entry in journal.entries if entry.producer
    ]


@pytest.mark.usefixtures("server")
async def test_what_became_durable_is_counted(journal: MemoryJournal, path: Path) -> None:
    """Once for each message, and not for those that the journal never takes."""
    journal.receipts = [Receipt.RETRY, Receipt.DURABLE, Receipt.REJECTED]
    counted = []
    async with JournalProducer(path, "other", encoding="audit", on_durable=lambda: counted.append(1)) as producer:
        await producer.begin()
        with pytest.raises(RejectedError):
            await producer.append_all([(b"a", b""), (b"b", b"")])

    assert [1] == counted
    assert Origin("tidewaiter", "internal", "other") == journal.entries[0].origin
