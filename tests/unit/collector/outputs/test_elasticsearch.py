"""The Elasticsearch output against a server that answers as it is told: every outcome, each document settled once."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from collector import telemetry
from collector.config import ElasticsearchOutput, Secret
from collector.dead_letters import DeadLetterFile, read_letters
from collector.outputs.elasticsearch import BATCH_BYTES, GATHER_BYTES, ElasticsearchSink
from collector.outputs.elasticsearch_answers import Pace, Verdict
from collector.testing.batches import ListedSource, batch_of

QUICK = Pace(first_s=0.001, longest_s=0.01, refused_s=0.01, unreachable_s=0.01, answer_s=10, stop_s=1)
"""Pauses between tries are limits of the product; tests wait for events, not for them."""

Reply = Callable[[web.Request, list[str]], Awaitable[web.StreamResponse]]
HEADERS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8"}


class Server:
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
    server: Server,
    source: ListedSource,
    data_dir: Path,
    *,
    pace: Pace = QUICK,
    letters: DeadLetterFile | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """Run the output until the block ends, then stop it."""
    worker = Worker()
    configured = ElasticsearchOutput(urls=[server.url], **options)
    sink = ElasticsearchSink("elastic", configured, data_dir, worker, pace=pace, letters=letters)
    sink.resume(None)
    task = asyncio.create_task(sink.run(source))
    try:
        yield worker
    finally:
        worker.stopping.set()
        source.stop()
        await asyncio.wait_for(task, 10)


@pytest.mark.parametrize("compressed", [True, False])
async def test_documents_are_created_with_their_ids_and_settled(
    server: Server, tmp_path: Path, *, compressed: bool
) -> None:
    """Every document arrives once, under its own id, with event.ingested, in its data stream."""
    source = ListedSource([batch_of(0, ["a", "b"]), batch_of(1, []), batch_of(2, [f"line {n}" for n in range(3000)])])
    async with running(server, source, tmp_path, gzip=compressed) as worker:
        await source.wait_settled(2)

    assert [document["message"] for document in list(server.stored.values())[:2]] == ["a", "b"]
    assert len(server.stored) == 3002
    assert all(document["event"]["id"] == identifier for identifier, document in server.stored.items())
    assert all(document["event"]["ingested"].endswith("Z") for document in server.stored.values())
    assert server.targets[0].startswith("/logs-tidewaiter.container-default/_bulk?")
    assert "require_data_stream=true" in server.targets[0]
    assert [position.sequence for position in source.settled][-1] == 2
    assert set(worker.reasons) <= {""}


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
    [
        (400, "refuses"),
        (401, "credentials"),
        (403, "privileges"),
        (404, "tidewaiter setup elasticsearch"),
        (429, "429"),
        (503, "503"),
    ],
)
async def test_what_an_operator_can_mend_keeps_everything_waiting(
    server: Server, tmp_path: Path, status: int, part: str
) -> None:
    """The output says what is wrong, loses nothing, and goes on by itself."""

    async def refuse(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(status=status, text='{"error":{"type":"t","reason":"r"}}', headers=HEADERS)

    server.script = [refuse, refuse]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        await source.wait_settled(0)

    assert len(server.stored) == 1
    assert part in worker.reasons[0]
    assert worker.reasons[-1] == ""
    assert list(read_letters(tmp_path, "elastic")) == []


async def test_a_dead_elasticsearch_settles_nothing_and_stops_in_time(tmp_path: Path) -> None:
    """Nobody listens: the output waits, says so, and a stop does not wait for it."""
    server = Server()
    server.url = "http://127.0.0.1:9"
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()

    assert [] == source.settled
    assert "cannot connect" in reason


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


async def refuse_whole(_request: web.Request, _lines: list[str]) -> web.Response:
    """Answer that the body is too large."""
    return web.Response(status=413)


async def test_after_a_413_bodies_are_made_smaller(server: Server, tmp_path: Path) -> None:
    """The limit that the server showed is kept: what comes later fits at once."""
    server.script = [refuse_whole]
    source = ListedSource([batch_of(0, ["x" * 1000] * 200)])
    later = batch_of(1, ["x" * 1000] * 200)
    async with running(server, source, tmp_path, request_bytes=1 << 20):
        await source.wait_settled(0)
        first = len(server.requests)
        source.add(later)
        await source.wait_settled(1)

    assert [200, 100, 100] == [len(ids) for ids in server.requests[:first]]
    assert [100, 100] == [len(ids) for ids in server.requests[first:]]
    assert 400 == len(server.stored)


async def test_a_stop_does_not_wait_for_a_dead_elasticsearch_however_much_waits(tmp_path: Path) -> None:
    """More bodies than requests in flight wait; the drain ends at once all the same and settles nothing."""
    server = Server()
    server.url = "http://127.0.0.1:9"
    source = ListedSource([batch_of(sequence, ["x" * 1000] * 100) for sequence in range(20)])
    started = asyncio.get_running_loop().time()
    async with running(server, source, tmp_path, pace=Pace(stop_s=8), request_bytes=100_000) as worker:
        await worker.wait_told()

    assert [] == source.settled
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_dead_elasticsearch_makes_the_output_hold_a_bounded_amount(tmp_path: Path) -> None:
    """It stops taking batches when its requests are out and its bound is gathered."""
    server = Server()
    server.url = "http://127.0.0.1:9"
    batches = [batch_of(0, ["x" * 1_000_000])] * 200
    source = ListedSource(
        [msgspec.structs.replace(b, position=b.position._replace(sequence=n)) for n, b in enumerate(batches)]
    )
    async with running(server, source, tmp_path) as worker:
        for _ in range(10):
            await worker.wait_told()
        taken = 200 - source.left

    assert taken * 1_000_000 < GATHER_BYTES + 3 * (5 << 20)


async def test_a_server_that_never_answers_is_asked_again(server: Server, tmp_path: Path) -> None:
    """A hang ends with the time limit; the same ids go out again and nothing is doubled."""
    release = asyncio.Event()

    async def hang(_request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines)
        await release.wait()
        return web.Response()

    server.script = [hang]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path, pace=msgspec.structs.replace(QUICK, answer_s=0.2)) as worker:
        await source.wait_settled(0)
    release.set()

    assert [server.requests[0]] * 2 == server.requests
    assert 2 == len(server.stored)
    assert "no answer within 0.2 s" == worker.reasons[0]


async def test_a_stop_cuts_a_request_that_hangs(server: Server, tmp_path: Path) -> None:
    """Requests in flight get a stated time at a stop; what they carried is not settled."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hang(_request: web.Request, _lines: list[str]) -> web.Response:
        arrived.set()
        await release.wait()
        return web.Response()

    server.script = [hang]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path, pace=msgspec.structs.replace(QUICK, stop_s=0.1)):
        async with asyncio.timeout(10):
            await arrived.wait()
    release.set()

    assert [] == source.settled


