"""What is known of a container makes no line's document large, and takes no memory without end."""

import json
import tracemalloc
from typing import Any

import pytest

from pipelines.enrich.bounds import METADATA_CUT, OBJECT_BYTES, within_bounds
from tests.kit.metadata import (
    NODE,
    Told,
    container_message,
    line_of,
    object_message,
    of_cluster,
    of_engine,
    pod_object,
)

CONTAINER = "a" * 64
LABELS = {f"l{number}": "%s" * number for number in range(900)}


def test_a_container_with_a_megabyte_of_labels_makes_no_documents_of_a_megabyte() -> None:
    """The longest labels are left out, so that what says how its lines are read stays; the document is tagged."""
    asked = {"Labels": {**LABELS, "tidewaiter.parser": "json"}, "Image": "acme/web:1.2"}
    told = Told()
    told.frame(of_engine(container_message(CONTAINER, Config=asked)))

    (document,) = told.frame(line_of(CONTAINER, "no JSON"))

    labels = document["container"]["labels"]
    assert len(json.dumps(document)) < OBJECT_BYTES + 4096
    assert len(labels) > 100
    assert [METADATA_CUT, "_parse_failure"] == document["tags"]
    assert labels["tidewaiter_parser"] == "json"
    assert max(map(len, labels.values())) < max(map(len, LABELS.values()))


@pytest.mark.parametrize(
    ("cut", "tags"),
    [(["Mounts"], [METADATA_CUT]), (["Config.Cmd", "Config.Labels"], [METADATA_CUT]), (["Config.Env"], [])],
)
def test_what_a_watcher_left_out_is_tagged_where_documents_would_show_it(cut: list[str], tags: list[str]) -> None:
    """A container whose mounts were too large looked like one without mounts."""
    told = Told()
    told.frame(of_engine(json.dumps(json.loads(container_message(CONTAINER)) | {"cut": cut}).encode()))

    (document,) = told.frame(line_of(CONTAINER))

    assert document.get("tags", []) == tags


def test_a_pod_with_many_annotations_makes_no_large_documents() -> None:
    """Who the pod is stays, and its labels do."""
    about: dict[str, Any] = pod_object(CONTAINER)
    about["metadata"]["annotations"] = {f"a{number}": "x" * 100 for number in range(2000)}
    told = Told()
    told.frame(of_cluster(object_message("pod", about)))

    pod = {"pod_name": "web-7d9c-x1", "namespace_name": "shop", "docker_id": CONTAINER}
    (document,) = told.frame(line_of(CONTAINER, sender=NODE, container_id=None, container_name=None, kubernetes=pod))

    assert len(json.dumps(document)) < 2 * OBJECT_BYTES + 4096
    assert METADATA_CUT in document["tags"]
    assert document["kubernetes"]["labels"] == {"app": "web", "app_kubernetes_io/name": "web"}
    assert document["orchestrator"]["resource"]["name"] == "web-7d9c-x1"


def test_what_is_bulky_fits_to_the_byte_and_what_fits_stays() -> None:
    """Mappings and lists alike; what has no item left goes."""
    small = {"a": {"b": ["x"] * 10}}
    large: dict[str, Any] = {"list": ["x" * 100] * 1000, "map": {f"k{n}": "y" * 100 for n in range(1000)}, "id": "i"}

    assert not within_bounds(small, (("a", "b"),))
    assert small == {"a": {"b": ["x"] * 10}}
    assert within_bounds(large, (("list",), ("none", "such"), ("map",)))
    assert OBJECT_BYTES - 120 < len(json.dumps(large, separators=(",", ":"))) <= OBJECT_BYTES
    assert "list" not in large
    assert large["id"] == "i"


def test_a_container_with_many_labels_that_restarts_again_and_again_takes_no_more_memory() -> None:
    """Each time it is another object, of which few are kept decoded."""
    asked = {"Labels": LABELS, "Image": "acme/web:1.2"}
    told = Told()

    def restarted(times: range) -> None:
        for number in times:
            told.frame(of_engine(container_message(CONTAINER, Config=asked, RestartCount=number)), line_of(CONTAINER))
            told.batches.clear()

    restarted(range(20))
    tracemalloc.start()
    restarted(range(20, 80))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < 60 << 20
