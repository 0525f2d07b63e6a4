"""The document of a Kubernetes audit event: Elastic's `kubernetes.audit_logs`, and on top of it ECS.

`kubernetes.audit` holds the event as Elastic's integration has it, the dots in names of annotations as underscores;
what a Secret or a token holds is left out (`parsers.kubernetes_requests`). Who asked is `user`, as whom
`user.effective`. Of `sourceIPs` only the last was seen by the API server, all others are what it was told: so
`source.ip` is the last that is no proxy of the operator's, and `network.forwarded_ip` the first where there are more.
"""

import shlex
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from parsers.facts import in_order
from parsers.flattened import labels
from parsers.kubernetes_audit import Event, ObjectRef, User
from parsers.kubernetes_facts import (
    ANONYMOUS,
    RBAC,
    WRITES,
    code_of,
    decision_of,
    facts_of,
    is_done,
    is_probe,
    is_refused,
)
from parsers.kubernetes_requests import (
    Command,
    annotations_without_secrets,
    body_of,
    command_of,
    containers_of,
    pod_spec,
)
from parsers.table import Parsed
from parsers.times import Instant, iso
from parsers.timestamps import rfc3339
from parsers.values import to_address

DATASET: Final = "kubernetes.audit_logs"

NAMES_KEPT: Final = 4096
"""So many names of annotations, addresses and seconds are kept as documents have them."""

WRITTEN_CHARACTERS: Final = 27
"""Of a time as API servers write it."""

COMMAND_CHARACTERS: Final = 8192
"""Of a longer command line `process.command_line` holds the beginning; `process.args` is whole."""

SAID_CHARACTERS: Final = 256
"""So much of what a client chose goes into a document's `message`."""

_VERBS: Final = {
    "get": "access", "list": "access", "watch": "access", "create": "creation", "update": "change", "patch": "change",
    "delete": "deletion", "deletecollection": "deletion", "head": "access", "options": "access", "proxy": "access",
    "post": "change", "put": "change",
}  # fmt: skip
_IAM: Final = frozenset({*RBAC, "serviceaccounts", "certificatesigningrequests"})
_CONFIGURATION: Final = frozenset({"configmaps", "apiservices", "customresourcedefinitions"})
_ENTERS: Final = frozenset({"exec", "attach"})
_SINGULAR: Final = {"pods": "pod", "nodes": "node", "services": "service", "namespaces": "namespace"}
"""Resources of which other documents speak too, by one word."""

_SECRET: Final = frozenset({("secrets", ""), ("serviceaccounts", "token"), ("tokenreviews", "")})
_METHODS: Final = {"bearer": "token", "basic": "password", "x509": "certificate", "access_token": "token"}
_ATTEMPTED: Final = "attempted: "

_read_iso: Final = iso("").read


def parsed_event(event: Event, *, is_proxy: Callable[[str], bool] = lambda _: False) -> Parsed:
    """Return what an event says, as a parser does; `is_proxy` tells the addresses of proxies that are believed."""
    path, _, query = event.uri.partition("?")
    about = event.about
    command = command_of(query) if about is not None and about.subresource in (*_ENTERS, "log") else None
    is_secret = about is not None and (about.resource, about.subresource) in _SECRET
    body = body_of(event.request_object, is_secret=is_secret)
    addresses, odd = _addresses(event.addresses) if event.addresses else ([], [])
    received, staged = instant(event.received), instant(event.staged)
    answered = body_of(event.response_object, is_secret=is_secret)
    audit = _audit(event, addresses, received, staged)
    if event.annotations:
        told = annotations_without_secrets(event.annotations, [body, answered], is_secret=is_secret)
        audit["annotations"] = _annotations(told)
    if event.kind:
        audit |= _filled(kind=event.kind, apiVersion=event.api_version)
    if body is not None:
        audit["requestObject"] = body
    if answered is not None:
        audit["responseObject"] = answered
    fields: dict[str, Any] = {"kubernetes": {"audit": audit}, **_whom(event), **_where(addresses, is_proxy)}
    if event.user_agent:
        fields["user_agent"] = {"original": event.user_agent}
    if about is not None:
        fields["orchestrator"] = _orchestrator(about)
    fields.update(_http(event, path, query))
    entered = about is not None and about.resource == "pods" and about.subresource in _ENTERS
    if command is not None and command.container:
        fields["container"] = {"name": command.container}
    if entered and command is not None and command.words:
        fields["process"] = _process(command, event.audit_id)
    image = _image(body) if body is not None and "spec" in body else ""
    if image:
        fields.setdefault("container", {})["image"] = {"name": image}
    return Parsed(
        dataset=DATASET,
        message=_sentence(event, command, path),
        event=_event(event, path, received, staged),
        fields=fields,
        time=staged or received,
        related=_related(addresses, event.user, event.impersonated),
        rest={"sourceIPs": odd} if odd else {},
        own=_own(event, command if entered else None, list(facts_of(event, command, body, answered, path=path))),
    )


