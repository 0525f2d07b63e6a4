"""Dead letters of a running collector: refused, listed, replayed, with its worker killed in the middle of it."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fault.conftest import MountDisk
from tests.fault.waiting import until
from tests.kit.bulk_server import BulkServer, bulk_server
from tests.kit.forward_sender import ForwardSender, Options, number_in, tcp
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

LINES = 600
ERROR = {"type": "document_parsing_exception", "reason": "failed to parse"}
Refuses = Callable[[dict[str, Any]], bool]


class Judging:
    """A server whose documents are refused as `refuses` says; counts how often each was stored anew."""

    def __init__(self, server: BulkServer, refuses: Refuses) -> None:
        self.server = server
        self.refuses = refuses
        self.created: Counter[str] = Counter()
        self.hold = asyncio.Event()
        self.held = asyncio.Event()
        self.hold.set()
        self._store = server.store
        server.store = self.store  # type: ignore[method-assign]

    async def wait(self, _request: web.Request, lines: list[str]) -> web.Response:
        """Store, and hold the answer back."""
        answered = self.store(lines)
        self.held.set()
        await self.hold.wait()
        return answered

    def store(
        self, lines: list[str], refuse: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _document: None
    ) -> web.Response:
        """Create what neither of the two refuses; 409 for what is there."""
        before = set(self.server.stored)

        def judged(document: dict[str, Any]) -> dict[str, Any] | None:
            return {"status": 400, "error": ERROR} if self.refuses(document) else refuse(document)

        answered = self._store(lines, judged)
        self.created.update(set(self.server.stored) - before)
        return answered

    def numbers(self) -> list[int]:
        """Which lines are there."""
        found = (number_in(document.get("message", ""), "a") for document in self.server.stored.values())
        return sorted(number for number in found if number is not None)


@pytest.fixture
async def server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    async with bulk_server() as scripted:
        yield scripted


def collector_of(folder: Path, server: BulkServer) -> RunningCollector:
    """A collector that delivers to the server and to a local store."""
    outputs: dict[str, dict[str, object]] = {
        "elastic": {"type": "elasticsearch", "urls": [server.url]},
        "store": {"type": "local"},
    }
    return RunningCollector(folder, outputs=outputs, settings={"dead_letters": {"stream": True}})


async def dead_letters(collector: RunningCollector, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `tidewaiter dead-letters … --json`; return exit code and objects."""
    command = collector.command("dead-letters", *arguments, "--json")
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=90)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def third(document: dict[str, Any]) -> bool:
    """Every third line is refused."""
    number = number_in(document.get("message", ""), "a")
    return number is not None and number % 3 == 0


async def send(collector: RunningCollector) -> None:
    """Send all lines and wait until they are acknowledged."""
    async with asyncio.timeout(60):
        await ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name="a")).send(LINES)


async def all_refused(collector: RunningCollector) -> None:
    """Wait until every third line is a dead letter."""
    outcome = {"output": "elastic", "outcome": "dead"}
    await until(
        lambda: collector.metric("tidewaiter_worker_output_documents_total", **outcome) == LINES / 3, "all refused"
    )


async def kill_in_a_replay(collector: RunningCollector, judging: Judging, server: BulkServer) -> int:
    """Kill every process when the store has stored what it has not answered yet; return the command's exit code."""
    judging.hold.clear()
    server.script = [judging.wait]
    replaying = asyncio.create_task(dead_letters(collector, "replay", "--output", "elastic"))
    async with asyncio.timeout(60):
        await judging.held.wait()
    await asyncio.to_thread(collector.kill_all)
    judging.hold.set()
    code, _ = await replaying
    return code


async def test_refused_documents_are_replayed_though_all_is_killed_in_the_middle(
    server: BulkServer, tmp_path: Path
) -> None:
    """Not one is lost or doubled: ids are unchanged; what is refused still stays, with its tries; the trail tells."""
    judging = Judging(server, third)
    collector = collector_of(tmp_path / "c", server)
    asked = collector.data_dir / "dead-letters" / "replays"
    try:
        collector.start()
        await asyncio.to_thread(collector.wait_ready, timeout_s=90)
        await send(collector)
        await all_refused(collector)
        _, listed = await dead_letters(collector, "list")
        judging.refuses = lambda document: number_in(document.get("message", ""), "a") == 0
        killed = await kill_in_a_replay(collector, judging, server)
        collector.start()
        await asyncio.to_thread(collector.wait_ready, timeout_s=90)
        await until(lambda: not list(asked.glob("*.json")), "the replay's end")
        _, shown = await dead_letters(collector, "show")
        code, again = await dead_letters(collector, "replay", "--all")
        query = "event.action:replay AND data_stream.dataset:tidewaiter.audit"
        await until(lambda: len(collector.search(query)) >= 2, "the audit records of two replays")
        assert "Dead letters were replayed to elastic" in collector.search(query)[0]["message"]
        told = "data_stream.dataset:tidewaiter.dead_letters"
        await until(lambda: len(collector.search(told)) >= LINES // 3, "a document of each letter")
        assert Counter(each["error"]["type"] for each in collector.search(told)) == {ERROR["type"]: LINES // 3}
    finally:
        collector.kill_all()

    assert [(each["output"], each["reason"], each["letters"]) for each in listed] == [
        ("elastic", ERROR["type"], LINES // 3)
    ]
    assert killed == 3
    assert judging.numbers() == list(range(1, LINES))
    assert set(judging.created.values()) == {1}
    assert [(number_in(each["document"]["message"], "a"), each["tries"]) for each in shown] == [(0, 2)]
    assert (code, again[0]["refused"]) == (1, 1)


async def test_letters_that_find_no_room_stop_their_output_alone(
    server: BulkServer, tmp_path: Path, mount_disk: MountDisk
) -> None:
    """A full disk under the letters: the output waits and says so, the others go on; with room, none is missing."""
    judging = Judging(server, third)
    collector = collector_of(tmp_path / "c", server)
    disk = mount_disk(collector.data_dir / "dead-letters", 1 << 20)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes((1 << 20) - (12 << 10)))
    collector.data_dir.chmod(0o700)
    try:
        collector.start()
        await asyncio.to_thread(collector.wait_ready, timeout_s=90)
        await send(collector)
        await until(lambda: "dead letters cannot be written" in collector.log(), "the output's complaint")
        await until(
            lambda: len(collector.search('data_stream.dataset:"tidewaiter.container"')) == LINES, "the other output"
        )
        kept, _ = await dead_letters(collector, "list")
        ballast.unlink()
        await until(lambda: len(judging.numbers()) == LINES * 2 // 3, "what is not refused")
        await all_refused(collector)
        _, shown = await dead_letters(collector, "show")
    finally:
        collector.kill_all()

    assert kept == 0
    assert sorted(number_in(each["document"]["message"], "a") or 0 for each in shown) == list(range(0, LINES, 3))
