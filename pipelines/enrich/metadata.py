"""The table of what Engines and clusters said: part of a pipeline's state, bounded, undoable, in checkpoints.

What is kept of an object is what this program reads of it, encoded; what went away is kept for GONE_KEPT_NS, since its
last lines come late. Nothing here reads a clock: time is `State.waited_ns`, which is given.

Who made something of an entry (the chunk path of a stream's tail) hears by `changes` that it is not so any more.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pipelines.sections import Key, Section

OBJECTS_LIMIT: Final = 65_536
"""Containers, pods and what belongs to them, of all Engines and clusters; the one told of longest ago is forgotten."""

OBJECTS_BYTES_LIMIT: Final = 48 << 20

OBJECT_BYTES_LIMIT: Final = 2 << 20
"""A message that holds a larger one is refused: a dead letter."""

GONE_LIMIT: Final = 16_384
GONE_BYTES_LIMIT: Final = 16 << 20

GONE_KEPT_NS: Final = 900_000_000_000
"""How long what is known of a container is kept behind its end: 15 minutes."""

SOURCES_LIMIT: Final = 1024
SOURCES_BYTES_LIMIT: Final = 4 << 20

GIVEN_UP_LIMIT: Final = 16_384
"""Containers whose lines are not let wait any more; of those given up longest ago lines wait anew."""

GIVEN_UP_IN_FRAME_LIMIT: Final = 2 * GIVEN_UP_LIMIT
"""What may be added until the next frame begins, where the oldest go: within a frame none of them lets lines wait that
did not before."""

GIVEN_UP_BYTES_LIMIT: Final = GIVEN_UP_IN_FRAME_LIMIT * 2048
"""More than all of them can take: the names of sources are the operator's, and short."""

FORMER_LIMIT: Final = 16
"""So many former names of a container, or ids of a pod's containers, are known."""

ID_CHARACTERS: Final = 12
"""By so much of its id a container is found: the Engine's tag holds no more."""

CHANGES_LIMIT: Final = 16_384

CONTAINER: Final = "container"
POD: Final = "pod"
NAMESPACE: Final = "namespace"
NODE: Final = "node"
NAMED: Final = {NAMESPACE: "namespace named", NODE: "node named"}
"""The kind of entries by which an object is found that others refer to by its name."""

POD_NAMED: Final = "pod named"
"""The same of pods, which audit trails refer to by `NAMESPACE/NAME`: whoever has the name now."""


class Known(msgspec.Struct, frozen=True, array_like=True):
    """An object: what is known of it, encoded. `former` are its former names, or ids that lead to it.

    Of a pod's container it is the pod's uid, of a name the uid of what has it. `name` is a pod's, with its namespace.
    """

    facts: bytes
    former: tuple[str, ...] = ()
    name: str = ""

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        return len(self.facts) + len(self.name) + sum(len(each) + 64 for each in self.former)


class Gone(msgspec.Struct, frozen=True, array_like=True):
    """An object that is no more, since when (`State.waited_ns`)."""

    known: Known
    since_ns: int


class Source(msgspec.Struct, frozen=True, array_like=True):
    """An Engine or a cluster: what is known of its host, encoded, and its own name.

    `listed`: it has said all that it knows; `whole`: nothing of that was forgotten here. `away`: it does not answer.
    """

    host: bytes = b""
    name: str = ""
    listed: bool = False
    whole: bool = True
    away: bool = False


class Changes:
    """The keys of entries that changed, for who made something of them.

    `keys` only grows as long as `life` is the same object; with a new one everything may have changed.
    """

    def __init__(self) -> None:
        self.life = object()
        self.keys: list[Key] = []

    def note(self, key: Key) -> None:
        """Note that an entry changed."""
        if len(self.keys) >= CHANGES_LIMIT:
            self.renew()
        self.keys.append(key)

    def renew(self) -> None:
        """Say that anything may have changed."""
        self.life, self.keys = object(), []


