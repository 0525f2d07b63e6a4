"""Several nodes, no sniffing: what one does not take the others do, and nobody is asked who else there is."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import QUICK, BulkServer, bulk_server, running


@pytest.mark.parametrize("dead_first", [True, False])
async def test_a_dead_node_is_passed_over(server: BulkServer, tmp_path: Path, *, dead_first: bool) -> None:
    """Whichever place it has in the list: all documents arrive, once each."""
    urls = ["http://127.0.0.1:9", server.url]
    source = ListedSource([batch_of(sequence, ["x" * 1000] * 10) for sequence in range(20)])
    async with running(server, source, tmp_path, urls=urls if dead_first else urls[::-1], request_limit=12_000):
        await source.wait_settled(19)

    assert 200 == len(server.stored) == sum(map(len, server.requests))


@pytest.mark.parametrize("how", ["hangs", "503", "resets", "cuts"])
async def test_a_node_that_fails_hands_over_to_the_next(server: BulkServer, tmp_path: Path, how: str) -> None:
    """The same documents go to the other one, which has them once; the sick one is not needed for that."""
    release = asyncio.Event()

    async def fail(request: web.Request, _lines: list[str]) -> web.StreamResponse:
        if how == "hangs":
            await release.wait()
        if how == "503":
            return web.Response(status=503, headers={"Retry-After": "0"})
        assert request.transport is not None
        if how == "cuts":
            response = web.StreamResponse(headers={"Content-Length": "100", "X-Elastic-Product": "Elasticsearch"})
            await response.prepare(request)
            await response.write(b'{"errors":false')
        request.transport.abort()
        return web.Response()

    async with bulk_server() as sick:
        sick.always = fail
        source = ListedSource([batch_of(sequence, ["a", "b"]) for sequence in range(3)])
        pace = msgspec.structs.replace(QUICK, answer_s=0.5)
        async with running(server, source, tmp_path, pace=pace, urls=[sick.url, server.url]):
            await source.wait_settled(2)
        release.set()

    assert 6 == len(server.stored)
    assert {} == sick.stored
    assert set() == server.doubled
