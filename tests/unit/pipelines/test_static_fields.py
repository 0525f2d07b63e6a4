"""Fields that the operator sets by rules: which stream gets them, which there are, and what they stand against."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from parsers.ecs_types import field_named
from pipelines import reference
from pipelines.chunk import ChunkPath
from pipelines.enrich.static import LISTS, SET_ROOTS, FieldRule, why_not_set
from pipelines.frame import Origin
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of

DATA = Path(__file__).parents[2] / "data"
SCHEMA = Schema(DATA)
PEER = "192.0.2.7"
ORIGIN = Origin("docker", "tcp", PEER)
TAG = b"acme/shop:1.2/shop-web/" + b"a" * 12
STAMP = msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, 5))
ECS_LINE = {"@timestamp": "2026-11-29T12:00:00Z", "log.level": "info", "message": "sold", "ecs.version": "1.6.0"}


def document(
    *rules: FieldRule, line: str = "hello", origin: Origin = ORIGIN, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the document of a line under rules, by both paths, which give the same."""
    record = {"container_id": "a" * 64, "container_name": "/shop-web", "source": "stdout", "log": line, **(more or {})}
    frame = frame_of(("forward", [(msgpack.packb([STAMP, record]), TAG, 1)]), origins=(origin,))
    settings = Settings(version="0.1.0", fields=rules)
    (plain,) = reference.process(frame, settings, State())
    (fast,) = ChunkPath(settings).process(frame, State())

    assert plain == fast
    (made,) = (json.loads(text) for part in plain.documents for text in part.ndjson.splitlines())
    assert SCHEMA.problems(made) == []
    return dict(made)


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"input": "dock*"}, True),
        ({"input": "socket"}, False),
        ({"peer": PEER}, True),
        ({"peer": "192.0.2.*"}, True),
        ({"peer": "192.0.2.0/24"}, True),
        ({"peer": "198.51.100.0/24"}, False),
        ({"peer": "2001:db8::/32"}, False),
        ({"image": "acme/*"}, True),
        ({"image": "acme/shop:1.2"}, False),
        ({"name": "shop-*"}, True),
        ({"name": "Shop-*"}, False),
        ({"namespace": "prod"}, False),
        ({"name": "shop-*", "image": "other/*"}, False),
    ],
)
def test_a_rule_sets_its_fields_where_all_its_globs_match(match: dict[str, str], fits: bool) -> None:
    """What a rule does not name fits every stream."""
    made = document(FieldRule({"labels.team": "payments"}, **match))

    assert made.get("labels") == ({"team": "payments"} if fits else None)


def test_a_pod_is_found_by_its_namespace() -> None:
    """As `orchestrator.namespace` has it."""
    pod = {"kubernetes": {"pod_name": "web-0", "namespace_name": "prod"}}
    made = document(FieldRule({"cloud.region": "eu-1"}, namespace="prod"), more=pod)

    assert made["cloud"] == {"region": "eu-1"}


def test_a_sender_over_a_unix_socket_is_of_no_network() -> None:
    """It has no address; a glob finds it."""
    socket = Origin("socket", "unix", "unix:uid=0")
    network = FieldRule({"labels.a": "network"}, peer="0.0.0.0/0")
    glob = FieldRule({"labels.b": "glob"}, peer="unix:*")

    assert document(network, glob, origin=socket)["labels"] == {"b": "glob"}


def test_the_first_rule_that_sets_a_field_decides_and_tags_come_together() -> None:
    """So the narrow rule stands before the wide one, which fills up what that leaves open."""
    narrow = FieldRule({"service.name": "shop", "tags": ["critical", "eu"]}, name="shop-*")
    wide = FieldRule({"service.name": "unknown", "service.environment": "prod", "tags": ["eu", "docker"]})
    made = document(narrow, wide)

    assert made["service"] == {"name": "shop", "environment": "prod"}
    assert made["tags"] == ["critical", "eu", "docker"]


def test_a_list_of_ecs_is_a_list_and_no_other_field_is() -> None:
    """One value or several may be written."""
    made = document(FieldRule({"service.node.roles": "web", "service.node.name": "n1"}))

    assert made["service"] == {"node": {"roles": ["web"], "name": "n1"}}


