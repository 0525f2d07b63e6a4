"""A table's fields as a tree, as they stand in a document: what its reading and its chunk path are made from."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from parsers.values import Value


class Leaf(msgspec.Struct, frozen=True):
    """One field at the end of a path: its name there, and its value or its constant."""

    field: str
    value: Value | None
    constant: Any = None

    @property
    def sure(self) -> bool:
        """Whether every match gives it."""
        return self.value is None or self.value.sure


class Branch(msgspec.Struct, frozen=True):
    """An object of a document: its members in canonical order, the sure ones first."""

    members: dict[str, "Leaf | Branch"]

    @property
    def sure(self) -> bool:
        """Whether every match gives it."""
        return any(member.sure for member in self.members.values())

    def leaves(self) -> list[Leaf]:
        """All leaves below, in canonical order."""
        return [leaf for member in self.members.values() for leaf in _leaves(member)]

    def build(self, take: Callable[[Value], Any]) -> dict[str, Any]:
        """Make the object of one payload; what gives no value is left out."""
        made: dict[str, Any] = {}
        for name, member in self.members.items():
            found = _member(member, take)
            if found is not None and found != {}:
                made[name] = found
        return made


def _leaves(member: Leaf | Branch) -> list[Leaf]:
    return [member] if isinstance(member, Leaf) else member.leaves()


def _member(member: Leaf | Branch, take: Callable[[Value], Any]) -> Any:
    if isinstance(member, Branch):
        return member.build(take)
    return member.constant if member.value is None else take(member.value)


def branch_of(leaves: Mapping[tuple[str, ...], Leaf]) -> Branch:
    """Make a tree of paths; members keep their order, the sure ones first."""
    below: dict[str, dict[tuple[str, ...], Leaf]] = {}
    for path, leaf in leaves.items():
        below.setdefault(path[0], {})[path[1:]] = leaf
    members = {name: paths[()] if () in paths else branch_of(paths) for name, paths in below.items()}
    return Branch(dict(sorted(members.items(), key=lambda item: not item[1].sure)))
