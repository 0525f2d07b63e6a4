"""What is known of a container stands in its lines' documents, by the names that ECS, agents and our pages have."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from parsers.own_fields import OWN_FIELDS
from pipelines.enrich.engines import Engine
from pipelines.frame import Origin
from pipelines.settings import Settings
from tests.kit import metadata as said
from tests.kit.ecs import Schema
from tests.kit.metadata import NODE, Told, line_of, of_cluster, of_engine
from tests.kit.pieces import packed

SCHEMA = Schema(Path(__file__).parents[3] / "data")
ID = "a" * 64
POD = {"pod_name": "web-7d9c-x1", "namespace_name": "shop", "docker_id": ID, "container_name": "app", "host": "node-1"}

ORCHESTRATOR: Final[dict[str, Any]] = {
    "type": "kubernetes",
    "cluster": {"name": "prod"},
    "namespace": "shop",
    "resource": {
        "type": "pod",
        "name": "web-7d9c-x1",
        "id": "u-1",
        "ip": ["192.0.2.44", "2001:db8::44"],
        "parent": {"type": "Deployment"},
        "label": ["app.kubernetes.io/name:web", "app:web"],
        "annotation": ["team/owner:a"],
    },
}
AS_AGENTS_SAY: Final[dict[str, Any]] = {
    "pod": {"name": "web-7d9c-x1", "uid": "u-1", "ip": "192.0.2.44"},
    "node": {"name": "node-1"},
    "namespace": "shop",
    "namespace_uid": "n-shop",
    "namespace_labels": {"team": "a"},
    "container": {"name": "app"},
    "labels": {"app": "web", "app_kubernetes_io/name": "web"},
    "annotations": {"team/owner": "a"},
    "replicaset": {"name": "web-7d9c"},
    "deployment": {"name": "web"},
}


def of_pod(sender: Origin = NODE, **more: Any) -> said.Said:
    """A line as Fluent Bit sends it with its `kubernetes` filter."""
    record = {"stream": "stdout", "log": "hello", "kubernetes": {**POD, **more}}
    return sender, "forward", packed(record)


def leaves(value: dict[str, Any], path: str = "") -> set[str]:
    """Return the names of all leaves that `OWN_FIELDS` may name; labels are one."""
    found: set[str] = set()
    for key, item in value.items():
        name = f"{path}{key}"
        nested = isinstance(item, dict) and name not in OWN_FIELDS
        found |= leaves(item, f"{name}.") if nested else {name}
    return found


def test_a_container_of_docker_is_this_document() -> None:
    """All that its Engine says of it and of its host, beside what its record says."""
    (made,) = Told().frame(of_engine(said.engine_message()), of_engine(said.container_message(ID)), line_of(ID))

    assert SCHEMA.problems(made) == []
    assert made["container"] == {
        "id": ID,
        "name": "web",
        "image": {"name": "acme/web", "tag": ["1.2"], "hash": {"all": [f"sha256:{'d' * 64}"]}},
        "runtime": "docker",
        "security_context": {"privileged": False},
        "labels": {
            "app": "x",
            "app_kubernetes_io/name": "shop",
            "com_docker_compose_project": "shop",
            "com_docker_compose_service": "web",
            "team": "a",
        },
    }
    assert made["tidewaiter"]["container"] == {
        "stream": "stdout",
        "engine": "engine",
        "health": "healthy",
        "restart_count": 2,
        "started_at": "2026-11-29T01:00:01.123456789Z",
        "user": "1000:1000",
        "privileged": False,
        "read_only_root": True,
        "runtime": "runc",
        "network_mode": "shop_default",
        "ipc_mode": "private",
        "capabilities_added": ["NET_ADMIN"],
        "security_options": ["no-new-privileges"],
        "mounts": ["bind:/var/run/docker.sock:/var/run/docker.sock:ro"],
        "ports": ["443/tcp", "192.0.2.20:8080->80/tcp"],
        "ip": ["192.0.2.66", "2001:db8::2"],
        "image_id": "sha256:" + "1" * 64,
        "compose": {"project": "shop", "service": "web"},
    }
    assert made["host"] == {
        "name": "docker-1",
        "os": {"full": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-13-amd64"},
        "architecture": "x86_64",
    }
    assert made["related"] == {"hosts": ["docker-1"]}
    assert "tags" not in made


def test_a_container_of_a_pod_is_this_document() -> None:
    """Pod, owners, namespace and node from the cluster; as ECS and as Elastic's agents name them."""
    node = {"nodeInfo": {"osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0", "architecture": "amd64"}}
    (made,) = Told().frame(
        of_cluster(said.owner_message() + b"\n" + said.namespace_message() + b"\n" + said.pod_message(ID)),
        of_cluster(said.object_message("node", {"metadata": {"uid": "m-1", "name": "node-1"}, "status": node})),
        of_pod(),
    )

    assert SCHEMA.problems(made) == []
    assert made["container"] == {
        "id": ID,
        "name": "app",
        "image": {"name": "docker.io/library/nginx", "tag": ["1.27"], "hash": {"all": [f"sha256:{'e' * 64}"]}},
        "runtime": "containerd",
        "security_context": {"privileged": True},
    }
    assert made["tidewaiter"]["container"] == {
        "stream": "stdout",
        "restart_count": 3,
        "started_at": "2026-11-29T01:00:01.000000000Z",
        "user": "0",
        "privileged": True,
        "network_mode": "host",
        "capabilities_added": ["NET_RAW"],
        "service_account": "web",
    }
    assert made["orchestrator"] == ORCHESTRATOR
    assert made["kubernetes"] == AS_AGENTS_SAY
    assert made["host"] == {
        "name": "node-1",
        "os": {"full": "Debian GNU/Linux 12", "kernel": "6.1.0"},
        "architecture": "amd64",
    }
    assert "tags" not in made


