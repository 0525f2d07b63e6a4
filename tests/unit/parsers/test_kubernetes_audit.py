"""Kubernetes audit events: what of them can be believed, what is never shown, and who is no person."""

import json
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from parsers.flattened import flattened
from parsers.kubernetes_audit import decode_event
from parsers.kubernetes_audit_document import instant, parsed_event
from parsers.kubernetes_requests import Command, command_of
from tests.kit.audit_events import batches_of, documents_of, samples
from tests.kit.posted_inputs import event_list

EVENTS: Final = Path(__file__).parents[2] / "golden" / "kubernetes_audit" / "events.log"
SECRETS: Final = ("cGFzcw==", "dg==", "eyJhbGciOiJub25lIn0", '"v"')


def parsed(**members: Any) -> dict[str, Any]:
    """Return the fields of an event that holds this, ours among them."""
    made = parsed_event(decode_event(json.dumps({"auditID": "a-1", "stage": "ResponseComplete", **members}).encode()))
    return {**made.fields, "tidewaiter": made.own}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("command=sh&command=-c&command=id", Command(("sh", "-c", "id"), "", False, False)),
        ("command=a+b&command=%2Fbin%2Fls&command=%zz%", Command(("a b", "/bin/ls", "%zz%"), "", False, False)),
        ("command=&command=%E2%82%AC&command=%ff", Command(("", "€", "\N{REPLACEMENT CHARACTER}"), "", False, False)),
        ("container=app&tty=true&stdin=1&container=other", Command((), "app", True, True)),
        ("tty&stdin=&command=id", Command(("id",), "", True, True)),
        ("tty=False&stdin=0", Command((), "", False, False)),
        ("", Command((), "", False, False)),
        ("&&=&command", Command(("",), "", False, False)),
    ],
)
def test_a_command_is_read_from_the_query_as_the_api_server_reads_it(query: str, expected: Command) -> None:
    """Each `command=` is a word, `+` a space; of other options the first counts, and one without value is true."""
    assert expected == command_of(query)


def test_no_document_holds_a_secret() -> None:
    """Not of a Secret, a list of them, a patch, nor the token that was issued or reviewed; what is no secret stays."""
    made = documents_of(batches_of(event_list(*samples(EVENTS))))
    text = json.dumps(made)

    assert [] == [secret for secret in SECRETS if secret in text]
    (read,) = [each for each in made if each["message"] == "alice get secrets shop/database: 200"]
    answered = read["kubernetes"]["audit"]["responseObject"]
    assert ({"password": "[redacted]"}, "database", "Opaque") == (
        answered["data"],
        answered["metadata"]["name"],
        answered["type"],
    )


def test_a_secret_is_told_by_its_kind_too() -> None:
    """In the body of any request, however its kind is written; another object's `data` is no secret."""
    secret = {"kind": "Secret", "data": {"key": "dg=="}}
    about = {"resource": "lists", "apiVersion": "v1"}
    event = {"auditID": "a-1", "objectRef": about, "requestObject": {"kind": "List", "items": [secret]}}
    escaped = json.dumps(event).replace('"Secret"', '"\\u0053ecret"').encode()

    for content in (json.dumps(event).encode(), escaped):
        made = parsed_event(decode_event(content)).fields["kubernetes"]["audit"]["requestObject"]
        assert [{"kind": "Secret", "data": {"key": "[redacted]"}}] == made["items"]
    configmap = {"kind": "ConfigMap", "data": {"key": "value"}}
    assert configmap == parsed(requestObject=configmap)["kubernetes"]["audit"]["requestObject"]


PATCH: Final = {"patch": [{"op": "add", "path": "/data/p", "value": "c2VjcmV0"}], "patchType": "JSONPatch"}
ROUND: Final = "patch.webhook.admission.k8s.io/round_0_index_0"


@pytest.mark.parametrize(
    "about",
    [
        {"objectRef": {"resource": "secrets", "apiVersion": "v1"}},
        {"requestObject": {"kind": "List", "items": [{"kind": "Secret"}]}},
        {"responseObject": {"kind": "TokenRequest"}},
    ],
)
def test_what_a_webhook_changed_of_a_secret_is_not_told(about: dict[str, Any]) -> None:
    """An API server writes the webhook's patch into an annotation; other annotations stay."""
    given = {ROUND: json.dumps(PATCH), "authorization.k8s.io/decision": "allow"}
    audit = parsed(annotations=given, **about)["kubernetes"]["audit"]

    assert {ROUND.replace(".", "_"): "[redacted]", "authorization_k8s_io/decision": "allow"} == audit["annotations"]


