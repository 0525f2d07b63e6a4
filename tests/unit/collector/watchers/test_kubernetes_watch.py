"""The watcher of clusters beside the intake: under whose name its messages stand, and what a restart finds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config
from collector.config_kubernetes import KubernetesInputConfig
from collector.control import Message
from collector.internal import InternalServer
from collector.journal.entry import Receipt
from collector.producer import LIFE
from collector.role import Context
from collector.watchers import kubernetes
from collector.watchers.kubernetes_cluster import AWAY
from pipelines.frame import Origin, Producer
from tests.kit.kubernetes_api import kubernetes_api
from tests.kit.kubernetes_watching import shop, write_kubeconfig
from tests.kit.memory_journal import MemoryJournal

LIMIT_S = 10.0


class Health(Context):
    """The role, whose health tests wait for."""

    def __init__(self, folder: Path) -> None:
        super().__init__("watcher", Config(data_dir=str(folder)), self)
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def send(self, message: Message) -> None:
        """Take a report."""

    def healthy(self, component: str) -> None:
        """Note that all is well."""
        self.unhealthy(component, "")

    def unhealthy(self, component: str, reason: str) -> None:
        """Note what is not."""
        assert component == "input prod"
        self.told.put_nowait(reason)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[MemoryJournal]:
    """An intake's journal, behind its socket."""
    made = MemoryJournal()
    server = InternalServer(made, tmp_path / "run" / "intake.sock")
    await server.start()
    yield made
    await server.close()


@contextlib.asynccontextmanager
async def watched(folder: Path, url: str) -> AsyncIterator[Health]:
    """Watch a cluster until the block ends."""
    health = Health(folder)
    options = KubernetesInputConfig(kubeconfig=write_kubeconfig(folder / "kubeconfig", url))
    task = asyncio.create_task(kubernetes.watch("prod", options, health))
    try:
        async with asyncio.timeout(LIMIT_S):
            yield health
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def messages(journal: MemoryJournal) -> list[dict[str, Any]]:
    """What the journal took."""
    return [json.loads(b"".join(map(bytes, entry.payload))) for entry in journal.entries]


async def test_messages_stand_under_the_input_that_asks(journal: MemoryJournal, tmp_path: Path) -> None:
    """Internal, of the kubeconfig, encoding kubernetes-object, one object each, in the order of their sequences."""
    async with kubernetes_api() as api:
        shop(api)
        async with watched(tmp_path, api.url) as health:
            said = await health.told.get()
            await api.watched("pods")

    assert said == ""
    assert {entry.origin for entry in journal.entries} == {Origin("prod", "internal", str(tmp_path / "kubeconfig"))}
    assert {entry.encoding for entry in journal.entries} == {"kubernetes-object"}
    sequences = [entry.producer.sequence for entry in journal.entries if entry.producer is not None]
    assert sequences == list(range(1, len(journal.entries) + 1))
    assert [content["kind"] for content in messages(journal)][-2:] == ["pod", "snapshot"]
    assert messages(journal)[-1]["cluster"] == "prod"


async def test_who_starts_again_goes_on_behind_its_last_life(journal: MemoryJournal, tmp_path: Path) -> None:
    """That the cluster was away is known from the journal, and ends with the list."""
    journal.produced["watcher-prod"] = Producer("watcher-prod", 7, AWAY)
    async with kubernetes_api() as api:
        shop(api)
        api.refuses["pods"] = 503
        async with watched(tmp_path, api.url) as health:
            said = await health.told.get()
            del api.refuses["pods"]
            await api.watched("pods")

    assert said.startswith("pods: 503")
    assert [content["kind"] for content in messages(journal) if content["kind"] == "away"] == []
    assert min(entry.producer.sequence for entry in journal.entries if entry.producer is not None) > LIFE
    assert journal.produced["watcher-prod"].cursor == b""


async def test_what_the_journal_never_takes_stops_nothing(journal: MemoryJournal, tmp_path: Path) -> None:
    """A message that is refused for good is left out, and all others are there."""
    journal.receipts = [Receipt.REJECTED]
    async with kubernetes_api() as api:
        shop(api)
        async with watched(tmp_path, api.url):
            await api.watched("pods")

    assert messages(journal)[-1]["kind"] == "snapshot"
