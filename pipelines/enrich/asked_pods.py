"""An audit event of exec, attach or port-forward gets what its cluster says of the pod, as that pod's lines have it.

An API server names a pod, and perhaps a container of it; the Engine that runs it names an id. With the id on both, the
same act that two trails tell can be told to be the same. Whose pod it is says the input `kubernetes` that asks the
cluster: the one whose cluster has the name that the operator gives to the events' input, else the one that speaks for
the sender. Nothing is waited for, and of a pod that is not known, or that began only when the request was made already
(another one of the same name), nothing is said.
"""

from typing import Any, Final

import msgspec

from parsers.kubernetes_audit_document import DATASET, instant
from parsers.table import Parsed
from pipelines.enrich.bounds import METADATA_CUT
from pipelines.enrich.describe import placed_in, pod_named
from pipelines.enrich.engines import sources_of
from pipelines.enrich.kubernetes import ContainerStatus, Pod
from pipelines.enrich.metadata import Metadata
from pipelines.frame import Origin
from pipelines.normalize.container import Line
from pipelines.settings import Audit, Settings

ENTERING: Final = frozenset({"exec", "attach", "portforward"})
"""Subresources of a pod that are somebody's way into it."""

IN_CONTAINER: Final = frozenset({"exec", "attach"})
"""Those that are into one of its containers."""

NONE: Final = Audit()


def with_pod(parsed: Parsed, line: Line, origin: Origin, settings: Settings, metadata: Metadata) -> Line:
    """Return a line of an audit event with what is known of the pod that it is about, where it tells of an entry."""
    if parsed.dataset != DATASET:
        return line
    audit = parsed.fields["kubernetes"]["audit"]
    about = audit.get("objectRef")
    if not about or about.get("resource") != "pods" or about.get("subresource") not in ENTERING:
        return line
    cluster = cluster_of(origin, settings, metadata)
    found = pod_named(cluster, f"{about.get('namespace', '')}/{about.get('name', '')}", metadata) if cluster else None
    asked_at = audit.get("requestReceivedTimestamp") or audit.get("stageTimestamp", "")
    if found is None or not _may_be_it(found[0], about.get("uid", ""), asked_at):
        return line
    pod, facts = found
    which = ("", "")
    if about["subresource"] in IN_CONTAINER:
        status = _asked_container(pod, parsed.fields.get("container", {}).get("name", ""))
        if status is not None and _was_there(status, asked_at):
            which = (status.id, status.name)
    placed = placed_in(facts, cluster, which, metadata)
    tail = dict(line.tail)
    _put(tail, "container", placed.ecs)
    _put(tail, "orchestrator", placed.orchestrator)
    _put(tail, "kubernetes", placed.kubernetes)
    own = tail["tidewaiter"]
    tail["tidewaiter"] = {**own, **({"container": {**placed.own, **own.get("container", {})}} if placed.own else {})}
    if placed.is_cut:
        tail["tags"] = list(dict.fromkeys([*tail.get("tags", ()), METADATA_CUT]))
    return msgspec.structs.replace(line, tail=tail)


def cluster_of(origin: Origin, settings: Settings, metadata: Metadata) -> str:
    """Return the input that asks the cluster of a sender of audit events, empty where none does."""
    speaking = sources_of(settings.engines, origin.peer).cluster if settings.engines else ""
    named = settings.audits.get(origin.input, NONE).cluster
    if not named or (speaking and metadata.source(speaking).name in ("", named)):
        return speaking
    clusters = (each.name for each in settings.engines if each.kind == "kubernetes")
    return next((each for each in clusters if metadata.source(each).name == named), "")


def _may_be_it(pod: Pod, uid: str, asked_at: str) -> bool:
    """Tell whether a pod was there when it was asked for: one of its containers ran by then, or none ran yet."""
    if uid not in ("", pod.metadata.uid):
        return False
    containers = list(pod.containers)
    return not containers or any(_was_there(each, asked_at) for each in containers)


def _was_there(status: ContainerStatus, asked_at: str) -> bool:
    state = status.state
    ran = (state.running or state.terminated) if state is not None else None
    began, asked = instant((ran.started_at or "") if ran is not None else ""), instant(asked_at)
    return began is None or asked is None or began <= asked


def _asked_container(pod: Pod, name: str) -> ContainerStatus | None:
    """Return the container that a request names; of one that names none, the only one (as API servers choose)."""
    if not name:
        containers = pod.spec.containers or ()
        name = containers[0].name if len(containers) == 1 else ""
    return next((each for each in pod.containers if each.name == name), None) if name else None


def _put(tail: dict[str, Any], name: str, known: dict[str, Any]) -> None:
    """Put what is known below what the tail says already."""
    if known:
        said = tail.get(name, {})
        tail[name] = {**known, **said}
