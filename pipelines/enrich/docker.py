"""What a Docker Engine says of its host and of a container, as ECS has it.

Structures are those of `GET /info`, `/containers/{id}/json` and `/images/{id}/json`, as far as watchers pass them on.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final

import msgspec

from parsers.flattened import labels
from parsers.times import read_any
from parsers.timestamps import rfc3339
from pipelines.enrich.bounds import within_bounds
from pipelines.enrich.metadata import ID_CHARACTERS
from pipelines.normalize.identity import image_of

NEVER: Final = "0001-01-01T00:00:00Z"
"""What the Engine says of what has not happened."""

COMPOSE: Final = {"project": "com.docker.compose.project", "service": "com.docker.compose.service"}

POD_LABEL: Final = "io.kubernetes.pod.uid"
"""By which a kubelet marks containers of pods."""

BULKY_ECS: Final = (("image", "tag"), ("image", "hash", "all"), ("labels",))
BULKY_OWN: Final = (
    *(("mounts",), ("ports",), ("ip",), ("security_options",)),
    *(("capabilities_added",), ("capabilities_dropped",), ("compose",)),
)
"""What may be so long that not all of it goes into documents (`pipelines.enrich.bounds`)."""

SYSTEMS: Final = ("linux", "windows")
"""Types of operating systems, where an Engine says no more than that."""


Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Host(msgspec.Struct, frozen=True, omit_defaults=True):
    """An Engine's machine."""

    name: str = ""
    os: str = ""
    kernel: str = ""
    architecture: str = ""


