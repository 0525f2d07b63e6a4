"""`type: docker_events`: what a Docker Engine's containers are, asked for and appended as the Engine tells of changes.

Messages of the encoding `docker-inspect`, one JSON object each, whose `engine` is the input's name:

    {"kind":"engine", "id":…, "host":{…}}                               at each connection
    {"kind":"container", "cause":…, "container":{…}, "image":{…}}       when one is found, and when it changed
    {"kind":"gone", "id":…}                                             when one was removed
    {"kind":"snapshot", "ids":[…]}                                      after each list: others are gone
    {"kind":"away", "why":…}                                            once while the Engine cannot be reached

`container` and `image` have the API's own keys, as far as `docker_reduce` lets them pass; `cut` names those that were
too long. Of a container that was gone before it could be asked for, they hold what its events told. A connection that
ends is made anew after a pause; only when that fails is the Engine away.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from collector import telemetry
from collector.config_watchers import DockerEventsInputConfig
from collector.health import Health
from collector.logs import Recurring, get_logger
from collector.producer import JournalProducer, RejectedError
from collector.role import Context
from collector.watchers.docker_client import EngineClient
from collector.watchers.docker_connection import Answers, EngineConnection, Pause
from collector.watchers.docker_pending import Backlog, Cursor, decoded_cursor
from collector.watchers.docker_reduce import about_host
from collector.watchers.docker_session import EngineSession, Message
from collector.watchers.docker_stream import FILTERS, since

ENCODING: Final = "docker-inspect"

logger = get_logger("watcher")


class Producer(Protocol):
    """Where messages go."""

    async def cursor(self) -> bytes:
        """Return the cursor of the last message."""

    async def append_all(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Append messages with their cursors."""


async def watch(name: str, options: DockerEventsInputConfig, context: Context) -> None:
    """Watch an Engine until cancelled."""
    socket = context.data_dir / "run" / "intake.sock"
    count = telemetry.WATCHER_MESSAGES.labels(input=name).inc
    async with JournalProducer(
        socket, f"watcher-{name}", encoding=ENCODING, input_name=name, peer=options.url, on_durable=count
    ) as producer:
        await EngineWatch(name, options, producer=producer, health=context).run()


class EngineWatch:
    """One Engine, across its restarts and ours."""

    def __init__(
        self,
        name: str,
        options: DockerEventsInputConfig,
        *,
        producer: Producer,
        health: Health,
        pause: Pause = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._options = options
        self._producer = producer
        self._health = health
        self._pause = pause
        self._connection = EngineConnection(name, options, pause=pause, clock=clock)
        self._cursor = Cursor()
        self._failed = False
        self._problems = Recurring(clock)

    async def run(self) -> None:
        """Be connected, again and again."""
        self._cursor = decoded_cursor(await self._producer.cursor())
        self._failed = True
        await self._connection.keep(self._work, self._lost)

    async def _lost(self, reason: str) -> None:
        """Note the end of a connection; of the second in a row without a list between, tell that the Engine is away."""
        telemetry.WATCHER_CONNECTED.labels(input=self._name).set(0)
        telemetry.WATCHER_RECONNECTS.labels(input=self._name).inc()
        if self._problems.is_due(reason):
            logger.warning("engine_lost", input=self._name, url=self._options.url, reason=reason)
        if not self._failed:
            self._failed = True
            return
        self._health.unhealthy(f"input {self._name}", f"{self._options.url}: {reason}")
        if not self._cursor.is_away:
            away = msgspec.structs.replace(self._cursor, is_away=True)
            await self._append([({"kind": "away", "engine": self._name, "why": reason}, away)])

    async def _work(self, client: EngineClient, answers: Answers) -> None:
        """Tell of the Engine, and of its containers until the connection is lost; raises EngineError."""
        engine = str(answers.about.get("ID") or "")
        known = self._cursor if self._cursor.engine == engine else Cursor()
        backlog = Backlog(msgspec.structs.replace(known, engine=engine, is_away=False))
        session = EngineSession(
            client,
            self._append,
            backlog,
            name=self._name,
            engine=engine,
            container_limit=self._options.container_limit,
            resync_s=self._options.resync,
            on_listed=self._listed,
            pause=self._pause,
        )
        # The stream first: what happens while the list is made stands in it.
        async with client.events(FILTERS, since(known.time_ns)) as stream:
            host = about_host(answers.about, answers.version)
            logger.info("engine_connected", input=self._name, url=self._options.url, **host)
            await session.run(stream, host)

    def _listed(self, present: int, left_out: int) -> None:
        self._failed = False
        telemetry.WATCHER_CONNECTED.labels(input=self._name).set(1)
        telemetry.WATCHER_LEFT_OUT.labels(input=self._name).set(left_out)
        if left_out:
            reason = f"{present} containers, {left_out} more than its container_limit: of those only the ids are known"
            self._health.unhealthy(f"input {self._name}", reason)
        else:
            self._health.healthy(f"input {self._name}")

    async def _append(self, messages: Sequence[Message]) -> None:
        try:
            await self._producer.append_all(
                [(msgspec.json.encode(content), cursor.encoded()) for content, cursor in messages]
            )
        except RejectedError as error:
            logger.error("message_rejected", input=self._name, reason=str(error))  # noqa: TRY400 - a sentence
        self._cursor = messages[-1][1]
