"""The watcher role: every input is a task of its own, and one that fails is started again beside the others."""

import asyncio
import typing
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config
from collector.config_watchers import DockerEventsInputConfig, WatchedInputConfig
from collector.control import Message
from collector.errors import TidewaiterError
from collector.role import Context
from collector.watchers import watcher


class Channel:
    """Takes reports."""

    def send(self, message: Message) -> None:
        """Take one."""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """The role with two Engines."""
    inputs = {"bad": DockerEventsInputConfig(), "good": DockerEventsInputConfig(url="unix:///run/other.sock")}
    return Context("watcher", Config(data_dir=str(tmp_path), inputs=dict(inputs)), Channel())


async def run(context: Context, until: asyncio.Event) -> None:
    """Run the role until something happened."""
    running = asyncio.create_task(watcher.main(context))
    await until.wait()
    context.stopping.set()
    await running


@pytest.mark.parametrize(
    ("fault", "told"), [(TidewaiterError("no such thing"), "no such thing"), (KeyError("x"), "KeyError: 'x'")]
)
async def test_an_input_that_fails_is_told_and_started_again(
    context: Context, monkeypatch: pytest.MonkeyPatch, fault: Exception, told: str
) -> None:
    """The other goes on as if nothing had been."""
    begun: list[str] = []
    again = asyncio.Event()

    async def watch(name: str, _options: Any, given: Context) -> None:
        begun.append(name)
        if name == "bad" and begun.count(name) == 1:
            raise fault
        if begun.count("bad") == 2:
            again.set()
        given.healthy(f"input {name}")
        await asyncio.Event().wait()

    health: dict[str, str] = {}
    monkeypatch.setattr(context, "unhealthy", health.__setitem__)
    monkeypatch.setitem(watcher.WATCHES, DockerEventsInputConfig, (watcher.Watch("input {}", watch),))
    monkeypatch.setattr(watcher, "RESTART_FIRST_S", 0.001)
    monkeypatch.setattr(watcher.os, "nice", lambda _: 0)  # type: ignore[attr-defined]
    await run(context, again)

    assert ["bad", "good", "bad"] == begun
    assert {"input bad": told, "input good": "not asked yet"} == health


async def test_a_trail_that_fails_leaves_what_containers_are(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an Engine both are watched, apart from one another; where no trail is wanted there is none."""
    begun: list[tuple[str, str]] = []
    again = asyncio.Event()

    async def watch(name: str, _options: Any, given: Context) -> None:
        begun.append(("watch", name))
        given.healthy(f"input {name}")
        await asyncio.Event().wait()

    async def follow(name: str, _options: Any, _given: Context) -> None:
        begun.append(("follow", name))
        if begun.count(("follow", "good")) == 2:
            again.set()
        raise TidewaiterError("no stream")

    health: dict[str, str] = {}
    context.config.inputs["bad"] = DockerEventsInputConfig(trail=False)
    monkeypatch.setattr(context, "unhealthy", health.__setitem__)
    (containers, trail) = watcher.WATCHES[DockerEventsInputConfig]
    watches = (containers._replace(run=watch), trail._replace(run=follow))
    monkeypatch.setitem(watcher.WATCHES, DockerEventsInputConfig, watches)
    monkeypatch.setattr(watcher, "RESTART_FIRST_S", 0.001)
    monkeypatch.setattr(watcher.os, "nice", lambda _: 0)  # type: ignore[attr-defined]
    await run(context, again)

    assert [("watch", "bad"), ("watch", "good"), ("follow", "good"), ("follow", "good")] == begun
    assert "no stream" == health["trail of input good"]
    assert {"input bad", "input good", "trail of input good"} == health.keys()


def test_every_type_that_is_asked_has_something_that_watches_it() -> None:
    """Whatever the configuration knows."""
    kinds = typing.get_args(WatchedInputConfig) or (WatchedInputConfig,)

    assert set(kinds) == set(watcher.WATCHES)