def test_every_field_is_declared_and_its_own_page_tells_of_it() -> None:
    """What neither ECS nor the declarations know would have no mapping."""
    (docker,) = Told().frame(of_engine(said.container_message(ID)), line_of(ID))
    (pod,) = Told().frame(of_cluster(said.pod_message(ID)), of_pod())
    found = {name for made in (docker, pod) for name in leaves(made)}
    own = {name for name in found if name.startswith(("tidewaiter.container.", "kubernetes."))}

    assert own - set(OWN_FIELDS) == {"tidewaiter.container.stream"}


def test_a_node_without_the_filter_tells_its_containers_by_the_names_of_files() -> None:
    """Fluent Bit's tag holds the container's id; the cluster knows the rest."""
    tag = f"kube.var.log.containers.web-7d9c-x1_shop_app-{ID}.log".encode()
    line = (NODE, "forward-message", packed({"stream": "stdout", "log": "hello"}, tag=tag))
    (made,) = Told().frame(of_cluster(said.pod_message(ID)), line)

    assert made["container"]["id"] == ID
    assert made["kubernetes"]["pod"]["name"] == "web-7d9c-x1"


def test_a_cluster_is_not_asked_about_containers_of_no_pod() -> None:
    """A Docker host beside it has containers of its own."""
    (made,) = Told().frame(line_of(ID, sender=NODE))

    assert "tags" not in made


def test_a_restarted_container_of_a_pod_is_still_known() -> None:
    """Its last lines come when the pod names another already."""
    told = Told()
    told.frame(of_cluster(said.pod_message(ID)), of_cluster(said.pod_message("b" * 64)))
    new, old = told.frame(of_pod(docker_id="b" * 64), of_pod())

    assert new["container"]["id"] == "b" * 64
    assert old["container"]["id"] == ID
    assert old["container"]["name"] == "app"
    assert old["kubernetes"]["pod"]["uid"] == "u-1"
    assert "restart_count" not in old["tidewaiter"]["container"]
    assert "tags" not in old


def test_docker_says_of_a_pods_container_whose_it_is() -> None:
    """Where a kubelet runs containers by Docker, the Engine's label leads to the cluster, and both are heard."""
    settings = Settings(
        version="0", engines=(Engine(said.ENGINE, ("192.0.2.7",)), Engine(said.CLUSTER, (), "kubernetes"))
    )
    marks = {"Image": "nginx:1.27", "Labels": {"io.kubernetes.pod.uid": "u-1"}}
    container = said.container_message(ID, "k8s_app_web", image="nginx:1.27", Config=marks)
    (made,) = Told(settings).frame(of_engine(container), of_cluster(said.pod_message(ID)), line_of(ID))

    assert made["kubernetes"]["pod"]["uid"] == "u-1"
    assert made["container"]["labels"] == {"io_kubernetes_pod_uid": "u-1"}
    assert made["tidewaiter"]["container"]["engine"] == "engine"


def test_the_operators_word_names_the_host() -> None:
    """`hosts:` wins over the Engine's name; its system is still told."""
    settings = Settings(version="0", hosts={"192.0.2.7": "edge-1"}, engines=said.SETTINGS.engines)
    (made,) = Told(settings).frame(of_engine(said.engine_message()), line_of("b" * 64, container_id=None))

    assert made["host"]["name"] == "edge-1"
    assert made["host"]["os"]["kernel"] == "6.1.0-13-amd64"


