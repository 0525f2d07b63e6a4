"""Bodies of bulk requests: how they are cut and how large they are."""

import pytest

from collector.outputs.bulk import body_of, slices
from collector.testing.batches import batch_of

INGESTED = "2026-11-23T00:00:00.000000000Z"


@pytest.mark.parametrize("limit_bytes", [1, 500, 5_000, 1_000_000])
def test_a_body_is_never_larger_than_was_said(limit_bytes: int) -> None:
    """The bound holds for what is sent, action lines and `event.ingested` included; one document may exceed it."""
    batch = batch_of(0, ["x" * length for length in range(0, 2000, 40)])
    (documents,) = batch.documents

    made = list(slices(batch.position, documents, limit_bytes=limit_bytes))

    assert sum(map(len, made)) == 50
    for part in made:
        assert len(body_of([part], INGESTED)) <= part.size_bytes
        assert part.size_bytes <= limit_bytes or len(part) == 1


def test_parts_of_a_slice_keep_ids_and_documents_together() -> None:
    """What is sent again carries the ids it had."""
    batch = batch_of(0, ["a", "b", "c", "d"])
    (whole,) = slices(batch.position, batch.documents[0], limit_bytes=1_000_000)
    part = whole.part([1, 3])

    assert [whole.ids[1], whole.ids[3]] == list(part.ids)
    assert [whole.document(1), whole.document(3)] == [part.document(0), part.document(1)]
    assert len(body_of([part], INGESTED)) <= part.size_bytes
