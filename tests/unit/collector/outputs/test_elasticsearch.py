"""The Elasticsearch output against a server that answers as it is told: every outcome, each document settled once."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from collector import telemetry
from collector.dead_letters import DeadLetterFile, read_letters
from collector.outputs.elasticsearch import BATCH_BYTES, GATHER_BYTES
from pipelines.batch import DataStream
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import HEADERS, BulkServer, answer, running


@pytest.mark.parametrize("compressed", [True, False])
async def test_documents_are_created_with_their_ids_and_settled(
    server: BulkServer, tmp_path: Path, *, compressed: bool
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


async def test_no_integration_parses_what_is_parsed(server: BulkServer, tmp_path: Path) -> None:
    """Streams with a product's name are written past default pipelines; our own are not, for operators may have one."""
    source = ListedSource([batch_of(0, ["a"], stream=DataStream("logs", "nginx.access", "prod")), batch_of(1, ["b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(1)

    assert {target.partition("/_bulk?")[0]: "pipeline=_none" in target for target in server.targets} == {
        "/logs-nginx.access-prod": True,
        "/logs-tidewaiter.container-default": False,
    }


async def test_only_the_documents_that_failed_are_sent_again(server: BulkServer, tmp_path: Path) -> None:
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


async def test_a_repeat_of_what_is_stored_counts_as_stored(server: BulkServer, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "garbage",
    [
        '{"errors":false,"items":[',
        '{"errors":false,"items":[]}',
        '{"errors":false,"items":[{"create":{"status":201}}]}',
        "",
        "[]",
        "null",
    ],
)
async def test_an_answer_that_cannot_be_understood_is_no_success(
    server: BulkServer, tmp_path: Path, garbage: str
) -> None:
    """Cut, empty or foreign answers settle nothing; the same ids are sent again."""

    async def odd(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(text=garbage, headers=HEADERS)

    server.script = [odd]
    source = ListedSource([batch_of(0, ["a", "b"])])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    assert len(server.requests) == 2
    assert len(server.stored) == 2


async def test_a_document_refused_for_good_is_a_dead_letter_with_its_reason(server: BulkServer, tmp_path: Path) -> None:
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
    assert (letter.document_id, letter.stream) == (server.requests[0][1], "logs-tidewaiter.container-default")
    assert len(server.requests) == 1


async def test_a_body_that_is_too_large_is_split(server: BulkServer, tmp_path: Path) -> None:
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
        (403, "privilege"),
        (404, "tidewaiter setup elasticsearch"),
        (429, "429"),
        (503, "503"),
    ],
)
async def test_what_an_operator_can_mend_keeps_everything_waiting(
    server: BulkServer, tmp_path: Path, status: int, part: str
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


async def test_bodies_stay_below_the_limit(server: BulkServer, tmp_path: Path) -> None:
    """A batch larger than one body is cut; a larger single document goes alone."""
    messages = ["x" * 400 for _ in range(50)] + ["y" * 9000] + ["z" * 400 for _ in range(50)]
    source = ListedSource([batch_of(0, messages), batch_of(1, ["end"])])
    async with running(server, source, tmp_path, request_limit=8000):
        await source.wait_settled(1)

    sizes = {len(ids) for ids in server.requests}
    assert len(server.stored) == 102
    assert max(sizes) < 20
    assert [ids for ids in server.requests if server.stored[ids[0]]["message"].startswith("y")][0:1] != []


async def refuse_whole(_request: web.Request, _lines: list[str]) -> web.Response:
    """Answer that the body is too large."""
    return web.Response(status=413)


async def test_after_a_413_bodies_are_made_smaller(server: BulkServer, tmp_path: Path) -> None:
    """The limit that the server showed is kept: what comes later fits at once."""
    server.script = [refuse_whole]
    source = ListedSource([batch_of(0, ["x" * 1000] * 200)])
    later = batch_of(1, ["x" * 1000] * 200)
    async with running(server, source, tmp_path, request_limit=1 << 20):
        await source.wait_settled(0)
        first = len(server.requests)
        source.add(later)
        await source.wait_settled(1)

    assert [200, 100, 100] == [len(ids) for ids in server.requests[:first]]
    assert [100, 100] == [len(ids) for ids in server.requests[first:]]
    assert 400 == len(server.stored)


async def test_documents_in_the_failure_store_are_settled_and_told(server: BulkServer, tmp_path: Path) -> None:
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


async def test_two_requests_are_in_flight_and_the_cursor_waits_for_the_older(
    server: BulkServer, tmp_path: Path
) -> None:
    """The second body is stored while the first hangs; nothing is settled before the first is.

    A third shows that the answer to the second was taken: no more than two are in flight.
    """
    release = asyncio.Event()
    third = asyncio.Event()

    async def slow(_request: web.Request, lines: list[str]) -> web.Response:
        await release.wait()
        return server.store(lines)

    async def fast(_request: web.Request, lines: list[str]) -> web.Response:
        return server.store(lines)

    async def last(_request: web.Request, lines: list[str]) -> web.Response:
        third.set()
        return server.store(lines)

    server.script = [slow, fast, last]
    source = ListedSource([batch_of(number, [letter * 5000]) for number, letter in enumerate("xyz")])
    async with running(server, source, tmp_path, request_limit=4000):
        async with asyncio.timeout(10):
            await third.wait()
        before = list(source.settled)
        release.set()
        await source.wait_settled(2)

    assert [] == before
    assert 3 == len(server.stored)


async def test_full_dead_letters_make_the_output_wait(server: BulkServer, tmp_path: Path) -> None:
    """Nothing is settled or deleted while there is no room; once the file is moved away it goes on."""
    refused = answer([{"create": {"status": 400, "error": {"type": "t", "reason": "r"}}}]).text

    async def refuse(_request: web.Request, _lines: list[str]) -> web.Response:
        return web.Response(text=refused, headers=HEADERS)

    server.script = [refuse, refuse]
    letters = DeadLetterFile(tmp_path, "elastic", limit_bytes=10)
    source = ListedSource([batch_of(0, ["a"]), batch_of(1, ["b"])])
    async with running(server, source, tmp_path, letters=letters, request_limit=10) as worker:
        reason = await worker.wait_told()
        await source.wait_settled(0)
        before = [position.sequence for position in source.settled]
        letters.path.rename(tmp_path / "moved")
        await source.wait_settled(1)

    assert "those of elastic have reached 10 B: deliver them" in reason
    assert [0] == before
    assert 1 == len(list(read_letters(tmp_path, "elastic")))


async def test_many_tiny_batches_are_gathered_into_few_bodies(server: BulkServer, tmp_path: Path) -> None:
    """A batch of one document each, as waiting senders make them, costs no request each."""
    source = ListedSource([batch_of(sequence, ["x"]) for sequence in range(5000)])
    async with running(server, source, tmp_path):
        await source.wait_settled(4999)

    assert 5000 == len(server.stored)
    assert len(server.requests) < 5 + 5000 * BATCH_BYTES * 2 // GATHER_BYTES
