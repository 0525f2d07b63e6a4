"""The trail of a Docker Engine: each of its events is a record, once, across its restarts and ours.

Beside the watch of what containers are (`docker_events`) and apart from it: a stream of its own, of all events, with a
cursor of its own (producer `trail-INPUT`). At its first start it begins a little before; later it goes on where it was,
as far as the Engine remembers. What is missing beyond is a record too: see `docker_trail_records`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from collector import telemetry
from collector.config_watchers import DockerEventsInputConfig
from collector.health import Health
from collector.logs import Recurring, get_logger
from collector.producer import JournalProducer, RejectedError
from collector.role import Context
from collector.watchers.docker_client import EngineClient
from collector.watchers.docker_connection import Answers, EngineConnection, Pause
from collector.watchers.docker_trail_known import KnownContainers
from collector.watchers.docker_trail_records import ENCODING, gap_record
from collector.watchers.docker_trail_seam import TrailCursor, decoded_cursor, first_cursor
from collector.watchers.docker_trail_session import TrailSession

COMPONENT: Final = "trail of input {}"
"""What is ill where its stream is not to be had."""

REJECTED: Final = "rejected"
"""Why there is a gap in the place of a message that the journal never takes."""

logger = get_logger("watcher")


class Producer(Protocol):
    """Where messages, and what is to be kept beside them, go."""

    async def cursor(self) -> bytes:
        """Return the last cursor."""

    async def append_all(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Append messages with their cursors."""

    async def keep(self, cursor: bytes) -> None:
        """Keep a cursor."""


async def follow(name: str, options: DockerEventsInputConfig, context: Context) -> None:
    """Follow an Engine's events until cancelled."""
    socket = context.data_dir / "run" / "intake.sock"
    count = telemetry.WATCHER_MESSAGES.labels(input=name).inc

    def producer(of: str) -> JournalProducer:
        return JournalProducer(socket, of, encoding=ENCODING, input_name=name, peer=options.url, on_durable=count)

    # No input's name has a slash: the second is no other input's first.
    async with producer(f"trail-{name}") as told, producer(f"trail-containers/{name}") as kept:
        await EngineTrail(name, options, producer=told, containers=kept, health=context).run()


class EngineTrail:
    """One Engine's, across connections."""

    def __init__(
        self,
        name: str,
        options: DockerEventsInputConfig,
        *,
        producer: Producer,
        containers: Producer,
        health: Health,
        pause: Pause = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`name` is the input's; `containers` keeps which containers there were, apart from the records."""
        self._name = name
        self._url = options.url
        self._producer = producer
        self._containers = containers
        self._health = health
        self._pause = pause
        self._wall_clock_ns = wall_clock_ns
        self._connection = EngineConnection(name, options, pause=pause, clock=clock)
        self._cursor = TrailCursor()
        self._known = KnownContainers()
        self._appending: asyncio.Task[None] | None = None
        self._problems = Recurring(clock)
        self._refusals = Recurring(clock)
        self._failed = True

    async def run(self) -> None:
        """Follow for ever."""
        started_ns = self._wall_clock_ns()
        self._known.restore(await self._containers.cursor())
        cursor = decoded_cursor(await self._producer.cursor())
        if cursor is None:
            cursor = first_cursor(started_ns)
            await self._producer.keep(cursor.encoded())
        self._cursor = cursor
        try:
            await self._connection.keep(self._work, self._lost)
        finally:
            if self._appending is not None:
                self._appending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._appending

    async def append(self, payload: bytes, cursor: TrailCursor) -> None:
        """Append a message; where the connection is lost meanwhile, that goes on, and the next begins behind it."""
        self._appending = asyncio.create_task(self._append(payload, cursor))
        await asyncio.shield(self._appending)

    async def keep(self, known: bytes) -> None:
        """Keep what is known of containers."""
        await self._containers.keep(known)

    async def _append(self, payload: bytes, cursor: TrailCursor) -> None:
        if not await self._is_taken(payload, cursor):
            span_ns = (self._cursor.time_ns or self._cursor.promised_ns, cursor.time_ns)
            await self._is_taken(gap_record(self._name, REJECTED, span_ns, {}, {}), cursor)
            telemetry.WATCHER_TRAIL_GAPS.labels(input=self._name, reason=REJECTED).inc()
        self._cursor = cursor

    async def _is_taken(self, payload: bytes, cursor: TrailCursor) -> bool:
        """Append a message; False, and an error is said, where the journal never takes it."""
        try:
            await self._producer.append_all([(payload, cursor.encoded())])
        except RejectedError as error:
            logger.error("message_rejected", input=self._name, reason=str(error))  # noqa: TRY400 - a sentence
            return False
        return True

    async def _work(self, client: EngineClient, answers: Answers) -> None:
        """Tell what the Engine tells until the connection is lost; raises EngineError."""
        if self._appending is not None:
            await self._appending
        is_asked = bool(answers.about)

        async def now_ns() -> int:
            about = await client.about() if is_asked else {}
            return _system_time_ns(about) or self._wall_clock_ns()

        await TrailSession(
            client,
            self,
            self._cursor,
            self._known,
            name=self._name,
            refusals=self._refusals,
            now_ns=now_ns,
            on_placed=self._placed,
            pause=self._pause,
        ).run()

    def _placed(self) -> None:
        self._failed = False
        telemetry.WATCHER_TRAIL_CONNECTED.labels(input=self._name).set(1)
        self._health.healthy(COMPONENT.format(self._name))

    async def _lost(self, reason: str) -> None:
        """Note the end of a connection; the second in a row without a stream between is told."""
        telemetry.WATCHER_TRAIL_CONNECTED.labels(input=self._name).set(0)
        if self._problems.is_due(reason):
            logger.warning("trail_lost", input=self._name, url=self._url, reason=reason)
        if self._failed:
            self._health.unhealthy(COMPONENT.format(self._name), f"{self._url}: {reason}")
        self._failed = True


def _system_time_ns(about: dict[str, Any]) -> int:
    """Return the Engine's clock, as `/info` says it; 0 where it does not."""
    try:
        time_ = datetime.fromisoformat(str(about.get("SystemTime")))
    except ValueError:
        return 0
    if time_.tzinfo is None:
        return 0
    microseconds = (time_ - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return max(microseconds, 0) * 1_000