def test_what_a_webhook_changed_of_a_pod_is_told_without_values_of_variables() -> None:
    """A sidecar that was put in is seen; what cannot be read of a patch is not shown."""
    container = {"name": "proxy", "env": [{"name": "KEY", "value": "hidden"}]}
    patch = {"patch": [{"op": "add", "path": "/spec/containers/-", "value": container}]}
    name = ROUND.replace(".", "_")
    told, plain, broken = (
        parsed(annotations={ROUND: text})["kubernetes"]["audit"]["annotations"][name]
        for text in (json.dumps(patch), json.dumps(PATCH), "{")
    )

    assert ("proxy" in told, "hidden" in told, "[redacted]" in told) == (True, False, True)
    assert (json.dumps(PATCH), "[redacted]") == (plain, broken)


@pytest.mark.parametrize(
    "place",
    [
        {"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "hidden"}]}]}},
        {"spec": {"template": {"spec": {"initContainers": [{"env": [{"name": "A", "value": "hidden"}]}]}}}},
        {"spec": {"agents": {"env": [{"name": "A", "value": "hidden"}]}}},
        {"items": [{"spec": {"containers": [{"env": [{"name": "A", "value": "hidden"}]}]}}]},
        {"spec": {"containers": [{"env": [], "sidecar": {"env": [{"name": "A", "value": "hidden"}]}}]}},
    ],
)
def test_variables_are_hidden_wherever_they_stand(place: dict[str, Any]) -> None:
    """In a pod, in what makes pods, in a list of them, and in resources of others; names stay."""
    told = json.dumps(parsed(level="Request", requestObject={"kind": "X", **place}))

    assert "hidden" not in told
    assert '"A"' in told


def test_the_values_of_variables_are_in_no_document() -> None:
    """In a pod, what makes pods, a patch of either form, and what kubectl notes of it; their names stay."""
    variables = [{"name": "PASSWORD", "value": "hidden"}, {"name": "HOST", "valueFrom": {"fieldRef": {}}}]
    pod = {"spec": {"containers": [{"name": "app", "env": variables}]}}
    noted = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(pod)}}}
    steps = [
        {"op": "add", "path": "/spec/containers/0/env/-", "value": variables[0]},
        {"op": "replace", "path": "/spec/containers/0/env/0/value", "value": "hidden"},
        {"op": "add", "path": "/spec/containers/0/env", "value": variables},
    ]
    bodies: list[Any] = [pod, {"spec": {"template": pod}}, {"kind": "PodList", "items": [pod]}, noted, steps]

    for body in bodies:
        for name in ("requestObject", "responseObject"):
            text = json.dumps(parsed(**{name: body})["kubernetes"]["audit"])
            assert ("hidden" in text, "[redacted]" in text) == (False, True)
    made = parsed(requestObject=pod)["kubernetes"]["audit"]["requestObject"]["spec"]["containers"][0]["env"]
    assert [{"name": "PASSWORD", "value": "[redacted]"}, variables[1]] == made


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": ["Secret"], "data": {"Token": 1}},
        {"deep": json.loads("[" * 30 + "1" + "]" * 30)},
        {"large": 10**30, "\0": {"a": "\0"}, "k" * 600: 1},
        {"x": {str(number): [{"a": [number]}] for number in range(300)}},
    ],
    ids=["kind", "deep", "large", "wide"],
)
def test_an_object_of_any_shape_becomes_one_that_a_flattened_field_takes(odd: dict[str, Any]) -> None:
    """As `parsers.flattened` makes it of the decoded object: levels, keys and numbers within Elasticsearch's bounds."""
    made = parsed(requestObject=odd)["kubernetes"]["audit"]["requestObject"]

    assert flattened(orjson.loads(json.dumps(odd))) == made


