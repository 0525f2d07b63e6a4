"""What is worth knowing of a request to a Kubernetes API server, as facts (`parsers.facts`).

They say what was done: a request that was refused, or has only been received, did nothing yet.
"""

from collections.abc import Iterator
from typing import Any, Final

from parsers.facts import Command as Process
from parsers.facts import command_facts
from parsers.kubernetes_audit import Event, ObjectRef
from parsers.kubernetes_requests import Command, is_privileged, pod_spec, shares_host

ANONYMOUS: Final = "system:anonymous"
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
READS: Final = frozenset({"get", "list", "watch"})
RBAC: Final = frozenset({"roles", "clusterroles", "rolebindings", "clusterrolebindings"})
RBAC_GROUP: Final = "rbac.authorization.k8s.io"
ADMISSION_GROUP: Final = "admissionregistration.k8s.io"
PROBED: Final = ("/healthz", "/livez", "/readyz")
"""Paths that load balancers, kubelets and monitors ask, without credentials as a rule."""


def is_probe(path: str) -> bool:
    """Tell whether a request asks how the API server is, as machines do again and again."""
    return path.startswith(PROBED) and path.partition("z")[2][:1] in ("", "/")


def is_refused(event: Event) -> bool:
    """Tell whether a request was not let through: by its decision, else by its status.

    Of one that was let through a status of 403 is the word of admission, of a quota, or of whom it was passed on to.
    """
    decision = decision_of(event)
    return decision == "forbid" or (not decision and code_of(event) in (401, 403))


def code_of(event: Event) -> int:
    """Return the HTTP status, 0 where there is none yet."""
    return event.response.code if event.response is not None else 0


def decision_of(event: Event) -> str:
    """Return what authorisation decided: `allow`, `forbid`, or nothing where it was not asked."""
    return (event.annotations or {}).get("authorization.k8s.io/decision", "")


def is_done(event: Event) -> bool:
    """Tell whether a request did something, as far as this event knows."""
    return event.stage in ("ResponseStarted", "ResponseComplete") and not is_refused(event) and code_of(event) < 400


def facts_of(
    event: Event, command: Command | None, body: dict[str, Any] | None, answered: dict[str, Any] | None, *, path: str
) -> Iterator[str]:
    """Yield the facts of an event; `command` is what an exec says, of request and response these are the objects."""
    if is_probe(path):
        yield "probe"
    elif event.user is not None and event.user.username == ANONYMOUS:
        yield "anonymous"
    if event.impersonated is not None:
        yield "impersonated"
    if is_refused(event) and code_of(event) != 401:
        yield "forbidden"
    if is_done(event) and event.about is not None:
        made = answered if body is not None and _patches_spec(body) else body
        yield from _facts_of_resource(event.about, event.verb, made)
        if command is not None and event.about.resource == "pods" and event.about.subresource == "exec":
            yield from command_facts(Process(command.words, tty=command.tty))


def _patches_spec(body: dict[str, Any]) -> bool:
    """Tell whether a request's object is a JSON patch (RFC 6902) of a specification, which only the response shows."""
    steps = body.get("patch")
    if not isinstance(steps, list):
        return False
    paths = [step.get("path") for step in steps if isinstance(step, dict)]
    return any(path == "" or (isinstance(path, str) and path.startswith("/spec")) for path in paths)


def _facts_of_resource(about: ObjectRef, verb: str, body: dict[str, Any] | None) -> Iterator[str]:
    resource, subresource, group = about.resource, about.subresource, about.api_group
    if resource == "secrets" and verb in READS:
        yield "secrets_read"
    if resource == "serviceaccounts" and subresource == "token" and verb == "create":
        yield "token_issued"
    if group == RBAC_GROUP and resource in RBAC and verb in WRITES:
        yield "rbac_changed"
    if group == ADMISSION_GROUP and verb in WRITES:
        yield "admission_changed"
    if resource == "nodes" and subresource == "proxy":
        yield "node_proxy"
    if resource == "pods" and subresource == "attach":
        yield "attach"
    if resource == "pods" and subresource == "portforward":
        yield "port_forward"
    if resource == "pods" and subresource == "ephemeralcontainers" and verb in WRITES:
        yield "debug_container"
    if body is not None and "spec" in body and verb in WRITES:
        spec = pod_spec(body)
        if is_privileged(spec):
            yield "pod_privileged"
        if shares_host(spec):
            yield "pod_host_namespace"
