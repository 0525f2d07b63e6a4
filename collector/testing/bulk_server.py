"""A bulk endpoint that answers as it is told, and the Elasticsearch output run against it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from collector.config import ElasticsearchOutputConfig
from collector.dead_letters import DeadLetterFile
from collector.outputs.elasticsearch import ElasticsearchOutput
from collector.outputs.elasticsearch_answers import Pace
from collector.testing.batches import ListedSource

QUICK = Pace(first_s=0.001, longest_s=0.01, refused_s=0.01, unreachable_s=0.01, answer_s=10, stop_s=1)
"""Pauses between tries are limits of the product; tests wait for events, not for them."""

Reply = Callable[[web.Request, list[str]], Awaitable[web.StreamResponse]]
HEADERS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8"}


class BulkServer:
    """Keeps what was created by id; answers bulk requests by its script, then normally."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.requests: list[list[str]] = []
        self.targets: list[str] = []
        self.credentials: list[str] = []
        self.root_script: list[tuple[int, str]] = []
        self.version = "8.19.0"
        self.product = HEADERS["X-Elastic-Product"]
        self.url = ""

    async def root(self, _request: web.Request) -> web.Response:
        """Answer `GET /`."""
        if self.root_script:
            status, text = self.root_script.pop(0)
            return web.Response(status=status, text=text, headers=HEADERS)
        headers = {**HEADERS, "X-Elastic-Product": self.product}
        return web.Response(text=json.dumps({"version": {"number": self.version}}), headers=headers)

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
        self.credentials.append(request.headers.get("Authorization", ""))
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


@asynccontextmanager
async def bulk_server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    scripted = BulkServer()
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


class Worker:
    """Remembers what an output said of itself, and tells it to stop."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.reasons: list[str] = []
        self.told = asyncio.Event()

    def healthy(self, _component: str) -> None:
        """Note that all is well."""
        self.reasons.append("")

    def unhealthy(self, _component: str, reason: str) -> None:
        """Note a problem."""
        self.reasons.append(reason)
        self.told.set()

    async def wait_told(self) -> str:
        """Return the next problem that is told."""
        async with asyncio.timeout(10):
            await self.told.wait()
        self.told.clear()
        return self.reasons[-1]


@asynccontextmanager
async def running(
    server: BulkServer,
    source: ListedSource,
    data_dir: Path,
    *,
    pace: Pace = QUICK,
    letters: DeadLetterFile | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """Run the output until the block ends, then stop it."""
    worker = Worker()
    configured = ElasticsearchOutputConfig(urls=[server.url], **options)
    output = ElasticsearchOutput("elastic", configured, data_dir, worker, pace=pace, letters=letters)
    output.resume(None)
    task = asyncio.create_task(output.run(source))
    try:
        yield worker
    finally:
        worker.stopping.set()
        source.stop()
        await asyncio.wait_for(task, 10)
