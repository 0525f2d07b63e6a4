"""Output `elasticsearch`: documents into data streams, each exactly once as far as Elasticsearch can tell.

    outputs:
      elastic: {type: elasticsearch, urls: ["https://es.example:9200"], api_key: {file: /run/secrets/es}}

Documents are created with ids from their position, so a repeat after a lost answer answers 409 and counts as stored.
What Elasticsearch cannot take for good becomes a dead letter with its reason; for everything else the output waits and
tries again, the same ids, with growing pauses. The cursor passes a batch when each of its documents is settled. Install
the templates first: `tidewaiter setup elasticsearch`.
"""

import asyncio
import base64
import random
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from collector import telemetry
from collector.config import ElasticsearchOutput
from collector.dead_letters import DeadLetterFile, Letter, letter_id
from collector.logs import get_logger
from collector.outputs.bulk import Slice, all_stored, body_of, slices
from collector.outputs.elasticsearch_client import Answer, BulkClient
from collector.outputs.output import BatchSource, Stopped
from parsers.timestamps import rfc3339
from pipelines.batch import Batch
from pipelines.frame import Position

REQUESTS_IN_FLIGHT: Final = 2
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
REFUSED_PAUSE_S: Final = 5.0
"""Pause where an operator has to act (credentials, privileges, templates)."""

GATHER_BYTES: Final = 16 << 20
"""Documents taken from the source before they are sent; what waits in memory is bounded by this and the requests."""

STOP_LIMIT_S: Final = 3.0
"""How long requests in flight may take at a stop; what is unsettled then is sent again from the cursor."""

WHAT_TO_DO: Final = {
    401: "Elasticsearch does not accept the credentials",
    403: "the credentials lack privileges (auto_configure and create_doc on logs-tidewaiter.*), or writing is blocked",
    404: "no template makes a data stream of this name: run `tidewaiter setup elasticsearch`",
}

logger = get_logger("worker")


class Health(Protocol):
    """Where an output says how it is."""

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""


class _Item(msgspec.Struct):
    status: int
    error: Any = None
    failure_store: str = ""


class _Created(msgspec.Struct):
    create: _Item


class _BulkAnswer(msgspec.Struct):
    items: list[_Created]
    errors: bool = False


_decode = msgspec.json.Decoder(_BulkAnswer).decode


class _Unsettled(msgspec.Struct):
    """A batch on its way: how many of its documents are not settled yet."""

    position: Position
    left: int


