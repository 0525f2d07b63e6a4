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
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from collector import telemetry
from collector.config import ElasticsearchOutputConfig
from collector.dead_letters import DeadLetterFile, DeadLettersFullError, Letter, letter_id
from collector.logs import get_logger
from collector.outputs.bulk import Body, slices
from collector.outputs.elasticsearch_answers import Answer, Pace, Refused, Verdict, verdict_of
from collector.outputs.elasticsearch_client import BulkClient
from collector.outputs.output import BatchSource, Stopped
from parsers.timestamps import rfc3339
from pipelines.batch import Batch
from pipelines.frame import Position

REQUESTS_IN_FLIGHT: Final = 2
"""While Elasticsearch works on one body, the next is on its way."""

GATHER_BYTES: Final = 16 << 20
"""Documents taken from the source before they are sent; what waits in memory is bounded by this and the requests."""

BATCH_BYTES: Final = 1 << 10
"""What a batch counts for in that bound beside its documents."""

SMALLEST_BODY_BYTES: Final = 64 << 10
"""Bodies are not made smaller than this when Elasticsearch finds them too large; single documents still are tried."""

logger = get_logger("worker")


class Surroundings(Protocol):
    """What the output is told by its worker, and where it says how it is."""

    stopping: asyncio.Event

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""


class _Unsettled(msgspec.Struct):
    """A batch on its way: how many of its documents are not settled yet."""

    position: Position
    journal_time: int
    left: int


