"""What is taken over of an Engine's answers: an allow-list, with bounds. Pure.

Nothing that is not named here leaves the watcher; of environment variables only the names do. A value of another type
than the API says is left out. What is longer or more than its bound is cut, and the message says of which key.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

TEXT_LIMIT: Final = 4_096
"""Characters of one text."""

NAME_LIMIT: Final = 256
"""Characters of a label's key, or of a variable's name."""

ITEMS_LIMIT: Final = 256
"""Labels, variables, mounts, networks, ports: of each so many."""

BINDINGS_LIMIT: Final = 16
"""Addresses that one port is published at."""

CONTAINER_LIMIT_BYTES: Final = 64 << 10
"""Of all that is taken over of one container, encoded. A document shows 16 KiB of it, and the pipeline's table, which
all containers share, has room for 768 that are as large."""

LABELS_LIMIT_BYTES: Final = 32 << 10
"""Of its labels: the longest are left out, so that nobody hides mounts or ports behind labels."""

IMAGE_LIMIT_BYTES: Final = 64 << 10
"""Of an image, encoded; one with more has no tags and digests here."""

BULKY: Final = (
    ("NetworkSettings",),
    ("Mounts",),
    ("Config", "Entrypoint"),
    ("Config", "Cmd"),
    ("Config", "Env"),
    ("Config", "Shell"),
    ("Config", "Healthcheck"),
    ("HostConfig", "SecurityOpt"),
    ("Config", "Labels"),
)
"""What is left out of a container that is too large, in this order."""

Taken = Callable[[Any, str, set[str]], Any]
"""Takes a value over: value, its key for what is told of cuts, the cuts. None: left out."""


def text(value: Any, key: str, cuts: set[str]) -> str | None:
    """Take over a text."""
    if not isinstance(value, str):
        return None
    if len(value) > TEXT_LIMIT:
        cuts.add(key)
    return value[:TEXT_LIMIT]


def number(value: Any, _key: str, _cuts: set[str]) -> int | None:
    """Take over a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(value: Any, _key: str, _cuts: set[str]) -> bool | None:
    """Take over true or false."""
    return value if isinstance(value, bool) else None


def texts(value: Any, key: str, cuts: set[str]) -> list[str] | None:
    """Take over a list of texts; a text alone is a list of one, as old images have it."""
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list):
        return None
    return [taken for item in _bounded(value, key, cuts) if (taken := text(item, key, cuts)) is not None]


def labels(value: Any, key: str, cuts: set[str]) -> dict[str, str] | None:
    """Take over a mapping of texts; a key that is too long is left out, for cut it could be another's."""
    if not isinstance(value, dict):
        return None
    taken = {}
    for name in _bounded(sorted(value), key, cuts):
        if len(name) > NAME_LIMIT:
            cuts.add(key)
        elif (item := text(value[name], key, cuts)) is not None:
            taken[name] = item
    return _shortened(taken, key, cuts)


def _shortened(taken: dict[str, str], key: str, cuts: set[str]) -> dict[str, str]:
    sizes = {name: len(msgspec.json.encode({name: item})) for name, item in taken.items()}
    excess = sum(sizes.values()) - LABELS_LIMIT_BYTES
    gone = set()
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        gone.add(name)
        cuts.add(key)
    return {name: item for name, item in taken.items() if name not in gone}


def names(value: Any, key: str, cuts: set[str]) -> list[str] | None:
    """Take over the names of `NAME=value`, and nothing of the values."""
    if not isinstance(value, list):
        return None
    found = [item.partition("=")[0] for item in _bounded(value, key, cuts) if isinstance(item, str)]
    return [name[:NAME_LIMIT] for name in found]


def _bounded(items: list[Any], key: str, cuts: set[str]) -> list[Any]:
    if len(items) > ITEMS_LIMIT:
        cuts.add(key)
    return items[:ITEMS_LIMIT]


def members(table: Mapping[str, Any]) -> Taken:
    """Return what takes over an object: of it what the table names, each as the table says."""

    def take(value: Any, key: str, cuts: set[str]) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        path = f"{key}." if key else ""
        found = ((name, kind(value.get(name), f"{path}{name}", cuts)) for name, kind in table.items())
        return {name: item for name, item in found if item is not None}

    return take


def _list_of(kind: Taken, limit: int = ITEMS_LIMIT) -> Taken:
    def take(value: Any, key: str, cuts: set[str]) -> list[Any] | None:
        if not isinstance(value, list):
            return None
        if len(value) > limit:
            cuts.add(key)
        return [item for each in value[:limit] if (item := kind(each, key, cuts)) is not None]

    return take


def _mapping_of(kind: Taken) -> Taken:
    def take(value: Any, key: str, cuts: set[str]) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        # A port without a binding is exposed only: the Engine says null, and so do we.
        taken = {name: kind(value[name], key, cuts) for name in _bounded(sorted(value), key, cuts)}
        return {name: item for name, item in taken.items() if len(name) <= NAME_LIMIT}

    return take


