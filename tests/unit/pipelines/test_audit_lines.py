"""Lines of an API server's audit log, as agents read them from a file: the documents of the webhook, and no forgery."""

import json
import struct
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from pipelines import reference
from pipelines.chunk import ChunkPath
from pipelines.normalize.original import Original
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.audit_events import batches_of, documents_of, samples
from tests.kit.frames import frame_of
from tests.kit.posted_inputs import event_list

TESTS: Final = Path(__file__).parents[2]
FILE: Final = TESTS / "golden" / "kubernetes_audit" / "events.log"
LINES: Final = FILE.read_text(encoding="utf-8").splitlines()
IDENTITY: Final = "a" * 64
OWN_WORDS: Final = ("agent", "ecs", "observer", "host", "related", "tidewaiter", "tags")


def made(
    *records: dict[str, Any],
    rules: tuple[ParserRule, ...] = (),
    tag: str = "audit",
    original: Original = "needed",
    silent: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Return the documents of records by the chunk path, having seen that the reference path makes the same."""
    time = b"\xd7\x00" + struct.pack(">II", 1795917600, 0)
    entries = b"".join(b"\x92" + time + msgpack.packb(record) for record in records)
    frame = frame_of(("forward", [(entries, tag.encode(), len(records))]))
    settings = Settings(version="0.1.0", parsers=rules, original=original, silent_facts=silent)
    batches = list(ChunkPath(settings).process(frame, State()))
    plain = list(reference.process(frame, settings, State()))
    assert [batch.documents for batch in plain] == [batch.documents for batch in batches]
    return documents_of(batches)


def of_the_event(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a document has of its event alone."""
    event = {name: value for name, value in document["event"].items() if name not in ("id", "sequence", "created")}
    audit = {
        name: value for name, value in document["kubernetes"]["audit"].items() if name not in ("kind", "apiVersion")
    }
    own = {name: document["tidewaiter"].get(name) for name in ("actor", "facts", "exec")}
    rest = {name: value for name, value in document.items() if name not in OWN_WORDS}
    return {**rest, "event": event, "kubernetes": {"audit": audit}, "tidewaiter": own}


@pytest.mark.parametrize("key", ["log", "message"])
def test_a_line_of_a_file_is_the_document_of_the_webhook(key: str) -> None:
    """All kinds of events, as Fluent Bit's and fluentd's tail send them, with a newline or without."""
    posted = [of_the_event(each) for each in documents_of(batches_of(event_list(*samples(FILE))))]

    lines = made(*({key: line + "\n" * (number % 2)} for number, line in enumerate(LINES)))

    assert posted == [of_the_event(each) for each in lines]


def test_a_line_that_its_sender_parsed_is_the_same() -> None:
    """Fluent Bit's parser filter sends the keys of the object, not the line."""
    expected = [of_the_event(each) for each in made(*({"log": line} for line in LINES))]

    assert expected == [of_the_event(each) for each in made(*map(json.loads, LINES))]


def test_no_container_says_what_was_done_in_a_cluster() -> None:
    """An audit line that a container wrote is a line of that container, whatever its label asks for."""
    container = {"container_id": IDENTITY, "container_name": "/web", "source": "stdout", "log": LINES[0]}
    labelled = container | {"tidewaiter.parser": "kubernetes_audit"}

    for document in made(container, labelled):
        assert "tidewaiter.container" == document["data_stream"]["dataset"] or "audit" not in document.get(
            "kubernetes", {}
        )
        assert "kubernetes.audit_logs" != document["data_stream"]["dataset"]
        assert IDENTITY == document["container"]["id"]


POD_LOG: Final = f"kube.var.log.containers.web-0_shop_app-{IDENTITY}.log"


@pytest.mark.parametrize(
    ("beside", "tag"),
    [
        ({"stream": "stdout"}, POD_LOG),
        ({}, POD_LOG),
        ({}, "kube.var.log.pods.shop_web-0_0001.app.0.log"),
        ({}, "kubernetes.var/log/pods/shop_web-0_0001/app/0.log"),
        ({}, f"docker.{IDENTITY}"),
        ({"stream": "stderr"}, "kube"),
        ({"kubernetes": {"pod_name": "web-0", "namespace_name": "shop"}}, "kube"),
        ({"kubernetes": {"namespace_name": "shop"}}, "kube"),
        ({"docker": {"container_id": IDENTITY}}, "kube"),
    ],
)
def test_a_pod_whose_map_is_missing_says_nothing_of_a_cluster_either(beside: dict[str, Any], tag: str) -> None:
    """Fluent Bit's `kubernetes` map may come late or in part: no line with a trace of a container is believed."""
    (document,) = made({**beside, "log": LINES[0]}, tag=tag)

    assert "kubernetes.audit_logs" != document["data_stream"]["dataset"]
    assert "facts" not in document["tidewaiter"]
    assert LINES[0] == document["message"]


def test_a_container_under_the_tag_of_an_audit_log_is_not_believed() -> None:
    """Its lines share the choice of the tag, which holds audit events; that log's own lines are read on."""
    log, container = {"log": LINES[0]}, {"log": LINES[0], "container_name": "/web"}

    datasets = [each["data_stream"]["dataset"] for each in made(log, container, log)]

    assert ["kubernetes.audit_logs"] * 2 == [each for each in datasets if each == "kubernetes.audit_logs"]
    assert 3 == len(datasets)


@pytest.mark.parametrize("original", ["changed", "always"])
def test_no_original_holds_the_secret_that_the_document_leaves_out(original: Original) -> None:
    """`documents: {original: ...}` keeps no audit event as it came."""
    secret = json.loads(LINES[0]) | {
        "objectRef": {"resource": "secrets", "name": "database", "apiVersion": "v1"},
        "requestObject": {"kind": "Secret", "data": {"password": "cGFzcw=="}},
    }
    (document,) = made({"log": json.dumps(secret)}, original=original)

    assert "[redacted]" == document["kubernetes"]["audit"]["requestObject"]["data"]["password"]
    assert "original" not in document["event"]
    assert "cGFzcw" not in json.dumps(document)


def test_a_silent_fact_is_on_no_audit_line() -> None:
    """As on no posted event: `documents: {facts: {shell_started: false}}`."""
    (told,) = made({"log": LINES[0]})
    (silent,) = made({"log": LINES[0]}, silent=("shell_started",))

    assert ["shell_started"] == told["tidewaiter"]["facts"]
    assert told["tidewaiter"] == {**silent["tidewaiter"], "facts": ["shell_started"]}
    assert "facts" not in silent["tidewaiter"]


def test_the_operator_says_which_container_is_an_api_server() -> None:
    """Then its lines are audit events, and who wrote them stands beside what they say."""
    container = {"container_id": IDENTITY, "container_name": "/kube-apiserver", "source": "stdout", "log": LINES[0]}
    (document,) = made(container, rules=(ParserRule("kubernetes_audit", name="kube-apiserver"),))

    assert ("kubernetes.audit_logs", IDENTITY) == (document["data_stream"]["dataset"], document["container"]["id"])
    assert "sh -c 'cat /etc/shadow'" == document["process"]["command_line"]


@pytest.mark.parametrize(
    "line",
    ['{"kind":"Event","apiVersion":"audit.k8s.io/v1"}', '{"apiVersion":"audit.k8s.io/v1","auditID":7,"stage":"x"}'],
)
def test_an_object_that_is_no_event_is_any_other_line(line: str) -> None:
    """It is not made to look like one."""
    (document,) = made({"log": line})

    assert "kubernetes.audit_logs" != document["data_stream"]["dataset"]