def test_an_engines_label_chooses_the_parser() -> None:
    """Docker's driver need not be told to send it."""
    config = {"Image": "acme/web:1.2", "Labels": {"tidewaiter.parser": "json"}}
    told = Told()
    (made,) = told.frame(
        of_engine(said.container_message(ID, Config=config)), line_of(ID, '{"msg":"m","level":"info"}')
    )

    assert made["message"] == "m"
    assert told.batches[-1].tally.lines == {("json", "parsed"): 1}


def test_an_engines_image_chooses_the_parser() -> None:
    """Its name is known whatever the tag says."""
    told = Told()
    access = '192.0.2.1 - - [29/Nov/2026:02:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"'
    (made,) = told.frame(of_engine(said.container_message(ID, image="nginx:1.27")), line_of(ID, access))

    assert made["event"]["dataset"] == "nginx.access"


def test_what_the_engine_says_later_is_in_later_documents() -> None:
    """Of the container, of its host, of its pod's owners: what was made of earlier words is made anew."""
    told = Told()
    told.frame(of_engine(said.engine_message()), of_engine(said.container_message(ID)), line_of(ID))
    unhealthy = {"StartedAt": "2026-11-29T01:00:01Z", "Health": {"Status": "unhealthy"}}
    (made,) = told.frame(of_engine(said.container_message(ID, State=unhealthy)), line_of(ID))
    (later,) = told.frame(of_engine(said.engine_message("docker-2")), line_of(ID))

    assert (made["tidewaiter"]["container"]["health"], made["host"]["name"]) == ("unhealthy", "docker-1")
    assert later["host"]["name"] == "docker-2"


def test_less_that_is_said_of_a_removed_container_takes_nothing_back() -> None:
    """An Engine that could not be asked any more says name, image and labels only."""
    told = Told()
    little = {"Id": ID, "Name": "/web", "Config": {"Image": "acme/web:1.2"}}
    message = json.dumps({"kind": "container", "engine": "engine", "cause": "die", "container": little}).encode()
    (known,) = told.frame(of_engine(said.container_message(ID)), of_engine(message), line_of(ID))
    (other,) = Told().frame(of_engine(message), line_of(ID))

    assert known["tidewaiter"]["container"]["restart_count"] == 2
    assert other["tidewaiter"]["container"] == {"stream": "stdout", "engine": "engine"}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"kind":"nothing"}x',
        b'{"kind":"gone"}',
        b'{"kind":"gone","id":"a"}',
        b'{"kind":"container","container":{"Id":"' + b"a" * 64 + b'","RestartCount":"2"}}',
        b'{"kind":"container","container":{"Id":"' + b"a" * 64 + b'"}}\n{"kind":"container"}',
        b'{"kind":"engine","x":' + b"[" * 100_000,
        b'{"kind":"engine","x":"' + b"x" * (2 << 20) + b'"}',
    ],
    ids=range(11),
)
def test_what_is_no_message_is_a_dead_letter_and_changes_nothing(message: bytes) -> None:
    """With the reason; also where a line of several is none."""
    told = Told()
    before = told.pipeline.state.metadata.objects
    told.frame(of_engine(message))
    letters = told.batches[-1].dead_letters
    is_read = message in (b"",)

    assert [each.code for each in letters] == ([] if is_read else ["bad_metadata"])
    assert len(before) == 0


def test_only_watchers_are_heard() -> None:
    """A sender that could reach the encoding cannot say what a container is."""
    told = Told()
    told.frame((said.SENDER, "docker-inspect", said.container_message(ID)))

    assert [each.code for each in told.batches[-1].dead_letters] == ["bad_metadata"]
    assert len(told.pipeline.state.metadata.objects) == 0


def test_an_object_that_its_sender_parsed_is_read_as_without_metadata() -> None:
    """Fluent Bit's filter leaves no line; what is known of the container changes nothing of what the keys become."""
    record = {"stream": "stdout", "level": "info", "msg": "m", "order": 7, "kubernetes": POD}
    line = (NODE, "forward", packed(record))
    told = Told()
    told.frame(of_cluster(said.pod_message(ID)))
    (made,) = told.frame(line)
    (plain,) = Told(Settings(version="0.1.0")).frame(line)
    whose = ("container", "host", "kubernetes", "orchestrator", "related", "tidewaiter", "event")

    assert made["container"]["runtime"] == "containerd"
    assert {name: value for name, value in made.items() if name not in whose} == {
        name: value for name, value in plain.items() if name not in whose
    }
    assert made["event"].keys() == plain["event"].keys()
    assert made["tidewaiter"]["app"] == plain["tidewaiter"]["app"] == {"order": 7}
    assert made["tidewaiter"].keys() == plain["tidewaiter"].keys()
