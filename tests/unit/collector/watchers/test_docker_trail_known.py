"""Which containers came and went in a gap: by the lists, and what events told between them."""

import json
from typing import Any

from collector.watchers.docker_trail_known import (
    CONTAINERS_LIMIT,
    KEPT_LIMIT_BYTES,
    TOLD_LIMIT,
    KnownContainers,
)
from collector.watchers.docker_trail_records import TrailEvent, read_event
from tests.kit.docker_stub import identity_of


def listed(*names: str, state: str = "running") -> list[Any]:
    """A list of containers."""
    return [{"Id": identity_of(name), "Names": [f"/{name}"], "Image": "nginx", "State": state} for name in names]


def event(action: str, name: str, called: str = "") -> TrailEvent:
    """What happened to one."""
    actor = {"ID": identity_of(name), "Attributes": {"name": called or name, "image": "nginx"}}
    found = read_event(json.dumps({"Type": "container", "Action": action, "Actor": actor}).encode())
    assert isinstance(found, TrailEvent)
    return found


def known(*names: str) -> KnownContainers:
    """These are known."""
    containers = KnownContainers()
    containers.compare(listed(*names))
    return containers


def names_of(differences: dict[str, list[Any]]) -> dict[str, list[str]]:
    """The names in each list."""
    return {kind: [each["name"] for each in containers] for kind, containers in differences.items()}


def test_a_comparison_names_what_came_went_and_changed() -> None:
    """By id: one that was made anew under the same name is another."""
    before = known("stays", "goes", "stops")
    there = [*listed("stays", "comes"), *listed("stops", state="exited")]

    differences, lengths = before.compare(there)

    assert {"appeared": ["comes"], "gone": ["goes"], "changed": ["stops"]} == names_of(differences)
    assert {"id": identity_of("comes"), "name": "comes", "image": "nginx"} == differences["appeared"][0]
    assert {} == lengths


def test_what_events_told_is_no_news() -> None:
    """Made, started, renamed, ended and removed: all is known by the time of the list."""
    containers = known("old", "other")
    for each in (
        event("create", "new"),
        event("start", "new"),
        event("rename", "new", called="newer"),
        event("die", "other"),
        event("destroy", "old"),
        event("exec_start: id", "unknown"),
    ):
        containers.apply(each)
    there = [*listed("new"), *listed("other", state="exited")]
    there[0]["Names"] = ["/newer"]

    differences, _ = containers.compare(there)

    assert {"appeared": [], "gone": [], "changed": []} == differences


def test_the_first_list_tells_nothing() -> None:
    """Nothing was known before."""
    assert ({}, {}) == KnownContainers().compare(listed("web"))


def test_what_is_kept_is_what_is_known_in_the_next_life() -> None:
    """What is no such thing is nothing."""
    again, broken = KnownContainers(), KnownContainers()
    again.restore(known("web", "cache").encoded())
    broken.restore(b"{")

    assert (True, False) == (again.is_known, broken.is_known)
    assert {"appeared": [], "gone": ["cache"], "changed": []} == names_of(again.compare(listed("web"))[0])


def test_what_is_kept_and_told_is_bounded() -> None:
    """So many containers, bytes, and entries of a list."""
    names = [f"n{number}" + "\x01" * 200 for number in range(CONTAINERS_LIMIT + 10)]
    containers = known()

    differences, lengths = containers.compare([*listed(*names), {"Id": "../../x"}, None, {"Id": 1}])
    containers.apply(event("create", "more"))

    assert (TOLD_LIMIT, {"appeared": CONTAINERS_LIMIT + 10}) == (len(differences["appeared"]), lengths)
    kept = containers.encoded()
    assert KEPT_LIMIT_BYTES - 2_000 < len(kept) <= KEPT_LIMIT_BYTES
    assert identity_of("more").encode() not in kept


def test_with_as_many_as_are_followed_what_happens_to_one_of_them_is_still_taken() -> None:
    """One that ended meanwhile is no news in the next comparison."""
    names = [f"n{number}" for number in range(CONTAINERS_LIMIT)]
    containers = known(*names)
    containers.apply(event("die", "n0"))
    containers.apply(event("rename", "n1", called="new"))
    there = [*listed("n0", state="exited"), *listed(*names[1:])]
    there[1]["Names"] = ["/new"]

    differences, _ = containers.compare(there)

    assert {"appeared": [], "gone": [], "changed": []} == differences


def test_only_what_changes_is_to_be_kept_again() -> None:
    """An event that tells nothing new of a container makes no frame."""
    containers = known("web")
    containers.encoded()
    containers.apply(event("exec_start: id", "web"))
    unchanged = containers.is_changed
    containers.apply(event("die", "web"))

    assert (False, True) == (unchanged, containers.is_changed)
