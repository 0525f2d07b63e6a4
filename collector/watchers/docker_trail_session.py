"""One connection to a Docker Engine for its trail: every event is read, its exec asked for, and all told in order.

Several things go on at once. The stream is read as it comes; beside it is found out where it goes on; execs are asked
for, a few at a time; and all is told in the order of the stream. An event waits for the answer about its exec as long
as that may take (`docker_client.EXEC_LIMIT_S`), counted from when it was read: then it is told with what was answered
about the same exec before, or by itself. One answer serves all events of an exec that were read before it was asked
for.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from collector import telemetry
from collector.logs import Recurring, get_logger
from collector.watchers import docker_client
from collector.watchers.docker_client import BEGINNING, EngineClient, EngineError
from collector.watchers.docker_connection import Pause, ask_for_life, together
from collector.watchers.docker_stream import EventLines, Lost, since
from collector.watchers.docker_trail_execs import Answered, Execs
from collector.watchers.docker_trail_known import KnownContainers
from collector.watchers.docker_trail_records import (
    LINE_LIMIT_BYTES,
    Execution,
    TrailEvent,
    event_record,
    gap_record,
    read_event,
)
from collector.watchers.docker_trail_seam import EXCEEDED, RESTARTED, Missing, Seam, TrailCursor
from collector.watchers.docker_trail_waiting import BYTES_LIMIT, EVENTS_LIMIT, OVERFLOW, Queue, Waiting

AT_ONCE: Final = 8
"""Execs that are asked for at once."""

SEEKS_LIMIT: Final = 1_024
"""Events of containers whose label keeps them from naming their exec, that wait for it to be sought, one after another.
Those beyond are told without: such a container must not keep the others from their answers."""

RECORDS_LIMIT: Final = 64
RECORDS_LIMIT_BYTES: Final = 1 << 20
"""Records of one message, and bytes of them where they are several."""

PID_PAUSE_S: Final = 0.05
PID_WAIT_S: Final = 0.25
"""Pause before an exec that has no process id yet is asked for again, and how long that goes on."""

KEEP_S: Final = 60.0
"""How often what is known of containers is kept, if it changed."""

COMPARE_S: Final = 5.0
"""Pause before containers are listed again: of many gaps, few lists are made."""

MEASURE_S: Final = 1.0
"""How often it is measured what waits, though nothing comes."""

UNREADABLE: Final = "unreadable"

logger = get_logger("watcher")


class Journal(Protocol):
    """Where it is told to."""

    async def append(self, payload: bytes, cursor: TrailCursor) -> None:
        """Append a message with the cursor behind it; return when it is durable, also where the call is cancelled."""

    async def keep(self, known: bytes) -> None:
        """Keep what is known of containers."""


class TrailSession:
    """What is told through one connection. `run` ends by an EngineError only."""

    def __init__(
        self,
        client: EngineClient,
        journal: Journal,
        cursor: TrailCursor,
        known: KnownContainers,
        *,
        name: str,
        refusals: Recurring,
        now_ns: Callable[[], Awaitable[int]],
        on_placed: Callable[[], None],
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`name` is the input's, `now_ns` the Engine's clock; `on_placed` is called when it is known where to go on."""
        self._client = client
        self._journal = journal
        self._cursor = cursor
        self._known = known
        self._name = name
        self._execs = Execs(client, name, refusals)
        self._now_ns = now_ns
        self._on_placed = on_placed
        self._pause = pause
        self._seam: Seam | None = None
        self._early: deque[TrailEvent | Lost] = deque()
        self._early_bytes = 0
        self._queue = Queue()
        self._asks: asyncio.Queue[str] = asyncio.Queue()
        self._asking: dict[str, list[Waiting]] = {}
        self._seeks: asyncio.Queue[Waiting] = asyncio.Queue(SEEKS_LIMIT)
        self._answered = Answered()
        self._in_hand: Waiting | None = None
        self._is_listed = False
        self._was_known = known.is_known
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Work until the connection is lost."""
        opening = since(self._cursor.opening_ns) or BEGINNING
        async with self._client.events({}, opening) as stream:
            asking = [self._ask() for _ in range(AT_ONCE)]
            alive = ask_for_life(self._client, self._pause)
            await together(
                self._read(stream), self._place(), *asking, self._seek(), self._tell(), self._measure(), alive
            )

    async def _read(self, stream: AsyncIterator[bytes]) -> None:
        lines = EventLines(LINE_LIMIT_BYTES)
        async for received in stream:
            for line in lines.feed(received):
                self._take(read_event(line) if isinstance(line, bytes) else line)

    async def _measure(self) -> None:
        while True:
            self._note_waiting()
            await self._pause(MEASURE_S)

    def _note_waiting(self) -> None:
        telemetry.WATCHER_TRAIL_WAITING.labels(input=self._name).set(len(self._queue))
        first = self._in_hand or self._queue.first_event
        lag_s = self._clock() - first.read_s if first is not None else 0.0
        telemetry.WATCHER_TRAIL_LAG.labels(input=self._name).set(lag_s)

    def _take(self, event: TrailEvent | Lost) -> None:
        if self._seam is not None:
            self._take_placed(self._seam, event)
        elif len(self._early) < EVENTS_LIMIT and self._early_bytes < BYTES_LIMIT:
            self._early.append(event)
            self._early_bytes += len(event.content) if isinstance(event, TrailEvent) else 0
        else:
            # Begin anew, where the Engine remembers the last of it.
            raise EngineError("too many events came while it was asked what it remembers", of_one=True)

    def _take_placed(self, seam: Seam, event: TrailEvent | Lost) -> None:
        if isinstance(event, TrailEvent):
            for found in seam.take(event):
                self._put(found)
            return
        telemetry.WATCHER_EVENTS_LOST.labels(input=self._name, reason=event.reason).inc()
        if seam.is_new(event):
            self._queue.mark(Missing(UNREADABLE, lost=event.key))

    async def _place(self) -> None:
        """Find out where the stream goes on, then keep now and then what is known of containers."""
        until_ns = max(self._cursor.time_ns, await self._now_ns())
        lines = EventLines(LINE_LIMIT_BYTES).feed(await self._client.remembered(since(until_ns)))
        events = (read_event(line) for line in lines if isinstance(line, bytes))
        remembered = [(event.key, event.time_ns) for event in events if isinstance(event, TrailEvent)]
        if not self._was_known:
            self._known.compare(await self._client.containers())
        seam = Seam(self._cursor, remembered)
        for missing in seam.begin():
            self._put(missing)
        self._seam = seam
        while self._early:
            self._take(self._early.popleft())
        self._on_placed()
        while True:
            if self._known.is_changed:
                await self._journal.keep(self._known.encoded())
            await self._pause(KEEP_S)

    def _put(self, found: TrailEvent | Missing) -> None:
        if isinstance(found, Missing):
            self._queue.mark(found)
            return
        now_s = self._clock()
        waiting = Waiting(found, now_s, now_s + docker_client.EXEC_LIMIT_S)
        if found.is_of_exec and not self._execs.is_refused:
            waiting.answered = asyncio.Event()
        if not self._queue.put(waiting):
            telemetry.WATCHER_EVENTS_LOST.labels(input=self._name, reason=OVERFLOW).inc()
        elif waiting.answered is not None:
            identity = found.execution or found.container
            if identity not in self._asking:
                self._asking[identity] = []
                self._asks.put_nowait(identity)
            self._asking[identity].append(waiting)

    async def _ask(self) -> None:
        """Ask for execs, one after another."""
        while True:
            identity = await self._asks.get()
            asking = self._asking.pop(identity)
            if not self._execs.is_refused and not all(waiting.is_due(self._clock()) for waiting in asking):
                execution = await self._execs.named(asking[-1].event)
                if execution is None:
                    await self._leave(asking)
                    continue
                self._queue.answer(asking[-1], execution)
                for earlier in asking[:-1]:
                    self._queue.answer(earlier, execution.standing())
                if self._has_no_pid_yet(asking[-1], execution):
                    self._ask_again(identity, asking)
                    continue
            for waiting in asking:
                _set(waiting)

    async def _leave(self, asking: list[Waiting]) -> None:
        """Leave those to be sought whose container's label names what is none of its execs; to others is no answer."""
        for waiting in asking:
            is_labelled = False
            if not waiting.is_due(self._clock()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(waiting.until_s):
                        is_labelled = await self._execs.is_labelled(waiting.event)
            if is_labelled and not self._seeks.full():
                self._seeks.put_nowait(waiting)
            else:
                _set(waiting)

    async def _seek(self) -> None:
        """Ask for what is left, one after another: two events at once could be given the same exec."""
        while True:
            waiting = await self._seeks.get()
            if not waiting.is_due(self._clock()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(waiting.until_s):
                        self._queue.answer(waiting, await self._execs.sought(waiting.event))
            _set(waiting)

    def _has_no_pid_yet(self, waiting: Waiting, execution: Execution) -> bool:
        """Tell whether the Engine told of the start before it started the process."""
        known = execution.content
        is_named = known.get("ID") == waiting.event.execution
        is_starting = waiting.event.cause == "exec_start" and known.get("Running") and not known.get("Pid")
        return bool(is_named and is_starting) and self._clock() < waiting.read_s + PID_WAIT_S

    def _ask_again(self, identity: str, asking: list[Waiting]) -> None:
        if identity in self._asking:
            self._asking[identity][:0] = asking
            return
        self._asking[identity] = asking
        asyncio.get_running_loop().call_later(PID_PAUSE_S, self._asks.put_nowait, identity)

    async def _tell(self) -> None:
        while True:
            await self._queue.wait()
            first = self._queue.first
            if isinstance(first, Missing):
                await self._tell_gap()
                continue
            if first.answered is not None and not first.is_due(self._clock()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(first.until_s):
                        await first.answered.wait()
            await self._tell_events(*self._take_due())

    def _take_due(self) -> tuple[list[TrailEvent], list[bytes]]:
        """Take up the first, and what stands behind it and waits for nothing; return events and their records."""
        taken: list[TrailEvent] = []
        records: list[bytes] = []
        size_bytes = 0
        while len(self._queue) and len(taken) < RECORDS_LIMIT:
            first = self._queue.first
            if isinstance(first, Missing) or (taken and not first.is_due(self._clock())):
                break
            record = event_record(self._name, first.event, self._known_execution(first))
            size_bytes += len(record) + len(b"\n")
            if taken and size_bytes > RECORDS_LIMIT_BYTES:
                break
            self._queue.take()
            self._remember(first)
            self._in_hand = self._in_hand or first
            taken.append(first.event)
            records.append(record)
        return taken, records

    async def _tell_events(self, told: list[TrailEvent], records: list[bytes]) -> None:
        self._cursor = self._cursor.behind(told)
        await self._journal.append(b"\n".join(records), self._cursor)
        self._in_hand = None
        for event in told:
            self._known.apply(event)
        telemetry.WATCHER_TRAIL_EVENTS.labels(input=self._name).inc(len(told))
        self._note_waiting()

    def _known_execution(self, told: Waiting) -> Execution | None:
        """Return what was answered about the exec, else of an earlier answer what cannot have changed."""
        if not told.event.is_of_exec:
            return None
        return told.execution or self._answered.about(told.event.execution)

    def _remember(self, told: Waiting) -> None:
        """Keep what was answered for later events of the exec, or count that nothing was."""
        if told.execution is not None:
            self._answered.keep(told.event.execution, told.execution)
        elif told.event.is_of_exec:
            telemetry.WATCHER_EXECS_UNANSWERED.labels(input=self._name).inc()

    async def _tell_gap(self) -> None:
        """Tell what is missing, with the containers that came and went since the last list."""
        if self._is_listed:
            await self._pause(COMPARE_S)
        self._is_listed = True
        listed, now_ns = await self._client.containers(), await self._now_ns()
        missing = self._queue.take()
        if not isinstance(missing, Missing):
            return
        differences, lengths = self._known.compare(listed)
        if missing.why in (RESTARTED, EXCEEDED) and not self._was_known:
            # What there was before the gap is not known; the first list was made behind it.
            differences, lengths = {}, {}
        span_ns = (self._cursor.time_ns or self._cursor.promised_ns, missing.before_ns or now_ns)
        if missing.why in (RESTARTED, EXCEEDED):
            self._cursor = self._cursor.behind_gap(missing.before_ns)
        self._cursor = self._cursor.with_lost(missing.lost)
        logger.warning("trail_gap", input=self._name, reason=missing.why, after_ns=span_ns[0], before_ns=span_ns[1])
        await self._journal.append(gap_record(self._name, missing.why, span_ns, differences, lengths), self._cursor)
        telemetry.WATCHER_TRAIL_GAPS.labels(input=self._name, reason=missing.why).inc()


def _set(waiting: Waiting) -> None:
    """Let an event be told."""
    if waiting.answered is not None:
        waiting.answered.set()
