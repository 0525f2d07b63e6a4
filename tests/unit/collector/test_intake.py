"""Tests for the intake role with a real journal: what is acknowledged is on disk, and a stop loses nothing."""

import asyncio
import json
import re
from pathlib import Path
from typing import cast

import pytest

from collector import intake, ports
from collector.config import Config, ForwardInputConfig
from collector.inputs.forward import ForwardInput
from collector.internal import InternalClient
from collector.journal.entry import Receipt
from collector.journal.follow import Follower
from collector.role import Context
from pipelines.frame import Frame, Producer
from tests.kit.forward_sender import MODES, ForwardSender, Options, unix

TIMEOUT_S = 45.0


class FakeContext:
    """What a role sees of its process; tells when everything is healthy."""

    def __init__(self, config: Config, data_dir: Path) -> None:
        self.config = config
        self.data_dir = data_dir
        self.stopping = asyncio.Event()
        self.health: dict[str, str] = {}
        self.changed = asyncio.Event()

    def healthy(self, component: str) -> None:
        """Note that nothing is wrong."""
        self.unhealthy(component, "")

    def unhealthy(self, component: str, reason: str) -> None:
        """Note what is wrong."""
        self.health[component] = reason
        self.changed.set()

    async def ready(self) -> None:
        """Wait until nothing is wrong."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self.health or any(self.health.values()):
                self.changed.clear()
                await self.changed.wait()


def make_context(data_dir: Path, **inputs: str) -> FakeContext:
    """Return a context with a Forward input for each name, listening where it says."""
    listening = {name: ForwardInputConfig(listen=listen) for name, listen in inputs.items()}
    return FakeContext(Config(inputs=dict(listening)), data_dir)


def start(context: FakeContext) -> asyncio.Task[None]:
    """Run the role."""
    return asyncio.create_task(intake.main(cast(Context, context)))


async def test_what_is_acked_is_on_disk(tmp_path: Path) -> None:
    """Records of every mode come through the socket into the journal, once each, and the stop leaves nothing behind."""
    path = tmp_path / "forward.sock"
    context = make_context(tmp_path, docker=f"unix://{path}")
    running = start(context)
    await context.ready()
    senders = [ForwardSender(unix(str(path)), Options(name=mode, mode=mode)) for mode in MODES]
    await asyncio.gather(*(sender.send(100) for sender in senders))
    async with InternalClient(tmp_path / "run" / "intake.sock") as client:
        end = await anext(client.durable_ends())
    context.stopping.set()
    await asyncio.wait_for(running, TIMEOUT_S)

    follower = Follower(tmp_path / "journal")
    follower.seek(None)
    payloads = b""
    while (frame := follower.read(end)) is not None:
        assert isinstance(frame, Frame)
        payloads += bytes(frame.payload)
    follower.close()
    for mode in MODES:
        found = re.findall(rb"\b%s (\d+)" % mode.encode(), payloads)
        assert [*range(100)] == [int(number) for number in found]
    assert not path.exists()
    assert not any(context.health.values())


async def test_an_input_that_cannot_listen_stops_no_other(tmp_path: Path) -> None:
    """A taken address makes one input unhealthy with a sentence; the other one serves, the first is tried again."""
    (tmp_path / "taken.sock").write_text("")
    context = make_context(tmp_path, good=f"unix://{tmp_path}/good.sock", bad=f"unix://{tmp_path}/taken.sock")
    running = start(context)
    async with asyncio.timeout(TIMEOUT_S):
        while context.health.get("input good") != "" or "no socket" not in context.health.get("input bad", ""):
            context.changed.clear()
            await context.changed.wait()

        good, late = (ForwardSender(unix(f"{tmp_path}/{name}.sock")) for name in ("good", "taken"))
        await good.send(1)
        (tmp_path / "taken.sock").unlink()
        await context.ready()
        await late.send(1)
        context.stopping.set()
        await running

    assert (good.acked, late.acked) == ({0}, {0})
    assert context.health == {"input good": "", "input bad": "", "journal": ""}


async def test_an_input_that_cannot_listen_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried again every second, and each try was a line of the log."""
    monkeypatch.setattr(ports, "RETRY_S", 0.001)
    taken = tmp_path / "taken.sock"
    taken.write_text("")
    context = make_context(tmp_path, bad=f"unix://{taken}")
    tries = [0]
    listen = ForwardInput.start

    async def count(tried: ForwardInput) -> None:
        tries[0] += 1
        if tries[0] == 10:
            taken.unlink()
        await listen(tried)

    monkeypatch.setattr(ForwardInput, "start", count)
    running = start(context)
    await context.ready()
    context.stopping.set()
    await asyncio.wait_for(running, TIMEOUT_S)

    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert tries == [10]
    assert [each for each in told if each.startswith("input_")] == ["input_not_listening", "input_listening"]


async def test_internal_producers_are_served(tmp_path: Path) -> None:
    """Our own records enter by the internal socket, each sequence once."""
    context = make_context(tmp_path)
    running = start(context)
    await context.ready()
    async with InternalClient(tmp_path / "run" / "intake.sock") as client:
        receipt = await client.append(Producer("supervisor", 7), "audit", b"{}")

        assert receipt == Receipt.DURABLE
        assert Producer("supervisor", 7) == await client.last_produced("supervisor")
    context.stopping.set()
    await asyncio.wait_for(running, TIMEOUT_S)