class ElasticsearchSink:
    """See `collector.outputs.output.Output`."""

    def __init__(self, name: str, options: ElasticsearchOutput, data_dir: Path, health: Health) -> None:
        self._name = name
        self._component = f"output {name}"
        self._options = options
        self._health = health
        self._letters = DeadLetterFile(data_dir, name)
        self._client: BulkClient
        self._unsettled: deque[_Unsettled] = deque()
        self._left: dict[Position, _Unsettled] = {}
        self._slots = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        self._waiting_since: float | None = None

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut dead letters that will be met again."""
        self._letters.open(cursor)
        return cursor

    async def run(self, source: BatchSource) -> None:
        """Deliver until the source stops; then give requests in flight a little time."""
        self._client = BulkClient(self._options)
        self._unsettled.clear()
        self._left.clear()
        self._slots = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as sending:
                try:
                    while True:
                        await self._send_group(source, sending)
                except Stopped:
                    deadline.reschedule(asyncio.get_running_loop().time() + STOP_LIMIT_S)
        except TimeoutError:
            logger.warning("requests were cut off by the stop; they are sent again", output=self._name)
        finally:
            await self._client.close()

    async def _send_group(self, source: BatchSource, sending: asyncio.TaskGroup) -> None:
        """Send what is at hand, waiting for a free request where all are taken."""
        for stream, parts in self._gather(await source.next(), source):
            await self._slots.acquire()
            task = sending.create_task(self._deliver(stream, parts, source))
            task.add_done_callback(lambda _: self._slots.release())
        self._settle(source)

    def _gather(self, batch: Batch, source: BatchSource) -> Iterator[tuple[str, list[Slice]]]:
        """Take what is at hand and yield bodies' worth of slices by data stream."""
        limit = self._options.request_bytes
        waiting: dict[str, list[Slice]] = {}
        sizes: dict[str, int] = {}
        taken = 0
        following: Batch | None = batch
        while following is not None:
            entry = _Unsettled(following.position, following.tally.documents)
            self._unsettled.append(entry)
            self._left[entry.position] = entry
            for documents in following.documents:
                stream = str(documents.stream)
                taken += documents.size_bytes
                for part in slices(following.position, documents, limit_bytes=limit):
                    if waiting.get(stream) and sizes[stream] + part.size_bytes > limit:
                        yield stream, waiting.pop(stream)
                    waiting.setdefault(stream, []).append(part)
                    sizes[stream] = sum(each.size_bytes for each in waiting[stream])
            following = source.ready() if taken < GATHER_BYTES else None
        yield from waiting.items()

    async def _deliver(self, stream: str, parts: list[Slice], source: BatchSource) -> None:
        """Send a body until each of its documents is settled."""
        pause_s = FIRST_PAUSE_S
        while parts:
            body = body_of(parts, rfc3339(time.time_ns()))
            telemetry.OUTPUT_BYTES.labels(output=self._name).inc(len(body))
            answer = await self._client.send(stream, body)
            telemetry.OUTPUT_REQUESTS.labels(output=self._name, status=_class(answer.status)).inc()
            if answer.status in (400, 413):
                await self._split(stream, parts, answer, source)
                return
            again, problem = await self._take(stream, parts, answer)
            self._settle(source)
            if not again:
                self._recovered()
                return
            count = sum(map(len, again))
            telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="retried").inc(count)
            self._waiting(problem, count)
            pause_s = pause_s if count == sum(map(len, parts)) else FIRST_PAUSE_S
            parts = again
            await asyncio.sleep(answer.retry_after_s or pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _split(self, stream: str, parts: list[Slice], answer: Answer, source: BatchSource) -> None:
        """Answer a body that was refused whole by sending its halves; a single document becomes a dead letter."""
        count = sum(map(len, parts))
        if count == 1:
            code = "too_large" if answer.status == 413 else "refused"
            await self._bury(parts[0], {0: (code, answer.problem or f"HTTP {answer.status}")})
            self._settle(source)
            return
        for half in _halves(parts):
            await self._deliver(stream, half, source)

    async def _take(self, stream: str, parts: list[Slice], answer: Answer) -> tuple[list[Slice], str]:
        """Settle what the answer settles; return what must be sent again, and why."""
        count = sum(map(len, parts))
        if answer.status == 200 and answer.body == all_stored(count):
            self._stored(parts, delivered=count, duplicates=0)
            return [], ""
        if answer.status != 200:
            what = WHAT_TO_DO.get(answer.status, f"HTTP {answer.status}" if answer.status else "")
            return parts, ": ".join(text for text in (what, answer.problem) if text)
        try:
            items = _decode(answer.body).items
        except msgspec.DecodeError:
            return parts, "the answer cannot be read"
        if len(items) != count:
            return parts, f"the answer speaks of {len(items)} documents, not {count}"
        return await self._take_items(stream, parts, items)

    async def _take_items(self, stream: str, parts: list[Slice], items: list[_Created]) -> tuple[list[Slice], str]:
        again: list[Slice] = []
        problem = ""
        at = 0
        for part in parts:
            results = [item.create for item in items[at : at + len(part)]]
            at += len(part)
            repeat, buried, stored, duplicates = [], {}, 0, 0
            for index, item in enumerate(results):
                if item.status in (200, 201):
                    stored += 1
                    if item.failure_store == "used":
                        self._diverted(stream)
                elif item.status == 409:
                    duplicates += 1
                elif item.status in (401, 403, 404, 429) or item.status >= 500:
                    repeat.append(index)
                    problem = WHAT_TO_DO.get(item.status, f"HTTP {item.status}") + f" ({_reason(item.error)[1]})"
                else:
                    buried[index] = _reason(item.error)
            await self._bury(part, buried)
            self._settle_count(part.position, stored + duplicates)
            self._count(stored, duplicates)
            if repeat:
                again.append(part.part(repeat))
        return again, problem

    def _diverted(self, stream: str) -> None:
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="diverted").inc()
        logger.warning("documents went to the failure store", output=self._name, stream=stream)

    async def _bury(self, part: Slice, buried: dict[int, tuple[str, str]]) -> None:
        """Write dead letters, durably, before they count as settled."""
        if not buried:
            return
        letters = [
            Letter(
                id=f"{letter_id(self._name, part.position)}-{part.ids[index].decode()}",
                position=part.position,
                time=rfc3339(time.time_ns()),
                stage="output",
                code=code,
                reason=reason,
                origin=self._name,
                payload=base64.b64encode(part.document(index)).decode(),
                document_id=part.ids[index].decode(),
            )
            for index, (code, reason) in buried.items()
        ]
        await asyncio.to_thread(self._letters.append, letters)
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="dead").inc(len(letters))
        for code in {code for code, _ in buried.values()}:
            logger.error("documents refused for good; see the dead letters", output=self._name, code=code)
        self._settle_count(part.position, len(letters))

    def _stored(self, parts: list[Slice], *, delivered: int, duplicates: int) -> None:
        for part in parts:
            self._settle_count(part.position, len(part))
        self._count(delivered, duplicates)

    def _count(self, delivered: int, duplicates: int) -> None:
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="delivered").inc(delivered)
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="duplicate").inc(duplicates)

    def _settle_count(self, position: Position, count: int) -> None:
        self._left[position].left -= count

    def _settle(self, source: BatchSource) -> None:
        """Let the cursor pass the batches at the front that have nothing left."""
        while self._unsettled and not self._unsettled[0].left:
            done = self._unsettled.popleft()
            del self._left[done.position]
            source.settle(done.position)

    def _waiting(self, problem: str, count: int) -> None:
        """Say once what keeps documents waiting."""
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        logger.warning("documents wait", output=self._name, reason=problem, documents=count)
        self._health.unhealthy(self._component, problem)

    def _recovered(self) -> None:
        if self._waiting_since is not None:
            waited_s = round(time.monotonic() - self._waiting_since, 1)
            logger.info("documents flow again", output=self._name, waited_s=waited_s)
            self._waiting_since = None
        self._health.healthy(self._component)


def _halves(parts: list[Slice]) -> Iterator[list[Slice]]:
    if len(parts) > 1:
        middle = len(parts) // 2
        yield parts[:middle]
        yield parts[middle:]
    else:
        (part,) = parts
        middle = len(part) // 2
        yield [part.part(range(middle))]
        yield [part.part(range(middle, len(part)))]


def _reason(error: Any) -> tuple[str, str]:
    if not isinstance(error, dict):
        return "refused", str(error)
    cause = error.get("caused_by")
    reason = str(error.get("reason", ""))
    if isinstance(cause, dict) and cause.get("reason"):
        reason += f"; {cause['reason']}"
    return str(error.get("type", "refused"))[:100], reason[:1000]


def _class(status: int) -> str:
    if status in (401, 403, 413, 429):
        return str(status)
    return f"{status // 100}xx" if status else "none"
