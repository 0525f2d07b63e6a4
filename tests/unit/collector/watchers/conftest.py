"""An Engine's stub, and whoever watches it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from collector.config_watchers import DockerEventsInputConfig
from collector.watchers import docker_client, docker_trail_session
from collector.watchers.docker_connection import PING_S
from collector.watchers.docker_events import EngineWatch
from collector.watchers.docker_trail import EngineTrail
from collector.watchers.docker_trail_session import KEEP_S, MEASURE_S
from tests.kit.docker_stub import EngineStub
from tests.kit.watching import KeptMessages, Pauses


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineStub]:
    """An Engine on a Unix socket."""
    async with EngineStub(tmp_path / "d.sock") as stub:
        yield stub


class Watched:
    """A watch that runs, with what it appended and said."""

    def __init__(self, kept: KeptMessages, pauses: Pauses, running: Coroutine[Any, Any, None]) -> None:
        self.kept = kept
        self.pauses = pauses
        self.containers = KeptMessages()
        self.task = asyncio.create_task(running)

    async def end(self) -> None:
        """Stop it."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


Watch = Callable[..., Watched]


@pytest.fixture
async def watch(engine: EngineStub) -> AsyncIterator[Watch]:
    """Watch the Engine: `watch(cursor=…, container_limit=…)`."""
    begun: list[Watched] = []

    def begin(*, cursor: bytes = b"", url: str = "", **options: Any) -> Watched:
        kept, pauses = KeptMessages(cursor), Pauses(PING_S)
        config = DockerEventsInputConfig(url=url or engine.url, **options)
        watching = EngineWatch("engine", config, producer=kept, health=kept, pause=pauses)
        begun.append(Watched(kept, pauses, watching.run()))
        return begun[-1]

    yield begin
    for each in begun:
        await each.end()


@pytest.fixture
async def follow(engine: EngineStub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    """Follow the Engine's events: `follow(cursor=…, known=…)`; without a cursor, behind none of the stub's.

    However slow this machine is, what is asked about an exec is waited for.
    """
    monkeypatch.setattr(docker_client, "EXEC_LIMIT_S", 30.0)
    monkeypatch.setattr(docker_trail_session, "PID_WAIT_S", 30.0)
    begun: list[Watched] = []

    def begin(*, cursor: bytes | None = None, known: bytes = b"", producer: Any = None, url: str = "") -> Watched:
        kept = KeptMessages(b'{"since_ns":1}' if cursor is None else cursor)
        containers, pauses = KeptMessages(known), Pauses(PING_S, KEEP_S, MEASURE_S)
        trail = EngineTrail(
            "engine",
            DockerEventsInputConfig(url=url or engine.url),
            producer=producer or kept,
            containers=containers,
            health=kept,
            pause=pauses,
            wall_clock_ns=lambda: engine.now_ns,
        )
        begun.append(Watched(kept, pauses, trail.run()))
        begun[-1].containers = containers
        return begun[-1]

    yield begin
    for each in begun:
        await each.end()