def instant(text: str) -> Instant | None:
    """Read a time; API servers write six digits of a second and `Z`."""
    if (
        len(text) == WRITTEN_CHARACTERS
        and text[19] == "."
        and text[26] == "Z"
        and text[20:26].isascii()
        and text[20:26].isdigit()
    ):
        second = _second(text[:19])
        return (second, int(text[20:26]) * 1000) if second is not None else None
    return _read_iso(text, 0) if text else None


def _date(text: str, time: Instant) -> str:
    """Return a time as it came, where it came as API servers write it, else as our documents write times."""
    usual = len(text) == WRITTEN_CHARACTERS and text[10] == "T" and text.isascii()
    return text if usual else rfc3339(time[0] * 1_000_000_000 + time[1])


@lru_cache(NAMES_KEPT)
def _second(text: str) -> int | None:
    found = _read_iso(f"{text}Z", 0)
    return found[0] if found else None


_address: Final = lru_cache(NAMES_KEPT)(to_address)


def _addresses(given: list[str]) -> tuple[list[str], list[str]]:
    """Return the addresses in their one form, and what is none."""
    found = [(_address(each), each) for each in given]
    return [known for known, _ in found if known], [each for known, each in found if not known]


@lru_cache(NAMES_KEPT)
def _dotless(name: str) -> str:
    return next(iter(labels({name: ""})))


def _annotations(given: dict[str, str]) -> dict[str, str]:
    made = {_dotless(name): value for name, value in given.items()}
    return made if len(made) == len(given) else labels(given)


def _filled(**members: Any) -> dict[str, Any]:
    """Return those that there are."""
    return {name: value for name, value in members.items() if value}


def _audit(event: Event, addresses: list[str], received: Instant | None, staged: Instant | None) -> dict[str, Any]:
    """Return the event as Elastic's integration keeps it, without its objects and annotations."""
    audit: dict[str, Any] = {
        "level": event.level,
        "auditID": event.audit_id,
        "stage": event.stage,
        "requestURI": event.uri,
        "verb": event.verb,
    }
    if "" in audit.values():
        audit = _filled(**audit)
    for name, told in (
        ("user", event.user),
        ("impersonatedUser", event.impersonated),
        ("authenticationMetadata", event.authentication),
        ("objectRef", event.about),
        ("responseStatus", event.response),
    ):
        if told is not None and (found := msgspec.to_builtins(told)):
            audit[name] = found
    if addresses:
        audit["sourceIPs"] = addresses
    if event.user_agent:
        audit["userAgent"] = event.user_agent
    if received is not None:
        audit["requestReceivedTimestamp"] = _date(event.received, received)
    if staged is not None:
        audit["stageTimestamp"] = _date(event.staged, staged)
    return audit


def _whom(event: Event) -> dict[str, Any]:
    """Return who asked, and as whom."""
    made = _person(event.user)
    if event.impersonated is not None:
        made["effective"] = _person(event.impersonated)
    return {"user": made} if made else {}


def _person(user: User | None) -> dict[str, Any]:
    if user is None:
        return {}
    made: dict[str, Any] = {"name": user.username} if user.username else {}
    if user.uid:
        made["id"] = user.uid
    if user.groups:
        made["roles"] = user.groups
    return made


def _where(addresses: list[str], is_proxy: Callable[[str], bool]) -> dict[str, Any]:
    """Return where a request came from: what the API server saw, or a proxy that is believed."""
    if not addresses:
        return {}
    proven = next((each for each in reversed(addresses) if not is_proxy(each)), addresses[0])
    made: dict[str, Any] = {"source": {"ip": proven, "address": proven}, "client": {"ip": proven}}
    if len(addresses) > 1 and addresses[0] != proven:
        made["network"] = {"forwarded_ip": addresses[0]}
    return made


def _orchestrator(about: ObjectRef) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "kubernetes"}
    if about.api_version:
        made["api_version"] = about.api_version
    if about.namespace:
        made["namespace"] = about.namespace
    resource = {"type": _SINGULAR.get(about.resource, about.resource)} if about.resource else {}
    if about.name:
        resource["name"] = about.name
    if about.uid:
        resource["id"] = about.uid
    return {**made, "resource": resource} if resource else made


def _http(event: Event, path: str, query: str) -> dict[str, Any]:
    made: dict[str, Any] = {"http": {"request": {"id": event.audit_id}}}
    if code_of(event):
        made["http"]["response"] = {"status_code": code_of(event)}
    if event.uri:
        made["url"] = {"original": event.uri}
        if path:
            made["url"]["path"] = path
        if query:
            made["url"]["query"] = query
    return made


def _process(command: Command, audit_id: str) -> dict[str, Any]:
    words = list(command.words)
    return {
        "args": words,
        "args_count": len(words),
        "command_line": shlex.join(words)[:COMMAND_CHARACTERS],
        "entity_id": audit_id,
        "interactive": command.tty,
    }


def _image(body: dict[str, Any]) -> str:
    """Return the image of the first container that a request's object is about, as it is asked for."""
    images = (each.get("image") for each in containers_of(pod_spec(body)))
    return next((image for image in images if isinstance(image, str) and image), "")