class Metadata:
    """What is known, by the input that asks for it (`source`), kind and id; and for whom nobody waits any more."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.sources: Section[Source] = Section(
            Source,
            limit=SOURCES_LIMIT,
            limit_bytes=SOURCES_BYTES_LIMIT,
            cost=lambda source: len(source.host) + len(source.name),
        )
        self.objects: Section[Known] = Section(
            Known, limit=OBJECTS_LIMIT, limit_bytes=OBJECTS_BYTES_LIMIT, cost=lambda known: known.size_bytes
        )
        self.gone: Section[Gone] = Section(
            Gone, limit=GONE_LIMIT, limit_bytes=GONE_BYTES_LIMIT, cost=lambda gone: gone.known.size_bytes
        )
        self.given_up: Section[int] = Section(
            int, limit=GIVEN_UP_IN_FRAME_LIMIT, limit_bytes=GIVEN_UP_BYTES_LIMIT, cost=lambda _: 0
        )

    @property
    def sections(self) -> dict[str, Section[Any]]:
        """The sections of a state."""
        return {
            "metadata_sources": self.sources,
            "metadata": self.objects,
            "metadata_gone": self.gone,
            "metadata_given_up": self.given_up,
        }

    def source(self, name: str) -> Source:
        """Return what is known of an Engine or a cluster."""
        return self.sources.get((name,)) or Source()

    def find(self, source: str, kind: str, name: str) -> Known | None:
        """Return an object that is, or was not long ago."""
        key = (source, kind, name)
        known = self.objects.get(key)
        if known is None and (gone := self.gone.get(key)) is not None:
            return gone.known
        return known

    def entry(self, key: Key) -> object:
        """Return what stands under a key of an entry: the same object for as long as nothing changes."""
        return self.sources.get(key) if len(key) == 1 else self.find(*key)

    def change_source(self, name: str, source: Source) -> None:
        """Keep what is known of an Engine or a cluster."""
        if self.source(name) != source or self.sources.get((name,)) is None:
            self.sources.put((name,), source)
            self.changes.note((name,))

    def learn(self, source: str, kind: str, name: str, known: Known) -> None:
        """Keep an object, instead of what was known of it."""
        key = (source, kind, name)
        self.gone.take(key)
        if self.find(source, kind, name) != known:
            self.changes.note(key)
        for outdone, _ in self.objects.put(key, known):
            self.changes.note(outdone)
            self.change_source(outdone[0], msgspec.structs.replace(self.source(outdone[0]), whole=False))

    def forget(self, source: str, kind: str, name: str) -> None:
        """Drop an object at once."""
        key = (source, kind, name)
        if self.objects.take(key) is not None or self.gone.take(key) is not None:
            self.changes.note(key)

    def depart(self, source: str, kind: str, name: str, now_ns: int) -> None:
        """Keep an object that is no more for a while."""
        key = (source, kind, name)
        known = self.objects.take(key)
        if known is not None:
            for outdone, gone in self.gone.put(key, Gone(known, now_ns)):
                self._ended(outdone, gone)

    def names(self, source: str, kind: str) -> Iterator[str]:
        """Yield the names of all objects of a kind that are."""
        return (name for (owner, other, name), _ in self.objects.items() if (owner, other) == (source, kind))

    def give_up(self, source: str, container: str) -> None:
        """Let lines of a container go without; where too many are in one frame, only those that wait now do."""
        key = (source, container[:ID_CHARACTERS])
        if len(self.given_up) < GIVEN_UP_IN_FRAME_LIMIT:
            self.given_up.put(key, 1)

    def is_given_up(self, source: str, container: str) -> bool:
        """Tell whether lines of a container go without."""
        return self.given_up.get((source, container[:ID_CHARACTERS])) is not None

    def wait_again(self, source: str, container: str) -> None:
        """Take that back: it is known now."""
        self.given_up.take((source, container[:ID_CHARACTERS]))

    def expire(self, now_ns: int) -> None:
        """Drop what is gone for long; to be called where a frame begins, and there only."""
        ended = itertools.takewhile(lambda item: now_ns - item[1].since_ns >= GONE_KEPT_NS, self.gone.items())
        for key, gone in list(ended):
            self.gone.take(key)
            self._ended(key, gone)
        too_many = max(len(self.given_up) - GIVEN_UP_LIMIT, 0)
        for (source, container), _ in list(itertools.islice(self.given_up.items(), too_many)):
            self.given_up.take((source, container))
            self.changes.note((source, CONTAINER, container))

    def _ended(self, key: Key, gone: Gone) -> None:
        """See to what leads to an object that is not kept any more, and to none that has its name now."""
        source, kind, uid = key
        self.changes.note(key)
        if kind == CONTAINER:
            return
        leading = [(_LEADING[kind], name) for name in gone.known.former]
        leading += [(POD_NAMED, gone.known.name)] if gone.known.name else []
        for of, name in leading:
            known = self.find(source, of, name)
            if known is not None and known.facts == uid.encode():
                self.forget(source, of, name)


_LEADING: Final = {POD: CONTAINER, **NAMED}
"""The kind of entries that lead to one of a kind by what stands in `Known.former`."""