def test_only_the_last_address_is_believed() -> None:
    """All others are what the client said; of proxies that the operator named the next one is believed."""
    given = ["198.51.100.9", "203.0.113.9", "192.0.2.5"]
    event = decode_event(json.dumps({"auditID": "a-1", "sourceIPs": given}).encode())

    believed = parsed_event(event).fields
    behind_proxy = parsed_event(event, is_proxy=lambda address: address == "192.0.2.5").fields
    only_proxies = parsed_event(event, is_proxy=lambda _: True).fields

    assert ("192.0.2.5", "198.51.100.9") == (believed["source"]["ip"], believed["network"]["forwarded_ip"])
    assert "203.0.113.9" == behind_proxy["source"]["ip"]
    assert "198.51.100.9" == only_proxies["source"]["ip"]
    assert given == believed["kubernetes"]["audit"]["sourceIPs"]


def test_what_is_no_address_moves_aside() -> None:
    """The field of addresses holds addresses only, in their one form."""
    made = parsed_event(decode_event(b'{"auditID":"a","sourceIPs":["unix","2001:DB8:0::7"]}'))

    assert (["2001:db8::7"], {"sourceIPs": ["unix"]}) == (made.fields["kubernetes"]["audit"]["sourceIPs"], made.rest)


def test_an_address_with_a_zone_is_one_that_a_field_takes() -> None:
    """Elasticsearch refuses a document for `fe80::1%eth0`; an IPv4 address written as IPv6 is the IPv4 address."""
    made = parsed(sourceIPs=["fe80::1%eth0", "::ffff:192.0.2.7"])

    assert ["fe80::1", "192.0.2.7"] == made["kubernetes"]["audit"]["sourceIPs"]
    assert "192.0.2.7" == made["source"]["ip"]


@pytest.mark.parametrize(
    ("decision", "code", "outcome", "types", "facts"),
    [
        ("allow", 201, "success", ["creation", "allowed"], None),
        ("allow", 0, "success", ["creation", "allowed"], None),
        ("allow", 403, "failure", ["creation"], None),
        ("allow", 404, "failure", ["creation", "allowed"], None),
        ("forbid", 403, "failure", ["creation", "info", "denied"], ["forbidden"]),
        ("forbid", 0, "failure", ["creation", "info", "denied"], ["forbidden"]),
        ("", 403, "failure", ["creation", "info", "denied"], ["forbidden"]),
        ("", 401, "failure", ["creation", "info", "denied"], None),
        ("", 500, "failure", ["creation"], None),
    ],
)
def test_what_admission_refuses_is_no_refusal_of_authorisation(
    decision: str, code: int, outcome: str, types: list[str], facts: list[str] | None
) -> None:
    """A quota or webhook answers 403 too, behind authorisation; and what was let through may fail."""
    annotations = {"authorization.k8s.io/decision": decision} if decision else {}
    event = {"auditID": "a", "stage": "ResponseComplete", "verb": "create", "user": {"username": "alice"}}
    event |= {"responseStatus": {"code": code}, "annotations": annotations, "objectRef": {"resource": "pods"}}
    made = parsed_event(decode_event(json.dumps(event).encode()))

    assert (outcome, types) == (made.event["outcome"], made.event["type"])
    assert facts == made.own.get("facts")
    assert ("denied" in types) == ("authentication" in made.event["category"])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"op": "add", "path": "/spec/hostNetwork", "value": True}], ["pod_host_namespace"]),
        ([{"op": "replace", "path": "", "value": {}}], ["pod_host_namespace"]),
        ([{"op": "add", "path": "/metadata/labels/a", "value": "b"}], None),
        ([7, {"path": 7}], None),
    ],
)
def test_a_json_patch_that_opens_a_pod_to_its_host_is_told(steps: list[Any], expected: list[str] | None) -> None:
    """The patch alone does not show the pod: the response does. What leaves the specification alone opens nothing."""
    answered = {"kind": "Pod", "spec": {"hostNetwork": True, "containers": []}}
    about = {"resource": "pods", "apiVersion": "v1"}
    made = parsed(verb="patch", objectRef=about, requestObject=steps, responseObject=answered)

    assert expected == made["tidewaiter"].get("facts")


@pytest.mark.parametrize(
    ("username", "actor"),
    [
        ("alice", "person"),
        ("system:admin", "person"),
        ("system:serviceaccount:shop:web", "service_account"),
        ("system:node:node-1", "node"),
        ("system:kube-scheduler", "system"),
        ("system:anonymous", "anonymous"),
        ("", "anonymous"),
    ],
)
def test_who_asked_is_told_from_people(username: str, actor: str) -> None:
    """By the names that Kubernetes reserves."""
    assert actor == parsed(user={"username": username})["tidewaiter"]["actor"]


