"""The Elasticsearch output against a server that answers as it is told: every outcome, each document settled once."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from collector.config import ElasticsearchOutput
from collector.dead_letters import read_letters
from collector.outputs import elasticsearch
from collector.outputs.elasticsearch import ElasticsearchSink
from collector.testing.batches import ListedSource, batch_of

Reply = Callable[[web.Request, list[str]], Awaitable[web.StreamResponse]]
HEADERS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8"}


class Server:
    """Keeps what was created by id; answers bulk requests by its script, then normally."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.requests: list[list[str]] = []
        self.targets: list[str] = []
        self.url = ""

    async def root(self, _request: web.Request) -> web.Response:
        """Answer `GET /`."""
        return web.json_response({"version": {"number": "8.19.0"}}, headers=HEADERS)

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        """Answer a bulk request."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        assert body.endswith(b"\n")
        lines = body.decode().split("\n")[:-1]
        ids = [json.loads(line)["create"]["_id"] for line in lines[::2]]
        self.requests.append(ids)
        self.targets.append(f"{request.path}?{request.query_string}")
        if self.script:
            return await self.script.pop(0)(request, lines)
        return self.store(lines)

    def store(self, lines: list[str]) -> web.Response:
        """Create documents; 409 for an id that is there."""
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            identifier = json.loads(action)["create"]["_id"]
            status = 409 if identifier in self.stored else 201
            self.stored.setdefault(identifier, json.loads(document))
            items.append({"create": {"status": status}})
        return answer(items)


def answer(items: list[dict[str, Any]], *, status: int = 200) -> web.Response:
    """Make the answer that `filter_path` leaves."""
    errors = any(item["create"]["status"] >= 400 for item in items)
    text = json.dumps({"errors": errors, "items": items}, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=HEADERS)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A scripted server on a free port."""
    scripted = Server()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/", scripted.root)
    app.router.add_post("/{stream}/_bulk", scripted.bulk)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


