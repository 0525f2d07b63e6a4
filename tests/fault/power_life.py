"""Lives of a journal under a recorder: each line on stdin is a `Life`, played by a child; `done` answers it.

In a life one sender sends numbered messages, several in flight, first those it had no acknowledgement for; an internal
producer goes on behind its last; a worker follows, makes documents, stores them and writes its cursor; what is settled
is deleted. What was promised or seen is a line in the file of marks, at that moment:

    acked NUMBER, produced NUMBER, seen EPOCH SEQUENCE ID NUMBER, cursor EPOCH SEQUENCE
"""

import asyncio
import hashlib
import itertools
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import msgspec

from collector.balance.keeper import Books
from collector.batches import Source, Window
from collector.config_outputs import LocalOutputConfig
from collector.journal.arrivals import SenderConnection, client_of
from collector.journal.checkpoints import Checkpoint, write_checkpoint
from collector.journal.cursors import read_cursor
from collector.journal.entry import Entry, Receipt
from collector.journal.recogniser import Recogniser
from collector.outputs.local import LocalOutput
from collector.reader import Listeners
from collector.worker import start_of
from pipelines.batch import Batch
from pipelines.frame import Origin, Producer
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.clock import FakeClock
from tests.kit.forward_sender import Options, number_in, record_of
from tests.kit.journals import ORIGIN, open_journal

SENDER = Options(name="sender")
PRODUCER = "engine"
SEGMENT_BYTES = 3000
PORTION_BYTES = 150
"""Most messages are longer, and so are written in portions."""

COMPANY = Origin("docker", "tcp", "192.0.2.8")
"""Who sends as well, so that nobody is alone."""

CURSOR_EVERY = 4
"""Batches between two cursors."""


class Life(msgspec.Struct):
    """One life of the journal in `root`: `unacked` are sent again before `new`; `stop` ends it cleanly."""

    root: str
    marks: str
    seed: int
    clock_ns: int
    unacked: list[int]
    new: list[int]
    in_flight: int
    stop: bool


def message(number: int, connection: SenderConnection) -> Entry:
    """Return a message as its input hands it on; the same bytes and chunk id for a number, whoever asks."""
    line = record_of(number, SENDER) | {"padding": "." * (number * 37 % 400)}
    chunk_id = hashlib.sha256(b"%d" % number).hexdigest()[:24].encode() + b"\n"
    payload = msgpack.packb([1_700_000_000, line])
    return Entry(ORIGIN, "forward", (payload,), tag=b"t", chunk_id=chunk_id, claimed=1, connection=connection)


def submit(recogniser: Recogniser, entry: Entry) -> asyncio.Future[bool]:
    """Submit a message; return a future that says whether it is durable."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    recogniser.submit(entry, lambda: answer.set_result(entry.receipt is Receipt.DURABLE))
    return answer


class _Seeing:
    """A source whose batches are shown to somebody before the output has them."""

    def __init__(self, source: Source, see: Callable[[Batch], None]) -> None:
        self._source = source
        self._see = see
        self.settle = source.settle
        self.refuse = source.refuse

    async def next(self) -> Batch:
        """Return the next batch."""
        batch = await self._source.next()
        self._see(batch)
        return batch

    def ready(self) -> Batch | None:
        """Return the next batch, if any."""
        batch = self._source.ready()
        if batch is not None:
            self._see(batch)
        return batch


class _Living:
    """One life while it lasts."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._chance = random.Random(life.seed)
        self._directory = Path(life.root) / "journal"
        self._journal = open_journal(
            Path(life.root),
            FakeClock(life.clock_ns),
            segment_bytes=SEGMENT_BYTES,
            portion_bytes=PORTION_BYTES,
            replayed=True,
        )
        self._recogniser = Recogniser(self._journal, self._directory)
        self._books = Books(Path(life.root))
        self._settled_count = 0
        self._moved = asyncio.Event()
        self._marks = os.open(life.marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def play(self) -> None:
        """Send, follow, produce until everything is acknowledged; then stop, or just end."""
        journal, life, root = self._journal, self._life, Path(self._life.root)
        window = Window(
            self._directory, lambda: Pipeline(Settings(version="0"), _fail), Listeners(_fail, self._checkpoint, _fail)
        )
        output = LocalOutput("store", LocalOutputConfig(), root, clock=map(float, itertools.count()).__next__)
        book = self._books.open("store", read_cursor(self._directory, "store"))
        reached = output.resume(book.position if book.position.epoch else None)
        source = Source(window, book, self._settled, hand_from=start_of(reached, journal.durable.position))
        journal.on_durable(window.grow)
        window.grow(journal.durable)
        background = [
            asyncio.create_task(output.run(_Seeing(source, self._see))),
            asyncio.create_task(self._write_cursors()),
            asyncio.create_task(self._produce()),
        ]
        await self._send()
        for task in background:
            task.cancel()
        for ending in await asyncio.gather(*background, return_exceptions=True):
            assert ending is None or isinstance(ending, asyncio.CancelledError), ending
        if life.stop:
            await journal.close()
            self._recogniser.close()

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        write_checkpoint(self._directory, checkpoint)

    def _mark(self, line: str) -> None:
        os.write(self._marks, line.encode() + b"\n")

    async def _send(self) -> None:
        room = asyncio.Semaphore(self._life.in_flight)
        connection = SenderConnection(client_of(ORIGIN))
        answers = []
        await self._journal.append(Entry(COMPANY, "engine", (b"hello",)))
        for number in self._life.unacked + self._life.new:
            await room.acquire()
            answer = submit(self._recogniser, message(number, connection))
            answer.add_done_callback(lambda done, mine=number: self._acked(mine, done.result(), room))  # type: ignore[misc]
            answers.append(answer)
            if self._chance.random() < 0.3:
                await asyncio.sleep(0)
            if self._chance.random() < 0.1:
                self._journal.reclaim()
                self._journal.anchor()
        await asyncio.gather(*answers)

    def _acked(self, number: int, durable: bool, room: asyncio.Semaphore) -> None:
        assert durable
        self._mark(f"acked {number}")
        room.release()

    async def _produce(self) -> None:
        while True:
            last = self._journal.last_produced(PRODUCER)
            number = last.sequence + 1 if last is not None else 1
            entry = Entry(ORIGIN, "engine", (b"engine %d" % number,), producer=Producer(PRODUCER, number))
            assert await self._journal.append(entry) is Receipt.DURABLE
            self._mark(f"produced {number}")
            for _ in range(self._chance.randrange(8)):
                await asyncio.sleep(0)

    def _settled(self) -> None:
        self._settled_count += 1
        if self._settled_count % CURSOR_EVERY == 0:
            self._moved.set()

    async def _write_cursors(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            taken = self._books.take("store")
            self._mark(f"cursor {taken.position.epoch} {taken.position.sequence}")
            await asyncio.to_thread(self._books.write, self._directory, "store", taken)

    def _see(self, batch: Batch) -> None:
        at = batch.position
        for documents in batch.documents:
            for name, line in zip(documents.ids, documents.ndjson.splitlines(), strict=True):
                self._mark(f"seen {at.epoch} {at.sequence} {name.decode()} {number_in(line.decode(), SENDER.name)}")


def _fail(*what: object) -> None:
    raise AssertionError(what)


def main() -> None:
    """Play lives until stdin ends."""
    sys.stdout.write("done\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            code = 1
            try:
                asyncio.run(_Living(msgspec.json.decode(line, type=Life)).play())
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
