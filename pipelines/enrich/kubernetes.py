"""What a cluster says of a pod and its containers, as ECS and Elastic's agents have it.

Structures are those of the Kubernetes API, as far as watchers pass them on.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Final

import msgspec

from parsers.flattened import labels
from pipelines.enrich.bounds import within_bounds
from pipelines.enrich.docker import Count, Host, address_text, date_text
from pipelines.normalize.identity import image_of

OWNER_FIELDS: Final = {
    "Deployment": "deployment",
    "ReplicaSet": "replicaset",
    "StatefulSet": "statefulset",
    "DaemonSet": "daemonset",
    "Job": "job",
    "CronJob": "cronjob",
}
"""Kinds of a pod's owners that have a field `kubernetes.*.name`."""

OWNED_OWNERS: Final = {"ReplicaSet": "replicaset", "Job": "job"}
"""Kinds of owners that others own, and as what watchers tell of them."""

BULKY_ORCHESTRATOR: Final = (("resource", "annotation"), ("resource", "label"), ("resource", "ip"))
BULKY_KUBERNETES: Final = (("annotations",), ("namespace_labels",), ("labels",))
BULKY_OWN: Final = (("capabilities_added",), ("capabilities_dropped",))
"""What may be so long that not all of it goes into documents (`pipelines.enrich.bounds`)."""

OWNERS_LIMIT: Final = 4
"""How far owners are followed."""

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What every object has."""

    uid: Text
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None

    @property
    def owner(self) -> Owner | None:
        """The owner that controls it."""
        return next((each for each in self.owner_references or () if each.controller), None)


class Object(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object of which only what every one has is kept: a namespace, a replica set, a job."""

    metadata: Metadata


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a kubelet says of its machine."""

    os_image: str = ""
    kernel_version: str = ""
    architecture: str = ""


class NodeStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What became of a node."""

    node_info: NodeInfo = NodeInfo()


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A machine of a cluster."""

    metadata: Metadata
    status: NodeStatus = NodeStatus()

    @property
    def host(self) -> Host:
        """The same, as an Engine says it."""
        known = self.status.node_info
        return Host(self.metadata.name, known.os_image, known.kernel_version, known.architecture)


class Capabilities(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a container may do beyond, and less than, the runtime's default."""

    add: list[str] | None = None
    drop: list[str] | None = None


