"""The document an analyst finds for what Docker's driver and Fluent Bit send, and what cannot be forged in it."""

import json
import struct
from typing import Any

import msgpack
import pytest

from parsers.flattened import flattened
from pipelines import reference
from pipelines.decode.forward import decode_entry
from pipelines.frame import Origin
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import ORIGIN, frame_of

SETTINGS = Settings(version="0.1.0", hosts={"192.0.2.9": "edge-1"})
ID = "8f3a1c0b9d2e" + "0" * 52
SHORT_ID = ID[:12]
TIME = struct.pack(">II", 1_700_000_000, 123_456_789)


def documents(
    record: dict[str, Any], *, tag: str = "", time: Any = None, origin: Origin = ORIGIN
) -> list[dict[str, Any]]:
    """Run one Forward entry through the pipeline."""
    stamp = msgpack.ExtType(0, TIME) if time is None else time
    payload = msgpack.packb([stamp, record])
    (batch,) = reference.process(
        frame_of(("forward", [(payload, tag.encode(), 1)]), origins=(origin,)), SETTINGS, State()
    )
    return [json.loads(line) for part in batch.documents for line in part.ndjson.splitlines()]


def document(record: dict[str, Any], **how: Any) -> dict[str, Any]:
    """Run one Forward entry through the pipeline that gives one document."""
    (made,) = documents(record, **how)
    return made


def docker(**more: Any) -> dict[str, Any]:
    """Make what Docker's driver sends."""
    return {"container_id": ID, "container_name": "/web-1", "source": "stdout", "log": "hello", **more}


def test_a_docker_line_is_this_document() -> None:
    """Every field of the document, in canonical order."""
    made = document(docker(), tag=SHORT_ID)

    expected = {
        "event": {
            "created": "2023-11-14T22:13:20.123456789Z",
            "sequence": 400000000,
            "id": "cl9v205bpnng000000300000",
            "kind": "event",
            "module": "tidewaiter",
            "dataset": "tidewaiter.container",
        },
        "@timestamp": "2023-11-14T22:13:20.123456789Z",
        "message": "hello",
        "related": {"hosts": ["192.0.2.7"]},
        "tidewaiter": {
            "container": {"stream": "stdout"},
            "origin": {"input": "docker", "transport": "tcp", "peer": "192.0.2.7", "host": "192.0.2.7"},
            "tag": SHORT_ID,
        },
        "container": {"id": ID, "name": "web-1"},
        "host": {"name": "192.0.2.7"},
        "ecs": {"version": "9.4.0"},
        "data_stream": {"type": "logs", "dataset": "tidewaiter.container", "namespace": "default"},
        "agent": {
            "type": "tidewaiter",
            "version": "0.1.0",
            "name": "collector-1",
            "id": "abcdef",
            "ephemeral_id": "abcdef-1700000000",
        },
        "observer": {"hostname": "collector-1"},
    }
    assert expected == made
    assert list(expected) == list(made)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("acme/bb:1.2", {"name": "acme/bb", "tag": ["1.2"]}),
        ("registry.example:5000/team/app", {"name": "registry.example:5000/team/app"}),
        ("registry.example:5000/team/app:v3", {"name": "registry.example:5000/team/app", "tag": ["v3"]}),
        ("app@sha256:" + "c" * 64, {"name": "app", "hash": {"all": ["sha256:" + "c" * 64]}}),
    ],
)
def test_the_recommended_tag_names_the_image(image: str, expected: dict[str, Any]) -> None:
    """`{{.ImageName}}/{{.Name}}/{{.ID}}` gives image name, tag and digest."""
    assert expected == document(docker(), tag=f"{image}/web-1/{SHORT_ID}")["container"]["image"]


def test_labels_the_driver_was_told_to_send_are_dot_safe() -> None:
    """Further text in Docker's record becomes container.labels."""
    made = document(docker(team="a", **{"app.kubernetes.io/name": "shop", "app": "x"}))

    assert made["container"]["labels"] == {"app": "x", "app_kubernetes_io/name": "shop", "team": "a"}


def test_a_label_cannot_take_another_containers_identity() -> None:
    """The Engine's tag wins over a forged container_id; the claim stands beside it and the document is tagged."""
    made = document(docker(container_id="f" * 64, container_name="victim"), tag=f"acme/bb:1.2/web-1/{SHORT_ID}")

    assert made["container"] == {"id": SHORT_ID, "name": "web-1", "image": {"name": "acme/bb", "tag": ["1.2"]}}
    assert made["tags"] == ["_identity_conflict"]
    assert made["tidewaiter"]["claimed"] == {"container": {"id": "f" * 64, "name": "victim"}}


