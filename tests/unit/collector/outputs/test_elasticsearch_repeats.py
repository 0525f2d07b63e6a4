"""A lost answer, and a roll-over before the repeat: looked up first, or counted and listed where nobody may ask."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from collector import telemetry
from collector.outputs.bulk import Body
from collector.outputs.elasticsearch_answers import Answer
from collector.outputs.elasticsearch_repeats import (
    IDS_AT_ONCE,
    LIST_LIMIT_BYTES,
    Found,
    Repeats,
    Unknown,
    list_uncertain,
)
from pipelines.frame import Position
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import QUICK, BulkServer, Reply, running

PACE = msgspec.structs.replace(QUICK, answer_s=0.3)
"""An old request is over soon."""


def lost(server: BulkServer, *, stored: int, rolled: bool = True) -> Reply:
    """Store some documents, roll the stream over, and lose the answer."""

    async def reply(request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines[: 2 * stored])
        if rolled:
            server.roll_over()
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return reply


async def plain(server: BulkServer, source: ListedSource) -> None:
    """Let a first batch through, so that the stream and its index are known."""
    await source.wait_settled(0)
    server.asked.clear()


async def test_what_a_roll_over_hides_is_looked_up_before_it_is_sent_again(server: BulkServer, tmp_path: Path) -> None:
    """Some of the documents stand in the index before: they are found, the others stored, none twice."""
    server.may_read = True
    source = ListedSource([batch_of(0, ["first"])])
    async with running(server, source, tmp_path, pace=PACE):
        await plain(server, source)
        server.script = [lost(server, stored=3)]
        source.add(batch_of(1, list("abcde")))
        await source.wait_settled(1)

    assert ["_settings", "_settings", "_refresh", "_search"] == server.asked
    assert [1, 5, 2] == [len(ids) for ids in server.requests]
    assert (6, set()) == (len(server.stored), server.doubled)
    assert not (tmp_path / "uncertain").exists()


async def test_without_a_roll_over_nothing_is_looked_up(server: BulkServer, tmp_path: Path) -> None:
    """The repeat is recognised by its ids: one question, and no waiting for the old request."""
    server.may_read = True
    source = ListedSource([batch_of(0, ["first"])])
    async with running(server, source, tmp_path, pace=msgspec.structs.replace(QUICK, answer_s=3600)):
        await plain(server, source)
        server.script = [lost(server, stored=3, rolled=False)]
        source.add(batch_of(1, list("abcde")))
        await source.wait_settled(1)

    assert ["_settings"] == server.asked
    assert [1, 5, 5] == [len(ids) for ids in server.requests]
    assert (6, set()) == (len(server.stored), server.doubled)


async def test_more_documents_than_one_look_up_takes_are_all_found(server: BulkServer, tmp_path: Path) -> None:
    """They are asked for in parts."""
    server.may_read = True
    count = IDS_AT_ONCE + 10
    source = ListedSource([batch_of(0, ["first"])])
    async with running(server, source, tmp_path, pace=PACE):
        await plain(server, source)
        server.script = [lost(server, stored=count)]
        source.add(batch_of(1, ["x"] * count))
        await source.wait_settled(1)

    assert 2 == server.asked.count("_search")
    assert 2 == len(server.requests)
    assert (count + 1, set()) == (len(server.stored), server.doubled)


async def test_a_key_that_may_only_create_has_uncertain_documents_counted_and_listed(
    server: BulkServer, tmp_path: Path
) -> None:
    """Those that a repeat stored behind a roll-over, by id, and no others."""
    counter = telemetry.OUTPUT_DOCUMENTS.labels(output="elastic", outcome="uncertain")
    before = counter._value.get()
    source = ListedSource([batch_of(0, ["first"])])
    batch = batch_of(1, list("abcde"))
    async with running(server, source, tmp_path, pace=PACE):
        await plain(server, source)
        server.script = [lost(server, stored=3)]
        source.add(batch)
        await source.wait_settled(1)
    listed = [json.loads(line) for line in (tmp_path / "uncertain" / "elastic.ndjson").read_text().splitlines()]

    assert [each.decode() for each in batch.documents[0].ids] == [each["id"] for each in listed]
    assert {("logs-tidewaiter.container-default", "data-000002")} == {
        (each["stream"], each["index"]) for each in listed
    }
    assert before + 5 == counter._value.get()
    assert 3 == len(server.doubled)


async def test_a_key_that_may_only_create_lists_nothing_without_a_roll_over(server: BulkServer, tmp_path: Path) -> None:
    """A repeat into the index that was known before is certain."""
    source = ListedSource([batch_of(0, ["first"])])
    async with running(server, source, tmp_path, pace=PACE):
        await plain(server, source)
        server.script = [lost(server, stored=3, rolled=False)]
        source.add(batch_of(1, list("abcde")))
        await source.wait_settled(1)

    assert not (tmp_path / "uncertain").exists()
    assert set() == server.doubled


async def test_what_an_earlier_life_sent_before_a_roll_over_is_not_sent_again(
    server: BulkServer, tmp_path: Path
) -> None:
    """The collector is killed after its documents were stored, the stream rolls over, it starts again."""
    server.may_read = True
    batches = [batch_of(sequence, ["x" * 400] * 10) for sequence in range(20)]
    async with running(server, (first := ListedSource(batches)), tmp_path, request_limit=8000):
        await first.wait_settled(19)
    server.roll_over()
    later = ListedSource([*batches, *[batch_of(sequence, ["y"]) for sequence in range(20, 40)]])
    async with running(server, later, tmp_path, request_limit=8000):
        await later.wait_settled(39)

    assert (220, set()) == (len(server.stored), server.doubled)


async def test_a_server_that_cannot_be_asked_at_the_moment_is_asked_again(server: BulkServer, tmp_path: Path) -> None:
    """A look-up that fails settles nothing and sends nothing."""
    server.may_read = True
    server.failing = 3
    source = ListedSource([batch_of(0, ["first"])])
    async with running(server, source, tmp_path, pace=PACE) as worker:
        await source.wait_settled(0)

    assert "HTTP 503" in worker.reasons[0]
    assert 1 == len(server.requests)


@pytest.mark.parametrize("room", [True, False])
def test_the_list_of_uncertain_documents_is_bounded(tmp_path: Path, *, room: bool) -> None:
    """A full one takes no more, and says so."""
    path = tmp_path / "uncertain" / "elastic.ndjson"
    path.parent.mkdir()
    path.touch()
    with path.open("r+b") as file:
        file.truncate(0 if room else LIST_LIMIT_BYTES)

    assert room == list_uncertain(path, "s", "i", ["a"], "now")


INDICES = b'{"a":{"settings":{"index":{"creation_date":"1"}}},"b":{"settings":{"index":{"creation_date":"2"}}}}'


@pytest.mark.parametrize("asked", ["_settings", "_search"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"null",
        b'{"_shards":{"failed":0},"hits":[]}',
        b'{"_shards":{"failed":0},"hits":{"hits":[{"_id":[1]}]}}',
        b'{"_shards":{"failed":0},"hits":{"hits":[{"_id":"another"}]}}',
        b'{"_shards":[],"a":{"settings":[]}}',
        b"[" * 100_000 + b"]" * 100_000,
        b"\xff",
    ],
)
async def test_an_answer_of_another_shape_says_nothing(asked: str, said: bytes) -> None:
    """A proxy, or a server that lies: the document is sent, and its id tells whether it is there."""

    class Lying:
        async def ask(self, method: str, path: str, parameters: dict[str, str], content: Any = None) -> Answer:
            return Answer(200, said if asked in path else INDICES)

    body = Body("now", [b'{"create":{"_id":"abc"}}\n{"event":{"id":"abc"}}\n'], [(Position(0, 1, 1), 1)])
    repeats = Repeats(answer_s=60, early_bodies=3)

    assert Found() == await repeats.look_up(Lying(), "logs-a-b", body, Unknown(float("-inf"), "", early=True))


def test_a_list_of_uncertain_documents_that_cannot_be_made_ends_nothing(tmp_path: Path) -> None:
    """On a full disk, say: the documents are counted, and delivered."""
    (tmp_path / "uncertain").touch()

    assert not list_uncertain(tmp_path / "uncertain" / "elastic.ndjson", "s", "i", ["a"], "now")