def test_what_is_set_stands_against_a_line_that_says_otherwise() -> None:
    """An application cannot rename its service; what it says stays as a claim, and its other fields as they are."""
    line = json.dumps({**ECS_LINE, "service.name": "else", "service.version": "7", "organization.name": "Acme"})
    made = document(FieldRule({"service.name": "shop", "service.environment": "prod"}), line=line)

    assert made["service"] == {"name": "shop", "environment": "prod", "version": "7"}
    assert made["organization"] == {"name": "Acme"}
    assert made["tidewaiter"]["claimed"] == {"service": {"name": "else"}}
    assert "tags" not in made


def test_a_line_that_says_the_same_claims_nothing() -> None:
    """There is nothing to keep."""
    line = json.dumps({**ECS_LINE, "service.name": "shop"})
    made = document(FieldRule({"service.name": "shop"}), line=line)

    assert made["service"] == {"name": "shop"}
    assert "claimed" not in made["tidewaiter"]


def test_a_claim_stands_beside_that_of_a_time_far_off() -> None:
    """Both are the line's own word."""
    line = json.dumps({**ECS_LINE, "@timestamp": "2020-01-01T00:00:00Z", "service.name": "else", "x": 1})
    made = document(FieldRule({"service.name": "shop", "tags": "t"}), line=line)

    assert made["tidewaiter"]["claimed"] == {"time": "2020-01-01T00:00:00.000000000Z", "service": {"name": "else"}}
    assert made["tidewaiter"]["app"] == {"ecs.version": "1.6.0", "x": 1}
    assert made["tags"] == ["t", "_time_far_off"]


def test_lines_with_and_without_a_meeting_come_from_one_message() -> None:
    """Of many lines only those that meet are made anew, each in its place."""
    lines = [
        json.dumps({**ECS_LINE, "message": str(at), **({"service.name": str(at)} if at % 3 else {})}) for at in range(9)
    ]
    entry = {"container_id": "a" * 64, "container_name": "/shop-web", "source": "stdout"}
    payload = b"".join(msgpack.packb([STAMP, {**entry, "log": line}]) for line in [*lines, "plain"])
    frame = frame_of(("forward", [(payload, TAG, 10)]), origins=(ORIGIN,))
    settings = Settings(version="0.1.0", fields=(FieldRule({"service.name": "shop"}),))
    batches = list(reference.process(frame, settings, State()))

    assert batches == list(ChunkPath(settings).process(frame, State()))
    made = [json.loads(text) for part in batches[0].documents for text in part.ndjson.splitlines()]
    assert [each["message"] for each in made] == [*map(str, range(9)), "plain"]
    assert {each["service"]["name"] for each in made} == {"shop"}
    assert [each["tidewaiter"].get("claimed", {}).get("service", {}).get("name", "0") for each in made[:3]] == list(
        "012"
    )


@pytest.mark.parametrize(
    "field",
    [
        "@timestamp", "container.name", "container.labels.team", "data_stream.dataset", "event.kind", "host.name",
        "message", "orchestrator.namespace", "rule.name", "tidewaiter.origin.peer",
    ],
)  # fmt: skip
def test_who_somebody_is_and_what_an_event_is_cannot_be_set(field: str) -> None:
    """The message says whose word that is, and what can be set."""
    assert re.fullmatch(r"cannot be set: .*; what can be is labels.NAME, service.*", why_not_set(field))


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("source.ip", "cannot be set; what can be is labels.NAME"),
        ("team", "no field of ECS; what can be is"),
        ("service", "takes no text"),
        ("service.nam", "did you mean service.name?"),
        ("service.entity.name", "takes no text"),
        ("labels", "write labels.NAME"),
        ("labels.a.b", "no further dot"),
        ("servce.name", "did you mean service.name?"),
    ],
)
def test_a_field_that_cannot_be_set_says_why(field: str, part: str) -> None:
    """Also which was probably meant."""
    assert part in why_not_set(field)


def test_what_can_be_set_are_keywords_and_the_lists_among_them_are_known() -> None:
    """Of all fields of ECS: so a text is always of the field's type."""
    fields = json.loads((DATA / "ecs_compact.json").read_text())["fields"]
    settable = [name for name in fields if not why_not_set(name)]
    known = {name: field_named(name) for name in settable}

    assert {name.partition(".")[0] for name in settable} == {"cloud", "organization", "service", "tags"}
    assert set(SET_ROOTS) == {"cloud", "labels", "organization", "service"}
    assert {found.type for found in known.values() if found} == {"keyword"}
    assert {name for name in settable if "array" in fields[name].get("normalize", [])} == LISTS
