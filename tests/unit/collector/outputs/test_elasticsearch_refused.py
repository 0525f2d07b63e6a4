"""The Elasticsearch output and what is refused: second tries, streams that take nothing, privileges, blocks, storms."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from collector import telemetry
from collector.dead_letters import read_letters
from collector.outputs import elasticsearch
from collector.outputs.elasticsearch_refusals import IN_A_ROW
from pipelines.batch import DataStream
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import HEADERS, BulkServer, running

OTHER = DataStream("logs", "tidewaiter.other", "default")


def conflict(field: str, kind: str = "long") -> dict[str, Any]:
    """What Elasticsearch says of a value that does not fit its field."""
    reason = f"[1:9] failed to parse field [{field}] of type [{kind}] in document with id 'x'"
    return {"status": 400, "error": {"type": "document_parsing_exception", "reason": reason}}


def counted(outcome: str) -> float:
    """How many documents had an outcome so far."""
    counter = telemetry.OUTPUT_DOCUMENTS.labels(output="elastic", outcome=outcome)
    return float(counter._value.get())


async def test_a_field_that_conflicts_is_moved_aside_and_the_document_is_stored(
    server: BulkServer, tmp_path: Path
) -> None:
    """Its second try is tagged and has the value aside; its neighbours are sent once."""
    server.always = server.refusing(lambda document: conflict("message") if document.get("message") == "bad" else None)
    source = ListedSource([batch_of(0, ["a", "bad", "c"])])
    before = counted("moved")
    async with running(server, source, tmp_path):
        await source.wait_settled(0)

    moved = server.stored[server.requests[0][1]]
    assert [server.requests[0], [server.requests[0][1]]] == server.requests
    assert ({"message": "bad"}, ["_mapping_conflict"]) == (moved["tidewaiter"]["invalid"], moved["tags"])
    assert moved["event"]["ingested"].endswith("Z")
    assert "message" not in moved
    assert before + 1 == counted("moved")
    assert [] == list(read_letters(tmp_path, "elastic"))


async def test_a_document_that_is_refused_twice_is_a_dead_letter_as_it_was_made(
    server: BulkServer, tmp_path: Path
) -> None:
    """With both reasons, and nothing moved aside: a replay gets what the pipeline made."""
    error = {"type": "document_parsing_exception", "reason": "no such luck"}
    replies = [conflict("message"), {"status": 400, "error": error}]
    server.always = server.refusing(lambda _document: replies.pop(0))
    batch = batch_of(0, ["bad"])
    source = ListedSource([batch])
    async with running(server, source, tmp_path):
        await source.wait_settled(0)
    (letter,) = read_letters(tmp_path, "elastic")

    assert batch.documents[0].ndjson == letter.payload_bytes + b"\n"
    assert letter.reason.startswith("[1:9] failed to parse field [message]")
    assert letter.reason.endswith("and without this field: no such luck")


async def test_when_nearly_all_is_refused_it_waits_instead_of_becoming_dead_letters(
    server: BulkServer, tmp_path: Path
) -> None:
    """A broken template: at most the bound becomes dead letters; the rest waits, says why, and arrives when mended."""
    error = {"type": "document_parsing_exception", "reason": "nothing fits"}
    server.always = server.refusing(lambda _document: {"status": 400, "error": error})
    source = ListedSource([batch_of(sequence, ["x"] * 300) for sequence in range(10)])
    async with running(server, source, tmp_path, request_limit=30_000) as worker:
        reason = await worker.wait_told()
        await worker.wait_told()
        dead = len(list(read_letters(tmp_path, "elastic")))
        server.always = None
        await source.wait_settled(9)

    assert (
        "nearly all documents of logs-tidewaiter.container-default are refused (document_parsing_exception)" in reason
    )
    assert dead < IN_A_ROW
    assert dead == len(list(read_letters(tmp_path, "elastic")))
    assert 3000 == dead + len(server.stored)


async def test_an_operator_may_let_everything_refused_become_dead_letters(server: BulkServer, tmp_path: Path) -> None:
    """With `hold_refused: false` nothing waits."""
    error = {"type": "document_parsing_exception", "reason": "nothing fits"}
    server.always = server.refusing(lambda _document: {"status": 400, "error": error})
    source = ListedSource([batch_of(0, ["x"] * 1000)])
    async with running(server, source, tmp_path, hold_refused=False):
        await source.wait_settled(0)

    assert 1000 == len(list(read_letters(tmp_path, "elastic")))


@pytest.mark.parametrize("status", [403, 429])
async def test_a_stream_that_is_blocked_holds_up_no_other_at_first(
    server: BulkServer, tmp_path: Path, status: int
) -> None:
    """More of its bodies wait than there are requests, and another stream's documents arrive all the same."""
    error = {"type": "cluster_block_exception", "reason": "index [x] blocked by: [FORBIDDEN/8/index write (api)];"}
    blocked = {"status": status, "error": error}
    server.always = server.refusing(lambda document: blocked if document["message"][0] == "b" else None)
    batches = [batch_of(sequence, ["b" * 1000] * 10) for sequence in range(8)]
    source = ListedSource([*batches, batch_of(8, ["good"], stream=OTHER), batch_of(9, ["good"], stream=OTHER)])
    async with running(server, source, tmp_path, request_limit=10_000) as worker:
        reason = await worker.wait_told()
        while len(server.stored) < 2:
            await worker.wait_told()
        before = list(source.settled)
        server.always = None
        await source.wait_settled(9)

    assert "writing is blocked" in reason
    assert "FORBIDDEN/8/index write" in reason
    assert [] == before
    assert 82 == len(server.stored)
    assert [] == list(read_letters(tmp_path, "elastic"))


