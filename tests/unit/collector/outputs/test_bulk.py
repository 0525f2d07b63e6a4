"""Bodies of bulk requests: how they are cut and how large they are."""

import json

import pytest

from collector.outputs.bulk import Body, slices
from parsers.timestamps import rfc3339
from tests.kit.batches import batch_of

INGESTED = "2026-11-23T00:00:00.000000000Z"


@pytest.mark.parametrize("limit_bytes", [1, 500, 5_000, 1_000_000])
def test_a_body_is_never_larger_than_was_said(limit_bytes: int) -> None:
    """The bound holds for what is sent, action lines and `event.ingested` included; one document may exceed it."""
    batch = batch_of(0, ["x" * length for length in range(0, 2000, 40)])
    (documents,) = batch.documents

    made = list(slices(batch.position, documents, limit_bytes=limit_bytes))

    assert [identifier for part in made for identifier in part.ids] == list(documents.ids)
    for part in made:
        assert len(part.rendered(INGESTED)) == part.size_bytes
        assert part.size_bytes <= limit_bytes or len(part) == 1


@pytest.fixture
def body() -> Body:
    """Two batches in one body."""
    batches = [batch_of(0, ["a", "b", "c"]), batch_of(1, ["d", '{"event":{"ingested":"' + INGESTED])]
    made = Body(INGESTED)
    for each in batches:
        for part in slices(each.position, each.documents[0], limit_bytes=1_000_000):
            made.add(part)
    return made


def test_documents_of_a_body_are_told_by_their_index(body: Body) -> None:
    """An answer speaks of documents by their place: it leads to the batch, the id, and the document as it was made."""
    batch = batch_of(1, ["d", "e"])

    assert [body.position(index).sequence for index in range(len(body))] == [0, 0, 0, 1, 1]
    assert batch.documents[0].ids[0].decode() == body.identifier(3)
    assert batch.documents[0].ndjson.splitlines()[0] == body.document(3)


def test_what_goes_again_keeps_its_ids_and_its_batches(body: Body) -> None:
    """A body of some of the documents is as if it had been made of them alone."""
    again = body.only([1, 3, 4])

    assert [body.identifier(index) for index in (1, 3, 4)] == [again.identifier(index) for index in range(3)]
    assert [body.document(index) for index in (1, 3, 4)] == [again.document(index) for index in range(3)]
    assert [(position.sequence, count) for position, count in again.shares] == [(0, 1), (1, 2)]
    assert again.content.endswith(b"}\n")
    assert (body.size_bytes, again.size_bytes) == (len(body.content), len(again.content))
    assert b"".join(half.content for half in body.halves()) == body.content


def test_a_later_try_has_a_later_time_of_ingestion_and_nothing_else_changed(body: Body) -> None:
    """`event.ingested` is when Elasticsearch took the document; a line that looks like one is left alone."""
    later = body.stamped("2026-11-24T12:34:56.123456789Z")

    assert [body.document(index) for index in range(5)] == [later.document(index) for index in range(5)]
    events = [json.loads(line)["event"] for line in later.content.splitlines()[1::2]]
    assert {event["ingested"] for event in events} == {"2026-11-24T12:34:56.123456789Z"}
    assert later.stamped(INGESTED).content == body.content


def test_a_body_that_waited_for_its_turn_is_stamped_anew(body: Body) -> None:
    """While Elasticsearch is away a body may wait for minutes; up to a second costs nothing."""
    made_ns = 1_795_392_000_000_000_000
    assert body.ingested == rfc3339(made_ns)

    assert body.sent_at(made_ns + 1_000_000_000) is body
    later = body.sent_at(made_ns + 1_000_000_001)
    assert later.ingested == "2026-11-23T00:00:01.000000001Z"
    assert later.content == body.stamped(later.ingested).content
