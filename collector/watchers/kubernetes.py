"""Kubernetes: pods, and what they belong to, learned from the API server by list and watch.

    inputs:
      cluster: {type: kubernetes, annotations: ["example.com/*"]}

Says of each pod what an analyst asks of a container's line: whose it is, where it runs, as what and with which rights.
Only reads (GET), and of each object only what `kubernetes_objects` names. Namespaces, nodes and replica sets that may
not be read are done without; without pods the cluster is `away`, and all goes on with what is known.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from collector import telemetry
from collector.config_kubernetes import KubernetesInputConfig, node_of
from collector.logs import get_logger
from collector.producer import JournalProducer, RejectedError
from collector.role import Context
from collector.watchers.kubernetes_access import Access, load_access
from collector.watchers.kubernetes_cluster import (
    AWAY,
    LEADING_ON,
    NAMESPACE,
    NODE,
    POD,
    AppendAll,
    Cluster,
    Known,
)
from collector.watchers.kubernetes_objects import Reducer
from collector.watchers.kubernetes_source import KubernetesSource, Pace

ENCODING: Final = "kubernetes-object"
"""Of the messages: JSON objects, each with its `kind` and the `cluster`.

    {"kind":"pod"|"namespace"|"replicaset"|"job"|"node", "object":{…}}  when one is found, and when it changed
    {"kind":"deleted", "of":KIND, "uid":…}                              when one was deleted
    {"kind":"snapshot", "of":KIND, "uids":[…]}                          after each list: others are gone
    {"kind":"away", "why":…}                                            once while no pods can be read
"""

SERVICE_ACCOUNT_PEER: Final = "service-account"
"""Whom the messages are of, where no kubeconfig says it."""

USUAL_PACE: Final = Pace()

logger = get_logger("watcher")


async def watch(name: str, options: KubernetesInputConfig, context: Context) -> None:
    """Watch a cluster until cancelled."""
    component = f"input {name}"

    def tell(reason: str) -> None:
        if reason:
            context.unhealthy(component, reason)
        else:
            context.healthy(component)

    socket = context.data_dir / "run" / "intake.sock"
    peer = options.kubeconfig or SERVICE_ACCOUNT_PEER
    count = telemetry.WATCHER_MESSAGES.labels(input=name).inc
    async with JournalProducer(
        socket, f"watcher-{name}", encoding=ENCODING, input_name=name, peer=peer, on_durable=count
    ) as producer:

        async def append_all(messages: Sequence[tuple[bytes, bytes]]) -> None:
            try:
                await producer.append_all(messages)
            except RejectedError as error:
                logger.error("message_rejected", input=name, reason=str(error))  # noqa: TRY400

        away = await producer.cursor() == AWAY
        await follow(name, options, append_all, tell, away=away)


async def follow(
    name: str,
    options: KubernetesInputConfig,
    append_all: AppendAll,
    tell: Callable[[str], None],
    *,
    pace: Pace = USUAL_PACE,
    away: bool = False,
) -> None:
    """Follow one cluster until cancelled. `tell` hears what is wrong, empty when nothing is; raises NodeError."""
    of_what = list(_of_what(node_of(options), options.namespaces or ()))
    cluster = Cluster(
        name,
        options.cluster or name,
        [known for known, _, _ in of_what],
        append_all=_in_turn(append_all),
        tell=tell,
        reducer=Reducer(options.annotations or ()),
        away=away,
    )

    def access() -> Access:
        return load_access(options.kubeconfig)

    made = [
        (known.kind, KubernetesSource(known, path, parameters, cluster=cluster, access=access, pace=pace))
        for known, path, parameters in of_what
    ]
    async with asyncio.TaskGroup() as tasks:
        owners = [source for kind, source in made if kind is not POD]
        for source in owners:
            tasks.create_task(source.run())
        # What pods belong to comes first, or cannot come: their documents need not wait for it.
        for source in owners:
            await source.tried.wait()
        for kind, source in made:
            if kind is POD:
                tasks.create_task(source.run())


def _in_turn(append_all: AppendAll) -> AppendAll:
    """One call at a time: sources say what they learn whenever they learn it."""
    turn = asyncio.Lock()

    async def append_in_turn(messages: Sequence[tuple[bytes, bytes]]) -> None:
        async with turn:
            await append_all(messages)

    return append_in_turn


def _of_what(node: str | None, namespaces: Sequence[str]) -> Iterator[tuple[Known, str, Mapping[str, str]]]:
    """Yield what is followed: the objects, their path and what selects them."""
    on_node = {"fieldSelector": f"spec.nodeName={node}"} if node else {}
    one_node = {"fieldSelector": f"metadata.name={node}"} if node else {}
    if node or not namespaces:
        # They are no namespace's: who may read but some has no right to them.
        yield Known(NODE, "nodes"), NODE.path, one_node
    if not namespaces:
        yield Known(NAMESPACE, "namespaces"), NAMESPACE.path, {}
        for kind in LEADING_ON:
            yield Known(kind, kind.plural), kind.path.format(""), {}
        yield Known(POD, "pods"), POD.path.format(""), on_node
    for namespace in dict.fromkeys(namespaces):
        within = f"/namespaces/{namespace}"
        only = {"fieldSelector": f"metadata.name={namespace}"}
        yield Known(NAMESPACE, f"namespace {namespace}"), NAMESPACE.path, only
        for kind in LEADING_ON:
            yield Known(kind, f"{kind.plural} in {namespace}"), kind.path.format(within), {}
        yield Known(POD, f"pods in {namespace}"), POD.path.format(within), on_node