@pytest.mark.parametrize(
    ("action", "privilege"),
    [
        ("indices:data/write/bulk[s]", "create_doc"),
        ("indices:admin/auto_create", "auto_configure"),
        ("indices:admin/mapping/auto_put", "auto_configure"),
    ],
)
async def test_a_refusal_by_privilege_names_the_privilege(
    server: BulkServer, tmp_path: Path, action: str, privilege: str
) -> None:
    """And the stream; everything waits until it is granted."""
    reason = (
        f"action [{action}] is unauthorized for API key id [k] of user [u] on indices [logs-x-default], this action is "
        "granted by the index privileges [create,index,write,all]"
    )
    refused = {"status": 403, "error": {"type": "security_exception", "reason": reason}}
    server.script = [server.refusing(lambda _document: refused)]
    source = ListedSource([batch_of(0, ["a"])])
    async with running(server, source, tmp_path) as worker:
        told = await worker.wait_told()
        await source.wait_settled(0)

    assert told.startswith(f"the credentials lack the privilege {privilege} on logs-x-default; the collector needs")
    assert [] == list(read_letters(tmp_path, "elastic"))


async def test_a_server_with_little_room_gets_bodies_that_fit(server: BulkServer, tmp_path: Path) -> None:
    """It answers 429 to whatever is larger than it has room for: all arrive, and most requests are taken."""
    room, refused = 20_000, []
    busy = json.dumps({"error": {"type": "es_rejected_execution_exception", "reason": "rejected"}, "status": 429})

    async def reply(_request: web.Request, lines: list[str]) -> web.Response:
        if sum(map(len, lines)) > room:
            refused.append(len(lines))
            return web.Response(status=429, text=busy, headers=HEADERS)
        return server.store(lines)

    server.always = reply
    source = ListedSource([batch_of(sequence, ["x" * 200] * 500) for sequence in range(8)])
    async with running(server, source, tmp_path) as worker:
        await source.wait_settled(7, timeout_s=30)

    assert 4000 == len(server.stored)
    assert len(refused) < len(server.requests) / 3
    assert "HTTP 429 (rejected)" in worker.reasons
    assert [] == list(read_letters(tmp_path, "elastic"))


async def test_items_that_are_refused_for_lack_of_room_make_the_next_bodies_smaller(
    server: BulkServer, tmp_path: Path
) -> None:
    """A 429 within a 200 is heard as well; only those documents go again."""
    busy = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "rejected"}}
    first = server.refusing(lambda document: busy if document["message"].startswith("b") else None)
    server.script = [first]
    source = ListedSource([batch_of(0, ["a" * 1000, *["b" * 1000] * 4] * 20)])
    async with running(server, source, tmp_path, request_limit=200_000):
        await source.wait_settled(0)

    assert 100 == len(server.requests[0])
    assert 80 == sum(map(len, server.requests[1:]))
    assert all(len(ids) < 80 for ids in server.requests[1:])
    assert 100 == len(server.stored)


async def test_what_waits_is_passed_by_so_many_batches_and_no_more(
    server: BulkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is remembered until the first is settled, also those that hold no documents."""
    monkeypatch.setattr(elasticsearch, "BATCHES_IN_HAND", 5)
    monkeypatch.setattr(elasticsearch, "GATHER_BYTES", 1)
    blocked = {"status": 403, "error": {"type": "cluster_block_exception", "reason": "blocked"}}
    server.always = server.refusing(lambda _document: blocked)
    source = ListedSource([batch_of(0, ["x"]), *(batch_of(sequence, []) for sequence in range(1, 100))])
    async with running(server, source, tmp_path) as worker:
        await worker.wait_told()
        await worker.wait_told()
        left = source.left
        server.always = None
        await source.wait_settled(99)

    assert 95 == left
    assert 1 == len(server.stored)