def test_an_id_at_the_end_of_a_tag_of_its_own_form_proves_nothing() -> None:
    """A container's name may end in another's id: a tag that does, and is no file's, leaves the id as it was said."""
    made = document(docker(), tag=f"docker.{'f' * 64}")

    assert made["container"]["id"] == document(docker())["container"]["id"]
    assert "claimed" not in made["tidewaiter"]


def test_unknown_fields_never_reach_the_root() -> None:
    """Keys named like ECS or our own objects stay under the flattened field."""
    forged = {"event": {"kind": "alert"}, "@timestamp": "1999", "host": "x", "tidewaiter": 1, "_id": "y"}
    made = document({"log": "x", **forged})

    assert made["tidewaiter"]["fields"] == forged
    assert made["event"]["kind"] == "event"
    assert made["host"] == {"name": "192.0.2.7"}


def test_fluent_bits_kubernetes_keys_become_orchestrator_and_container() -> None:
    """Pod, namespace, node, labels, image and container come from the filter's map; the rest stays visible."""
    made = document(
        {
            "log": "x",
            "stream": "stderr",
            "kubernetes": {
                "pod_name": "web-0",
                "namespace_name": "shop",
                "pod_id": "u-1",
                "pod_ip": "192.0.2.44",
                "host": "node-1",
                "labels": {"app": "web"},
                "container_name": "nginx",
                "docker_id": ID,
                "container_hash": "registry.example/nginx@sha256:" + "d" * 64,
                "container_image": "nginx:1.27",
                "new_key": 1,
            },
        }
    )

    assert made["orchestrator"] == {
        "type": "kubernetes",
        "namespace": "shop",
        "resource": {"type": "pod", "name": "web-0", "id": "u-1", "ip": ["192.0.2.44"], "label": ["app:web"]},
    }
    assert made["container"] == {
        "id": ID,
        "name": "nginx",
        "image": {"name": "nginx", "tag": ["1.27"], "hash": {"all": ["sha256:" + "d" * 64]}},
    }
    assert made["host"] == {"name": "node-1"}
    assert made["tidewaiter"]["container"] == {"stream": "stderr"}
    assert made["tidewaiter"]["fields"] == {"kubernetes": {"new_key": 1}}


def test_no_content_says_where_it_came_from() -> None:
    """Whatever a record calls itself, input, peer and proof are those of its connection, and its words stay fields."""
    claims = {"origin": {"peer": "203.0.113.9", "auth": "key:root"}, "tidewaiter": {"origin": {"peer": "x"}}}
    made = document({"log": "x", **claims, "host": "x", "observer": "x"}, origin=Origin("docker", "tcp", "192.0.2.7"))

    assert made["tidewaiter"]["origin"] == {
        "input": "docker",
        "transport": "tcp",
        "peer": "192.0.2.7",
        "host": "192.0.2.7",
    }
    assert made["host"] == {"name": "192.0.2.7"}
    assert made["tidewaiter"]["fields"] == {**claims, "host": "x", "observer": "x"}


def test_a_certificates_name_is_the_host_of_its_origin() -> None:
    """It is proven; the operator's map still wins over it, and a name reads as it stands in the certificate."""
    proven = "certificate:web-1%2B2.example+key:web"

    for peer, host in (("192.0.2.7", "web-1+2.example"), ("192.0.2.9", "edge-1")):
        made = document({"log": "x"}, origin=Origin("docker", "tls", peer, proven))
        assert made["tidewaiter"]["origin"] == {
            "input": "docker",
            "transport": "tls",
            "peer": peer,
            "auth": proven,
            "host": host,
        }
        assert made["host"] == {"name": host}


def test_the_operators_map_names_the_host() -> None:
    """`hosts:` wins over what the sender says."""
    peer = Origin("docker", "tcp", "192.0.2.9")
    made = document({"log": "x", "kubernetes": {"pod_name": "p", "host": "node-1"}}, origin=peer)

    assert made["host"] == {"name": "edge-1"}
    assert made["tidewaiter"]["origin"]["host"] == "edge-1"


