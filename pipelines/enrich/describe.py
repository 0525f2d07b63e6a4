"""A line's document gets what its Engine and its cluster say of its container; their word wins over the record's (P5).

Of a sender that the configuration gives no Engine and no cluster nothing changes. A cluster is asked only about records
that are of a pod, by what the sender, its tag or the container's Engine says. What is not known yet is waited for
(`pipelines.enrich.waiting`), once; then the line goes without, tagged: METADATA_MISSING where it cannot be told whether
there is such a container, CONTAINER_UNKNOWN where its Engine or cluster has said all it knows and this is not of it.
"""

import re
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from pipelines.enrich.bounds import METADATA_CUT
from pipelines.enrich.claims import contradicted
from pipelines.enrich.docker import Host, Inspected, host_fields
from pipelines.enrich.engines import Sources, sources_of
from pipelines.enrich.kubernetes import OWNED_OWNERS, OWNERS_LIMIT, Node, Object, Owner, Placed, Pod
from pipelines.enrich.metadata import CONTAINER, ID_CHARACTERS, NAMED, NAMESPACE, NODE, POD, POD_NAMED, Metadata
from pipelines.frame import Origin
from pipelines.normalize.container import Line, stream_of
from pipelines.normalize.identity import IDENTITY_CONFLICT
from pipelines.sections import Key
from pipelines.settings import Settings

METADATA_MISSING: Final = "_metadata_missing"
CONTAINER_UNKNOWN: Final = "_container_unknown"

FACTS_KEPT: Final = 4096
"""So many objects are kept decoded."""

LARGE_BYTES: Final = 16 << 10
LARGE_KEPT: Final = 16
"""Of objects that take more so many are: each time a container restarts it is another object."""

ID_LIMIT: Final = 64
"""Characters of a container's id; nothing longer is one, nor kept."""

_TAIL_ORDER: Final = ("related", "tidewaiter", "container", "host", "orchestrator", "kubernetes", "tags")

_pod_tag = re.compile(r".+_[a-z0-9-]+_(?P<name>[a-z0-9-]+)-(?P<id>[0-9a-f]{64})\.log")
"""What Fluent Bit's tail makes of a file's name in `/var/log/containers`; the kubelet names these."""


class Described(NamedTuple):
    """A line with what is known; or `awaited`, source and container, if it has to wait for that.

    `keys` are the entries of the table on which this depends, whether they are there or not.
    """

    line: Line
    awaited: tuple[str, str] | None
    keys: tuple[Key, ...]


class Facts(msgspec.Struct):
    """What is known of a container, its pod and its host, while it is looked up."""

    keys: list[Key]
    missing: list[tuple[str, str]]
    inspected: Inspected | None = None
    former: tuple[str, ...] = ()
    placed: Placed | None = None
    host: Host | None = None


def describe(
    line: Line,
    origin: Origin,
    settings: Settings,
    metadata: Metadata,
    *,
    waits: bool = True,
    sources: Sources | None = None,
) -> Described:
    """Put what is known into a line's tail. Without `waits` the line goes as it is where nothing is known.

    `sources` are given where it is the Engine itself that speaks; else the configuration says who knows the sender's
    containers.
    """
    if sources is None:
        sources = sources_of(settings.engines, origin.peer) if settings.engines else Sources()
    if sources == Sources():
        return Described(line, None, ())
    container = dict(line.tail.get("container", {}))
    facts = Facts([], [])
    tags: list[str] = []
    if sources.engine:
        facts.keys.append((sources.engine,))
        facts.host = _host(metadata.source(sources.engine).host)
        if "id" in container:
            _look_at_engine(facts, sources.engine, container["id"], metadata)
    if sources.cluster and _is_of_a_pod(line, container, facts):
        facts.keys.append((sources.cluster,))
        _look_at_cluster(facts, sources.cluster, container, metadata)
    for source, identifier in facts.missing:
        about = metadata.source(source)
        if waits and not about.away and not metadata.is_given_up(source, identifier):
            return Described(line, (source, identifier), tuple(facts.keys))
        is_unknown = about.listed and about.whole and not about.away and source not in sources.parts
        tags.append(CONTAINER_UNKNOWN if is_unknown else METADATA_MISSING)
    tail = _with_facts(line.tail, container, facts, sources, list(dict.fromkeys(tags)))
    _put_host(tail, facts, origin, settings)
    stream = stream_of(tail, origin) if line.stream is not None else None
    return Described(msgspec.structs.replace(line, tail=tail, stream=stream), None, tuple(facts.keys))