_CONFIG: Final = {
    "Hostname": text,
    "User": text,
    "Image": text,
    "Labels": labels,
    "Tty": flag,
    "Env": names,
    "Entrypoint": texts,
    "Cmd": texts,
    "WorkingDir": text,
    "StopSignal": text,
    # By these a probe of the Engine's own is told from what somebody starts in the container.
    "Healthcheck": members({"Test": texts}),
    "Shell": texts,
}
_STATE: Final = {
    "Status": text,
    "Running": flag,
    "Paused": flag,
    "StartedAt": text,
    "FinishedAt": text,
    "ExitCode": number,
    "OOMKilled": flag,
    "Pid": number,
    "Health": members({"Status": text}),
}
_HOST_CONFIG: Final = {
    "Privileged": flag,
    "ReadonlyRootfs": flag,
    "NetworkMode": text,
    "PidMode": text,
    "IpcMode": text,
    "UTSMode": text,
    "UsernsMode": text,
    "CapAdd": texts,
    "CapDrop": texts,
    "SecurityOpt": texts,
    "RestartPolicy": members({"Name": text, "MaximumRetryCount": number}),
    "Runtime": text,
    "Memory": number,
    "NanoCpus": number,
    "PidsLimit": number,
}
_CONTAINER: Final = members(
    {
        "Id": text,
        "Name": text,
        "Created": text,
        "RestartCount": number,
        "Platform": text,
        "Image": text,
        "Config": members(_CONFIG),
        "State": members(_STATE),
        "HostConfig": members(_HOST_CONFIG),
        "Mounts": _list_of(members({"Type": text, "Source": text, "Destination": text, "RW": flag})),
        "NetworkSettings": members(
            {
                "Networks": _mapping_of(members({"IPAddress": text, "GlobalIPv6Address": text})),
                "Ports": _mapping_of(_list_of(members({"HostIp": text, "HostPort": text}), BINDINGS_LIMIT)),
            }
        ),
    }
)
_IMAGE: Final = members({"Id": text, "RepoTags": texts, "RepoDigests": texts, "Created": text})

_OF_ACTIONS: Final = ("image", "name", "exitCode", "execDuration", "signal", "oldName", "execID")
"""Attributes of an event that are no labels; a label of such a name cannot be told from them."""


def reduced_container(answer: Mapping[str, Any], cuts: set[str]) -> dict[str, Any]:
    """Return what is taken over of `GET /containers/{id}/json`; `cuts` gets the keys that were cut."""
    taken: dict[str, Any] = _CONTAINER(answer, "", cuts)
    for path in BULKY:
        if len(msgspec.json.encode(taken)) <= CONTAINER_LIMIT_BYTES:
            break
        parent = taken if len(path) == 1 else taken.get(path[0], {})
        if parent.pop(path[-1], None) is not None:
            cuts.add(".".join(path))
    return taken


def reduced_image(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is taken over of `GET /images/{id}/json`."""
    taken: dict[str, Any] = _IMAGE(answer, "", set())
    if len(msgspec.json.encode(taken)) > IMAGE_LIMIT_BYTES:
        return {name: value for name, value in taken.items() if isinstance(value, str)}
    return taken


def container_of_event(identity: str, attributes: Mapping[str, str], cuts: set[str]) -> dict[str, Any]:
    """Return the little that an event's attributes tell of a container that could not be asked for."""
    of_labels = {name: value for name, value in attributes.items() if name not in _OF_ACTIONS}
    name = attributes.get("name", "")
    answer = {
        "Id": identity,
        "Name": f"/{name.removeprefix('/')}" if name else None,
        "Config": {"Image": attributes.get("image"), "Labels": of_labels},
    }
    return reduced_container(answer, cuts)


def container_of_list(identity: str, listed: Mapping[str, Any], cuts: set[str]) -> dict[str, Any]:
    """Return the little that the list tells of a container whose own answer cannot be used."""
    known = listed.get("Names")
    answer = {
        "Id": identity,
        "Name": known[0] if isinstance(known, list) and known else None,
        "Image": listed.get("ImageID"),
        "Config": {"Image": listed.get("Image"), "Labels": listed.get("Labels")},
        "State": {"Status": listed.get("State")},
    }
    return reduced_container(answer, cuts)


def about_host(about: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `/info` and `/version` tell of the Engine's host."""
    answer = {
        "name": about.get("Name"),
        "os": about.get("OperatingSystem") or version.get("Os"),
        "kernel": about.get("KernelVersion") or version.get("KernelVersion"),
        "architecture": about.get("Architecture") or version.get("Arch"),
        "engine_version": about.get("ServerVersion") or version.get("Version"),
    }
    found = ((name, text(value, name, set())) for name, value in answer.items())
    return {name: value for name, value in found if value}
