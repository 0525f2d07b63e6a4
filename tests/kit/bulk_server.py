"""A bulk endpoint that answers as it is told, and the Elasticsearch output run against it."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from collector.config_outputs import ElasticsearchOutputConfig
from collector.dead_letters import DeadLetterFile
from collector.outputs.elasticsearch import ElasticsearchOutput
from collector.outputs.elasticsearch_answers import Pace
from tests.kit.batches import ListedSource

QUICK = Pace(first_s=0.001, longest_s=0.01, refused_s=0.01, unreachable_s=0.01, answer_s=10, stop_s=1)
"""Pauses between tries are limits of the product; tests wait for events, not for them."""

Reply = Callable[[web.Request, list[str]], Awaitable[web.StreamResponse]]
Refuse = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Returns what an answer says of a document that is refused."""

HEADERS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8"}


class BulkServer:
    """Keeps what was created by id; answers bulk requests by its script, then normally."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.always: Reply | None = None
        self.stored: dict[str, dict[str, Any]] = {}
        self.requests: list[list[str]] = []
        self.targets: list[str] = []
        self.credentials: list[str] = []
        self.root_script: list[tuple[int, str]] = []
        self.version = "8.19.0"
        self.indices = ["data-000001"]
        self.stored_in: dict[str, set[str]] = {}
        self.may_read = False
        self.failing = 0
        self.asked: list[str] = []
        self.headers = HEADERS
        self.product = HEADERS["X-Elastic-Product"]
        self.url = ""

    async def root(self, _request: web.Request) -> web.Response:
        """Answer `GET /`."""
        if self.root_script:
            status, text = self.root_script.pop(0)
            return web.Response(status=status, text=text, headers=self.headers)
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
        if self.always is not None:
            return await self.always(request, lines)
        return self.store(lines)

    def has(self, identifier: str, document: dict[str, Any]) -> None:
        """Hold a document that was stored before."""
        self.stored_in.setdefault(self.indices[-1], set()).add(identifier)
        self.stored[identifier] = document

    def store(self, lines: list[str], refuse: Refuse = lambda _document: None) -> web.Response:
        """Create documents; 409 for an id that is there, and what `refuse` says of others."""
        items = []
        index = self.indices[-1]
        named = {"_index": index} if "_index" in self.targets[-1] else {}
        for action, line in zip(lines[::2], lines[1::2], strict=True):
            identifier, document = json.loads(action)["create"]["_id"], json.loads(line)
            refused = refuse(document)
            there = self.stored_in.setdefault(index, set())
            if identifier in there:
                items.append({"create": {**named, "status": 409}})
            elif refused is not None:
                items.append({"create": refused})
            else:
                self.has(identifier, document)
                items.append({"create": {**named, "status": 201}})
        return answer(items)

    @property
    def doubled(self) -> set[str]:
        """Ids that stand in more than one index."""
        counts = Counter(each for ids in self.stored_in.values() for each in ids)
        return {each for each, count in counts.items() if count > 1}

    def roll_over(self) -> None:
        """Write to another index from now on."""
        self.indices.append(f"data-{len(self.indices) + 1:06d}")

    async def look_up(self, request: web.Request) -> web.Response:
        """Answer what a look-up asks, where that is allowed."""
        asked = request.path.split("/")[2]
        self.asked.append(asked)
        if self.failing:
            self.failing -= 1
            return web.Response(status=503, headers=HEADERS)
        if not self.may_read:
            return web.Response(status=403, text='{"error":{"type":"security_exception"}}', headers=HEADERS)
        said: dict[str, Any] = {"_shards": {"failed": 0}}
        if asked == "_settings":
            dated = enumerate(self.indices)
            said = {name: {"settings": {"index": {"creation_date": str(date)}}} for date, name in dated}
        elif asked == "_search":
            query = json.loads(await request.read())
            stored = set().union(*self.stored_in.values())
            hits = [{"_id": each} for each in query["query"]["ids"]["values"] if each in stored]
            said |= {"hits": {"hits": hits[: query["size"]]}} if hits else {}
        return web.Response(text=json.dumps(said), headers=HEADERS)

    def refusing(self, refuse: Refuse) -> Reply:
        """Return a reply that refuses some documents, and stores the others."""

        async def reply(_request: web.Request, lines: list[str]) -> web.Response:
            return self.store(lines, refuse)

        return reply


def answer(items: list[dict[str, Any]], *, status: int = 200) -> web.Response:
    """Make the answer that `filter_path` leaves."""
    errors = any(item["create"]["status"] >= 400 for item in items)
    text = json.dumps({"errors": errors, "items": items}, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=HEADERS)


def application(scripted: BulkServer) -> web.Application:
    """The routes of a scripted server."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/", scripted.root)
    app.router.add_post("/{stream}/_bulk", scripted.bulk)
    app.router.add_get("/{stream}/_settings/{name}", scripted.look_up)
    app.router.add_post("/{stream}/_refresh", scripted.look_up)
    app.router.add_post("/{stream}/_search", scripted.look_up)
    return app


@asynccontextmanager
async def bulk_server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    scripted = BulkServer()
    runner = web.AppRunner(application(scripted), shutdown_timeout=0.1)
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
    scripted: BulkServer,
    source: ListedSource,
    data_dir: Path,
    *,
    pace: Pace = QUICK,
    letters: DeadLetterFile | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """Run the output until the block ends, then stop it."""
    worker = Worker()
    configured = ElasticsearchOutputConfig(**{"urls": [scripted.url], **options})
    output = ElasticsearchOutput("elastic", configured, data_dir, worker, pace=pace, letters=letters)
    output.resume(None)
    task = asyncio.create_task(output.run(source))
    try:
        yield worker
    finally:
        worker.stopping.set()
        source.stop()
        await asyncio.wait_for(task, 10)