@pytest.mark.parametrize(
    ("time", "timestamp", "claimed"),
    [
        (1_700_000_001, "2023-11-14T22:13:21.000000000Z", None),
        (1.5, "1970-01-01T00:00:01.500000000Z", None),
        (0, "2023-11-14T22:13:20.123456789Z", None),
        (-5, "2023-11-14T22:13:20.123456789Z", "-5.000000000"),
        (2**62, "2023-11-14T22:13:20.123456789Z", f"{2**62}.000000000"),
        ([msgpack.ExtType(0, TIME), {}], "2023-11-14T22:13:20.123456789Z", None),
    ],
)
def test_times(time: Any, timestamp: str, claimed: str | None) -> None:
    """A time no calendar has gives way to journal time and stays beside it as a claim."""
    made = document({"log": "x"}, time=time)

    assert timestamp == made["@timestamp"]
    assert claimed == made["tidewaiter"].get("claimed", {}).get("time")
    assert (claimed is not None) == ("_time_out_of_range" in made.get("tags", []))


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"\xd7\x00" + TIME, "2023-11-14T22:13:20.123456789Z"),
        (b"\xd7\x00" + b"\xff" * 8, "extension 0: base64://////////8="),
        (b"\xd5\x05hi", "extension 5: base64:aGk="),
        (b"\xd4\x80!", "extension -128: base64:IQ=="),
    ],
)
def test_extensions_in_a_record_are_readable(encoded: bytes, text: str) -> None:
    """An EventTime among the fields is its instant; bytes of any other type are kept."""
    record = decode_entry(b"\x92\x01\x81\xa1x" + encoded)

    assert flattened(record.fields) == {"x": text}


def test_metadata_of_fluent_bit_is_kept() -> None:
    """What travels beside the time stands under tidewaiter.metadata."""
    made = document({"log": "x"}, time=[msgpack.ExtType(0, TIME), {"a": {"b": 1}}])

    assert made["tidewaiter"]["metadata"] == {"a": {"b": 1}}


def test_a_record_without_a_line_is_still_a_document() -> None:
    """The record itself, as JSON text, is the message."""
    made = document({"metric": 4, "unit": "ms"})

    assert made["message"] == '{"metric":4,"unit":"ms"}'
    assert made["tidewaiter"]["fields"] == {"metric": 4, "unit": "ms"}


def test_bytes_that_are_no_utf8_are_replaced_and_tagged() -> None:
    """The line is readable and says that bytes were replaced."""
    made = document({"log": b"gr\xfc\xdfe"})

    assert made["message"] == "gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}e"
    assert made["tags"] == ["_invalid_utf8"]


def test_marks_that_no_piece_has_are_kept() -> None:
    """Docker's partial_* keys that say nothing of a line's place stand under tidewaiter.container.partial."""
    marks = {"partial_message": "true", "partial_id": "p", "partial_ordinal": "x", "partial_last": "false"}
    made = document(docker(**marks))

    assert made["tidewaiter"]["container"]["partial"] == {"message": "true", "id": "p", "ordinal": "x", "last": "false"}


def test_group_marks_of_fluent_bit_are_no_documents() -> None:
    """The two fake records around an OTLP group settle as control, not as lines of the year 2106."""
    mark = msgpack.ExtType(0, struct.pack(">II", 0xFFFFFFFF, 0))

    assert documents({"schema": "otlp"}, time=[mark, {}]) == []


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (b"\x01", "bad_entry"),
        (b"\x93\x01\x80\x01", "bad_entry"),
        (b"\x92\xa1x\x80", "bad_time"),
        (b"\x92\x91\x01\x80", "bad_time"),
        (b"\x92\x01\x90", "bad_record"),
        (b"\x92\x01" + b"\x91" * 2000 + b"\x01", "too_deep"),
    ],
)
def test_a_broken_entry_is_a_dead_letter_and_its_neighbours_are_documents(entry: bytes, code: str) -> None:
    """The letter holds the entry's bytes, its place and a bounded code."""
    good = msgpack.packb([1, {"log": "x"}])
    frame = frame_of(("forward", [(good + entry + good, b"", 3)]))
    (batch,) = reference.process(frame, SETTINGS, State())

    assert (batch.tally.documents, batch.tally.dead) == (2, 1)
    (letter,) = batch.dead_letters
    assert (letter.code, letter.payload, letter.position.record) == (code, entry, 1)
    assert letter.origin == "docker/192.0.2.7"


def test_what_follows_broken_bytes_is_one_dead_letter() -> None:
    """Where MessagePack ends, the rest of the message is kept whole."""
    good = msgpack.packb([1, {"log": "x"}])
    (batch,) = reference.process(frame_of(("forward", [(good + b"\xc1rest", b"", 2)])), SETTINGS, State())

    assert [(letter.code, letter.payload) for letter in batch.dead_letters] == [("bad_payload", b"\xc1rest")]


