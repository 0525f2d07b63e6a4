"""What a watcher knows of one cluster, and what it says of it: a message where something changed, nothing twice.

Messages are JSON objects (encoding `kubernetes-object`); those of a page go together, for each append waits for a sync.
Of each object a digest of its reduced form stays, so that heartbeats, lists that are taken anew and changes of
what is not kept cost no message.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from collector import telemetry
from collector.logs import get_logger
from collector.watchers.kubernetes_objects import (
    KubernetesObject,
    Node,
    Pod,
    Reducer,
    UnusableObjectError,
    decoder,
    has_controller,
)

TOGETHER_BYTES: Final = 1 << 20
"""Messages that are appended together hold about so much at most."""

DIGEST_BYTES: Final = 16

OBJECTS_LIMIT: Final = 100_000
"""Objects of one source that are known; those beyond go without, and the input says so."""

LEFT_OUT_NAMED: Final = 1_000
"""Of those so many are named in snapshots: so nobody takes what is known for all that there is."""

AWAY: Final = b"away"
"""The producer's cursor while the cluster is away: who starts again then has told it already."""

AppendAll = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[None]]
"""Appends messages, each with the cursor beside it; returns when they are durable. One call at a time."""

logger = get_logger("watcher")


class Kind(NamedTuple):
    """A kind of objects that is watched. `path` has the place where a namespace goes."""

    name: str
    plural: str
    path: str
    type: type[KubernetesObject]
    whole: bool

    @property
    def accept(self) -> tuple[str, str]:
        """What is asked for, in lists and in watches: where metadata is all that is kept, no more of an object."""
        if self.whole:
            return ("application/json", "application/json")
        only = "application/json;as={};g=meta.k8s.io;v=v1,application/json"
        return (only.format("PartialObjectMetadataList"), only.format("PartialObjectMetadata"))


POD: Final = Kind("pod", "pods", "/api/v1{}/pods", Pod, whole=True)
NAMESPACE: Final = Kind("namespace", "namespaces", "/api/v1/namespaces", KubernetesObject, whole=False)
REPLICA_SET: Final = Kind("replicaset", "replicasets", "/apis/apps/v1{}/replicasets", KubernetesObject, whole=False)
JOB: Final = Kind("job", "jobs", "/apis/batch/v1{}/jobs", KubernetesObject, whole=False)
NODE: Final = Kind("node", "nodes", "/api/v1/nodes", Node, whole=True)


LEADING_ON: Final = (REPLICA_SET, JOB)
"""Kinds that are of interest for who owns them: a pod's deployment, or cron job."""


class Known:
    """The objects of one source: of one kind, and of one namespace or of all."""

    def __init__(self, kind: Kind, label: str) -> None:
        self.kind = kind
        self.label = label
        self.listed = False
        self.problem = ""
        self.left_out: set[str] = set()
        self._decode = decoder(kind.type).decode
        self._digests: dict[str, bytes] = {}

    @property
    def settled(self) -> bool:
        """Whether it was listed, or cannot be for now."""
        return self.listed or bool(self.problem)

    def __len__(self) -> int:
        return len(self._digests)

    def uids(self) -> list[str]:
        """Return what there is, as far as it is known or counted."""
        return [*self._digests, *self.left_out]

    def read(self, raw: msgspec.Raw) -> KubernetesObject:
        """Decode an object; raise UnusableObjectError."""
        try:
            found: KubernetesObject = self._decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnusableObjectError(str(error)) from error
        return found

    def is_news(self, uid: str, reduced: bytes) -> bool:
        """Remember an object; tell whether it was not known so."""
        digest = hashlib.blake2b(reduced, digest_size=DIGEST_BYTES).digest()
        before = self._digests.get(uid)
        if before is None and len(self._digests) >= OBJECTS_LIMIT:
            if len(self.left_out) < LEFT_OUT_NAMED:
                self.left_out.add(uid)
            return False
        self.left_out.discard(uid)
        self._digests[uid] = digest
        return before != digest

    def forget(self, uid: str) -> bool:
        """Forget an object; tell whether it was known."""
        self.left_out.discard(uid)
        return self._digests.pop(uid, None) is not None

    def keep_only(self, uids: set[str]) -> None:
        """Forget all others: they were not in the list."""
        self._digests = {uid: digest for uid, digest in self._digests.items() if uid in uids}
        self.left_out &= uids


