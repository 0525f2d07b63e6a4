"""Output `elasticsearch`: documents into data streams, each exactly once as far as Elasticsearch can tell.

    outputs:
      elastic: {type: elasticsearch, urls: ["https://es.example:9200"], api_key: {file: /run/secrets/es}}

Documents are created with ids from their position, so a repeat after a lost answer answers 409 and counts as stored.
What Elasticsearch cannot take for good becomes a dead letter with its reason; for everything else the output waits and
tries again, the same ids, with growing pauses. The cursor passes a batch when each of its documents is settled. Install
the templates first: `tidewaiter setup elasticsearch`.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collector.config_outputs import ElasticsearchOutputConfig
from collector.dead_letters import DeadLetterFile, Letters
from collector.logs import get_logger
from collector.outputs.bulk import Body, slices
from collector.outputs.elasticsearch_answers import Pace
from collector.outputs.elasticsearch_client import BulkClient
from collector.outputs.elasticsearch_delivery import Deliverer, Delivery
from collector.outputs.elasticsearch_load import Load
from collector.outputs.elasticsearch_repeats import UNCERTAIN, Repeats
from collector.outputs.elasticsearch_settling import Settling
from collector.outputs.elasticsearch_waits import Waits
from collector.outputs.output import BatchSource, Stopped, Surroundings
from parsers.timestamps import rfc3339
from pipelines.batch import Batch
from pipelines.frame import Position

GATHER_BYTES: Final = 16 << 20
"""Documents taken from the source before they are sent; what waits in memory is bounded by this and the requests."""

BATCH_BYTES: Final = 1 << 10
"""What a batch counts for in that bound beside its documents."""

PARKED_BYTES: Final = 16 << 20
"""Documents that wait for an operator, such as those of a stream that is blocked, hold up no others up to this size."""

BATCHES_IN_HAND: Final = 10_000
"""Batches, and what the books know of each, that are remembered because one before them is not settled: some 1.3 KB
each. Where there are so many nothing more is taken from the source, however small what waits is."""

logger = get_logger("worker")


class ElasticsearchOutput:
    """See `collector.outputs.output.Output`."""

    def __init__(
        self,
        name: str,
        options: ElasticsearchOutputConfig,
        data_dir: Path,
        surroundings: Surroundings,
        *,
        pace: Pace | None = None,
        letters: Letters | None = None,
    ) -> None:
        self._name = name
        self._options = options
        self._stopping = surroundings.stopping
        self._pace = pace or Pace()
        self._letters = letters or DeadLetterFile(data_dir, name)
        self._waits = Waits(name, surroundings)
        self._room = asyncio.Event()
        self._load = self._new_load()
        self._deliverer = Deliverer(
            name,
            pace=self._pace,
            letters=self._letters,
            waits=self._waits,
            hold=options.hold_refused,
            uncertain=data_dir / UNCERTAIN / f"{name}.ndjson",
            settled=self._settle,
        )
        self._deliverer.on_parked = self._room.set
        self._source: BatchSource
        self._settling = Settling()

    def _new_load(self) -> Load:
        return Load(body_limit_bytes=self._options.request_limit, requests_limit=self._options.requests_limit)

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut dead letters that will be met again."""
        self._letters.open(cursor)
        return cursor

    async def run(self, source: BatchSource) -> None:
        """Deliver until the source stops; then give requests in flight a little time."""
        client = BulkClient(self._options, answer_s=self._pace.answer_s)
        self._source = source
        self._settling = Settling()
        self._load = self._new_load()
        self._waits.clear()
        repeats = Repeats(answer_s=self._pace.answer_s, early_bodies=self._options.requests_limit + 1)
        self._deliverer.on_refused = source.refuse
        self._deliverer.begin(client, self._settling, self._load, repeats)
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(self._stopping.wait())
                stopping.add_done_callback(lambda _: self._room.set())
                try:
                    await self._send_all(tasks)
                except Stopped:
                    deadline.reschedule(asyncio.get_running_loop().time() + self._pace.stop_s)
                finally:
                    stopping.cancel()
        except TimeoutError:
            logger.warning("requests_cut_off", output=self._name, reason="stopping; they are sent again")
        finally:
            await client.close()

    async def _send_all(self, tasks: asyncio.TaskGroup) -> None:
        """Send what is at hand, waiting where all requests are taken; raise Stopped when the worker drains."""
        sending: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None]) -> None:
            sending.discard(task)
            self._room.set()

        while True:
            while sending and len(self._settling) >= BATCHES_IN_HAND:
                await self._wait()
            for stream, body in self._gather(await self._source.next()):
                await self._wait_for_room(sending)
                task = tasks.create_task(self._deliverer.deliver(Delivery(stream, body)))
                sending.add(task)
                task.add_done_callback(done)
                del body, task
                await asyncio.sleep(0)  # the request goes out before the next batches are made
            self._settle()

    async def _wait_for_room(self, sending: set[asyncio.Task[None]]) -> None:
        """Wait until a further body may be sent; raise Stopped when the worker drains."""
        parked = self._deliverer.parked
        while True:
            beside = len(parked) if sum(parked.values()) <= PARKED_BYTES else 0
            if len(sending) - beside < self._load.requests:
                self._deliverer.crowded = False
                return
            self._deliverer.crowded = True
            await self._wait()

    async def _wait(self) -> None:
        """Wait until something was settled or parked; raise Stopped when the worker drains."""
        self._room.clear()
        await self._room.wait()
        if self._stopping.is_set():
            raise Stopped

    def _gather(self, batch: Batch) -> Iterator[tuple[str, Body]]:
        """Take what is at hand and yield bodies by data stream."""
        waiting: dict[str, Body] = {}
        taken = 0
        # No name holds a batch longer than `_cut` does: the next one is made in its memory.
        upcoming: list[Batch | None] = [batch]
        del batch
        while (following := upcoming.pop()) is not None:
            taken += BATCH_BYTES + following.size_bytes
            yield from self._cut(following, waiting)
            del following
            upcoming.append(self._source.ready() if taken < GATHER_BYTES else None)
        yield from waiting.items()

    def _cut(self, batch: Batch, waiting: dict[str, Body]) -> Iterator[tuple[str, Body]]:
        """Put a batch into bodies at once, while the processor has it at hand; yield those that are full."""
        self._settling.begin(batch)
        for documents in batch.documents:
            stream = str(documents.stream)
            for part in slices(batch.position, documents, limit_bytes=self._load.body_bytes):
                body = waiting.get(stream)
                if body is not None and body.size_bytes + part.size_bytes > self._load.body_bytes:
                    yield stream, body
                    body = None
                if body is None:
                    body = waiting[stream] = Body(rfc3339(time.time_ns()))
                body.add(part)

    def _settle(self) -> None:
        """Let the cursor pass the batches at the front that have nothing left."""
        last = self._settling.passed()
        if last is not None:
            self._source.settle(last)
            self._room.set()