def _look_at_engine(facts: Facts, engine: str, identifier: str, metadata: Metadata) -> None:
    facts.keys.append((engine, CONTAINER, identifier[:ID_CHARACTERS]))
    known = metadata.find(engine, CONTAINER, identifier[:ID_CHARACTERS])
    inspected = inspected_container(engine, identifier, metadata)
    if known is None or inspected is None:
        facts.missing.append((engine, identifier))
        return
    facts.inspected, facts.former = inspected, known.former


def inspected_container(engine: str, identifier: str, metadata: Metadata) -> Inspected | None:
    """Return what an Engine said of a container that is, or was not long ago."""
    known = metadata.find(engine, CONTAINER, identifier[:ID_CHARACTERS])
    inspected = _inspected(known.facts) if known is not None else None
    return inspected if inspected is not None and inspected.container.id.startswith(identifier) else None


def _is_of_a_pod(line: Line, container: dict[str, Any], facts: Facts) -> bool:
    """Tell whether a cluster is to be asked, and for which container; a tag's is taken over where a record has none."""
    if "id" not in container:
        found = _pod_tag.fullmatch(line.tail["tidewaiter"].get("tag", ""))
        if found is None:
            return False
        container["id"] = found["id"]
        container.setdefault("name", found["name"])
        return True
    in_pod = facts.inspected is not None and facts.inspected.pod != ""
    return (
        in_pod or "orchestrator" in line.tail or _pod_tag.fullmatch(line.tail["tidewaiter"].get("tag", "")) is not None
    )


def _look_at_cluster(facts: Facts, cluster: str, container: dict[str, Any], metadata: Metadata) -> None:
    identifier = container["id"]
    facts.keys.append((cluster, CONTAINER, identifier[:ID_CHARACTERS]))
    leading = metadata.find(cluster, CONTAINER, identifier[:ID_CHARACTERS])
    uid = leading.facts.decode() if leading is not None else ""
    if uid:
        facts.keys.append((cluster, POD, uid))
    known = metadata.find(cluster, POD, uid) if uid else None
    if known is None or len(identifier) > ID_LIMIT:
        facts.missing.append((cluster, identifier))
        return
    pod = _pod(known.facts)
    node = _named(facts.keys, cluster, NODE, pod.spec.node_name, metadata)
    facts.host = _node(node).host if node is not None else facts.host
    name = container.get("name", "")
    which = name if any(each.name == name for each in pod.spec.containers or ()) else ""
    facts.placed = _place(facts.keys, cluster, known.facts, (identifier, which), metadata)


def pod_named(cluster: str, name: str, metadata: Metadata) -> tuple[Pod, bytes] | None:
    """Return the pod that has a name (`NAMESPACE/NAME`), or had it last, and what `placed_in` takes of it."""
    leading = metadata.find(cluster, POD_NAMED, name)
    known = metadata.find(cluster, POD, leading.facts.decode()) if leading is not None else None
    return (_pod(known.facts), known.facts) if known is not None else None


def placed_in(pod: bytes, cluster: str, which: tuple[str, str], metadata: Metadata) -> Placed:
    """Return a pod's container, by id and name, both empty: the pod alone."""
    return _place([], cluster, pod, which, metadata)


def _place(keys: list[Key], cluster: str, pod: bytes, which: tuple[str, str], metadata: Metadata) -> Placed:
    about = _pod(pod)
    namespace = _named(keys, cluster, NAMESPACE, about.metadata.namespace, metadata)
    return _placed(pod, which, _owners(keys, cluster, about, metadata), namespace, metadata.source(cluster).name)


def _owners(keys: list[Key], cluster: str, pod: Pod, metadata: Metadata) -> tuple[Owner, ...]:
    """Return the owners of a pod, the nearest first."""
    found: list[Owner] = []
    owner = pod.metadata.owner
    while owner is not None and len(found) < OWNERS_LIMIT:
        found.append(owner)
        kind = OWNED_OWNERS.get(owner.kind)
        if kind is None:
            break
        keys.append((cluster, kind, owner.uid))
        known = metadata.find(cluster, kind, owner.uid)
        owner = _object(known.facts).metadata.owner if known is not None else None
    return tuple(found)


