"""What watchers append, and what it changes in the table: encodings `docker-inspect` and `kubernetes-object`.

A message is JSON objects, one a line; `kind` says of each what it is. The input that it came under names the Engine or
cluster. A message of which an object is not as it should be changes nothing.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from pipelines.enrich.docker import Container, Host, Image, Inspected
from pipelines.enrich.kubernetes import OWNED_OWNERS, Node, Object, Pod
from pipelines.enrich.metadata import (
    CONTAINER,
    FORMER_LIMIT,
    ID_CHARACTERS,
    NAMED,
    NAMESPACE,
    NODE,
    OBJECT_BYTES_LIMIT,
    POD,
    POD_NAMED,
    Known,
    Metadata,
)

DOCKER: Final = "docker-inspect"
KUBERNETES: Final = "kubernetes-object"
ENCODINGS: Final = (DOCKER, KUBERNETES)

EVERYTHING: Final = ""
"""Stands for all containers of an Engine or cluster."""

LABELS_KEY: Final = "Config.Labels"
"""What a watcher says that it cut where it left labels out or made them shorter."""

SHOWN_KEYS: Final = (LABELS_KEY, "Mounts", "NetworkSettings", "HostConfig", "Config.User", "Config.Image", "Name")
"""The same of what documents show."""

KINDS: Final = (POD, NAMESPACE, NODE, *OWNED_OWNERS.values())
"""What is kept of a cluster; of other kinds messages say nothing that anyone asks for."""

Id = Annotated[str, msgspec.Meta(min_length=ID_CHARACTERS)]

_facts: Final = msgspec.msgpack.Encoder().encode
_lines: Final = msgspec.json.Decoder(msgspec.Raw).decode_lines


class Learned(NamedTuple):
    """Whose lines need not wait any more, now that this was said: containers of this source, or EVERYTHING."""

    source: str
    containers: tuple[str, ...] = ()


class _Said(msgspec.Struct):
    """Of which input, and when (`State.waited_ns`)."""

    metadata: Metadata
    source: str
    now_ns: int


class _Kind(msgspec.Struct):
    kind: str


class _Engine(msgspec.Struct):
    engine: str = ""
    host: Host = Host()

    def take(self, said: _Said) -> Iterable[str]:
        known = said.metadata.source(said.source)
        about = msgspec.structs.replace(known, host=_facts(self.host), name=self.engine, away=False)
        said.metadata.change_source(said.source, about)
        return ()


class _Container(msgspec.Struct):
    container: Container
    image: Image | None = None
    cut: list[str] = []

    def take(self, said: _Said) -> Iterable[str]:
        metadata, source = said.metadata, said.source
        whole = self.container.host_config is not None and LABELS_KEY not in self.cut
        cut = any(key.startswith(SHOWN_KEYS) for key in self.cut)
        inspected = Inspected(self.container, self.image or Image(), whole, cut)
        identifier = self.container.id[:ID_CHARACTERS]
        known = metadata.find(source, CONTAINER, identifier)
        before = msgspec.msgpack.decode(known.facts, type=Inspected) if known is not None else None
        former = known.former if known is not None else ()
        if before is not None and before.name != inspected.name:
            former = (*(each for each in former if each != before.name), before.name)[-FORMER_LIMIT:]
        # Of one that was removed before it could be asked for little is said: no reason to forget what was.
        if before is not None and before.container.host_config and not self.container.host_config:
            inspected = before
        metadata.learn(source, CONTAINER, identifier, Known(_facts(inspected), former))
        metadata.wait_again(source, identifier)
        return (identifier,)


class _Gone(msgspec.Struct):
    id: Id

    def take(self, said: _Said) -> Iterable[str]:
        said.metadata.depart(said.source, CONTAINER, self.id[:ID_CHARACTERS], said.now_ns)
        return ()


class _Snapshot(msgspec.Struct):
    ids: list[Id]

    def take(self, said: _Said) -> Iterable[str]:
        _keep_only(said, CONTAINER, {each[:ID_CHARACTERS] for each in self.ids})
        return ()


class _Away(msgspec.Struct):
    def take(self, said: _Said) -> Iterable[str]:
        known = said.metadata.source(said.source)
        said.metadata.change_source(said.source, msgspec.structs.replace(known, away=True))
        return (EVERYTHING,)


class _Pod(msgspec.Struct):
    object: Pod
    cluster: str = ""

    def take(self, said: _Said) -> Iterable[str]:
        metadata, source, uid = said.metadata, said.source, self.object.metadata.uid
        _answers(said, self.cluster)
        before = metadata.find(source, POD, uid)
        now = [each.id[:ID_CHARACTERS] for each in self.object.containers]
        earlier = [each for each in (before.former if before is not None else ()) if each not in now]
        leading = list(dict.fromkeys([*earlier, *now]))
        for name in leading[:-FORMER_LIMIT]:
            metadata.forget(source, CONTAINER, name)
        leading = leading[-FORMER_LIMIT:]
        about = self.object.metadata
        name = f"{about.namespace}/{about.name}" if about.name else ""
        metadata.learn(source, POD, uid, Known(_facts(self.object), tuple(leading), name))
        if name:
            metadata.learn(source, POD_NAMED, name, Known(uid.encode()))
        for name in leading:
            metadata.learn(source, CONTAINER, name, Known(uid.encode()))
            metadata.wait_again(source, name)
        return leading


class _Object(msgspec.Struct):
    object: Object
    cluster: str = ""

    def take_as(self, kind: str, said: _Said) -> Iterable[str]:
        _answers(said, self.cluster)
        said.metadata.learn(said.source, kind, self.object.metadata.uid, Known(_facts(self.object)))
        return ()


class _ReplicaSet(_Object):
    def take(self, said: _Said) -> Iterable[str]:
        return self.take_as(OWNED_OWNERS["ReplicaSet"], said)


class _Job(_Object):
    def take(self, said: _Said) -> Iterable[str]:
        return self.take_as(OWNED_OWNERS["Job"], said)


class _Namespace(msgspec.Struct):
    object: Object
    cluster: str = ""

    def take(self, said: _Said) -> Iterable[str]:
        return _learn_named(said, NAMESPACE, self.object, self.cluster)


class _Node(msgspec.Struct):
    object: Node
    cluster: str = ""

    def take(self, said: _Said) -> Iterable[str]:
        return _learn_named(said, NODE, self.object, self.cluster)


class _Deleted(msgspec.Struct):
    of: str
    uid: str

    def take(self, said: _Said) -> Iterable[str]:
        if self.of in KINDS:
            said.metadata.depart(said.source, self.of, self.uid, said.now_ns)
        return ()


class _Uids(msgspec.Struct):
    of: str
    uids: list[str]
    cluster: str = ""

    def take(self, said: _Said) -> Iterable[str]:
        _answers(said, self.cluster)
        if self.of in KINDS:
            _keep_only(said, self.of, set(self.uids))
        return ()


class _Other(msgspec.Struct):
    def take(self, _: _Said) -> Iterable[str]:
        return ()


_KINDS: Final[dict[str, dict[str, Any]]] = {
    DOCKER: {"engine": _Engine, "container": _Container, "gone": _Gone, "snapshot": _Snapshot, "away": _Away},
    KUBERNETES: {
        POD: _Pod,
        NAMESPACE: _Namespace,
        NODE: _Node,
        OWNED_OWNERS["ReplicaSet"]: _ReplicaSet,
        OWNED_OWNERS["Job"]: _Job,
        "deleted": _Deleted,
        "snapshot": _Uids,
        "away": _Away,
    },
}


def learn(metadata: Metadata, encoding: str, source: str, payload: memoryview, now_ns: int) -> Learned:
    """Take in a message; raise msgspec.DecodeError, ValueError or RecursionError for one that is none.

    `now_ns` is the state's `waited_ns`.
    """
    takes = [_read(encoding, line) for line in _lines(payload)]
    said = _Said(metadata, source, now_ns)
    return Learned(source, tuple(dict.fromkeys(name for take in takes for name in take(said))))


def _read(encoding: str, line: msgspec.Raw) -> Callable[[_Said], Iterable[str]]:
    kind = msgspec.json.decode(line, type=_Kind).kind
    if len(line) > OBJECT_BYTES_LIMIT and kind != "snapshot":
        raise ValueError(f"an object of {len(line)} bytes, and one may have {OBJECT_BYTES_LIMIT}")
    message = msgspec.json.decode(line, type=_KINDS[encoding].get(kind, _Other))
    take: Callable[[_Said], Iterable[str]] = message.take
    return take


def _learn_named(said: _Said, kind: str, about: Object | Node, cluster: str) -> Iterable[str]:
    """Keep an object that others refer to by its name."""
    _answers(said, cluster)
    name, uid = about.metadata.name, about.metadata.uid
    said.metadata.learn(said.source, kind, uid, Known(_facts(about), (name,)))
    said.metadata.learn(said.source, NAMED[kind], name, Known(uid.encode()))
    return ()


def _answers(said: _Said, cluster: str) -> None:
    """Note a cluster's name, and that it answers."""
    known = said.metadata.source(said.source)
    said.metadata.change_source(said.source, msgspec.structs.replace(known, name=cluster, away=False))


def _keep_only(said: _Said, kind: str, names: set[str]) -> None:
    """Let go of all objects that a list does not name; of containers and pods it says that these are all."""
    metadata, source = said.metadata, said.source
    present = set(metadata.names(source, kind))
    for name in sorted(present - names):
        metadata.depart(source, kind, name, said.now_ns)
    if kind in (CONTAINER, POD):
        known = metadata.source(source)
        about = msgspec.structs.replace(known, listed=True, whole=names <= present, away=False)
        metadata.change_source(source, about)
