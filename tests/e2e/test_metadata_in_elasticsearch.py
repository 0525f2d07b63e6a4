"""What is known of containers and pods in a real Elasticsearch, by our own templates: nothing is guessed or ignored."""

from typing import Any, Final

import pytest

from collector.setup.templates import objects
from tests.kit import metadata as said
from tests.kit.engines import ElasticsearchEngine
from tests.kit.metadata import NODE, Told, line_of, of_cluster, of_engine
from tests.kit.pieces import packed

ID: Final = "a" * 64
STREAM: Final = "logs-tidewaiter.container-metadata"

pytestmark = pytest.mark.timeout(600)


def made() -> list[dict[str, Any]]:
    """Documents of a container of Docker, with and without a conflict, of a pod, and of one that nobody knows."""
    pod = {"pod_name": "web-0", "namespace_name": "shop", "docker_id": ID, "labels": {"app": "x", "app.io/name": "y"}}
    fluent_bit = [
        (NODE, "forward", packed({"stream": "stdout", "log": "hello", "kubernetes": {**pod, "docker_id": each}}))
        for each in (ID, "c" * 64)
    ]
    told = Told()
    return [
        *told.frame(of_engine(said.engine_message()), of_engine(said.container_message(ID))),
        *told.frame(line_of(ID), line_of(ID, team="forged")),
        *told.frame(of_cluster(b"\n".join((said.owner_message(), said.namespace_message(), said.pod_message(ID))))),
        *told.frame(*fluent_bit),
        *told.pause(5),
    ]


def leaves(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The types of all leaves below some properties."""
    found: dict[str, str] = {}
    for key, about in properties.items():
        name = f"{prefix}{key}"
        found |= leaves(about["properties"], f"{name}.") if "properties" in about else {name: about["type"]}
    return found


def test_what_is_known_of_containers_is_indexed_as_declared(elasticsearch: ElasticsearchEngine) -> None:
    """Every document is taken, no value is ignored, and the documents add no field but keys of labels."""
    installed = objects(version="0.1.0", retention_s=86400)
    for path, body in installed.items():
        elasticsearch.call("PUT", f"/{path}", body)
    documents = made()
    for document in documents:
        elasticsearch.call("POST", f"/{STREAM}/_doc?op_type=create&refresh=true", document)
    hits = elasticsearch.call("POST", f"/{STREAM}/_search", {})["hits"]["hits"]
    (after,) = elasticsearch.call("GET", f"/{STREAM}/_mapping").values()
    templates = [body["template"].get("mappings", {}) for body in installed.values()]
    known = {name for each in templates for name in leaves(each.get("properties", {}))}
    added = {name: kind for name, kind in leaves(after["mappings"]["properties"]).items() if name not in known}

    assert len(documents) == len(hits) == 4
    assert [hit["_ignored"] for hit in hits if "_ignored" in hit] == []
    assert {name: kind for name, kind in added.items() if "labels." not in name and "annotations." not in name} == {}
    assert set(added.values()) == {"keyword"}
