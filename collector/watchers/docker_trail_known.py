"""Which containers there were when an event was told, to say after a gap which came and went meanwhile. Pure.

The journal keeps them as of a moment, at most `docker_trail_session.KEEP_S` ago, for the next life of the watcher:
what came or went between that moment and its end is then named as well, though the trail has its events.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from collector.watchers.docker_trail_records import TrailEvent

CONTAINERS_LIMIT: Final = 4_096
"""Most containers that are followed."""

NAME_LIMIT: Final = 128
"""Characters of a name, and of an image."""

KEPT_LIMIT_BYTES: Final = 512 << 10
"""Of what the journal keeps; containers beyond are not compared after a restart of ours."""

TOLD_LIMIT: Final = 256
"""Containers of a list in the record of a gap."""

_identity = re.compile(r"[0-9a-f]{64}")
_RUNNING: Final = {"start": True, "unpause": True, "restart": True, "die": False}


class Container(msgspec.Struct, frozen=True, array_like=True):
    """What is compared of one; `runs` is None where nothing told it."""

    id: str
    name: str
    image: str
    runs: bool | None

    def told(self) -> dict[str, str]:
        """Return what a record says of it."""
        return {"id": self.id, "name": self.name, "image": self.image}


class KnownContainers:
    """The containers of one Engine by what its lists and events told; `is_known` is False before the first list."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self.is_known = False
        self.is_changed = False

    def restore(self, encoded: bytes) -> None:
        """Take what the journal kept; what cannot be read is nothing."""
        try:
            containers = msgspec.json.decode(encoded, type=list[Container])
        except msgspec.DecodeError:
            return
        self._containers = {each.id: each for each in containers}
        self.is_known = True

    def encoded(self) -> bytes:
        """Return what the journal keeps."""
        self.is_changed = False
        kept, left_bytes = [], KEPT_LIMIT_BYTES
        for container in self._containers.values():
            left_bytes -= len(msgspec.json.encode(container)) + 1
            if left_bytes < 2:
                break
            kept.append(container)
        return msgspec.json.encode(kept)

    def apply(self, event: TrailEvent) -> None:
        """Take what an event tells."""
        identity = event.container
        if not _identity.fullmatch(identity):
            return
        before = self._containers.get(identity)
        if event.cause == "destroy":
            self.is_changed |= self._containers.pop(identity, None) is not None
            return
        if event.cause not in ("create", "rename", *_RUNNING):
            return
        if before is None and len(self._containers) >= CONTAINERS_LIMIT:
            return
        name, image = event.attributes.get("name", ""), event.attributes.get("image", "")
        runs = _RUNNING.get(event.cause, before.runs if before is not None else None)
        self._set(Container(identity, name[:NAME_LIMIT], image[:NAME_LIMIT], runs))

    def _set(self, container: Container) -> None:
        if self._containers.get(container.id) != container:
            self._containers[container.id] = container
            self.is_changed = True

    def compare(self, listed: Iterable[Any]) -> tuple[dict[str, list[Any]], dict[str, int]]:
        """Take a list; return which appeared, are gone, and changed name or state, and the lengths of lists cut."""
        there = {each.id: each for each in map(_of_list, listed) if each is not None}
        before, self._containers = self._containers, dict(list(there.items())[:CONTAINERS_LIMIT])
        was_known, self.is_known, self.is_changed = self.is_known, True, True
        if not was_known:
            return {}, {}
        found = {
            "appeared": [each for each in there.values() if each.id not in before],
            "gone": [each for each in before.values() if each.id not in there],
            "changed": [each for each in there.values() if each.id in before and _differ(before[each.id], each)],
        }
        lengths = {name: len(containers) for name, containers in found.items() if len(containers) > TOLD_LIMIT}
        return {name: [each.told() for each in containers[:TOLD_LIMIT]] for name, containers in found.items()}, lengths


def _differ(before: Container, now: Container) -> bool:
    return before.name != now.name or (before.runs is not None and before.runs != now.runs)


def _of_list(listed: Any) -> Container | None:
    if not isinstance(listed, Mapping) or not _identity.fullmatch(str(listed.get("Id"))):
        return None
    names = listed.get("Names")
    name = str(names[0]).removeprefix("/") if isinstance(names, list) and names else ""
    runs = listed.get("State") in ("running", "paused", "restarting")
    return Container(str(listed["Id"]), name[:NAME_LIMIT], str(listed.get("Image") or "")[:NAME_LIMIT], runs)
