"""How one body of documents gets to Elasticsearch: sent until each of its documents is settled.

Only what failed is sent again. What is refused for a field gets a second try without it; what is refused for good is a
dead letter on disk before it counts as settled, unless nearly everything of its stream is refused: then it waits.
"""

import asyncio
import base64
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from collector import telemetry
from collector.dead_letters import DeadLettersFullError, Letter, Letters, letter_id
from collector.logs import get_logger
from collector.outputs.bulk import Body, shares_of
from collector.outputs.elasticsearch_answers import (
    NEARLY_ALL_REFUSED,
    WHAT_TO_DO,
    Answer,
    Pace,
    Refused,
    Verdict,
    verdict_of,
)
from collector.outputs.elasticsearch_conflicts import field_of, moved_aside
from collector.outputs.elasticsearch_load import Load
from collector.outputs.elasticsearch_refusals import Refusals
from collector.outputs.elasticsearch_repeats import Repeats, Unknown, list_uncertain, may_be_doubled
from collector.outputs.elasticsearch_settling import Settling
from collector.outputs.elasticsearch_waits import Telling, Waits
from parsers.timestamps import rfc3339
from pipelines.frame import Position

SMALLEST_BODY_BYTES: Final = 64 << 10
"""A 413 makes no later bodies smaller than this; single documents still are tried."""

FIELD_SHOWN: Final = 100
"""Characters of a field's name that the log has."""

logger = get_logger("worker")


class Client(Protocol):
    """Sends a body once and says what came back."""

    async def send(self, stream: str, body: Sequence[bytes], *, with_index: bool) -> Answer:
        """POST a body in parts to a data stream."""

    async def ask(self, method: str, path: str, parameters: dict[str, str], content: Any = None) -> Answer:
        """Send a request that carries no documents, JSON if any, and return the answer."""


class _Moved(msgspec.Struct):
    """What a document was before a field's value was moved aside, and what was said of it then."""

    document: bytes
    reason: str


class _Turn(msgspec.Struct):
    """A body to be sent: `held` where it waited with nearly all of its stream, `moved` where it is a second try.

    `unknown` where it may have been sent before.
    """

    body: Body
    held: bool = False
    moved: bool = False
    unknown: Unknown | None = None

    def of(self, body: Body) -> "_Turn":
        """Return a turn for a part of this body."""
        unknown = None if self.unknown is None else msgspec.structs.replace(self.unknown, looked_up=False)
        return _Turn(body, self.held, self.moved, unknown)

    def halves(self) -> list["_Turn"]:
        return [self.of(half) for half in self.body.halves()]


class Delivery:
    """One body on its way, and what is left of it."""

    def __init__(self, stream: str, body: Body) -> None:
        self.stream = stream
        self.turns = deque([_Turn(body)])
        self.moved: dict[str, _Moved] = {}
        self.tries = 0