@pytest.mark.parametrize("sent", [0, 5, 20, 30])
async def test_an_answer_that_is_cut_is_no_success(server: Server, tmp_path: Path, sent: int) -> None:
    """The connection is lost within the answer, after storing: the documents are sent again and not doubled."""

    async def cut(request: web.Request, lines: list[str]) -> web.StreamResponse:
        whole = server.store(lines)
        assert isinstance(whole.body, bytes)
        response = web.StreamResponse(headers={**HEADERS, "Content-Length": str(len(whole.body))})
        await response.prepare(request)
        await response.write(whole.body[:sent])
        assert request.transport is not None
        request.transport.close()
        return response

    server.script = [cut]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert [server.requests[0]] * 2 == server.requests
    assert 2 == len(server.stored)


async def test_a_reset_after_the_body_is_no_loss(server: Server, tmp_path: Path) -> None:
    """The server takes the body and resets the connection without storing: each document arrives by the next try."""

    async def reset(request: web.Request, _lines: list[str]) -> web.Response:
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        request.transport.abort()
        return web.Response()

    server.script = [reset]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert 2 == len(server.requests)
    assert 2 == len(server.stored)


async def test_retry_after_is_heard(server: Server, tmp_path: Path) -> None:
    """What the server says of the next try reaches the pace; nonsense there does not."""
    heard: list[float | None] = []

    class Listening(Pace, frozen=True):
        def pause_s(self, tries: int, verdict: Verdict, retry_after_s: float | None) -> float:
            heard.append(retry_after_s)
            return 0.001

    def busy(after: str) -> Reply:
        async def answer_busy(_request: web.Request, _lines: list[str]) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": after})

        return answer_busy

    server.script = [busy("7"), busy("-1"), busy("Fri, 31 Dec 1999 23:59:59 GMT"), busy("9" * 5000)]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path, pace=Listening()):
        await source.wait_settled(0)

    assert [7.0, None, None, None] == heard


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/cbor", "nonsense"])
async def test_a_proxy_that_answers_for_elasticsearch_is_no_success(server: Server, tmp_path: Path, kind: str) -> None:
    """Pages of any type, with status 200 or not, settle nothing, and nothing of them is told."""

    def page(status: int) -> Reply:
        async def answer_page(_request: web.Request, _lines: list[str]) -> web.Response:
            return web.Response(body=b"\xff<html>secret</html>", status=status, headers={"Content-Type": kind})

        return answer_page

    server.script = [page(200), page(502)]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        await source.wait_settled(0)

    assert 1 == len(server.stored)
    assert ["the answer cannot be read", "HTTP 502", ""] == worker.reasons


