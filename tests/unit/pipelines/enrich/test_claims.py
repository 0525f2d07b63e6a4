"""Identity is the Engine's and the cluster's word (P5): what a record claims otherwise is kept beside it."""

from typing import Any

import pytest

from tests.kit import metadata as said
from tests.kit.metadata import NODE, SENDER, Told, line_of, of_cluster, of_engine
from tests.kit.pieces import packed

ID = "a" * 64
CONFLICT = ["_identity_conflict"]


def with_tag(tag: str, **record: Any) -> said.Said:
    """A line whose tag Docker's driver rendered."""
    made = {"container_id": ID, "container_name": "/web", "source": "stdout", "log": "hello", **record}
    return SENDER, "forward-message", packed(made, tag=tag.encode())


def made_of(line: said.Said, *messages: bytes) -> dict[str, Any]:
    """The document of a line of a container that is known."""
    told = messages or (said.container_message(ID),)
    (made,) = Told().frame(*map(of_engine, told), line)
    return made


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "a" * 12,
        "acme/web:1.2/web/" + "a" * 12,
        "docker.io/acme/web:1.2/web/" + "a" * 12,
        "acme/web/web/" + "a" * 12,
    ],
)
def test_what_says_the_same_is_no_conflict(tag: str) -> None:
    """In whatever tag, with or without a registry or the image's tag; the id is told whole."""
    made = made_of(with_tag(tag))

    assert "tags" not in made
    assert made["container"]["id"] == ID


@pytest.mark.parametrize(
    ("line", "claimed"),
    [
        (line_of(ID, container_name="/victim"), {"name": "victim"}),
        (with_tag("other/image:9/web/" + "a" * 12), {"image": {"name": "other/image", "tag": ["9"]}}),
        (with_tag("acme/web:9/web/" + "a" * 12), {"image": {"name": "acme/web", "tag": ["9"]}}),
        (line_of(ID, team="b"), {"labels": {"team": "b"}}),
        (with_tag("", **{"app.kubernetes.io/name": "x"}), {"labels": {"app_kubernetes_io/name": "x"}}),
        (line_of(ID, unheard="of"), {"labels": {"unheard": "of"}}),
    ],
)
def test_a_claim_that_the_engine_contradicts_is_a_finding(line: said.Said, claimed: dict[str, Any]) -> None:
    """Name, image and labels are the Engine's; the claim is kept as such."""
    told = made_of(line)
    plain = made_of(line_of(ID))

    assert told["container"] == plain["container"]
    assert told["tags"] == CONFLICT
    assert told["tidewaiter"]["claimed"] == {"container": claimed}


def test_a_forged_id_gets_the_engines_word_of_the_real_one() -> None:
    """The tag holds the real id, which leads to all the rest."""
    made = made_of(with_tag("acme/web:1.2/web/" + "a" * 12, container_id="f" * 64))

    assert made["container"]["id"] == ID
    assert made["tidewaiter"]["claimed"] == {"container": {"id": "f" * 64}}
    assert made["tags"] == CONFLICT


def test_variables_that_the_driver_sends_are_no_claims() -> None:
    """Their names are known, so what the driver was told to send of them stays with the labels."""
    made = made_of(line_of(ID, MODE="fast", team="a"))

    assert made["container"]["labels"]["MODE"] == "fast"
    assert "tags" not in made


def test_a_variable_cannot_pass_for_a_label() -> None:
    """Docker's driver lets variables win over labels of the same name; the Engine tells them apart."""
    config = {"Image": "acme/web:1.2", "Labels": {"team": "a"}, "Env": ["team"]}
    made = made_of(line_of(ID, team="forged"), said.container_message(ID, Config=config))

    assert made["container"]["labels"] == {"team": "a"}
    assert made["tags"] == CONFLICT


def test_a_former_name_is_no_conflict() -> None:
    """Docker's driver goes on sending the name that a container was started with."""
    made = made_of(line_of(ID), said.container_message(ID), said.container_message(ID, "renamed", cause="rename"))

    assert made["container"]["name"] == "renamed"
    assert "tags" not in made


def test_another_pod_than_the_clusters_is_a_finding() -> None:
    """Namespace, name and uid are the cluster's; the claim is kept as such."""
    pod = {"pod_name": "other", "namespace_name": "kube-system", "pod_id": "u-9", "docker_id": ID}
    line = (NODE, "forward", packed({"stream": "stdout", "log": "x", "kubernetes": pod}))
    (made,) = Told().frame(of_cluster(said.pod_message(ID)), line)

    assert made["orchestrator"]["namespace"] == "shop"
    assert made["tags"] == CONFLICT
    assert made["tidewaiter"]["claimed"] == {
        "orchestrator": {"namespace": "kube-system", "resource": {"name": "other", "id": "u-9"}}
    }
