"""What differs between two configurations, as an operator reads it, and what a collector that runs cannot change."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from collector.config import Config
from collector.config_file import Loaded
from collector.errors import Problem

NAMED: Final = ("inputs", "outputs", "lookups")
"""Sections whose entries have names of their own."""

FIXED: Final[Mapping[str, str]] = {
    "data_dir": "the journal that runs stands there",
    "name": "the journal that runs was opened under it",
}
"""What stays until a restart, and why."""


def configuration_hash(config: Config) -> str:
    """Return what names a configuration: of all that it says, without the secrets, which it names only."""
    return hashlib.sha256(msgspec.json.encode(_whole(config))).hexdigest()[:32]


def _whole(value: Any) -> Any:
    """Return a configuration as plain data, with what stands at its default, which a file may say or not."""
    if isinstance(value, msgspec.Struct):
        fields = {field: _whole(getattr(value, field)) for field in value.__struct_fields__}
        return {"type": value.__struct_config__.tag, **fields}
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, (list, tuple)) else value


def changes(before: Config, after: Config) -> list[str]:
    """Return what differs, each as its place and what became of it: `outputs.elastic added`."""
    return list(_changes(before, after))


def _changes(before: Config, after: Config) -> Iterator[str]:
    for field in before.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if old == new and not (field in NAMED and list(old) != list(new)):
            continue
        if field not in NAMED:
            yield f"{field} changed"
            continue
        for name in sorted({*old, *new}):
            if name not in old:
                yield f"{field}.{name} added"
            elif name not in new:
                yield f"{field}.{name} removed"
            elif old[name] != new[name]:
                yield f"{field}.{name} changed{_options(old[name], new[name])}"
        if list(old) != list(new) and sorted(old) == sorted(new):
            yield f"{field} changed in their order"


def _options(old: Any, new: Any) -> str:
    """Name the options that differ; of another type, that says it all."""
    if type(old) is not type(new):
        return " (type)"
    names = [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    return f" ({', '.join(names)})"


def unchangeable(before: Config, loaded: Loaded) -> list[Problem]:
    """Return what a reload cannot change, with its place."""
    return [
        Problem(field, loaded.line_of(field), f"cannot change while the collector runs: {reason}; restart it instead")
        for field, reason in FIXED.items()
        if getattr(before, field) != getattr(loaded.config, field)
    ]