async def test_a_server_that_is_not_elasticsearch_is_named(server: Server, tmp_path: Path) -> None:
    """Something else at the URL, whatever it says of the documents, settles nothing."""
    server.product = ""
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()

    assert "the answer does not come from Elasticsearch (no product header)" == reason
    assert [] == source.settled


async def test_documents_in_the_failure_store_are_settled_and_told(server: Server, tmp_path: Path) -> None:
    """A 201 that was diverted is counted apart; it is stored, so it is not sent again."""
    diverted = telemetry.OUTPUT_DOCUMENTS.labels(output="elastic", outcome="diverted")
    before = diverted._value.get()

    async def divert(_request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines)
        return answer([{"create": {"status": 201, "failure_store": "used"}}, {"create": {"status": 201}}])

    server.script = [divert]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert 1 == len(server.requests)
    assert before + 1 == diverted._value.get()


async def test_two_requests_are_in_flight_and_the_cursor_waits_for_the_older(server: Server, tmp_path: Path) -> None:
    """The second body is stored while the first hangs; nothing is settled before the first is."""
    release = asyncio.Event()
    second = asyncio.Event()

    async def slow(_request: web.Request, lines: list[str]) -> web.Response:
        await release.wait()
        return server.store(lines)

    async def fast(_request: web.Request, lines: list[str]) -> web.Response:
        second.set()
        return server.store(lines)

    server.script = [slow, fast]
    source = ListedSource([batch_of(0, ["x" * 5000]), batch_of(1, ["y" * 5000])])
    async with running(server, source, tmp_path, request_bytes=4000):
        async with asyncio.timeout(10):
            await second.wait()
        before = list(source.settled)
        release.set()
        await source.wait_settled(1)

    assert [] == before
    assert 2 == len(server.stored)


async def test_full_dead_letters_make_the_output_wait(server: Server, tmp_path: Path) -> None:
    """Nothing is settled or deleted while there is no room; once the file is moved away it goes on."""
    refused = answer([{"create": {"status": 400, "error": {"type": "t", "reason": "r"}}}]).text

    async def refuse(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(text=refused, headers=HEADERS)

    server.script = [refuse, refuse]
    letters = DeadLetterFile(tmp_path, "elastic", limit_bytes=10)
    source = ListedSource([batch_of(0, ["a"]), batch_of(1, ["b"])])
    async with running(server, source, tmp_path, letters=letters, request_bytes=10) as worker:
        reason = await worker.wait_told()
        await source.wait_settled(0)
        before = [position.sequence for position in source.settled]
        letters.path.rename(tmp_path / "moved")
        await source.wait_settled(1)

    assert "has reached 10 bytes: move it away to go on" in reason
    assert [0] == before
    assert 1 == len(list(read_letters(tmp_path, "elastic")))


async def test_a_replaced_key_is_taken_without_a_restart(server: Server, tmp_path: Path) -> None:
    """After a 401 the secret is read again."""
    key = tmp_path / "key"
    key.write_text("b2xk")

    async def unknown(_request: web.Request, _lines: list[str]) -> web.Response:
        key.write_text("bmV3")
        return web.Response(status=401, headers=HEADERS)

    server.script = [unknown, unknown]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path, api_key=Secret(file=str(key))):
        await source.wait_settled(0)

    assert ["ApiKey b2xk", "ApiKey bmV3", "ApiKey bmV3"] == server.credentials


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("8.19.21", ["require_data_stream", "include_source_on_error"], []),
        ("9.5.3-SNAPSHOT", ["require_data_stream", "include_source_on_error"], []),
        ("8.17.0", ["require_data_stream"], ["include_source_on_error"]),
        ("8.10.0", [], ["require_data_stream", "include_source_on_error"]),
    ],
)
async def test_only_parameters_that_the_server_knows_are_sent(
    server: Server, tmp_path: Path, version: str, present: list[str], absent: list[str]
) -> None:
    """An unknown parameter would refuse every request."""
    server.version = version
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert present == [name for name in present if name in server.targets[0]]
    assert [] == [name for name in absent if name in server.targets[0]]
    assert "items.*.failure_store" in server.targets[0]


async def test_a_key_that_may_not_ask_for_the_version_can_write(server: Server, tmp_path: Path) -> None:
    """A 403 for `GET /` is no obstacle; a 503 is asked again, for the version matters."""
    server.root_script = [(503, ""), (403, "{}")]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert 1 == len(server.stored)
    assert "require_data_stream" not in server.targets[0]


async def test_many_tiny_batches_are_gathered_into_few_bodies(server: Server, tmp_path: Path) -> None:
    """A batch of one document each, as waiting senders make them, costs no request each."""
    source = ListedSource([batch_of(sequence, ["x"]) for sequence in range(5000)])
    async with running(server, source, tmp_path):
        await source.wait_settled(4999)

    assert 5000 == len(server.stored)
    assert len(server.requests) < 5 + 5000 * BATCH_BYTES * 2 // GATHER_BYTES