class _Waits:
    """What deliveries wait for at the moment; tells log and health when it begins, changes and ends, and only then."""

    def __init__(self, output: str, surroundings: Surroundings) -> None:
        self._output = output
        self._surroundings = surroundings
        self._causes: dict[int, str | int] = {}
        self._since_s = 0.0

    def clear(self) -> None:
        """Forget deliveries of an earlier run."""
        self._causes.clear()

    def begin(self, delivery: int, cause: str | int, problem: str, count: int) -> None:
        """Note that `count` documents of a delivery wait, and why."""
        if not self._causes:
            self._since_s = time.monotonic()
        if cause not in self._causes.values():
            logger.warning("documents_wait", output=self._output, reason=problem, documents=count)
        self._causes[delivery] = cause
        self._surroundings.unhealthy(f"output {self._output}", problem)

    def end(self, delivery: int) -> None:
        """Note that a delivery got on."""
        waited = self._causes.pop(delivery, None) is not None
        if self._causes:
            return
        if waited:
            waited_s = round(time.monotonic() - self._since_s, 1)
            logger.info("documents_flow_again", output=self._output, waited_s=waited_s)
        self._surroundings.healthy(f"output {self._output}")


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
        letters: DeadLetterFile | None = None,
    ) -> None:
        self._name = name
        self._options = options
        self._stopping = surroundings.stopping
        self._pace = pace or Pace()
        self._letters = letters or DeadLetterFile(data_dir, name)
        self._letters_lock = asyncio.Lock()
        self._waits = _Waits(name, surroundings)
        self._body_bytes = options.request_limit
        self._client: BulkClient
        self._source: BatchSource
        self._unsettled: deque[_Unsettled] = deque()
        self._left: dict[Position, _Unsettled] = {}

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut dead letters that will be met again."""
        self._letters.open(cursor)
        return cursor

    async def run(self, source: BatchSource) -> None:
        """Deliver until the source stops; then give requests in flight a little time."""
        self._client = BulkClient(self._options, answer_s=self._pace.answer_s)
        self._source = source
        self._unsettled.clear()
        self._left.clear()
        self._waits.clear()
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(self._stopping.wait())
                try:
                    await self._send_all(tasks, stopping)
                except Stopped:
                    deadline.reschedule(asyncio.get_running_loop().time() + self._pace.stop_s)
                finally:
                    stopping.cancel()
        except TimeoutError:
            logger.warning("requests_cut_off", output=self._name, reason="stopping; they are sent again")
        finally:
            await self._client.close()

    async def _send_all(self, tasks: asyncio.TaskGroup, stopping: "asyncio.Task[bool]") -> None:
        """Send what is at hand, waiting where all requests are taken; raise Stopped when the worker drains."""
        sending: set[asyncio.Task[None]] = set()
        while True:
            for stream, body in self._gather(await self._source.next()):
                while len(sending) == REQUESTS_IN_FLIGHT:
                    done, _ = await asyncio.wait({*sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    sending -= done
                    if stopping in done:
                        raise Stopped
                sending.add(tasks.create_task(self._deliver(stream, body)))
                del body
                await asyncio.sleep(0)  # the request goes out before the next batches are made
            self._settle()

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
        entry = _Unsettled(batch.position, batch.journal_time, sum(len(documents.ids) for documents in batch.documents))
        self._unsettled.append(entry)
        self._left[entry.position] = entry
        for documents in batch.documents:
            stream = str(documents.stream)
            for part in slices(batch.position, documents, limit_bytes=self._body_bytes):
                body = waiting.get(stream)
                if body is not None and body.size_bytes + part.size_bytes > self._body_bytes:
                    yield stream, body
                    body = None
                if body is None:
                    body = waiting[stream] = Body(rfc3339(time.time_ns()))
                body.add(part)

    async def _deliver(self, stream: str, body: Body) -> None:
        """Send a body until each of its documents is settled, or the worker drains."""
        bodies = deque([body.sent_at(time.time_ns())])
        tries = 0
        while bodies:
            body = bodies.popleft()
            telemetry.OUTPUT_BYTES.labels(output=self._name).inc(body.size_bytes)
            answer = await self._client.send(stream, body.parts)
            telemetry.OUTPUT_REQUESTS.labels(output=self._name, status=_status_label(answer.status)).inc()
            if answer.status == 413 and len(body) > 1:
                self._shrink(body.size_bytes)
                bodies.extendleft(reversed(body.halves()))
                continue
            verdict = _too_large(body) if answer.status == 413 else verdict_of(body, answer)
            if not await self._take(stream, body, verdict):
                return
            if verdict.again is None:
                tries = 0
                self._waits.end(id(bodies))
                continue
            tries = 0 if verdict.settled or verdict.refused else tries + 1
            if not await self._wait(id(bodies), verdict, tries, answer):
                return
            bodies.appendleft(verdict.again.stamped(rfc3339(time.time_ns())))

    async def _wait(self, delivery: int, verdict: Verdict, tries: int, answer: Answer) -> bool:
        """Wait before what is left is sent again; False when the worker drains."""
        count = len(verdict.again) if verdict.again is not None else 0
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="retried").inc(count)
        self._waits.begin(delivery, verdict.cause, verdict.problem, count)
        return await self._pause(self._pace.pause_s(tries, verdict, answer.retry_after_s))

    async def _pause(self, seconds: float) -> bool:
        """Wait; False at once when the worker drains."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    def _shrink(self, refused_bytes: int) -> None:
        """Make smaller bodies from now on."""
        limit = max(refused_bytes // 2, SMALLEST_BODY_BYTES)
        if limit < self._body_bytes:
            self._body_bytes = limit
            logger.warning("requests_made_smaller", output=self._name, limit_bytes=limit)

    async def _take(self, stream: str, body: Body, verdict: Verdict) -> bool:
        """Settle what an answer settles; False when the worker drains before dead letters could be written."""
        for outcome, count in (
            ("delivered", verdict.delivered - verdict.diverted),
            ("duplicate", verdict.duplicates),
            ("diverted", verdict.diverted),
        ):
            if count:
                telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome=outcome).inc(count)
        if verdict.diverted:
            logger.warning("documents_diverted", output=self._name, stream=stream)
        for position, count in verdict.settled:
            self._left[position].left -= count
        if verdict.refused and not await self._bury(body, verdict.refused):
            return False
        self._settle()
        return True

    async def _bury(self, body: Body, refused: Sequence[Refused]) -> bool:
        """Write dead letters, durably, before they count as settled; wait while there is no room for them."""
        letters = [self._letter(body, each) for each in refused]
        while True:
            try:
                async with self._letters_lock:
                    await asyncio.to_thread(self._letters.append, letters)
                break
            except (DeadLettersFullError, OSError) as error:
                problem = f"dead letters cannot be written: {error}"
                self._waits.begin(id(letters), "dead letters", problem, len(letters))
            if not await self._pause(self._pace.refused_s):
                return False
        self._waits.end(id(letters))
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="dead").inc(len(letters))
        for code, count in Counter(letter.code for letter in letters).items():
            kept_in = str(self._letters.path)
            logger.error("documents_refused", output=self._name, code=code, documents=count, kept_in=kept_in)
        for each in refused:
            self._left[body.position(each.index)].left -= 1
        return True

    def _letter(self, body: Body, refused: Refused) -> Letter:
        identifier = body.identifier(refused.index)
        batch = self._left[body.position(refused.index)]
        return Letter(
            id=f"{letter_id(self._name, batch.position)}-{identifier}",
            position=batch.position,
            time=rfc3339(batch.journal_time),
            stage="output",
            code=refused.code or "refused",
            reason=refused.reason,
            origin=self._name,
            payload=base64.b64encode(body.document(refused.index)).decode(),
            document_id=identifier,
        )

    def _settle(self) -> None:
        """Let the cursor pass the batches at the front that have nothing left."""
        last = None
        while self._unsettled and not self._unsettled[0].left:
            last = self._unsettled.popleft().position
            del self._left[last]
        if last is not None:
            self._source.settle(last)


def _too_large(body: Body) -> Verdict:
    """Refuse a single document that Elasticsearch, or a proxy before it, does not take for its size."""
    return Verdict(refused=[Refused(0, "too_large", f"HTTP 413 for a request of {body.size_bytes} bytes")])


def _status_label(status: int) -> str:
    if status in (401, 403, 413, 429):
        return str(status)
    return f"{status // 100}xx" if status else "none"
