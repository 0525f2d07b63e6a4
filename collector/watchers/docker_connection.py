"""Connections to one Docker Engine, made again and again: for what its containers are, and for the trail of events."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from collector.certificates import CertificateError, engine_context
from collector.child import Backoff
from collector.config_watchers import DockerEventsInputConfig
from collector.logs import get_logger
from collector.watchers.docker_client import EngineClient, EngineError

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STABLE_S: Final = 60.0
"""Pauses between connections: doubling, and from the first again after one that lasted."""

PING_S: Final = 20.0
"""How often a sign of life is asked for."""

logger = get_logger("watcher")

Pause = Callable[[float], Awaitable[None]]


class Answers:
    """What an Engine says of itself at a connection: `/version`, and `/info` (empty where a proxy refuses it)."""

    def __init__(self, version: dict[str, Any], about: dict[str, Any]) -> None:
        self.version = version
        self.about = about


Use = Callable[[EngineClient, Answers], Awaitable[None]]
"""Works with a connection; ends by an EngineError only."""


class EngineConnection:
    """One after another, with pauses between."""

    def __init__(
        self,
        name: str,
        options: DockerEventsInputConfig,
        *,
        pause: Pause = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the input's."""
        self._name = name
        self._options = options
        self._pause = pause
        self._clock = clock
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, STABLE_S)

    async def keep(self, use: Use, lost: Callable[[str], Awaitable[None]]) -> None:
        """Be connected, again and again; `lost` is told why one ended."""
        while True:
            began_s = self._clock()
            try:
                async with EngineClient(self._options.url, self._tls()) as client:
                    version = await client.negotiate()
                    await use(client, Answers(version, await self._about(client)))
            except EngineError as error:
                await lost(str(error))
            await self._pause(self._backoff.after(self._clock() - began_s) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _tls(self) -> ssl.SSLContext | None:
        """Read the certificates, which may have been renewed."""
        try:
            return engine_context(self._options.tls) if self._options.tls is not None else None
        except CertificateError as error:
            raise EngineError(str(error)) from error

    async def _about(self, client: EngineClient) -> dict[str, Any]:
        """Ask what the Engine says of itself; a proxy may refuse that, and no container is less known for it."""
        try:
            return await client.about()
        except EngineError as error:
            if not error.status:
                raise
            logger.warning("engine_says_nothing_of_itself", input=self._name, reason=str(error))
            return {}


async def ask_for_life(client: EngineClient, pause: Pause) -> None:
    """Ask for a sign of life now and then: a stream may be silent for days, and nothing else tells of a lost peer."""
    while True:
        await pause(PING_S)
        await client.ping()


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Work at these until one fails; raise a fault of ours, if there is one, else the first of the Engine's."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(work)
    except BaseExceptionGroup as group:
        faults = list(_leaves(group.exceptions))
        raise next((fault for fault in faults if not isinstance(fault, EngineError)), faults[0]) from group


def _leaves(faults: Iterable[BaseException]) -> Iterable[BaseException]:
    for fault in faults:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault.exceptions)
        else:
            yield fault
