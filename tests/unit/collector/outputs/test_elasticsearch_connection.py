"""The Elasticsearch output and what lies between: dead and hanging servers, cut answers, proxies, keys, versions."""

import asyncio
import socket
import struct
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from collector.config_secrets import Secret
from collector.outputs import elasticsearch_client
from collector.outputs.elasticsearch import GATHER_BYTES
from collector.outputs.elasticsearch_answers import Pace, Verdict
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import HEADERS, QUICK, BulkServer, Reply, bulk_server, running


async def test_a_dead_elasticsearch_settles_nothing_and_stops_in_time(tmp_path: Path) -> None:
    """Nobody listens: the output waits, says so, and a stop does not wait for it."""
    server = BulkServer()
    server.url = "http://127.0.0.1:9"
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()

    assert [] == source.settled
    assert "cannot connect" in reason


async def test_a_stop_does_not_wait_for_a_dead_elasticsearch_however_much_waits(tmp_path: Path) -> None:
    """More bodies than requests in flight wait; the drain ends at once all the same and settles nothing."""
    server = BulkServer()
    server.url = "http://127.0.0.1:9"
    source = ListedSource([batch_of(sequence, ["x" * 1000] * 100) for sequence in range(20)])
    started = asyncio.get_running_loop().time()
    async with running(server, source, tmp_path, pace=Pace(stop_s=8), request_limit=100_000) as worker:
        await worker.wait_told()

    assert [] == source.settled
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_dead_elasticsearch_makes_the_output_hold_a_bounded_amount(tmp_path: Path) -> None:
    """It stops taking batches when its requests are out and its bound is gathered."""
    server = BulkServer()
    server.url = "http://127.0.0.1:9"
    batches = [batch_of(0, ["x" * 1_000_000])] * 200
    source = ListedSource(
        [msgspec.structs.replace(b, position=b.position._replace(sequence=n)) for n, b in enumerate(batches)]
    )
    async with running(server, source, tmp_path) as worker:
        for _ in range(10):
            await worker.wait_told()
        taken = 200 - source.left

    assert taken * 1_000_000 < GATHER_BYTES + 3 * (8 << 20)


async def test_an_answer_without_an_end_does_not_fill_the_memory(
    server: BulkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit the connection is closed; the documents are sent again and stored once."""
    monkeypatch.setattr(elasticsearch_client, "ANSWER_LIMIT_BYTES", 1 << 20)
    gone = asyncio.Event()

    async def endless(request: web.Request, _lines: list[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * (1 << 16))
        finally:
            gone.set()

    server.script = [endless]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()
        async with asyncio.timeout(5):
            await gone.wait()
        await source.wait_settled(0)

    assert "more than 1048576 bytes" in reason
    assert len(server.stored) == 1


async def test_documents_do_not_follow_a_redirect(server: BulkServer, tmp_path: Path) -> None:
    """Whoever answers for Elasticsearch could send evidence and credentials to another host; nobody is sent there."""
    async with bulk_server() as elsewhere:

        async def redirect(request: web.Request, _lines: list[str]) -> web.StreamResponse:
            return web.Response(status=307, headers={**HEADERS, "Location": f"{elsewhere.url}{request.path_qs}"})

        server.script = [redirect]
        source = ListedSource([batch_of(0, ["a"])])
        async with running(server, source, tmp_path) as worker:
            reason = await worker.wait_told()
            await source.wait_settled(0)

        assert [] == elsewhere.requests
    assert "name that address in urls" in reason
    assert len(server.stored) == 1


async def test_a_server_that_never_answers_is_asked_again(server: BulkServer, tmp_path: Path) -> None:
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


async def test_a_stop_cuts_a_request_that_hangs(server: BulkServer, tmp_path: Path) -> None:
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


async def test_another_server_behind_the_same_address_is_not_believed(server: BulkServer, tmp_path: Path) -> None:
    """An answer that all is stored, without Elasticsearch's mark, settles nothing."""

    async def yes(_request: web.Request, lines: list[str]) -> web.Response:
        return web.json_response({"errors": False, "items": [{"create": {"status": 201}}] * (len(lines) // 2)})

    source = ListedSource([batch_of(0, ["a"])])
    server.script = [yes]
    async with running(server, source, tmp_path) as worker:
        await source.wait_settled(0)

    assert len(server.stored) == 1
    assert worker.reasons[0] == "the answer does not come from Elasticsearch (no product header)"


@pytest.mark.parametrize("sent", [0, 5, 20, 30])
async def test_an_answer_that_is_cut_is_no_success(server: BulkServer, tmp_path: Path, sent: int) -> None:
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


async def test_a_reset_after_the_body_is_no_loss(server: BulkServer, tmp_path: Path) -> None:
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


async def test_retry_after_is_heard(server: BulkServer, tmp_path: Path) -> None:
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
async def test_a_proxy_that_answers_for_elasticsearch_is_no_success(
    server: BulkServer, tmp_path: Path, kind: str
) -> None:
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
    assert ["the answer does not come from Elasticsearch (no product header)", "HTTP 502", ""] == worker.reasons


async def test_a_server_that_is_not_elasticsearch_is_named(server: BulkServer, tmp_path: Path) -> None:
    """Something else at the URL, whatever it says of the documents, settles nothing."""
    server.product = ""
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()

    assert "the answer does not come from Elasticsearch (no product header)" == reason
    assert [] == source.settled


async def test_a_replaced_key_is_taken_without_a_restart(server: BulkServer, tmp_path: Path) -> None:
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
    server: BulkServer, tmp_path: Path, version: str, present: list[str], absent: list[str]
) -> None:
    """An unknown parameter would refuse every request."""
    server.version = version
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert present == [name for name in present if name in server.targets[0]]
    assert [] == [name for name in absent if name in server.targets[0]]
    assert "items.*.failure_store" in server.targets[0]


async def test_a_key_that_may_not_ask_for_the_version_can_write(server: BulkServer, tmp_path: Path) -> None:
    """A 403 for `GET /` is no obstacle; a 503 is asked again, for the version matters."""
    server.root_script = [(503, ""), (403, "{}")]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert 1 == len(server.stored)
    assert "require_data_stream" not in server.targets[0]
