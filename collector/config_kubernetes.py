"""Options of the input `kubernetes`: an API server that is asked what pods are (`collector.watchers.kubernetes`)."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from collector.config_values import PEER_RANGE, Unit
from collector.errors import TidewaiterError

ENVIRONMENT: Final = "env:"
"""Begins a `node` that stands in the environment. No node's name has a colon."""


EVERYBODY: Final = ("0.0.0.0/0", "::/0", "unix")

_label = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_subdomain = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NodeError(TidewaiterError):
    """The environment does not say which node this is."""

    exit_code = 2


def _read_namespace(text: str) -> str:
    if not _label.fullmatch(text):
        raise ValueError
    return text


def _read_node(text: str) -> str:
    if text.startswith(ENVIRONMENT):
        if not _variable.fullmatch(text.removeprefix(ENVIRONMENT)):
            raise ValueError
    elif not _subdomain.fullmatch(text):
        raise ValueError
    return text


NAMESPACE: Final = Unit("namespace", "shop", _read_namespace)
NODE: Final = Unit("node", "worker-1.example or env:NODE_NAME", _read_node)


class KubernetesInputConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="kubernetes", omit_defaults=True
):
    """A Kubernetes API server that is asked what pods are. Only GET is ever sent."""

    kubeconfig: Annotated[
        str | None,
        Meta(
            description="File that says how to reach the API server; its current context counts. Without, the pod's "
            "service account."
        ),
    ] = None

    cluster: Annotated[
        str | None,
        Meta(description="The cluster's name in `orchestrator.cluster.name`; without, the input's name."),
    ] = None

    peers: Annotated[
        list[Annotated[str, PEER_RANGE]],
        Meta(
            description="Senders whose pods this cluster runs: addresses, networks, and `unix` for those that "
            "send over a Unix socket. Built in: all."
        ),
    ] = msgspec.field(default_factory=lambda: list(EVERYBODY))

    node: Annotated[
        Annotated[str, NODE] | None,
        Meta(
            description="Only pods of this node: for one Tidewaiter per node. `env:NODE_NAME` reads the name from the "
            "environment."
        ),
    ] = None

    namespaces: Annotated[
        list[Annotated[str, NAMESPACE]] | None,
        Meta(description="Only these namespaces, each asked by itself: then a role in each suffices. Without, all."),
    ] = None

    annotations: Annotated[
        list[str] | None,
        Meta(
            description="Globs of the annotations that are kept, such as `example.com/*`; without, none. Never kept: "
            "`kubectl.kubernetes.io/last-applied-configuration`, which holds environments."
        ),
    ] = None


def node_of(options: KubernetesInputConfig) -> str | None:
    """Return the node's name; raise NodeError where the environment does not have it, or what is none."""
    if options.node is None or not options.node.startswith(ENVIRONMENT):
        return options.node
    variable = options.node.removeprefix(ENVIRONMENT)
    name = os.environ.get(variable, "")
    if not _subdomain.fullmatch(name):
        problem = "it is no name of a node" if name else "it is not set"
        raise NodeError(f"cannot read the node's name from the environment variable {variable}: {problem}")
    return name


def same_cluster(
    name: str, others: Mapping[str, KubernetesInputConfig], options: KubernetesInputConfig
) -> Iterator[str]:
    """Yield which earlier input has the same cluster's name: what one says of it the other would take back."""
    for other, its in others.items():
        if other == name:
            return
        if (its.cluster or other) == (options.cluster or name):
            yield f"{options.cluster or name} is the cluster of input {other} too: each has a name of its own"