class Health:
    """Remembers what an output said of itself."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.told = asyncio.Event()

    def healthy(self, _component: str) -> None:
        """Note that all is well."""
        self.reasons.append("")

    def unhealthy(self, _component: str, reason: str) -> None:
        """Note a problem."""
        self.reasons.append(reason)
        self.told.set()


@asynccontextmanager
async def running(server: Server, source: ListedSource, data_dir: Path, **options: Any) -> AsyncIterator[Health]:
    """Run the output until the block ends, then stop it."""
    health = Health()
    sink = ElasticsearchSink("elastic", ElasticsearchOutput(urls=[server.url], **options), data_dir, health)
    sink.resume(None)
    task = asyncio.create_task(sink.run(source))
    try:
        yield health
    finally:
        source.stop()
        await asyncio.wait_for(task, 10)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are limits of the product; tests wait for events, not for them."""
    monkeypatch.setattr(elasticsearch, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(elasticsearch, "LONGEST_PAUSE_S", 0.01)


@pytest.mark.parametrize("compressed", [True, False])
async def test_documents_are_created_with_their_ids_and_settled(
    server: Server, tmp_path: Path, *, compressed: bool
) -> None:
    """Every document arrives once, under its own id, with event.ingested, in its data stream."""
    source = ListedSource([batch_of(0, ["a", "b"]), batch_of(1, []), batch_of(2, [f"line {n}" for n in range(3000)])])
    async with running(server, source, tmp_path, gzip=compressed) as health:
        await source.wait_settled(2)

    assert [document["message"] for document in list(server.stored.values())[:2]] == ["a", "b"]
    assert len(server.stored) == 3002
    assert all(document["event"]["id"] == identifier for identifier, document in server.stored.items())
    assert all(document["event"]["ingested"].endswith("Z") for document in server.stored.values())
    assert server.targets[0].startswith("/logs-tidewaiter.container-default/_bulk?")
    assert "require_data_stream=true" in server.targets[0]
    assert [position.sequence for position in source.settled][-1] == 2
    assert set(health.reasons) <= {""}


async def test_only_the_documents_that_failed_are_sent_again(server: Server, tmp_path: Path) -> None:
    """429 and 503 items are repeated with the same ids; the others are not, and the cursor waits for all."""

    async def some(_request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines[:2] + lines[6:])
        return answer([{"create": {"status": status}} for status in (201, 429, 503, 201)])

    server.script = [some]
    source = ListedSource([batch_of(0, ["a", "b", "c", "d"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert [len(ids) for ids in server.requests] == [4, 2]
    assert server.requests[1] == server.requests[0][1:3]
    assert len(server.stored) == 4


async def test_a_repeat_of_what_is_stored_counts_as_stored(server: Server, tmp_path: Path) -> None:
    """An answer that got lost after storing: the repeat answers 409 and settles; nothing is doubled."""

    async def lost(request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    server.script = [lost]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert len(server.requests) == 2
    assert len(server.stored) == 2


@pytest.mark.parametrize("garbage", ['{"errors":false,"items":[', '{"errors":false,"items":[]}', "", "[]", "null"])
async def test_an_answer_that_cannot_be_understood_is_no_success(server: Server, tmp_path: Path, garbage: str) -> None:
    """Cut, empty or foreign answers settle nothing; the same ids are sent again."""

    async def odd(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(text=garbage, headers=HEADERS)

    server.script = [odd]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert len(server.requests) == 2
    assert len(server.stored) == 2


async def test_a_document_refused_for_good_is_a_dead_letter_with_its_reason(server: Server, tmp_path: Path) -> None:
    """A 400 item becomes a letter with Elasticsearch's words and the document; its neighbours are stored."""
    error = {"type": "document_parsing_exception", "reason": "failed to parse", "caused_by": {"reason": "no object"}}

    async def refuse(_request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines[:2] + lines[4:])
        return answer(
            [{"create": {"status": 201}}, {"create": {"status": 400, "error": error}}, {"create": {"status": 201}}]
        )

    server.script = [refuse]
    source = ListedSource([batch_of(0, ["a", "bad", "c"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)
    (letter,) = read_letters(tmp_path, "elastic")

    assert (letter.code, letter.reason) == ("document_parsing_exception", "failed to parse; no object")
    assert json.loads(letter.payload_bytes)["message"] == "bad"
    assert letter.document_id == server.requests[0][1]
    assert len(server.requests) == 1


async def test_a_body_that_is_too_large_is_split(server: Server, tmp_path: Path) -> None:
    """413 halves the body until it fits; a single document that never fits is a dead letter."""

    async def too_large(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(status=413)

    server.script = [too_large, too_large, too_large]
    source = ListedSource([batch_of(0, ["a", "b", "c", "d"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert [len(ids) for ids in server.requests] == [4, 2, 1, 1, 2]
    assert [letter.code for letter in read_letters(tmp_path, "elastic")] == ["too_large"]
    assert len(server.stored) == 3


@pytest.mark.parametrize(
    ("status", "part"),
    [(401, "credentials"), (403, "privileges"), (404, "tidewaiter setup elasticsearch"), (429, "429"), (503, "503")],
)
async def test_what_an_operator_can_mend_keeps_everything_waiting(
    server: Server, tmp_path: Path, status: int, part: str
) -> None:
    """The output says what is wrong, loses nothing, and goes on by itself."""

    async def refuse(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(status=status, text='{"error":{"type":"t","reason":"r"}}', headers=HEADERS)

    server.script = [refuse, refuse]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as health:
        await source.wait_settled(0)

    assert len(server.stored) == 1
    assert part in health.reasons[0]
    assert health.reasons[-1] == ""
    assert list(read_letters(tmp_path, "elastic")) == []


async def test_a_dead_elasticsearch_settles_nothing_and_stops_in_time(tmp_path: Path) -> None:
    """Nobody listens: the output waits, says so, and a stop does not wait for it."""
    server = Server()
    server.url = "http://127.0.0.1:9"
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as health:
        async with asyncio.timeout(5):
            await health.told.wait()

    assert source.settled == []
    assert "cannot connect" in health.reasons[0]


async def test_bodies_stay_below_the_limit(server: Server, tmp_path: Path) -> None:
    """A batch larger than one body is cut; a larger single document goes alone."""
    messages = ["x" * 400 for _ in range(50)] + ["y" * 9000] + ["z" * 400 for _ in range(50)]
    source = ListedSource([batch_of(0, messages), batch_of(1, ["end"])])
    async with running(server, source, tmp_path, request_bytes=8000):
        await source.wait_settled(1)

    sizes = {len(ids) for ids in server.requests}
    assert len(server.stored) == 102
    assert max(sizes) < 20
    assert [ids for ids in server.requests if server.stored[ids[0]]["message"].startswith("y")][0:1] != []