def _own(event: Event, command: Command | None, facts: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"actor": actor_of(event)}
    if facts:
        made["facts"] = in_order(iter(facts))
    if command is not None:
        made["exec"] = {"tty": command.tty, "stdin": command.stdin}
    method = _method(event)
    if method:
        made["auth"] = {"method": method}
    return made


def actor_of(event: Event) -> str:
    """Return what kind of account asked: `person` is whoever is none of the cluster's own."""
    name = event.user.username if event.user is not None else ""
    if name in ("", ANONYMOUS):
        return "anonymous"
    if name.startswith("system:serviceaccount:"):
        return "service_account"
    if name.startswith("system:node:"):
        return "node"
    return "system" if name.startswith("system:") and name != "system:admin" else "person"


def _method(event: Event) -> str:
    """Return by what somebody tried to prove who he is, where that failed."""
    message = event.response.message if event.response is not None else ""
    _, found, tried = message.partition(_ATTEMPTED)
    return _METHODS.get(tried.strip().partition(",")[0], "") if found and is_refused(event) else ""


def _event(event: Event, path: str, received: Instant | None, staged: Instant | None) -> dict[str, Any]:
    categories, types = _kinds(event, path)
    made: dict[str, Any] = {"category": categories, "type": types, "provider": "kube-apiserver"}
    if event.verb:
        made["action"] = event.verb
    outcome = _outcome(event)
    if outcome:
        made["outcome"] = outcome
    if event.stage:
        made["code"] = event.stage
    answer = event.response
    if answer is not None and outcome == "failure" and (answer.reason or answer.message):
        made["reason"] = answer.reason or answer.message[:SAID_CHARACTERS]
    if received and staged and event.stage in ("ResponseComplete", "Panic"):
        duration = (staged[0] - received[0]) * 1_000_000_000 + staged[1] - received[1]
        if duration >= 0:
            made["duration"] = duration
    return made


def _outcome(event: Event) -> str:
    """Return what became of a request: its status says it, else the decision. What was let through may fail yet."""
    if event.stage == "Panic" or code_of(event) >= 400:
        return "failure"
    decided = {"allow": "success", "forbid": "failure"}.get(decision_of(event), "")
    return decided or ("success" if code_of(event) else "")


def _kinds(event: Event, path: str) -> tuple[list[str], list[str]]:
    """Return `event.category` and `event.type`."""
    refused = is_refused(event)
    kind = _VERBS.get(event.verb, "info")
    categories, types = ["api"], [kind]
    about = event.about
    if refused and not _is_routine(event, path):
        categories.append("authentication")
        types.append("info")
    if about is not None:
        more, kinds = _kinds_of_resource(about, event)
        categories += more
        types += kinds
    if refused:
        types.append("denied")
    elif decision_of(event) == "allow" and code_of(event) not in (401, 403):
        types.append("allowed")
    return categories, list(dict.fromkeys(types))


def _is_routine(event: Event, path: str) -> bool:
    """Tell whether a refusal is no attempt to get in: a probe's, or a known part's of the cluster that may not."""
    return is_probe(path) or (code_of(event) != 401 and actor_of(event) in ("node", "system"))


def _kinds_of_resource(about: ObjectRef, event: Event) -> tuple[list[str], list[str]]:
    resource, writes = about.resource, event.verb in WRITES
    if resource == "pods" and about.subresource in _ENTERS:
        stage = {"ResponseStarted": "start", "ResponseComplete": "end"}[event.stage] if is_done(event) else "info"
        return ["process" if about.subresource == "exec" else "session"], [stage]
    if resource == "pods" and about.subresource == "portforward":
        return ["network"], ["connection"]
    if writes and resource in _IAM:
        return ["iam"], ["admin"]
    if resource in _CONFIGURATION or about.api_group == "admissionregistration.k8s.io":
        return ["configuration"], []
    return [], []


def _related(addresses: list[str], *users: User | None) -> dict[str, list[str]]:
    made = {"ip": list(dict.fromkeys(addresses))} if addresses else {}
    if names := dict.fromkeys(user.username for user in users if user is not None and user.username):
        made["user"] = list(names)
    return made


def _sentence(event: Event, command: Command | None, path: str) -> str:
    """Return one sentence: who did what to what, and what became of it."""
    who = (event.user.username if event.user is not None else "") or "somebody unknown"
    if event.impersonated is not None:
        who = f"{who} as {event.impersonated.username[:SAID_CHARACTERS]}"
    about, words = event.about, ""
    if about is None:
        what = path[:SAID_CHARACTERS]
    else:
        kind = f"{about.resource}/{about.subresource}" if about.subresource else about.resource
        what = " ".join(filter(None, (kind, "/".join(filter(None, (about.namespace, about.name))))))
        if command is not None and about.subresource in _ENTERS:
            words = f" ({command.container})" if command.container else ""
            words += f": {shlex.join(command.words)[:SAID_CHARACTERS]}" if command.words else ""
    code = code_of(event)
    became = f"{code} {event.response.reason}".strip() if code and event.response is not None else event.stage
    return f"{who[:SAID_CHARACTERS]} {event.verb or '?'} {what}{words}: {became}"
