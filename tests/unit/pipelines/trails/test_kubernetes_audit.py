"""Bodies of an API server's webhook become documents or dead letters, one record each, whatever they hold."""

import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batch import Batch
from pipelines.settings import Audit, Settings
from pipelines.state import State
from pipelines.trails import kubernetes_audit
from pipelines.trails.trail import Sent
from tests.kit.audit_events import ENCODING, SENDER, SETTINGS, batches_of, documents_of, samples
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.posted_inputs import event_list

TESTS: Final = Path(__file__).parents[3]
EVENTS: Final = samples(TESTS / "golden" / "kubernetes_audit" / "events.log")
SCHEMA: Final = Schema(TESTS / "data")
EVENT: Final = EVENTS[0]


def sent(payload: memoryview) -> Sent:
    """Return a message that holds this."""
    frame = frame_of((ENCODING, [(b"", b"", -1)]), origins=(SENDER,))
    return Sent(frame, frame.messages[0], payload, SETTINGS, State(), 0)


def letters(batches: list[Batch]) -> list[tuple[str, bytes]]:
    """Return code and bytes of each dead letter."""
    return [(letter.code, letter.payload) for batch in batches for letter in batch.dead_letters]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\x1f\x8b\x08",
        b"null",
        b"7",
        b'"EventList"',
        b"[[]",
        b'{"kind":"EventList","items":{}}',
        b'{"kind":"EventList","items":[{"auditID":"a"}',
        b'{"kind":"Status","code":500}',
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + b"[" * 100_000,
        b'{"a":1}\n{"b"',
        b"\xff" * 100,
    ],
)
def test_what_is_no_list_of_events_is_a_dead_letter(body: bytes) -> None:
    """Whole, as it came; the message beside it is made."""
    batches = batches_of(body, event_list(EVENT))

    assert [EVENT["auditID"]] == [each["http"]["request"]["id"] for each in documents_of(batches)]
    found = letters(batches)
    assert all(code == "bad_audit_event" for code, _ in found)
    assert b"".join(payload for _, payload in found) == body.replace(b"\n", b"")


def test_of_a_list_only_the_items_that_are_no_events_are_dead_letters() -> None:
    """Each by itself, in its place; the others are made."""
    odd = [b"7", b'{"no":"id"}', b'{"auditID":""}', b'{"auditID":"a","user":"alice"}']
    good = json.dumps(EVENT).encode()
    batches = batches_of(b'{"kind":"EventList","items":[%b]}' % b",".join([good, *odd, good]))

    assert 2 == len(documents_of(batches))
    assert [("bad_audit_event", each) for each in odd] == letters(batches)
    assert [1, 2, 3, 4] == [letter.position.record for batch in batches for letter in batch.dead_letters]


@pytest.mark.parametrize("version", ["audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v9", ""])
@pytest.mark.parametrize("more", [{}, {"newField": {"a": [1]}, "timestamp": "2023-11-14T22:13:20Z"}])
def test_versions_and_unknown_keys_make_no_difference(version: str, more: dict[str, Any]) -> None:
    """An API server of another version is understood as far as it says the same."""
    body = json.dumps({"kind": "EventList", "apiVersion": version, "items": [EVENT | more]}).encode()
    (expected,) = documents_of(batches_of(event_list(EVENT)))

    assert [expected] == documents_of(batches_of(body))


@pytest.mark.parametrize("items", [b"null", b"[]"])
def test_an_empty_list_is_no_record(items: bytes) -> None:
    """An API server may post one in theory."""
    batches = batches_of(b'{"kind":"EventList","items":%b}' % items)

    assert ([], 0) == (letters(batches), sum(batch.tally.records for batch in batches))


def test_fifty_megabytes_are_made_in_slices() -> None:
    """Every event of a very large body, in order, and the books balance."""
    large = EVENT | {"requestObject": {"spec": {"text": "x" * 100_000}}}
    batches = batches_of(event_list(*[large] * 500))

    assert 500 == sum(batch.tally.documents for batch in batches) == sum(batch.tally.records for batch in batches)


def test_cluster_proxies_and_silent_facts_are_the_operators() -> None:
    """The cluster's name stands on each document, a proxy is believed, and a fact that is off is on none."""
    audits = {SENDER.input: Audit(cluster="shop-prod", proxies=("192.0.2.0/24",))}
    told = Settings(version="0.1.0", audits=audits, silent_facts=("shell_started",))
    (made,) = documents_of(batches_of(event_list(EVENT), settings=told))

    assert "shop-prod" == made["orchestrator"]["cluster"]["name"]
    assert "203.0.113.9" == made["source"]["ip"]
    assert "facts" not in made["tidewaiter"]
    assert ("audit", "certificate:apiserver.example") == (
        made["tidewaiter"]["origin"]["input"],
        made["tidewaiter"]["origin"]["auth"],
    )


def test_an_event_of_another_century_is_tagged() -> None:
    """A time far from that of its receipt is no document's own, posted or in a line."""
    (made,) = documents_of(batches_of(event_list(EVENT | {"stageTimestamp": "2099-11-29T02:00:00.000000Z"})))

    assert ["_time_far_off"] == made["tags"]
    assert "2099-11-29T02:00:00.000000000Z" == made["tidewaiter"]["claimed"]["time"]
    assert "2026" == made["@timestamp"][:4]


@pytest.mark.parametrize("body", [b"[%b]", b'{"kind":"EventList","items":[%b],"apiVersion":"audit.k8s.io/v1"}'])
def test_a_list_of_zeros_takes_no_memory(body: bytes) -> None:
    """Its items are looked at one by one: 200,000 of them at once would be 60 MB."""
    payload = memoryview(body % b",".join([b"0"] * 200_000))
    tracemalloc.start()
    try:
        count = sum(1 for _ in itertools.islice(kubernetes_audit.settle(sent(payload)), 1000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (1000, True) == (count, most < 8 << 20)


def test_a_message_of_very_many_objects_is_read_event_by_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same documents as when its events are decoded together."""
    expected = documents_of(batches_of(event_list(*EVENTS)))
    monkeypatch.setattr(kubernetes_audit, "OBJECTS_AT_ONCE", 3)

    assert expected == documents_of(batches_of(event_list(*EVENTS)))


JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*EVENT, "kind", "data", "spec", "a.b"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(EVENTS),
    st.dictionaries(st.sampled_from([*EVENT, "requestObject", "responseObject"]), JSON, max_size=3),
)
def test_whatever_an_event_holds_it_settles_and_forges_nothing(event: dict[str, Any], more: dict[str, Any]) -> None:
    """One document or one dead letter; who sent it and where it is kept are never its own word."""
    body = b'{"kind":"EventList","items":[%b]}' % json.dumps(event | more).encode()
    batches = batches_of(body)

    made = documents_of(batches)
    assert 1 == len(made) + len(letters(batches))
    for each in made:
        assert [] == SCHEMA.problems(each)
        assert ("audit", "192.0.2.1") == (each["tidewaiter"]["origin"]["input"], each["tidewaiter"]["origin"]["peer"])
        assert ("kubernetes.audit_logs", "event") == (each["data_stream"]["dataset"], each["event"]["kind"])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5000), st.binary(max_size=6))
def test_a_body_that_was_cut_or_mixed_settles(at: int, noise: bytes) -> None:
    """Never an exception, and nothing of it is lost: what is no document is a dead letter."""
    body = event_list(*EVENTS[:3])
    batches = batches_of(body[:at] + noise + body[at + len(noise) :])

    assert documents_of(batches) or letters(batches)
