"""Audit events give exactly the documents that stand beside them, however they come. `--golden=write` writes those."""

import json
from pathlib import Path
from typing import Any, Final

from tests.kit.audit_events import batches_of, documents_of, samples
from tests.kit.ecs import Schema
from tests.kit.posted_inputs import event_list

FOLDER: Final = Path(__file__).parent / "kubernetes_audit"
EVENTS: Final = FOLDER / "events.log"
DOCUMENTS: Final = FOLDER / "documents.jsonl"
SCHEMA: Final = Schema(Path(__file__).parents[1] / "data")
OF_THE_JOURNAL: Final = ("agent", "ecs", "observer", "data_stream")


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return what of a document its event decides."""
    event = {name: value for name, value in document["event"].items() if name not in ("id", "sequence", "created")}
    return {**{name: value for name, value in document.items() if name not in OF_THE_JOURNAL}, "event": event}


def test_posted_events_give_the_documents_beside_them(golden_write: bool) -> None:
    """One document each, in order, of the data stream that Elastic's rules read."""
    batches = batches_of(event_list(*samples(EVENTS)))
    made = [told(each) for each in documents_of(batches)]
    if golden_write:
        DOCUMENTS.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made), encoding="utf-8")

    assert [json.loads(line) for line in DOCUMENTS.read_text(encoding="utf-8").splitlines()] == made
    assert {"logs-kubernetes.audit_logs-default"} == {str(each.stream) for batch in batches for each in batch.documents}


def test_every_document_is_valid_ecs() -> None:
    """All fields are known and of their type."""
    made = documents_of(batches_of(event_list(*samples(EVENTS))))

    assert [] == [problem for each in made for problem in SCHEMA.problems(each)]


def test_events_of_a_file_give_the_same() -> None:
    """Alone, in an array, one behind the other: the same but for what a file has beside it, kind and version."""
    lines = EVENTS.read_bytes().splitlines()
    posted = [told(each) for each in documents_of(batches_of(event_list(*samples(EVENTS))))]

    for bodies in ([b"\n".join(lines)], [b"[" + b",".join(lines) + b"]"], lines):
        made = [told(each) for each in documents_of(batches_of(*bodies))]
        for each in made:
            audit = each["kubernetes"]["audit"]
            assert ("Event", "audit.k8s.io/v1") == (audit.pop("kind"), audit.pop("apiVersion"))
        assert posted == made


def test_what_is_posted_to_an_input_of_any_json_gives_the_same() -> None:
    """A list of events, events in an array, NDJSON: of the input `http`, whose path is no part of it."""
    events = [json.loads(line) for line in EVENTS.read_bytes().splitlines()]
    expected = [each["kubernetes"]["audit"]["auditID"] for each in documents_of(batches_of(event_list(*events)))]
    bodies = (event_list(*events), json.dumps(events).encode(), EVENTS.read_bytes())

    for body in bodies:
        made = documents_of(batches_of(body, encoding="json"))
        assert expected == [each["kubernetes"]["audit"]["auditID"] for each in made]
        assert {"kubernetes.audit_logs"} == {each["data_stream"]["dataset"] for each in made}
