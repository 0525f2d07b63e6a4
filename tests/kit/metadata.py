"""What watchers append about containers and pods: messages for tests of what the pipeline makes of them."""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.batch import Batch
from pipelines.enrich.engines import Engine
from pipelines.frame import Frame, JournalIdentity, Message, Origin, Run
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.frames import JOURNAL_TIME
from tests.kit.pieces import packed

ENGINE = "engine"
CLUSTER = "cluster"
ENGINE_ORIGIN = Origin(ENGINE, "internal", "unix:///var/run/docker.sock")
CLUSTER_ORIGIN = Origin(CLUSTER, "internal", "https://192.0.2.1:6443")
SENDER = Origin("docker", "tcp", "192.0.2.7")
NODE = Origin("docker", "tcp", "192.0.2.8")
SETTINGS = Settings(
    version="0.1.0", engines=(Engine(ENGINE, ("192.0.2.7",)), Engine(CLUSTER, ("192.0.2.8",), "kubernetes"))
)
Said = tuple[Origin, str, bytes]
"""A message: who it is of, its encoding, its bytes."""


def engine_message(name: str = "docker-1", *, source: str = ENGINE) -> bytes:
    """What is said of an Engine at each connection."""
    host = {"name": name, "os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-13-amd64", "architecture": "x86_64"}
    about = {"kind": "engine", "engine": source, "id": "e-1", "host": {**host, "engine_version": "29.0.0"}}
    return json.dumps(about).encode()


LABELS = {
    "team": "a",
    "app.kubernetes.io/name": "shop",
    "app": "x",
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
}
STATE = {
    "Status": "running",
    "Running": True,
    "StartedAt": "2026-11-29T01:00:01.123456789Z",
    "FinishedAt": "0001-01-01T00:00:00Z",
    "Health": {"Status": "healthy"},
}
HOST_CONFIG = {
    "Privileged": False,
    "ReadonlyRootfs": True,
    "NetworkMode": "shop_default",
    "PidMode": "",
    "IpcMode": "private",
    "CapAdd": ["NET_ADMIN"],
    "CapDrop": None,
    "SecurityOpt": ["no-new-privileges"],
    "Runtime": "runc",
}
MOUNTS = [{"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": False}]
NETWORK = {
    "Networks": {"shop_default": {"IPAddress": "192.0.2.66", "GlobalIPv6Address": "2001:DB8::2"}},
    "Ports": {"80/tcp": [{"HostIp": "192.0.2.20", "HostPort": "8080"}], "443/tcp": None},
}


def inspected(identifier: str, name: str = "web", *, image: str = "acme/web:1.2", **more: Any) -> dict[str, Any]:
    """What is kept of `inspect`; `more` replaces sections."""
    about: dict[str, Any] = {
        "Id": identifier,
        "Name": f"/{name}",
        "Created": "2026-11-29T01:00:00.5Z",
        "RestartCount": 2,
        "Platform": "linux",
        "Image": "sha256:" + "1" * 64,
        "Config": {
            "Hostname": identifier[:12],
            "User": "1000:1000",
            "Image": image,
            "Labels": LABELS,
            "Tty": False,
            "Env": ["PATH", "MODE"],
            "Entrypoint": None,
            "Cmd": ["web"],
        },
        "State": STATE,
        "HostConfig": HOST_CONFIG,
        "Mounts": MOUNTS,
        "NetworkSettings": NETWORK,
    }
    return {**about, **more}


def container_message(
    identifier: str, name: str = "web", *, image: str = "acme/web:1.2", cause: str = "start", **more: Any
) -> bytes:
    """What is said of a container."""
    known = {"Id": "sha256:" + "1" * 64, "RepoTags": [image], "RepoDigests": [f"acme/web@sha256:{'d' * 64}"]}
    about = {"container": inspected(identifier, name, image=image, **more), "image": known}
    return json.dumps({"kind": "container", "engine": ENGINE, "cause": cause, **about}).encode()


def gone_message(identifier: str) -> bytes:
    """What is said of a container that was removed."""
    return json.dumps({"kind": "gone", "engine": ENGINE, "id": identifier}).encode()


def snapshot_message(*identifiers: str) -> bytes:
    """What is said when all containers were listed."""
    return json.dumps({"kind": "snapshot", "engine": ENGINE, "ids": identifiers}).encode()


def away_message() -> bytes:
    """What is said when an Engine or a cluster does not answer."""
    return json.dumps({"kind": "away", "engine": ENGINE, "why": "connection refused"}).encode()