class Cluster:
    """Turns what sources read into messages. `tell` hears what is wrong, empty when nothing is.

    `input_name` is for logs and metrics, `name` for messages; `away` says that it was when we last ran.
    """

    def __init__(
        self,
        input_name: str,
        name: str,
        sources: Sequence[Known],
        *,
        append_all: AppendAll,
        tell: Callable[[str], None],
        reducer: Reducer,
        away: bool = False,
    ) -> None:
        self.input_name = input_name
        self._name = name
        self._sources = sources
        self._append_all = append_all
        self._tell = tell
        self._reducer = reducer
        self._away = away
        self._told: str | None = None

    def object_message(self, known: Known, read: KubernetesObject) -> bytes | None:
        """Return the message of an object, none where it says nothing new; raise UnusableObjectError."""
        if known.kind in LEADING_ON and not has_controller(read):
            return None
        reduced = self._reducer.reduce(read)
        if not known.is_news(read.metadata.uid, reduced):
            return None
        return self._message(known.kind.name, object=msgspec.Raw(reduced))

    def deleted_message(self, known: Known, read: KubernetesObject) -> bytes | None:
        """Return the message that an object is gone, none where it was not known."""
        uid = read.metadata.uid
        return self._message("deleted", of=known.kind.name, uid=uid) if known.forget(uid) else None

    async def say(self, messages: Iterable[bytes]) -> None:
        """Append messages; return when they are durable."""
        due: list[tuple[bytes, bytes]] = []
        due_bytes = 0
        for message in messages:
            due.append((message, AWAY if self._away else b""))
            due_bytes += len(message)
            if due_bytes >= TOGETHER_BYTES:
                await self._append_all(due)
                due, due_bytes = [], 0
        if due:
            await self._append_all(due)

    async def listed(self, known: Known) -> None:
        """A source has its whole list: say what there is of its kind, as soon as each source of it has had its turn."""
        known.listed = True
        self.well(known)
        if known.kind is POD and self._away:
            self._away = False
            logger.info("cluster_back", input=self.input_name)
        await self._snapshot(known.kind)

    def well(self, known: Known) -> None:
        """A source is answered."""
        known.problem = ""
        self._judge()

    async def failing(self, known: Known, reason: str) -> None:
        """A source is not answered, again: where no pods can be read any more the cluster is away, which is told once.

        Then every list is taken anew, so that the snapshot behind it is the word that the cluster is back.
        """
        if not known.problem:
            logger.warning("cluster_not_read", input=self.input_name, of=known.label, reason=reason)
        others_waited = not known.settled
        known.problem = reason
        sources = self._of(known.kind)
        if not all(each.problem for each in sources):
            self._judge()
            if others_waited:
                await self._snapshot(known.kind)
            return
        for each in sources:
            each.listed = False
        self._judge()
        if known.kind is POD and not self._away:
            self._away = True
            await self.say([self._message("away", why=reason)])

    async def _snapshot(self, kind: Kind) -> None:
        """Say what there is of a kind; not before all its sources had their turn."""
        sources = self._of(kind)
        if not all(each.settled for each in sources):
            return
        uids = [uid for each in sources for uid in each.uids()]
        await self.say([self._message("snapshot", of=kind.name, uids=uids)])

    def _of(self, kind: Kind) -> Sequence[Known]:
        return [each for each in self._sources if each.kind is kind]

    def _judge(self) -> None:
        """Say how the input is, as soon as that is known."""
        objects, left_out = sum(map(len, self._sources)), sum(len(each.left_out) for each in self._sources)
        telemetry.WATCHER_OBJECTS.labels(input=self.input_name).set(objects)
        telemetry.WATCHER_LEFT_OUT.labels(input=self.input_name).set(left_out)
        telemetry.WATCHER_CONNECTED.labels(input=self.input_name).set(any(each.listed for each in self._of(POD)))
        problems = [f"{each.label}: {each.problem}" for each in self._sources if each.problem]
        problems += [
            f"{each.label}: {OBJECTS_LIMIT} are known, further ones go without: watch one node, or fewer namespaces"
            for each in self._sources
            if each.left_out and not each.problem
        ]
        reason = "; ".join(problems)
        if reason != self._told and (reason or all(each.settled for each in self._of(POD))):
            self._told = reason
            self._tell(reason)

    def _message(self, kind: str, **content: object) -> bytes:
        return msgspec.json.encode({"kind": kind, "cluster": self._name, **content})