class Deliverer:
    """Delivers bodies, each by a call of `deliver`; what all deliveries share."""

    def __init__(
        self,
        name: str,
        *,
        pace: Pace,
        letters: Letters,
        waits: Waits,
        hold: bool,
        uncertain: Path,
        settled: Callable[[], None],
    ) -> None:
        self._name = name
        self._pace = pace
        self._letters = letters
        self._letters_lock = asyncio.Lock()
        self._telling = Telling(name)
        self._waits = waits
        self._refusals = Refusals() if hold else None
        self._uncertain = uncertain
        self._settled = settled
        self.crowded = False
        """Whether a further body waits for a request's turn."""
        self.parked: dict[Delivery, int] = {}
        """Deliveries that wait for an operator while others go on, with the bytes that they hold."""
        self.on_parked: Callable[[], None] = lambda: None
        self.on_refused: Callable[[Position, list[bytes]], None] = lambda _position, _identifiers: None
        """Told of documents that are dead letters on disk, before their batch counts as settled."""
        self._settling: Settling
        self._client: Client
        self._load: Load
        self._repeats: Repeats

    def begin(self, client: Client, settling: Settling, load: Load, repeats: Repeats) -> None:
        """Forget deliveries of an earlier run."""
        self.parked.clear()
        self._repeats = repeats
        self._client, self._settling, self._load = client, settling, load

    async def deliver(self, delivery: Delivery) -> None:
        """Send a body until each of its documents is settled, or the worker drains."""
        delivery.turns[0].unknown = self._repeats.first(delivery.stream)
        try:
            while delivery.turns:
                turn = delivery.turns.popleft()
                if len(turn.body) > 1 and turn.body.size_bytes > self._load.body_bytes:
                    delivery.turns.extendleft(reversed(turn.halves()))
                elif turn.unknown is not None and not turn.unknown.looked_up:
                    if not await self._look_up(delivery, turn, turn.unknown):
                        return
                elif not await self._step(delivery, turn):
                    return
        finally:
            self.parked.pop(delivery, None)

    async def _look_up(self, delivery: Delivery, turn: _Turn, unknown: Unknown) -> bool:
        """Find out what of a body is stored in an index that is written to no more; False when the worker drains."""
        body = turn.body
        found = await self._repeats.look_up(self._client, delivery.stream, body, unknown)
        if found.problem is not None:
            delivery.turns.appendleft(turn)
            delivery.tries += 1
            return await self._wait(delivery, verdict_of(body, found.problem), found.problem, len(body))
        if found.wait_s:
            delivery.turns.appendleft(turn)
            problem = (
                f"{delivery.stream} was rolled over while an answer was missing: documents are looked up when the old "
                "request has ended"
            )
            self._waits.begin(id(delivery), "look-up", problem, len(body))
            return await self._waits.pause(found.wait_s)
        unknown.looked_up = True
        unknown.index = found.index or unknown.index
        if unknown.early:
            self._repeats.met(delivery.stream, found)
            turn.unknown = unknown if found.rolled_over else None
        if not found.places:
            delivery.turns.appendleft(turn)
            return True
        self._count(delivery, turn, Verdict(found=shares_of(map(body.position, found.places))))
        self._settled()
        stored = {*found.places}
        rest = [index for index in range(len(body)) if index not in stored]
        if rest:
            delivery.turns.appendleft(_Turn(body.only(rest), turn.held, turn.moved, unknown))
        self._go_on(delivery)
        return True

    async def _step(self, delivery: Delivery, turn: _Turn) -> bool:
        """Send a body once and act on the answer; False when the worker drains."""
        body = turn.body = turn.body.sent_at(time.time_ns())
        answer, verdict, unknown = await self._sent(delivery.stream, turn)
        if answer.status == 413 and len(body) > 1:
            delivery.turns.extendleft(reversed(turn.halves()))
            return True
        second, refused = self._second_tries(delivery, body, verdict.refused)
        left = [] if verdict.again is None else [turn.of(verdict.again)]
        if left and unknown is not None:
            left[0].unknown = unknown
        if self._are_kept(delivery, turn, verdict, len(refused)):
            as_made = {each.index: _as_made(delivery, body, each.index) for each in refused}
            left.append(_Turn(body.replaced(as_made), held=True))
            verdict.cause, verdict.problem = NEARLY_ALL_REFUSED, _nearly_all(delivery.stream, refused)
            refused = []
        if turn.unknown is not None:
            await self._list_uncertain(delivery, body, turn.unknown, verdict)
        self._count(delivery, turn, verdict)
        if refused and not await self._bury(delivery, body, refused):
            return False
        self._settled()
        delivery.turns.extendleft(reversed(left))
        if second is not None:
            delivery.turns.appendleft(_Turn(second, moved=True))
        if not left:
            delivery.tries = 0
            self._go_on(delivery)
            return True
        delivery.tries = 0 if verdict.stored or verdict.found or refused else delivery.tries + 1
        return await self._wait(delivery, verdict, answer, sum(len(each.body) for each in left))

    async def _sent(self, stream: str, turn: _Turn) -> tuple[Answer, Verdict, Unknown | None]:
        """Send a body when its turn has come; take note of how busy Elasticsearch is, and of what is unknown now."""
        body = turn.body
        async with self._load.turn() as sent_in:
            sent_s = time.monotonic()
            index = self._repeats.index(stream) if turn.unknown is None else turn.unknown.index
            telemetry.OUTPUT_BYTES.labels(output=self._name).inc(body.size_bytes)
            with_index = turn.unknown is not None or self._repeats.asks(stream)
            answer = await self._client.send(stream, body.parts, with_index=with_index)
            took_s = time.monotonic() - sent_s
        telemetry.OUTPUT_REQUESTS.labels(output=self._name, status=_status_label(answer.status)).inc()
        if answer.status == 413:
            if len(body) > 1 and self._load.too_large(body.size_bytes, floor_bytes=SMALLEST_BODY_BYTES):
                logger.warning("requests_made_smaller", output=self._name, limit_bytes=self._load.body_bytes)
            return answer, _too_large(body), None
        verdict = verdict_of(body, answer)
        if verdict.pressed or answer.timed_out:
            self._load.eased(sent_in, body.size_bytes)
        elif answer.status == 200:
            self._load.went_well(sent_in, took_s, more_waits=self.crowded)
        telemetry.OUTPUT_BODY_LIMIT.labels(output=self._name).set(self._load.body_bytes)
        telemetry.OUTPUT_REQUESTS_LIMIT.labels(output=self._name).set(self._load.requests)
        if verdict.stored_in:
            self._repeats.learn(stream, [*verdict.stored_in][-1], sent_s)
        return answer, verdict, Unknown(sent_s, index) if verdict.unknown else None

    def _second_tries(
        self, delivery: Delivery, body: Body, refused: Sequence[Refused]
    ) -> tuple[Body | None, list[Refused]]:
        """Return a body of the documents that may be taken without one field, and those refused for good."""
        second: dict[int, bytes] = {}
        shown = ""
        final: list[Refused] = []
        for each in refused:
            field = field_of(each.reason)
            made = moved_aside(body.document(each.index), field) if field is not None else None
            if made is None:
                final.append(each)
                continue
            second[each.index] = made
            shown = str(field)[:FIELD_SHOWN]
            delivery.moved.setdefault(body.identifier(each.index), _Moved(body.document(each.index), each.reason))
        if not second:
            return None, final
        self._telling.tell("fields_moved_aside", delivery.stream, len(second), field=shown)
        return body.replaced(second), final

    async def _list_uncertain(self, delivery: Delivery, body: Body, unknown: Unknown, verdict: Verdict) -> None:
        """Count and list what may stand in two indices now."""
        for index, places in verdict.stored_in.items():
            if not may_be_doubled(unknown, index):
                continue
            ids = [body.identifier(place) for place in places]
            now = rfc3339(time.time_ns())
            async with self._letters_lock:
                listed = await asyncio.to_thread(list_uncertain, self._uncertain, delivery.stream, index, ids, now)
            telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="uncertain").inc(len(ids))
            listed_in = str(self._uncertain) if listed else "no file: there is no room"
            reason = "an answer was lost, and the stream was rolled over: they may stand in two indices"
            logger.warning(
                "documents_uncertain", output=self._name, reason=reason, documents=len(ids), listed_in=listed_in
            )

    def _are_kept(self, delivery: Delivery, turn: _Turn, verdict: Verdict, refused: int) -> bool:
        """Tell whether refused documents wait, because nearly all of their stream are refused."""
        if self._refusals is None:
            return False
        stored = sum(count for _, count in (*verdict.stored, *verdict.found))
        return self._refusals.are_kept(delivery.stream, stored, refused, repeated=turn.held)

    def _count(self, delivery: Delivery, turn: _Turn, verdict: Verdict) -> None:
        """Note what an answer settles."""
        self._settling.add("stored", verdict.stored)
        self._settling.add("found", verdict.found)
        self._settling.mark("diverted", verdict.diverted)
        stored, found, diverted = (
            sum(count for _, count in shares) for shares in (verdict.stored, verdict.found, verdict.diverted)
        )
        stored_as = "moved" if turn.moved else "delivered"
        if turn.moved:
            self._settling.mark("moved", verdict.stored)
        for outcome, count in ((stored_as, stored - diverted), ("duplicate", found), ("diverted", diverted)):
            if count:
                telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome=outcome).inc(count)
        if diverted:
            kept_in = f"{delivery.stream}::failures"
            self._telling.tell("documents_diverted", delivery.stream, diverted, kept_in=kept_in)

    async def _wait(self, delivery: Delivery, verdict: Verdict, answer: Answer, count: int) -> bool:
        """Wait before the `count` documents that are left are sent again; False when the worker drains."""
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="retried").inc(count)
        self._waits.begin(id(delivery), verdict.cause, verdict.problem, count)
        if answer.status == 200 and (verdict.cause in WHAT_TO_DO or verdict.cause == NEARLY_ALL_REFUSED):
            self.parked[delivery] = sum(turn.body.size_bytes for turn in delivery.turns)
            self.on_parked()
        return await self._waits.pause(self._pace.pause_s(delivery.tries, verdict, answer.retry_after_s))

    def _go_on(self, delivery: Delivery) -> None:
        self._waits.end(id(delivery))
        self.parked.pop(delivery, None)

    async def _bury(self, delivery: Delivery, body: Body, refused: Sequence[Refused]) -> bool:
        """Write dead letters, durably, before they count as settled; wait while there is no room for them."""
        letters = [self._letter(delivery, body, each) for each in refused]
        while True:
            try:
                async with self._letters_lock:
                    await asyncio.to_thread(self._letters.append, letters)
                break
            except (DeadLettersFullError, OSError) as error:
                problem = f"dead letters cannot be written: {error}"
                self._waits.begin(id(letters), "dead letters", problem, len(letters))
            if not await self._waits.pause(self._pace.refused_s):
                self._waits.end(id(letters))
                return False
        self._waits.end(id(letters))
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="dead").inc(len(letters))
        for code, count in Counter(letter.code for letter in letters).items():
            kept_in = str(self._letters.path)
            logger.error("documents_refused", output=self._name, code=code, documents=count, kept_in=kept_in)
        for each in refused:
            self.on_refused(body.position(each.index), [body.identifier(each.index).encode()])
        self._settling.add("dead", shares_of(body.position(each.index) for each in refused))
        return True

    def _letter(self, delivery: Delivery, body: Body, refused: Refused) -> Letter:
        identifier = body.identifier(refused.index)
        batch = self._settling.batch(body.position(refused.index))
        moved = delivery.moved.get(identifier)
        reason = refused.reason if moved is None else f"{moved.reason}; and without this field: {refused.reason}"
        return Letter(
            id=f"{letter_id(self._name, batch.position)}-{identifier}",
            position=batch.position,
            time=rfc3339(batch.journal_time),
            stage="output",
            code=refused.code or "refused",
            reason=reason,
            origin=self._name,
            payload=base64.b64encode(_as_made(delivery, body, refused.index)).decode(),
            document_id=identifier,
            stream=delivery.stream,
        )


def _as_made(delivery: Delivery, body: Body, index: int) -> bytes:
    """Return a document as the pipeline made it, without anything moved aside."""
    moved = delivery.moved.get(body.identifier(index))
    return body.document(index) if moved is None else moved.document


def _nearly_all(stream: str, refused: Sequence[Refused]) -> str:
    code = Counter(each.code for each in refused).most_common(1)[0][0]
    return (
        f"nearly all documents of {stream} are refused ({code}): they wait, and nothing more becomes a dead letter; "
        "mend the stream's template and roll it over, or set hold_refused: false to let them become dead letters"
    )


def _too_large(body: Body) -> Verdict:
    """Refuse a single document that Elasticsearch, or a proxy before it, does not take for its size."""
    return Verdict(refused=[Refused(0, "too_large", f"HTTP 413 for a request of {body.size_bytes} bytes")])


def _status_label(status: int) -> str:
    if status in (401, 403, 413, 429):
        return str(status)
    return f"{status // 100}xx" if status else "none"
