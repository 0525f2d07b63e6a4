"""What is kept of Kubernetes' objects, and what never is."""

import json
from typing import Any

import msgspec
import pytest

from collector.watchers.kubernetes_objects import (
    OBJECT_LIMIT_BYTES,
    KubernetesObject,
    Node,
    Pod,
    Reducer,
    UnusableObjectError,
    decoder,
)
from tests.kit.kubernetes_watching import HIDDEN, node, pod


def reduced(given: dict[str, Any], kind: type[KubernetesObject] = Pod, annotations: tuple[str, ...] = ()) -> Any:
    """Reduce an object as it comes; return it decoded."""
    return json.loads(Reducer(annotations).reduce(decoder(kind).decode(json.dumps(given))))


def test_of_metadata_is_kept_whose_a_pod_is() -> None:
    """The allow-list, key by key, with the names of the API."""
    given = pod("web-0")["metadata"]
    (owner,) = given["ownerReferences"]

    expected = {
        "name": "web-0",
        "namespace": "shop",
        "uid": given["uid"],
        "labels": given["labels"],
        "ownerReferences": [{key: owner[key] for key in ("kind", "name", "uid", "controller")}],
        "creationTimestamp": "2026-11-20T08:00:00Z",
    }
    assert expected == reduced(pod("web-0"))["metadata"]


def test_of_a_pods_spec_is_kept_where_it_runs_and_with_which_rights() -> None:
    """What is false or 0 is kept: it is not what absence means."""
    container = {
        "name": "app",
        "image": "registry.example/shop/web:1.25",
        "securityContext": {"privileged": False, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
    }

    expected = {"nodeName": "node-1", "serviceAccountName": "web", "hostPID": True, "containers": [container]}
    assert expected == reduced(pod("web-0"))["spec"]


def test_of_a_pods_status_are_kept_its_addresses_and_containers() -> None:
    """By these ids a record finds its pod."""
    (status,) = pod("web-0", restarts=2)["status"]["containerStatuses"]

    expected = {
        "phase": "Running",
        "podIP": "192.0.2.17",
        "podIPs": [{"ip": "192.0.2.17"}, {"ip": "2001:db8::17"}],
        "hostIP": "192.0.2.1",
        "startTime": "2026-11-20T08:00:01Z",
        "containerStatuses": [
            {key: status[key] for key in ("name", "containerID", "image", "imageID", "restartCount", "state")}
        ],
    }
    assert expected == reduced(pod("web-0", restarts=2))["status"]


@pytest.mark.parametrize("annotations", [(), ("*",), ("kubectl.kubernetes.io/*",)])
def test_no_secret_is_kept(annotations: tuple[str, ...]) -> None:
    """Environments, commands, volumes, texts of ends and what was applied are never kept, whatever is allowed."""
    given = pod("web-0")
    given["status"]["containerStatuses"][0]["state"] = {
        "terminated": {"exitCode": 1, "reason": "Error", "message": HIDDEN},
    }
    given["spec"]["initContainers"] = given["spec"]["ephemeralContainers"] = given["spec"]["containers"]

    assert HIDDEN not in json.dumps(reduced(given, annotations=annotations))
    assert HIDDEN not in json.dumps(reduced(node("node-1"), Node, annotations))


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [
        ((), None),
        (("example.com/*",), {"example.com/owner": "a", "example.com/team": "b"}),
        (("*/team", "plain"), {"example.com/team": "b", "plain": "c"}),
        (("Example.com/*",), None),
    ],
)
def test_annotations_are_kept_by_glob(annotations: tuple[str, ...], kept: dict[str, str] | None) -> None:
    """Only those whose whole key fits a pattern; case counts."""
    given = {"example.com/owner": "a", "example.com/team": "b", "plain": "c", "other.plain": "d"}
    metadata = {"uid": "1", "annotations": given}

    assert kept == reduced({"metadata": metadata}, annotations=annotations)["metadata"].get("annotations")


def test_a_version_is_not_kept() -> None:
    """It differs each time, and would make news of nothing."""
    assert reduced({"metadata": {"uid": "1", "resourceVersion": "77"}}) == {"metadata": {"uid": "1"}}


def test_the_order_of_labels_makes_no_difference() -> None:
    """Equal objects have equal bytes."""
    reduce = Reducer(()).reduce
    one, other = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    objects = [decoder(Pod).decode(json.dumps({"metadata": {"uid": "1", "labels": each}})) for each in (one, other)]

    assert reduce(objects[0]) == reduce(objects[1])


@pytest.mark.parametrize(("key", "left"), [("annotations", {"uid", "labels"}), ("labels", {"uid"})])
def test_too_long_an_object_goes_without_what_is_longest(key: str, left: set[str]) -> None:
    """Annotations go first, then labels."""
    metadata = {"uid": "1", "labels": {"app": "web"}, "annotations": {"team": "a"}}
    metadata[key] = {str(number): "x" * 60 for number in range(OBJECT_LIMIT_BYTES // 60)}

    assert set(reduced({"metadata": metadata}, annotations=("*",))["metadata"]) == left


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": {"name": "nobody"}},
        {"metadata": {"uid": "1"}, "spec": {"containers": [{"name": "x" * 2 * OBJECT_LIMIT_BYTES}]}},
    ],
)
def test_what_has_no_uid_or_is_too_long_is_not_usable(given: dict[str, Any]) -> None:
    """It is refused, not cut at random."""
    with pytest.raises(UnusableObjectError):
        reduced(given)


def test_nulls_are_what_is_absent() -> None:
    """Go writes null for what is not there."""
    given = {"metadata": {"uid": "1", "creationTimestamp": None, "labels": None}, "spec": {"containers": None}}

    assert reduced({**given, "status": None}) == {"metadata": {"uid": "1"}, "spec": {}}


def test_what_has_the_wrong_type_is_no_object() -> None:
    """Types are checked where an object is read."""
    with pytest.raises(msgspec.ValidationError):
        decoder(Pod).decode(b'{"metadata":{"uid":1}}')