class Health(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """What a container's own check found."""

    status: str = ""


class ContainerState(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Where a container is in its life."""

    started_at: str = ""
    health: Health | None = None


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """A container's own check: `CMD` and arguments, `CMD-SHELL` and a script, or `NONE`."""

    test: list[str] | None = None


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """What a container was made from; `env` holds names."""

    user: str = ""
    image: str = ""
    labels: dict[str, str] | None = None
    env: list[str] | None = None
    healthcheck: Healthcheck | None = None
    shell: list[str] | None = None


class HostConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """What a container may do to its host."""

    privileged: bool = False
    readonly_rootfs: bool = False
    network_mode: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    security_opt: list[str] | None = None
    runtime: str = ""


class Mount(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """A folder or volume that a container sees."""

    type: str = ""
    source: str = ""
    destination: str = ""
    writable: bool = msgspec.field(name="RW", default=False)


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container's addresses in a network."""

    ipv4: str = msgspec.field(name="IPAddress", default="")
    ipv6: str = msgspec.field(name="GlobalIPv6Address", default="")


class Published(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Where the host passes a port on from."""

    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """How a container is reached."""

    networks: dict[str, Network | None] | None = None
    ports: dict[str, list[Published] | None] | None = None


class Image(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """What the Engine knows of a container's image."""

    id: str = ""
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None


class Container(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """A container as `inspect` shows it."""

    id: Annotated[str, msgspec.Meta(min_length=ID_CHARACTERS)]
    name: str = ""
    restart_count: Count | None = None
    image: str = ""
    config: ContainerConfig = ContainerConfig()
    state: ContainerState = ContainerState()
    host_config: HostConfig | None = None
    mounts: list[Mount] | None = None
    network_settings: NetworkSettings = NetworkSettings()


class Inspected(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """What is kept of a container: itself and its image. Who takes its fields over does not change them.

    `whole`: its labels are all that it has; of one that could not be asked for, or has very many, they may not be.
    `cut`: its watcher left out some of what documents show.
    """

    container: Container
    image: Image = Image()
    whole: bool = False
    cut: bool = False

    @property
    def name(self) -> str:
        """Its name, without the slash that the Engine puts before it."""
        return self.container.name.removeprefix("/")

    @property
    def pod(self) -> str:
        """The uid of the pod that it is of, empty where it is of none."""
        return (self.container.config.labels or {}).get(POD_LABEL, "")

    @property
    def ecs(self) -> dict[str, Any]:
        """Its `container.*`."""
        return self._bounded[0]

    @property
    def own(self) -> dict[str, Any]:
        """Its `tidewaiter.container.*`, but for its Engine."""
        return self._bounded[1]

    @property
    def is_cut(self) -> bool:
        """Whether these hold less than is known."""
        return self._bounded[2]

    @cached_property
    def _bounded(self) -> tuple[dict[str, Any], dict[str, Any], bool]:
        ecs, own = self._ecs, self._own
        cuts = within_bounds(ecs, BULKY_ECS), within_bounds(own, BULKY_OWN)
        return ecs, own, self.cut or any(cuts)

    @property
    def _ecs(self) -> dict[str, Any]:
        made: dict[str, Any] = {"id": self.container.id}
        if self.name:
            made["name"] = self.name
        made["image"] = image_fields(self.container.config.image, self.image)
        if not made["image"]:
            del made["image"]
        made["runtime"] = "docker"
        if self.container.host_config is not None:
            made["security_context"] = {"privileged": self.container.host_config.privileged}
        marks = labels(self.container.config.labels or {})
        if marks:
            made["labels"] = marks
        return made

    @property
    def _own(self) -> dict[str, Any]:
        container, marks = self.container, self.container.config.labels or {}
        health = container.state.health
        found: dict[str, Any] = {
            "health": health.status if health is not None and health.status != "none" else "",
            "restart_count": container.restart_count,
            "started_at": date_text(container.state.started_at),
            "user": container.config.user,
            **(_rights(container.host_config) if container.host_config is not None else {}),
            "mounts": [_mount(each) for each in container.mounts or ()],
            "ports": list(_ports(container.network_settings.ports or {})),
            "ip": list(_addresses(container.network_settings)),
            "image_id": container.image or self.image.id,
            "compose": {name: marks[label] for name, label in COMPOSE.items() if marks.get(label)},
        }
        return {name: value for name, value in found.items() if value not in ("", None, [], {})}


def host_fields(host: Host) -> dict[str, Any]:
    """Return `host.*` of an Engine's machine but for its name."""
    system = {"type" if host.os in SYSTEMS else "full": host.os, "kernel": host.kernel}
    system = {name: value for name, value in system.items() if value}
    made: dict[str, Any] = {"os": system} if system else {}
    return made | ({"architecture": host.architecture} if host.architecture else {})


def image_fields(reference: str, image: Image) -> dict[str, Any]:
    """Return `container.image.*`: the name as it was asked for, the tags of that name, and the registries' digests."""
    tags = [image_of(each) for each in image.repo_tags or ()]
    is_id = not reference or reference.startswith("sha256:") or image.id.startswith(f"sha256:{reference}")
    made = tags[0] if is_id and tags else image_of(reference) if reference else {}
    if not made:
        return {}
    own = [tag for each in tags if each["name"] == made["name"] for tag in each.get("tag", ())]
    together = [*made.get("tag", ()), *own]
    digests = [each.rpartition("@")[2] for each in image.repo_digests or ()]
    digests = [*made.get("hash", {}).get("all", ()), *digests]
    found: dict[str, Any] = {"name": made["name"]}
    if together:
        found["tag"] = list(dict.fromkeys(together))
    if digests:
        found["hash"] = {"all": list(dict.fromkeys(digests))}
    return found


def date_text(text: str) -> str:
    """Return a time as documents have it, empty where there is none."""
    time = read_any(text, 0) if text != NEVER else None
    return rfc3339(time[0] * 1_000_000_000 + time[1]) if time is not None else ""


def address_text(text: str) -> str:
    """Return an address in its canonical form, empty where it is none."""
    try:
        return str(ipaddress.ip_address(text.partition("/")[0])) if text else ""
    except ValueError:
        return ""


def _rights(config: HostConfig) -> dict[str, Any]:
    return {
        "privileged": config.privileged,
        "read_only_root": config.readonly_rootfs,
        "runtime": config.runtime,
        "network_mode": config.network_mode,
        "pid_mode": config.pid_mode,
        "ipc_mode": config.ipc_mode,
        "uts_mode": config.uts_mode,
        "user_namespace": config.userns_mode,
        "capabilities_added": config.cap_add,
        "capabilities_dropped": config.cap_drop,
        "security_options": config.security_opt,
    }


def _mount(mount: Mount) -> str:
    return f"{mount.type}:{mount.source}:{mount.destination}:{'rw' if mount.writable else 'ro'}"


def _ports(ports: Mapping[str, list[Published] | None]) -> Iterator[str]:
    for port in sorted(ports):
        published = ports[port] or []
        for each in published:
            address = f"[{each.host_ip}]" if ":" in each.host_ip else each.host_ip
            yield f"{address}:{each.host_port}->{port}"
        if not published:
            yield port


def _addresses(settings: NetworkSettings) -> Iterator[str]:
    networks = settings.networks or {}
    found = [text for name in sorted(networks) if (each := networks[name]) for text in (each.ipv4, each.ipv6)]
    yield from dict.fromkeys(filter(None, map(address_text, found)))