class SecurityContext(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a container may do to its node."""

    privileged: bool | None = None
    read_only_root_filesystem: bool | None = None
    run_as_user: int | None = None
    capabilities: Capabilities | None = None


class PodContainer(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A container as its pod asks for it."""

    name: str = ""
    image: str = ""
    security_context: SecurityContext | None = None


class PodSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What was asked for."""

    node_name: str = ""
    service_account_name: str = ""
    host_network: bool | None = None
    security_context: SecurityContext | None = None
    host_pid: bool | None = msgspec.field(name="hostPID", default=None)
    host_ipc: bool | None = msgspec.field(name="hostIPC", default=None)
    containers: list[PodContainer] | None = None
    init_containers: list[PodContainer] | None = None
    ephemeral_containers: list[PodContainer] | None = None


class Running(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Since when a container runs, or ran."""

    started_at: str | None = None


class Lifecycle(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a container is in its life."""

    running: Running | None = None
    terminated: Running | None = None


class ContainerStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What became of a container."""

    name: str = ""
    container_id: str = msgspec.field(name="containerID", default="")
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    restart_count: Count | None = 0
    state: Lifecycle | None = None

    @property
    def id(self) -> str:
        """The runtime's id, without its name."""
        return self.container_id.rpartition("/")[2]


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of a pod's addresses."""

    ip: str = ""


class PodStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What became of a pod."""

    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[Address] | None = msgspec.field(name="podIPs", default=None)
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def containers(self) -> Iterator[ContainerStatus]:
        """Its containers that have an id."""
        status = self.status
        lists = (status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses)
        return (each for some in lists for each in some or () if each.id)

    def status_of(self, identifier: str, name: str) -> ContainerStatus:
        """Return what became of a container of this pod; of one before its last restart only its name is known.

        Without an id it is none of them.
        """
        found = next((each for each in self.containers if identifier and each.id.startswith(identifier)), None)
        if found is not None:
            return found
        return ContainerStatus(name, identifier, restart_count=None)

    @property
    def addresses(self) -> list[str]:
        """Its addresses, the first first."""
        found = [self.status.pod_ip, *(each.ip for each in self.status.pod_ips or ())]
        return list(dict.fromkeys(filter(None, map(address_text, found))))


class Placed(msgspec.Struct, frozen=True, dict=True):
    """A container of a pod, with the owners of the pod from the nearest on, its namespace and the cluster's name.

    Who takes its fields over does not change them.
    """

    pod: Pod
    status: ContainerStatus
    owners: tuple[Owner, ...] = ()
    namespace: Object | None = None
    cluster: str = ""

    @cached_property
    def ecs(self) -> dict[str, Any]:
        """Its `container.*`."""
        status = self.status
        made: dict[str, Any] = {"id": status.id, "name": status.name}
        image = image_of(status.image) if status.image else {}
        digest = status.image_id.rpartition("://")[2].rpartition("@")[2]
        if image and ":" in digest and "/" not in digest:
            image["hash"] = {"all": list(dict.fromkeys([*image.get("hash", {}).get("all", ()), digest]))}
        made["image"] = image
        made["runtime"] = status.container_id.partition("://")[0] if "://" in status.container_id else ""
        rights = self._rights
        if rights.privileged is not None:
            made["security_context"] = {"privileged": rights.privileged}
        return {name: value for name, value in made.items() if value not in ("", {})}

    @property
    def own(self) -> dict[str, Any]:
        """Its `tidewaiter.container.*`."""
        return self._bounded[2]

    @property
    def _own(self) -> dict[str, Any]:
        state, spec, rights = self.status.state or Lifecycle(), self.pod.spec, self._rights
        started = (state.running or state.terminated or Running()).started_at
        capabilities = rights.capabilities or Capabilities()
        user = rights.run_as_user
        if user is None and spec.security_context is not None:
            user = spec.security_context.run_as_user
        found = {
            "restart_count": self.status.restart_count,
            "started_at": date_text(started or ""),
            "user": "" if user is None else str(user),
            "privileged": rights.privileged,
            "read_only_root": rights.read_only_root_filesystem,
            "network_mode": "host" if spec.host_network else "",
            "pid_mode": "host" if spec.host_pid else "",
            "ipc_mode": "host" if spec.host_ipc else "",
            "capabilities_added": capabilities.add,
            "capabilities_dropped": capabilities.drop,
            "service_account": spec.service_account_name,
        }
        return {name: value for name, value in found.items() if value not in ("", None, [])}

    @property
    def orchestrator(self) -> dict[str, Any]:
        """Its `orchestrator.*`."""
        return self._bounded[0]

    @property
    def kubernetes(self) -> dict[str, Any]:
        """Its `kubernetes.*`."""
        return self._bounded[1]

    @property
    def is_cut(self) -> bool:
        """Whether these hold less than is known."""
        return self._bounded[3]

    @cached_property
    def _bounded(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], bool]:
        made = self._orchestrator, self._kubernetes, self._own
        return *made, any([*map(within_bounds, made, (BULKY_ORCHESTRATOR, BULKY_KUBERNETES, BULKY_OWN))])

    @property
    def _orchestrator(self) -> dict[str, Any]:
        about = self.pod.metadata
        resource: dict[str, Any] = {"type": "pod", "name": about.name, "id": about.uid, "ip": self.pod.addresses}
        if self.owners:
            resource["parent"] = {"type": self.owners[-1].kind}
        resource["label"] = pairs(about.labels or {})
        resource["annotation"] = pairs(about.annotations or {})
        made = {
            "type": "kubernetes",
            "cluster": {"name": self.cluster} if self.cluster else {},
            "namespace": about.namespace,
            "resource": {name: value for name, value in resource.items() if value not in ("", [])},
        }
        return {name: value for name, value in made.items() if value not in ("", {})}

    @property
    def _kubernetes(self) -> dict[str, Any]:
        about = self.pod.metadata
        namespace = self.namespace.metadata if self.namespace is not None else None
        found: dict[str, Any] = {
            "pod": {"name": about.name, "uid": about.uid, **({"ip": ip[0]} if (ip := self.pod.addresses) else {})},
            "node": {"name": self.pod.spec.node_name} if self.pod.spec.node_name else {},
            "namespace": about.namespace,
            "namespace_uid": namespace.uid if namespace is not None else "",
            "namespace_labels": labels(namespace.labels or {}) if namespace is not None else {},
            "container": {"name": self.status.name} if self.status.name else {},
            "labels": labels(about.labels or {}),
            "annotations": labels(about.annotations or {}),
            **{OWNER_FIELDS[each.kind]: {"name": each.name} for each in self.owners if each.kind in OWNER_FIELDS},
        }
        return {name: value for name, value in found.items() if value not in ("", {})}

    @property
    def _rights(self) -> SecurityContext:
        spec = self.pod.spec
        lists = (spec.containers, spec.init_containers, spec.ephemeral_containers)
        found = (each for some in lists for each in some or () if each.name == self.status.name)
        asked = next(found, None)
        return (asked.security_context if asked is not None else None) or SecurityContext()


def pairs(found: dict[str, str]) -> list[str]:
    """Return labels or annotations as ECS's `orchestrator.resource` has them."""
    return sorted(f"{name}:{value}" for name, value in found.items())
