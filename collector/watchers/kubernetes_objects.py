"""What is kept of a Kubernetes object: an allow-list, written as types. Whatever stands in no type is never decoded.

Values of environment variables, commands, volumes and secrets' names stand in none, so they leave the watcher in no
way. Keys are those of the API (`k8s.io/api/core/v1`, `apps/v1`), without what is absent or empty.
"""

import fnmatch
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import field

NEVER_ANNOTATIONS: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
"""Holds the whole object as its author wrote it, environment and all: no pattern allows it."""

OBJECT_LIMIT_BYTES: Final = 240 << 10
"""Longest reduced object, so that its message has no 256 KiB; of a longer one first annotations, then labels go."""


class Part(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A part of an object: only its fields are read, and only those that say something are written."""


class Owner(Part):
    """Who made an object (`metadata.ownerReferences`)."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(Part):
    """`metadata`. The version is read to follow the changes and never written: it differs each time."""

    uid: str = ""
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None
    creation_timestamp: str | None = None
    resource_version: str | None = None


class Typed(Part):
    """A profile of which only the kind matters."""

    type: str = ""


class Capabilities(Part):
    """What a container may beyond the runtime's default, and what not."""

    add: list[str] | None = None
    drop: list[str] | None = None


class SecurityContext(Part):
    """`securityContext` of a container; a pod's has some of these. `false` is kept: it is not what absence means."""

    privileged: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    proc_mount: str | None = None
    seccomp_profile: Typed | None = None
    app_armor_profile: Typed | None = None


class Container(Part):
    """`spec.containers[]`, and those that run before or are put in later."""

    name: str = ""
    image: str = ""
    security_context: SecurityContext | None = None


class PodSpec(Part):
    """`spec` of a pod."""

    node_name: str | None = None
    service_account_name: str | None = None
    host_network: bool | None = None
    host_pid: bool | None = field(default=None, name="hostPID")
    host_ipc: bool | None = field(default=None, name="hostIPC")
    runtime_class_name: str | None = None
    security_context: SecurityContext | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None


class Running(Part):
    """Since when a container runs."""

    started_at: str | None = None


class Waiting(Part):
    """Why one does not; the message beside it is free text and left out."""

    reason: str | None = None


class Terminated(Part):
    """How one ended; its termination message is the application's own text and left out."""

    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Part):
    """Exactly one of these, by the API's rules."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Part):
    """`status.containerStatuses[]` and its two kin. The id is `RUNTIME://ID`, empty before the first start."""

    name: str = ""
    container_id: str = field(default="", name="containerID")
    image: str = ""
    image_id: str = field(default="", name="imageID")
    restart_count: int = 0
    state: ContainerState | None = None


class PodIp(Part):
    """One of a pod's addresses."""

    ip: str = ""


class PodStatus(Part):
    """`status` of a pod."""

    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: list[PodIp] | None = field(default=None, name="podIPs")
    host_ip: str | None = field(default=None, name="hostIP")
    start_time: str | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class NodeInfo(Part):
    """`status.nodeInfo`: what a node runs."""

    os_image: str | None = None
    operating_system: str | None = None
    architecture: str | None = None
    kernel_version: str | None = None
    container_runtime_version: str | None = None
    kubelet_version: str | None = None


class NodeAddress(Part):
    """One of a node's names and addresses."""

    type: str = ""
    address: str = ""


class NodeStatus(Part):
    """`status` of a node."""

    node_info: NodeInfo | None = None
    addresses: list[NodeAddress] | None = None


class KubernetesObject(Part):
    """What every object has; of namespaces and replica sets nothing more is kept."""

    metadata: Metadata


class Pod(KubernetesObject):
    """A pod, reduced."""

    spec: PodSpec | None = None
    status: PodStatus | None = None


class Node(KubernetesObject):
    """A node, reduced."""

    status: NodeStatus | None = None


class UnusableObjectError(Exception):
    """An object that is not one of its kind, has no uid, or stays over its limit whatever is left out."""


def has_controller(reduced: KubernetesObject) -> bool:
    """Tell whether something owns an object: a replica set of nobody leads to no deployment."""
    return any(owner.controller for owner in reduced.metadata.owner_references or ())


class Reducer:
    """Makes reduced objects; `annotations` are globs of the keys that are kept, none without."""

    def __init__(self, annotations: Sequence[str]) -> None:
        patterns = "|".join(fnmatch.translate(glob) for glob in annotations)
        self._allowed = re.compile(patterns) if patterns else None
        self._encode = msgspec.json.Encoder(order="deterministic").encode

    def reduce(self, reduced: KubernetesObject) -> bytes:
        """Return the JSON of an object that was decoded; raise UnusableObjectError. What is not kept goes from it."""
        metadata = reduced.metadata
        if not metadata.uid:
            raise UnusableObjectError("it has no uid")
        metadata.resource_version = None
        metadata.annotations = self._kept(metadata.annotations)
        metadata.labels = metadata.labels or None
        encoded = self._encode(reduced)
        if len(encoded) > OBJECT_LIMIT_BYTES:
            metadata.annotations = None
            encoded = self._encode(reduced)
        if len(encoded) > OBJECT_LIMIT_BYTES:
            metadata.labels = None
            encoded = self._encode(reduced)
        if len(encoded) > OBJECT_LIMIT_BYTES:
            raise UnusableObjectError(f"{len(encoded)} bytes are over the limit of {OBJECT_LIMIT_BYTES}")
        return encoded

    def _kept(self, annotations: dict[str, str] | None) -> dict[str, str] | None:
        if self._allowed is None or not annotations:
            return None
        match = self._allowed.match
        kept = {key: text for key, text in annotations.items() if key not in NEVER_ANNOTATIONS and match(key)}
        return kept or None


def decoder(kind: type[KubernetesObject]) -> "msgspec.json.Decoder[Any]":
    """Return what decodes objects of a kind, leaving out all that stands in no type."""
    return msgspec.json.Decoder(kind)
