"""A Kubernetes watcher under test: its API server's objects, what it is told, and what it says."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from collector.config_kubernetes import KubernetesInputConfig
from collector.watchers.kubernetes import follow
from collector.watchers.kubernetes_source import Pace
from tests.kit.kubernetes_api import KubernetesApi

QUICK: Final = Pace(first_s=0.001, longest_s=0.01, answer_s=5.0, watch_s=60.0, grace_s=5.0)
"""Pauses are limits of the product; tests wait for events, not for them."""

LIMIT_S: Final = 10.0
HIDDEN: Final = "do-not-tell-anybody"


def uid_of(name: str) -> str:
    """Return the uid that this kit gives a name."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def pod(name: str, namespace: str = "shop", node: str = "node-1", *, restarts: int = 0) -> dict[str, Any]:
    """Make a pod as the API server shows it, secrets and all."""
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web-6d4cf56db6",
        "uid": uid_of("web-6d4cf56db6"),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid_of(name),
            "creationTimestamp": "2026-11-20T08:00:00Z",
            "labels": {"app.kubernetes.io/name": "web", "app": "web", "pod-template-hash": "6d4cf56db6"},
            "annotations": {
                "example.com/owner": "payments",
                "kubectl.kubernetes.io/last-applied-configuration": f'{{"env":"{HIDDEN}"}}',
            },
            "ownerReferences": [owner],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:phase": {}}}}],
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "web",
            "hostPID": True,
            "dnsPolicy": "ClusterFirst",
            "volumes": [{"name": "key", "secret": {"secretName": HIDDEN}}],
            "containers": [_container()],
        },
        "status": {
            "phase": "Running",
            "podIP": "192.0.2.17",
            "podIPs": [{"ip": "192.0.2.17"}, {"ip": "2001:db8::17"}],
            "hostIP": "192.0.2.1",
            "startTime": "2026-11-20T08:00:01Z",
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
            "containerStatuses": [_container_status(f"{name}{restarts}", restarts)],
        },
    }


def _container() -> dict[str, Any]:
    return {
        "name": "app",
        "image": "registry.example/shop/web:1.25",
        "command": ["web", f"--password={HIDDEN}"],
        "env": [{"name": "PASSWORD", "value": HIDDEN}],
        "securityContext": {"privileged": False, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
    }


def _container_status(seed: str, restarts: int) -> dict[str, Any]:
    return {
        "name": "app",
        "containerID": f"containerd://{hashlib.sha256(seed.encode()).hexdigest()}",
        "image": "registry.example/shop/web:1.25",
        "imageID": "registry.example/shop/web@sha256:" + "ab" * 32,
        "restartCount": restarts,
        "ready": True,
        "state": {"running": {"startedAt": "2026-11-20T08:00:03Z"}},
        "lastState": {"terminated": {"exitCode": 1, "message": HIDDEN}},
    }


def replica_set(name: str, deployment: str, namespace: str = "shop") -> dict[str, Any]:
    """Make a replica set that a deployment made."""
    owner = {"kind": "Deployment", "name": deployment, "uid": uid_of(deployment), "controller": True}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": uid_of(name), "ownerReferences": [owner]},
        "spec": {"replicas": 2},
    }


def namespace(name: str) -> dict[str, Any]:
    """Make a namespace."""
    return {"metadata": {"name": name, "uid": uid_of(f"namespace {name}"), "labels": {"team": "payments"}}}


def node(name: str) -> dict[str, Any]:
    """Make a node, with what changes at each heartbeat."""
    return {
        "metadata": {"name": name, "uid": uid_of(f"node {name}"), "labels": {"kubernetes.io/arch": "amd64"}},
        "spec": {"podCIDR": "192.0.2.0/25"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-20T08:00:00Z"}],
            "nodeInfo": {
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "6.1.0",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.36.3",
                "machineID": HIDDEN,
            },
        },
    }


def shop(api: KubernetesApi, pods: int = 1) -> None:
    """Fill a server with a shop: pods, and what they belong to."""
    api.put("namespaces", namespace("shop"))
    api.put("nodes", node("node-1"))
    api.put("replicasets", replica_set("web-6d4cf56db6", "web"))
    for number in range(pods):
        api.put("pods", pod(f"web-{number}"))


def write_kubeconfig(
    path: Path, url: str, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> str:
    """Write a kubeconfig; return its path. JSON is YAML."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "watcher", "user": user or {}}],
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "watcher"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


class Heard:
    """What a watcher said, and what it said of itself."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.appends = 0
        self.cursor = b""
        self.said = "nothing yet"
        """What is wrong, as it says now."""
        self.held = asyncio.Event()
        self.held.set()
        self._changed = asyncio.Event()

    async def append_all(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Take messages, as soon as nothing holds them back."""
        await self.held.wait()
        self.appends += 1
        self.payloads += [payload for payload, _ in messages]
        self.cursor = messages[-1][1]
        self._changed.set()

    def tell(self, reason: str) -> None:
        """Note how the watcher is."""
        self.said = reason
        self._changed.set()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All so far."""
        return [json.loads(payload) for payload in self.payloads]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind."""
        return [message for message in self.messages if message["kind"] == kind]

    def pods(self) -> list[str]:
        """The names of the pods that were told, in order."""
        return [message["object"]["metadata"]["name"] for message in self.of("pod")]

    def snapshots(self, kind: str = "pod") -> list[list[str]]:
        """The snapshots of a kind, each with its uids in order."""
        return [sorted(message["uids"]) for message in self.of("snapshot") if message["of"] == kind]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds of what was said."""
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watching(
    api: KubernetesApi, folder: Path, *, pace: Pace = QUICK, away: bool = False, **options: Any
) -> AsyncIterator[Heard]:
    """Run a watcher of this server until the block ends."""
    user = {"token": api.token} if api.token else None
    kubeconfig = options.pop("kubeconfig", None) or write_kubeconfig(folder / "kubeconfig", api.url, user)
    heard = Heard()
    configured = KubernetesInputConfig(kubeconfig=kubeconfig, **options)
    task = asyncio.create_task(follow("cluster", configured, heard.append_all, heard.tell, pace=pace, away=away))
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