def _named(keys: list[Key], cluster: str, kind: str, name: str, metadata: Metadata) -> bytes | None:
    """Return what is known of an object that others refer to by its name."""
    keys.append((cluster, NAMED[kind], name))
    leading = metadata.find(cluster, NAMED[kind], name) if name else None
    if leading is None:
        return None
    uid = leading.facts.decode()
    keys.append((cluster, kind, uid))
    known = metadata.find(cluster, kind, uid)
    return known.facts if known is not None else None


def _with_facts(
    tail: dict[str, Any], container: dict[str, Any], facts: Facts, sources: Sources, tags: list[str]
) -> dict[str, Any]:
    """Return the tail with container, orchestrator and what contradicted them."""
    inspected, placed, own = facts.inspected, facts.placed, tail["tidewaiter"]
    about = dict(own.get("container", {}))
    made = dict(tail)
    claims = contradicted(container, tail.get("orchestrator", {}), inspected, facts.former, placed)
    if inspected is not None:
        marks = {name: value for name, value in container.get("labels", {}).items() if name not in claims.labels}
        container = dict(inspected.ecs)
        if marks or "labels" in container:
            container["labels"] = marks | container.get("labels", {})
        about |= {"engine": sources.engine, **inspected.own}
    if placed is not None:
        container |= placed.ecs
        about |= placed.own
        made["orchestrator"], made["kubernetes"] = placed.orchestrator, placed.kubernetes
    if container:
        made["container"] = container
    claimed = claims.added_to(own.get("claimed", {}))
    before = {"claimed": claimed} if claimed else {}
    rest = {name: value for name, value in own.items() if name not in ("claimed", "container")}
    made["tidewaiter"] = before | ({"container": about} if about else {}) | rest
    found = [IDENTITY_CONFLICT] if claims else []
    if (inspected is not None and inspected.is_cut) or (placed is not None and placed.is_cut):
        found.append(METADATA_CUT)
    together = list(dict.fromkeys([*tail.get("tags", ()), *found, *tags]))
    if together:
        made["tags"] = together
    return {name: made[name] for name in _TAIL_ORDER if name in made} | made


def _put_host(tail: dict[str, Any], facts: Facts, origin: Origin, settings: Settings) -> None:
    """Say which host it is: the operator's word, else the cluster's or the Engine's, else what the sender shows."""
    node = facts.placed.pod.spec.node_name if facts.placed is not None else ""
    engine = facts.host.name if facts.host is not None else ""
    name = settings.hosts.get(origin.peer) or node or engine or tail["host"]["name"]
    tail["host"] = {"name": name, **(host_fields(facts.host) if facts.host is not None else {})}
    tail["related"] = {"hosts": [name]}


Made = TypeVar("Made")


def _kept(make: Callable[..., Made]) -> Callable[..., Made]:
    """Keep what was made of an object."""
    small, large = lru_cache(FACTS_KEPT)(make), lru_cache(LARGE_KEPT)(make)

    def kept(facts: bytes, *more: Hashable) -> Made:
        return (small if len(facts) <= LARGE_BYTES else large)(facts, *more)

    return kept


@_kept
def _inspected(facts: bytes) -> Inspected:
    return msgspec.msgpack.decode(facts, type=Inspected)


@_kept
def _pod(facts: bytes) -> Pod:
    return msgspec.msgpack.decode(facts, type=Pod)


@_kept
def _placed(
    pod: bytes, which: tuple[str, str], owners: tuple[Owner, ...], namespace: bytes | None, cluster: str
) -> Placed:
    about = _pod(pod)
    return Placed(
        about, about.status_of(*which), owners, _object(namespace) if namespace is not None else None, cluster
    )


@_kept
def _object(facts: bytes) -> Object:
    return msgspec.msgpack.decode(facts, type=Object)


@_kept
def _node(facts: bytes) -> Node:
    return msgspec.msgpack.decode(facts, type=Node)


@_kept
def _host(facts: bytes) -> Host | None:
    return msgspec.msgpack.decode(facts, type=Host) if facts else None
