"""Fields that the operator fixes for streams: a team, a service, a site, and how a value gets to its place.

What may be set says something about a stream that its sender cannot know. Who a container or a host is, what an event
is, and where documents go is no such thing (P5, design section 6). All such fields are keywords.

Of the rules that fit a stream the first that sets a field decides; `tags` of all of them come together. What is set
stands against whatever the document says itself: metadata here, a line's own fields in `pipelines.normalize.meeting`.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from parsers.ecs_types import field_named, nearest_field
from pipelines.frame import Origin

SET_ROOTS: Final = ("cloud", "labels", "organization", "service")
"""Objects whose fields may be set, beside `tags`."""

LISTS: Final = frozenset({"service.node.roles", "tags"})
"""The fields among them that ECS has as lists."""

VALUE_LIMIT: Final = 1024
"""Characters of a value: keywords that are longer are not found (`ignore_above`)."""

_OTHERS: Final = ("entity", "origin", "target")
"""Below a root: the same fields about somebody else."""

_WHY_NOT: Final = {
    "@timestamp": "an event's time is its own",
    "container": "who a container is, its sender and its engine say",
    "data_stream": "documents go where their parser and the namespace say",
    "event": "what an event is, its parser says",
    "host": "who a host is, its sender and the map `hosts` say",
    "message": "a line stays as it came",
    "orchestrator": "who a pod is, its sender and the cluster say",
    "rule": "only a rule that fired is named there",
    "tidewaiter": "there stands what the collector itself found",
}

_CHOICE: Final = "what can be is labels.NAME, service.*, cloud.*, organization.* and tags"

Value = str | list[str]


class FieldRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields for the streams whose input, peer, image, container name and namespace all match."""

    set: Annotated[
        dict[str, Value],
        Meta(description="Fields and their values: `labels.*`, `service.*`, `cloud.*`, `organization.*`, `tags`."),
    ]

    input: Annotated[str, Meta(description="Glob of the input's name.")] = "*"

    peer: Annotated[
        str,
        Meta(description="Network (`192.0.2.0/24`), or glob of the peer as `tidewaiter.origin.peer` has it."),
    ] = "*"

    image: Annotated[
        str, Meta(description="Glob of the image's name as `container.image.name` has it: with its registry, no tag.")
    ] = "*"

    name: Annotated[str, Meta(description="Glob of the container's name, `container.name`.")] = "*"

    namespace: Annotated[str, Meta(description="Glob of the namespace, `orchestrator.namespace`.")] = "*"


def why_not_set(field: str) -> str:
    """Say why a field cannot be set; empty where it can."""
    root, _, rest = field.partition(".")
    if root in _WHY_NOT:
        return f"cannot be set: {_WHY_NOT[root]}; {_CHOICE}"
    if field == "tags":
        return ""
    if root == "labels":
        return "" if rest and "." not in rest else "write labels.NAME, and no further dot: a label is one keyword"
    known = field_named(field)
    if known is None:
        near = nearest_field(field)
        return f"is no field of ECS; {f'did you mean {near}?' if near else _CHOICE}"
    if root not in SET_ROOTS:
        return f"cannot be set; {_CHOICE}"
    return "takes no text" if known.type != "keyword" or rest.partition(".")[0] in _OTHERS else ""


def static_fields(tail: Mapping[str, Any], origin: Origin, rules: Iterable[FieldRule]) -> dict[str, list[str]]:
    """Return the fields that rules set for a stream, given its tail so far; each as a list of texts."""
    container = tail.get("container", {})
    whose = (
        container.get("image", {}).get("name", ""),
        container.get("name", ""),
        tail.get("orchestrator", {}).get("namespace", ""),
    )
    found: dict[str, list[str]] = {}
    for rule in rules:
        globs = (rule.image, rule.name, rule.namespace)
        if (
            fnmatchcase(origin.input, rule.input)
            and is_peer(origin.peer, rule.peer)
            and all(map(fnmatchcase, whose, globs))
        ):
            for field, value in rule.set.items():
                keep(found, field, value if isinstance(value, list) else [value])
    return found


def keep(found: dict[str, list[str]], field: str, values: list[str]) -> None:
    """Keep a field's values where it has none yet; tags come together."""
    if field == "tags":
        found["tags"] = list(dict.fromkeys([*found.get("tags", []), *values]))
    else:
        found.setdefault(field, values)


def put_fields(tail: dict[str, Any], found: Mapping[str, list[str]]) -> None:
    """Put fields into a tail, over what stands there; tags are added to those it has."""
    for field, values in found.items():
        if field == "tags":
            tail["tags"] = list(dict.fromkeys([*tail.get("tags", []), *values]))
            continue
        *objects, name = field.split(".")
        place = tail
        for each in objects:
            below = place.get(each)
            place[each] = place = dict(below) if isinstance(below, dict) else {}
        place[name] = values if field in LISTS else values[0]


def is_peer(peer: str, pattern: str) -> bool:
    """Tell whether a peer is of a network, or matches a glob."""
    if "/" not in pattern:
        return fnmatchcase(peer, pattern)
    try:
        return ipaddress.ip_address(peer) in _network(pattern)
    except ValueError:
        return False  # over a Unix socket


@lru_cache(maxsize=256)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)
