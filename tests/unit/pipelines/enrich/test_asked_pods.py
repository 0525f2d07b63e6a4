"""An exec that an API server tells of has what its cluster says of the pod, so that both trails can be joined."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from pipelines.enrich.engines import Engine
from pipelines.frame import Origin
from pipelines.settings import Audit, Settings
from tests.kit import metadata as said
from tests.kit.ecs import Schema
from tests.kit.metadata import CLUSTER, Told, of_cluster
from tests.kit.pieces import packed
from tests.kit.posted_inputs import event_list

SCHEMA: Final = Schema(Path(__file__).parents[3] / "data")
ID: Final = "a" * 64
OTHER_ID: Final = "b" * 64
POD: Final = "web-7d9c-x1"
API_SERVER: Final = Origin("audit", "tls", "192.0.2.8", "certificate:apiserver.example")
ASKED_AT: Final = "2026-11-29T02:00:00.000000Z"


def asked(
    subresource: str = "exec", query: str = "command=sh&container=app&tty=true", *, name: str = POD, at: str = ASKED_AT
) -> dict[str, Any]:
    """An event of a way into a pod."""
    about = {"resource": "pods", "namespace": "shop", "name": name, "apiVersion": "v1", "subresource": subresource}
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "7c1f0b1e-0d1a-4b7e-9a55-0f6f6a0d0001",
        "stage": "ResponseStarted",
        "requestURI": f"/api/v1/namespaces/shop/pods/{name}/{subresource}?{query}",
        "verb": "create",
        "user": {"username": "alice"},
        "objectRef": about,
        "responseStatus": {"code": 101},
        "requestReceivedTimestamp": at,
        "stageTimestamp": at,
    }


def posted(event: dict[str, Any], *, by: Origin = API_SERVER) -> said.Said:
    """The event as an API server posts it."""
    return by, "kubernetes-audit", event_list(event)


def knowing(**pod: Any) -> Told:
    """A pipeline that knows the pod with its owner and namespace."""
    told = Told()
    told.frame(
        of_cluster(said.namespace_message()), of_cluster(said.owner_message()), of_cluster(said.pod_message(ID, **pod))
    )
    return told


def test_an_exec_has_the_container_its_image_its_labels_and_its_owner() -> None:
    """As its lines have them; who asked, for what and as which command stays beside."""
    (made,) = knowing().frame(posted(asked()))

    assert ID == made["container"]["id"]
    assert ("app", "docker.io/library/nginx", ["1.27"]) == (
        made["container"]["name"],
        made["container"]["image"]["name"],
        made["container"]["image"]["tag"],
    )
    assert {"name": "web"} == made["kubernetes"]["deployment"]
    assert {"app": "web", "app_kubernetes_io/name": "web"} == made["kubernetes"]["labels"]
    assert "u-1" == made["orchestrator"]["resource"]["id"]
    assert "exec" == made["kubernetes"]["audit"]["objectRef"]["subresource"]
    assert ("alice", ["sh"]) == (made["user"]["name"], made["process"]["args"])
    assert {"time"} == made["tidewaiter"]["claimed"].keys()
    assert [] == SCHEMA.problems(made)


@pytest.mark.parametrize("way", ["posted alone", "read from a file"])
def test_the_same_event_has_the_same_however_it_comes(way: str) -> None:
    """Posted to an input `http`, and as a line that an agent ships."""
    event = asked()
    sender = Origin("docker", "tcp", "192.0.2.8")
    line = json.dumps(event, separators=(",", ":"))
    message: said.Said = (
        (sender, "json", line.encode()) if way == "posted alone" else (sender, "forward", packed({"log": line}))
    )
    (expected,) = knowing().frame(posted(event))
    (made,) = knowing().frame(message)

    for name in ("container", "kubernetes", "orchestrator", "process"):
        assert expected[name] == made[name]


@pytest.mark.parametrize(
    ("subresource", "query", "identity"),
    [
        ("exec", "command=sh", ID),
        ("attach", "container=app", ID),
        ("exec", "command=sh&container=other", None),
        ("portforward", "ports=80", None),
    ],
)
def test_a_container_is_known_by_name_or_as_the_only_one(subresource: str, query: str, identity: str | None) -> None:
    """A forwarded port is of the pod, and a name that no container has is of none."""
    (made,) = knowing().frame(posted(asked(subresource, query)))

    assert identity == made.get("container", {}).get("id")
    assert {"name": POD, "uid": "u-1", "ip": "192.0.2.44"} == made["kubernetes"]["pod"]


def test_of_several_containers_none_is_guessed() -> None:
    """An API server that is asked for none of them refuses; the pod is told all the same."""
    containers = [{"name": "app", "image": "nginx:1.27"}, {"name": "side", "image": "side:1"}]
    (made,) = knowing(spec={"containers": containers}).frame(posted(asked("exec", "command=sh")))

    assert "container" not in made
    assert "u-1" == made["kubernetes"]["pod"]["uid"]


@pytest.mark.parametrize(
    "event",
    [
        asked(name="unknown"),
        asked("log", "container=app"),
        asked(at="2026-11-29T00:59:59.000000Z"),
        {**asked(), "objectRef": {**asked()["objectRef"], "uid": "u-9"}},
        {**asked(), "objectRef": {**asked()["objectRef"], "resource": "nodes"}},
    ],
)
def test_nothing_is_said_where_it_is_not_known_which_pod_it_was(event: dict[str, Any]) -> None:
    """Of an unknown name, of a pod that began later or is another one, and of what is no way into a pod."""
    (made,) = knowing().frame(posted(event))

    assert "id" not in made.get("container", {})
    assert {"audit"} == made["kubernetes"].keys()


def test_a_pod_of_the_same_name_takes_its_place_and_keeps_it() -> None:
    """Also when the one before is forgotten, a quarter of an hour behind its end."""
    told = knowing()
    told.frame(of_cluster(said.deleted_message("u-1")))
    (late,) = told.frame(posted(asked()))
    told.frame(of_cluster(said.pod_message(OTHER_ID, uid="u-2")))
    (after,) = told.frame(posted(asked()))
    told.pause(910)
    (later,) = told.frame(posted(asked()))

    assert [ID, OTHER_ID, OTHER_ID] == [each["container"]["id"] for each in (late, after, later)]


def test_a_namespace_that_is_made_anew_is_known_when_the_one_before_is_forgotten() -> None:
    """The end of the first does not take the name from the second."""
    told = knowing()
    told.frame(of_cluster(said.deleted_message("n-shop", "namespace")))
    again = {"metadata": {"uid": "n-again", "name": "shop", "labels": {"team": "b"}}}
    told.frame(of_cluster(said.object_message("namespace", again)))
    told.pause(910)
    (made,) = told.frame(posted(asked()))

    assert "n-again" == made["kubernetes"]["namespace_uid"]


def test_it_is_part_of_the_state() -> None:
    """Who goes on from a checkpoint makes the same."""
    told = knowing()
    again = told.restarted()

    assert told.frame(posted(asked())) == again.frame(posted(asked()))


def test_the_operators_name_of_a_cluster_says_which_it_is() -> None:
    """Of several clusters the one of that name is asked, whoever posts; another of the same pods is not."""
    engines = (Engine(CLUSTER, ("192.0.2.9",), "kubernetes"), Engine("others", ("192.0.2.8",), "kubernetes"))
    identities = []
    for name in ("prod", "test", ""):
        told = Told(Settings(version="0.1.0", engines=engines, audits={"audit": Audit(cluster=name)}))
        told.frame(of_cluster(said.pod_message(ID)))
        told.frame((Origin("others", "internal", ""), "kubernetes-object", said.pod_message(OTHER_ID)))
        told.frame(of_cluster(said.object_message("pod", said.pod_object(ID), cluster="prod")))
        other = said.object_message("pod", said.pod_object(OTHER_ID), cluster="stage")
        told.frame((Origin("others", "internal", ""), "kubernetes-object", other))
        (made,) = told.frame(posted(asked()))
        identities.append(made["container"].get("id"))

    assert [ID, None, OTHER_ID] == identities