def pod_object(identifier: str, *, name: str = "web-7d9c-x1", uid: str = "u-1", **more: Any) -> dict[str, Any]:
    """What is kept of a pod with one container; `more` replaces sections."""
    owner = {"kind": "ReplicaSet", "name": "web-7d9c", "uid": "r-1", "controller": True}
    status = {
        "name": "app",
        "containerID": f"containerd://{identifier}",
        "image": "docker.io/library/nginx:1.27",
        "imageID": f"docker.io/library/nginx@sha256:{'e' * 64}",
        "restartCount": 3,
        "state": {"running": {"startedAt": "2026-11-29T01:00:01Z"}},
    }
    about: dict[str, Any] = {
        "metadata": {
            "uid": uid,
            "name": name,
            "namespace": "shop",
            "labels": {"app.kubernetes.io/name": "web", "app": "web"},
            "annotations": {"team/owner": "a"},
            "ownerReferences": [owner],
            "creationTimestamp": "2026-11-29T01:00:00Z",
        },
        "spec": {
            "nodeName": "node-1",
            "serviceAccountName": "web",
            "hostNetwork": True,
            "containers": [
                {
                    "name": "app",
                    "image": "nginx:1.27",
                    "securityContext": {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["NET_RAW"]}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "192.0.2.44",
            "podIPs": [{"ip": "192.0.2.44"}, {"ip": "2001:DB8::44"}],
            "containerStatuses": [status],
        },
    }
    return {**about, **more}


def object_message(kind: str, about: dict[str, Any], *, cluster: str = "prod") -> bytes:
    """What is said of an object of a cluster."""
    return json.dumps({"kind": kind, "cluster": cluster, "object": about}).encode()


def pod_message(identifier: str, **how: Any) -> bytes:
    """What is said of a pod with one container."""
    return object_message("pod", pod_object(identifier, **how))


def owner_message(*, uid: str = "r-1", deployment: str = "web") -> bytes:
    """What is said of a replica set."""
    owner = {"kind": "Deployment", "name": deployment, "uid": "d-1", "controller": True}
    about = {"uid": uid, "name": f"{deployment}-7d9c", "namespace": "shop", "ownerReferences": [owner]}
    return object_message("replicaset", {"metadata": about})


def namespace_message(*, name: str = "shop", team: str = "a") -> bytes:
    """What is said of a namespace."""
    return object_message("namespace", {"metadata": {"uid": f"n-{name}", "name": name, "labels": {"team": team}}})


def deleted_message(uid: str, of: str = "pod") -> bytes:
    """What is said of an object that is no more."""
    return json.dumps({"kind": "deleted", "of": of, "cluster": "prod", "uid": uid}).encode()


def uids_message(*uids: str, of: str = "pod") -> bytes:
    """What is said when all objects of a kind were listed."""
    return json.dumps({"kind": "snapshot", "cluster": "prod", "of": of, "uids": uids}).encode()


def of_engine(payload: bytes) -> Said:
    """A message of the watcher of an Engine."""
    return ENGINE_ORIGIN, "docker-inspect", payload


def of_cluster(payload: bytes) -> Said:
    """A message of the watcher of a cluster."""
    return CLUSTER_ORIGIN, "kubernetes-object", payload


def line_of(container: str, text: str = "hello", *, sender: Origin = SENDER, **more: Any) -> Said:
    """A line as Docker's driver sends it, in a message of its own."""
    record = {"container_id": container, "container_name": "/web", "source": "stdout", "log": text, **more}
    return sender, "forward", packed({name: value for name, value in record.items() if value is not None})


class Told:
    """A pipeline that is given frames, each later than the one before; `batches` are what they gave."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self._settings = settings
        self.pipeline = Pipeline(settings, _failed)
        self.batches: list[Batch] = []
        self._time_ns = JOURNAL_TIME

    def frame(self, *messages: Said, later_ns: int = 1_000_000) -> list[dict[str, Any]]:
        """Give it a frame of messages, so much later than the one before; return the documents."""
        self._time_ns += later_ns
        made = list(self.pipeline(frame_told(messages, len(self.batches), self._time_ns)))
        self.batches += made
        return [json.loads(line) for each in made for part in each.documents for line in part.ndjson.splitlines()]

    def restarted(self) -> "Told":
        """Return a pipeline that goes on from here with nothing but this one's state."""
        other = Told(self._settings)
        other.pipeline.state.load(self.pipeline.state.encode(), settings_changed=False)
        other.batches, other._time_ns = list(self.batches), self._time_ns
        return other

    def pause(self, seconds: int) -> list[dict[str, Any]]:
        """Let journal time go on by so many ticks, a second apart; return the documents."""
        return [each for _ in range(seconds) for each in self.frame(later_ns=1_000_000_000)]


def frame_told(messages: Sequence[Said], sequence: int, time_ns: int) -> Frame:
    """Make a frame of messages, each a run of its own; a Forward message holds one entry, without a tag."""
    origins = tuple(dict.fromkeys(origin for origin, _, _ in messages)) or (SENDER,)
    return Frame(
        journal=JournalIdentity(0xABCDEF, "collector-1"),
        partition=0,
        epoch=1,
        sequence=sequence,
        journal_time=time_ns,
        origins=origins,
        messages=tuple(
            Message(origins.index(origin), len(payload), claimed=1 if encoding == "forward" else -1)
            for origin, encoding, payload in messages
        ),
        runs=tuple(Run(encoding, 1) for _, encoding, _ in messages),
        payload=memoryview(b"".join(payload for _, _, payload in messages)),
    )


def _failed(*what: object) -> None:
    raise AssertionError(what)
