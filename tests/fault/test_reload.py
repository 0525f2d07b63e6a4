"""Reloads under load, good ones and bad ones, and kills in the middle of them: nothing lost, nothing doubled."""

import asyncio
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from collector.errors import UnreachableError
from collector.reload import Outcome
from collector.reload_socket import ask_for_reload
from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.load import Load, check_the_books, stored_lines
from tests.kit.running import RunningCollector, free_port, wait_until

RELOADS: Final = int(os.environ.get("TIDEWAITER_TEST_RELOADS", "10"))
"""How many; the issue's figure is 100: `TIDEWAITER_TEST_RELOADS=100 pytest tests/fault/test_reload.py`."""

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261129"))
WAIT_S: Final = 120.0

pytestmark = pytest.mark.timeout(600 + 15 * RELOADS)


class Changing:
    """A collector whose configuration changes; the inputs `docker` and `socket` stay, `moving` comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.collector = RunningCollector(folder)
        self.first = json.loads(self.collector.config_file.read_text())
        self.moving_port: int | None = None

    def write(self, number: int) -> None:
        """Write the configuration of this number: each differs from the one before in several places."""
        inputs = dict(self.first["inputs"])
        inputs["socket"] = inputs["socket"] | {"message_limit": f"{1 + number % 7}MiB"}
        self.moving_port = free_port() if number % 3 else None
        if self.moving_port is not None:
            inputs["moving"] = {"type": "forward", "listen": f"127.0.0.1:{self.moving_port}"}
        parsers = [{"parser": "none", "name": f"nobody-{number}"}]
        documents = {"original": ("always", "needed", "never")[number % 3]}
        self._write(inputs=inputs, parsers=parsers, documents=documents)

    @contextmanager
    def wrong(self, number: int) -> Iterator[str]:
        """Write a configuration that is refused; yield where its problem is."""
        kept = self.collector.config_file.read_text()
        inputs = json.loads(kept)["inputs"]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            match number // 10 % 3:
                case 0:
                    self._write(outputs={"store": {"type": "lokal"}})
                    yield "outputs.store.type"
                case 1:
                    self._write(inputs=inputs | {"more": {"type": "forward", "listen": f"127.0.0.1:{port}"}})
                    yield "inputs.more"
                case _:
                    key = {"file": "/nowhere/key"}
                    self._write(inputs=inputs | {"docker": inputs["docker"] | {"shared_key": key}})
                    yield "(file)"
        self.collector.config_file.write_text(kept)

    def _write(self, **sections: Any) -> None:
        self.collector.config_file.write_text(json.dumps(self.first | sections, indent=1))

    async def reload(self) -> Outcome:
        """Reload and wait for the outcome."""
        return await asyncio.to_thread(ask_for_reload, self.collector.data_dir, limit_s=WAIT_S)

    async def send_where_it_moves(self) -> ForwardSender | None:
        """Send through the input that comes and goes, where it is; return who did."""
        if self.moving_port is None:
            return None
        sender = ForwardSender(tcp("127.0.0.1", self.moving_port), Options(name=f"moving{self.moving_port}"))
        await sender.send(20)
        return sender


class Steady:
    """A sender with one connection that never ends by itself, and sends something now and then."""

    def __init__(self, collector: RunningCollector) -> None:
        self.sender = ForwardSender(
            tcp("127.0.0.1", collector.forward_port),
            Options(name="steady", records_per_message=1, in_flight=4, pause_s=0.1),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ForwardSender]:
        """Send while the block runs, all over the first connection."""
        sending = asyncio.create_task(self.sender.send(20_000))
        try:
            yield self.sender
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def stored(collector: RunningCollector, load: Load) -> list[tuple[str, str]]:
    """Return what is stored when all of it is: behind the last reload a worker has to start and to catch up first."""

    def is_caught_up() -> bool:
        return int(collector.query("SELECT count(*) AS n FROM logs")[0]["n"]) >= load.acked

    wait_until(is_caught_up, timeout_s=WAIT_S, what="as many documents as acks", poll_s=0.3)
    return stored_lines(collector, load)


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Changing]:
    """A collector that is dead after the test."""
    each = Changing(tmp_path)
    each.collector.start()
    each.collector.wait_ready(timeout_s=WAIT_S)
    yield each
    each.collector.kill_all()


async def test_reloads_under_load_lose_nothing_and_cut_no_kept_connection(changing: Changing) -> None:
    """Every tenth is a bad one and changes nothing; the connections of inputs that stay live through all of them."""
    collector = changing.collector
    seconds: list[float] = []
    moved: list[ForwardSender] = []
    async with Load(collector).running() as load, Steady(collector).running() as steady:
        await load.progress()
        for number in range(1, RELOADS + 1):
            if number % 10 == 5:
                with changing.wrong(number) as place:
                    refused = await changing.reload()
                assert ("refused", [place]) == (refused.status, [problem.path for problem in refused.problems])
                continue
            changing.write(number)
            outcome = await changing.reload()
            assert "reloaded" == outcome.status, outcome.problems
            seconds.append(outcome.seconds)
            if (sender := await changing.send_where_it_moves()) is not None:
                moved.append(sender)
        await load.progress()
    cut = load.resent_messages + steady.resent_messages

    load.senders += [steady, *moved]
    check_the_books(await asyncio.to_thread(stored, collector, load), load)
    assert 0 == cut
    assert 1 == steady.connections
    assert [0] * len(moved) == [sender.resent_messages for sender in moved]
    print(f"{RELOADS} reloads, {load.acked} records, {max(seconds):.1f} s the longest")  # noqa: T201 - the figure
    assert 0 == collector.stop()


@pytest.mark.parametrize("role", ["supervisor", "intake", "worker"])
async def test_a_kill_in_the_middle_of_a_reload_loses_nothing(changing: Changing, role: str) -> None:
    """Whoever dies, and whenever: what was acknowledged is stored once, and what the file says holds in the end."""
    collector, chance = changing.collector, random.Random(f"{SEED} {role}")
    async with Load(collector).running() as load:
        for number in range(1, 4):
            changing.write(number)
            reloading = asyncio.create_task(changing.reload())
            await asyncio.wait({reloading}, timeout=chance.uniform(0.0, 2.0))
            await asyncio.to_thread(collector.kill, role)
            if role == "supervisor":
                await asyncio.to_thread(collector.wait_gone)
                collector.start()
            await asyncio.gather(reloading, return_exceptions=True)
            assert reloading.exception() is None or isinstance(reloading.exception(), UnreachableError)
            await asyncio.to_thread(collector.wait_ready, timeout_s=WAIT_S)
            await load.progress()
        changing.write(4)
        final = await changing.reload()

    check_the_books(await asyncio.to_thread(stored, collector, load), load)
    assert "reloaded" == final.status
    assert 0 == collector.stop()