@pytest.mark.parametrize(
    ("user", "uri", "code", "is_attempt"),
    [
        ("alice", "/api/v1/pods", 403, True),
        ("system:serviceaccount:shop:web", "/api/v1/pods", 403, True),
        ("system:anonymous", "/api/v1/pods", 403, True),
        ("", "/api/v1/pods", 401, True),
        ("", "/livez", 401, False),
        ("", "/livezz", 401, True),
        ("system:node:node-1", "/api/v1/pods", 401, True),
        ("system:anonymous", "/readyz", 403, False),
        ("system:anonymous", "/healthz/etcd?verbose", 403, False),
        ("system:anonymous", "/healthzz", 403, True),
        ("system:node:node-1", "/api/v1/pods", 403, False),
        ("alice", "/api/v1/pods", 404, False),
        ("alice", "/api/v1/pods", 200, False),
    ],
)
def test_a_refusal_is_an_attempt_to_get_in(user: str, uri: str, code: int, *, is_attempt: bool) -> None:
    """401 and 403 are authentication events, but for health checks and the cluster's own parts."""
    event = {"auditID": "a-1", "requestURI": uri, "user": {"username": user}, "responseStatus": {"code": code}}
    made = parsed_event(decode_event(json.dumps({"stage": "ResponseComplete", **event}).encode())).event

    assert is_attempt == ("authentication" in made["category"])
    assert ("failure" if code >= 400 else "success") == made["outcome"]


def test_what_was_refused_did_nothing() -> None:
    """An exec that was forbidden started no shell, and secrets that were forbidden were not read."""
    refused = {"responseStatus": {"code": 403}, "annotations": {"authorization.k8s.io/decision": "forbid"}}
    secrets = {"resource": "secrets", "apiVersion": "v1"}

    assert ["forbidden"] == parsed(objectRef=secrets, verb="list", **refused)["tidewaiter"]["facts"]
    assert ["secrets_read"] == parsed(objectRef=secrets, verb="list", responseStatus={"code": 200})["tidewaiter"][
        "facts"
    ]


def test_stages_of_a_request_are_told_apart_and_held_together() -> None:
    """Start and end of an exec have one entity id, one request id, and each all facts."""
    made = documents_of(batches_of(event_list(*samples(EVENTS)[:2])))
    start, end = made

    assert (["start", "end"]) == [each["event"]["type"][1] for each in made]
    assert start["process"] == end["process"]
    assert start["http"]["request"]["id"] == end["http"]["request"]["id"] == start["process"]["entity_id"]
    assert start["event"]["id"] != end["event"]["id"]
    assert ("duration" in start["event"], end["event"]["duration"]) == (False, 50_000_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20.123456Z", (1700000000, 123456000)),
        ("2023-11-14T22:13:20Z", (1700000000, 0)),
        ("2023-11-14T23:13:20.5+01:00", (1700000000, 500000000)),
        ("2023-13-14T22:13:20.123456Z", None),
        ("2023-11-14 22:13:20.5Z", (1700000000, 500000000)),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times_are_read_in_any_form_and_none_is_guessed(text: str, expected: tuple[int, int] | None) -> None:
    """Six digits as API servers write them, and their kin."""
    assert expected == instant(text)


def test_a_date_field_holds_dates_only() -> None:
    """As an API server writes them, else in our own form; what is no time is in none, for it would be refused."""
    odd = parsed(stageTimestamp="yesterday", requestReceivedTimestamp="2023-11-14 23:13:20.5+01:00")
    usual = parsed(stageTimestamp="2023-11-14T22:13:20.123456Z")

    assert "stageTimestamp" not in odd["kubernetes"]["audit"]
    assert "2023-11-14T22:13:20.500000000Z" == odd["kubernetes"]["audit"]["requestReceivedTimestamp"]
    assert "2023-11-14T22:13:20.123456Z" == usual["kubernetes"]["audit"]["stageTimestamp"]


def test_annotations_that_meet_are_all_kept() -> None:
    """`a.b` and `a_b` are two keys also where dots are underscores."""
    audit = parsed(annotations={"a.b": "1", "a_b": "2"})["kubernetes"]["audit"]

    assert {"1", "2"} == set(audit["annotations"].values())
    assert not any("." in name for name in audit["annotations"])