def test_a_million_refused_records_share_few_letters() -> None:
    """Neighbours refused for one reason become one letter per slice, and the books still count each."""
    batches = list(reference.process(frame_of(("forward", [(b"\xc0" * 100_000, b"", -1)])), SETTINGS, State()))

    assert sum(batch.tally.dead for batch in batches) == 100_000
    assert sum(len(batch.dead_letters) for batch in batches) == len(batches) == 7
    assert b"".join(letter.payload for batch in batches for letter in batch.dead_letters) == b"\xc0" * 100_000


def test_own_audit_records_go_to_a_stream_of_their_own() -> None:
    """Start and stop are documents of tidewaiter.audit, with action and outcome."""
    record = {"action": "start", "outcome": "success", "time_ns": 1_700_000_000_000_000_000, "details": {"pid": 1}}
    origin = Origin("tidewaiter", "internal", "supervisor")
    frame = frame_of(("audit", [(json.dumps(record).encode(), b"", -1)]), origins=(origin,))
    (batch,) = reference.process(frame, SETTINGS, State())
    (part,) = batch.documents
    made = json.loads(part.ndjson)

    assert str(part.stream) == "logs-tidewaiter.audit-default"
    assert (made["event"]["action"], made["event"]["outcome"]) == ("start", "success")
    assert made["@timestamp"] == "2023-11-14T22:13:20.000000000Z"
    assert made["tidewaiter"]["fields"] == {"pid": 1}


def own_document(action: str, details: dict[str, Any]) -> dict[str, Any]:
    """The document of an audit record of ours."""
    record = {"action": action, "outcome": "failure", "time_ns": 1_700_000_000_000_000_000, "details": details}
    origin = Origin("tidewaiter", "internal", "intake")
    frame = frame_of(("audit", [(json.dumps(record).encode(), b"", -1)]), origins=(origin,))
    (batch,) = reference.process(frame, SETTINGS, State())
    (part,) = batch.documents
    made: dict[str, Any] = json.loads(part.ndjson)
    return made


@pytest.mark.parametrize(
    ("action", "details", "message"),
    [
        (
            "start",
            {"version": "0.1.0", "pid": 7, "inputs": ["docker", "engine"]},
            "The collector started: version 0.1.0, inputs: docker, engine",
        ),
        ("stop", {"version": "0.1.0", "ran_seconds": 12.3}, "The collector was told to stop after 12.3 s"),
        (
            "key_export",
            {"file": "verification.key"},
            "The key that verifies the journal was written to evidence/verification.key, since this is the journal's "
            "first start",
        ),
        (
            "handshake",
            {"input": "docker", "peer": "192.0.2.7", "reason": "wrong key", "claimed": 'b", good', "attempts": 3},
            '192.0.2.7 failed 3 times to prove who it is to input docker, claiming to be "b\\", good": wrong key',
        ),
        (
            "handshake",
            {"input": "docker", "peer": "2001:db8::7", "reason": "too slow", "claimed": "", "attempts": 1},
            "2001:db8::7 failed to prove who it is to input docker: too slow",
        ),
        (
            "block",
            {"input": "docker", "peer": "192.0.2.7", "failures": 10, "seconds": 51},
            "192.0.2.7 is not listened to by input docker for 51 s, since 10 of its handshakes failed within a minute",
        ),
        (
            "forget",
            {"output": "old", "records": 12},
            "Output old was let go of by tidewaiter journal forget: 12 records that it had not settled will not "
            "reach it",
        ),
        (
            "verify",
            {"segments": 3, "frames": 40, "findings": 0},
            "The journal was verified with its key: 3 segments, 40 frames, all as it was written",
        ),
        (
            "verify",
            {"segments": 3, "frames": 40, "findings": 2, "first_finding": "CUT: bytes are gone"},
            "The journal was verified with its key, and is NOT as it was written: 3 segments, 40 frames, 2 findings, "
            "the first: CUT: bytes are gone",
        ),
        ("handshake", {}, "? failed to prove who it is to input ?: ?"),
        ("of-another-version", {}, "intake: of-another-version"),
    ],
)
def test_the_message_of_an_own_record_is_a_plain_sentence(action: str, details: dict[str, Any], message: str) -> None:
    """It said only who did what; who was concerned, and why, stood in fields that no list of messages shows."""
    assert own_document(action, details)["message"] == message


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.7", {"ip": "192.0.2.7"}),
        ("2001:db8::7", {"ip": "2001:db8::7"}),
        ("fe80::7%eth0", {"ip": "fe80::7"}),
        ("unix:uid=0", None),
        ("others", None),
        (7, None),
    ],
)
def test_an_own_record_about_a_peer_with_an_address_has_it_as_source(peer: object, source: object) -> None:
    """So that a search for an address finds what it did to us."""
    assert own_document("handshake", {"peer": peer}).get("source") == source
