"""The output in OpenSearch mode: plain media types, no product header asked for, and advice where the mode is wrong."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import BulkServer, running

PLAIN = {"X-OpenSearch-Version": "OpenSearch/3.8.0", "Content-Type": "application/json"}


def as_opensearch(server: BulkServer) -> list[tuple[str, str]]:
    """Let the server answer as OpenSearch does; return the media types of what it is asked, in order."""
    kinds: list[tuple[str, str]] = []

    async def reply(request: web.Request, lines: list[str]) -> web.Response:
        kinds.append((request.headers["Accept"], request.headers["Content-Type"]))
        text = server.store(lines).text
        return web.Response(text=text, headers=PLAIN)

    server.always = reply
    server.headers = PLAIN
    server.root_script = [(200, json.dumps({"version": {"distribution": "opensearch", "number": "9.9.0"}}))] * 9
    return kinds


@pytest.mark.parametrize("compressed", [True, False])
async def test_opensearch_is_spoken_to_in_its_own_way(server: BulkServer, tmp_path: Path, *, compressed: bool) -> None:
    """No vendor's media type, no parameter that only Elasticsearch knows, whatever its version; documents arrive."""
    kinds = as_opensearch(server)
    source = ListedSource([batch_of(0, ["x" * 300] * 1000)])
    async with running(server, source, tmp_path, server="opensearch", gzip=compressed):
        await source.wait_settled(0)

    assert {("application/json", "application/x-ndjson")} == set(kinds)
    assert 1000 == len(server.stored)
    assert not any("require_data_stream" in target or "include_source" in target for target in server.targets)


async def test_who_takes_opensearch_for_elasticsearch_is_told_the_option(server: BulkServer, tmp_path: Path) -> None:
    """Nothing is settled meanwhile."""
    as_opensearch(server)
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        reason = await worker.wait_told()

    assert "what answers is OpenSearch: set server: opensearch" == reason
    assert [] == source.settled
