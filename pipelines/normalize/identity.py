"""Who wrote a line: container, image and orchestrator from what senders give, defended against what containers choose.

Docker's `fluentd` driver merges labels and environment over its own keys, so a label `container_id` replaces the real
id in the fields. The tag is rendered by the Engine: with the default `{{.ID}}`, or with the recommended
`{{.ImageName}}/{{.Name}}/{{.ID}}`, it holds the Engine's word, and that wins (P5); the other stands beside it as a
claim and the document is tagged `_identity_conflict`.

Where Fluent Bit reads a runtime's files, keys of an object that a container printed can stand among the record's. There
the id in the file's name, which is the tag, wins, else that of the `kubernetes` map that its filter puts in.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from parsers.flattened import labels, text_of

IDENTITY_CONFLICT: Final = "_identity_conflict"

SHORT_CHARACTERS: Final = 12
"""Of a container's id in its short form."""

_ENGINE_TAG = re.compile(r"(?:(?P<image>.+)/(?P<name>[^/]+)/)?(?P<id>[0-9a-f]{12}|[0-9a-f]{64})")
_FILE_TAG = re.compile(r"[-.](?P<id>[0-9a-f]{64})(?:-json)?\.log")
_CONTAINERS_TAG = re.compile(r"(?:^|[./])(?:containers|pods)[./]|[0-9a-f]{64}")
_OF_AGENTS: Final = frozenset(
    {"container_id", "container_name", "kubernetes", "docker", "CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME"}
)
"""Keys that senders put beside lines of containers alone, wherever they stand in a document."""

_OF_RUNTIMES: Final = frozenset({"stream", "partial"})
"""What only a container's line has under `tidewaiter.container`."""

_IMAGE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>\w+:[0-9a-f]{32,}))?")


def container_of(fields: dict[str, Any], tag: str, claims: dict[str, Any]) -> dict[str, Any]:
    """Take the container's keys out of `fields` and return ECS `container.*`.

    What contradicts the Engine's tag is put into `claims`.
    """
    container: dict[str, Any] = {}
    identifier, name = take_text(fields, "container_id"), take_text(fields, "container_name")
    pod = _pod_map(fields)
    ids = [each for each in (identifier, _text(pod, "docker_id")) if each]
    engine = _ENGINE_TAG.fullmatch(tag) if identifier is not None else None
    file = _FILE_TAG.search(tag) if ids and engine is None else None
    proven = (engine or file or {"id": _text(pod, "docker_id")})["id"]
    if proven:
        others = [each for each in ids if not _is_same(each, proven)]
        if others:
            claims["container"] = {"id": others[0]}
        identifier = max([proven, *(each for each in ids if _is_same(each, proven))], key=len)
    if name is not None:
        name = name.removeprefix("/")
        proven_name = engine["name"] if engine else _text(pod, "container_name")
        if proven_name and proven_name != name:
            claims.setdefault("container", {})["name"] = name
            name = proven_name
    _put(container, "id", identifier)
    _put(container, "name", name)
    if engine and engine["image"]:
        container["image"] = image_of(engine["image"])
    return container


def is_of_containers(tag: str) -> bool:
    """Tell whether a tag names a container or the file of a container's or a pod's log, as agents make tags of them."""
    return _CONTAINERS_TAG.search(tag) is not None


def is_contained(tail: Mapping[str, Any]) -> bool:
    """Tell whether a container wrote a line, as far as anything says so, be it no more than a trace of one."""
    own = tail["tidewaiter"]
    return (
        "container" in tail
        or "orchestrator" in tail
        or "container" in own.get("claimed", ())
        or not _OF_RUNTIMES.isdisjoint(own.get("container", ()))
        or not _OF_AGENTS.isdisjoint(own.get("fields", ()))
        or is_of_containers(own.get("tag", ""))
    )


def image_of(reference: str) -> dict[str, Any]:
    """Split an image reference into ECS `container.image.*`."""
    found = _IMAGE.fullmatch(reference)
    if not found:
        return {"name": reference}
    image: dict[str, Any] = {"name": found["name"]}
    if found["tag"]:
        image["tag"] = [found["tag"]]
    if found["digest"]:
        image["hash"] = {"all": [found["digest"]]}
    return image


def kubernetes_of(
    fields: dict[str, Any], container: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Take Fluent Bit's `kubernetes` map out of `fields`; return `orchestrator.*`, `kubernetes.*` and the node's name.

    Completes `container` where it is silent. Keys of the map that have no place stay in the fields.
    """
    given = _pod_map(fields)
    if not given:
        return {}, {}, None
    rest = dict(given)
    marks: dict[str, dict[str, str]] = {}
    resource: dict[str, Any] = {"type": "pod"}
    _put(resource, "name", take_text(rest, "pod_name"))
    _put(resource, "id", take_text(rest, "pod_id"))
    address = _address(rest.get("pod_ip"))
    if address:
        resource["ip"] = [address]
        del rest["pod_ip"]
    for key, field in (("labels", "label"), ("annotations", "annotation")):
        pairs = rest.get(key)
        if isinstance(pairs, dict):
            del rest[key]
            resource[field] = sorted(f"{name}:{text_of(value)[0]}" for name, value in pairs.items())
            marks[key] = labels(pairs)
    orchestrator: dict[str, Any] = {"type": "kubernetes"}
    _put(orchestrator, "namespace", take_text(rest, "namespace_name"))
    orchestrator["resource"] = resource
    name = given.get("container_name")
    _complete(container, rest)
    node = take_text(rest, "host")
    if rest:
        fields["kubernetes"] = rest
    else:
        del fields["kubernetes"]
    return orchestrator, _agents_names(orchestrator, name, node, marks), node


def _agents_names(
    orchestrator: dict[str, Any], container: Any, node: str | None, marks: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """Return the same as Elastic's agents name it, for dashboards that ask for that."""
    resource = orchestrator["resource"]
    pod = {"name": resource["name"]}
    _put(pod, "uid", resource.get("id"))
    _put(pod, "ip", next(iter(resource.get("ip", ())), None))
    made: dict[str, Any] = {"pod": pod}
    if node is not None:
        made["node"] = {"name": node}
    _put(made, "namespace", orchestrator.get("namespace"))
    if isinstance(container, str):
        made["container"] = {"name": text_of(container)[0]}
    return made | {key: found for key, found in marks.items() if found}


def driver_labels(fields: dict[str, Any]) -> dict[str, str]:
    """Take the labels and variables that Docker's driver was told to send: all further text in its flat fields."""
    keys = [key for key, value in fields.items() if isinstance(value, str)]
    return labels({key: fields.pop(key) for key in keys})


def take_text(fields: dict[str, Any], key: str) -> str | None:
    """Take a text out of `fields`; a value of another type stays where it is."""
    if not isinstance(fields.get(key), str):
        return None
    return text_of(fields.pop(key))[0]


def _pod_map(fields: dict[str, Any]) -> dict[str, Any]:
    """Return Fluent Bit's `kubernetes` map, empty where there is none that names a pod."""
    given = fields.get("kubernetes")
    return given if isinstance(given, dict) and isinstance(given.get("pod_name"), str) else {}


def _text(fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return text_of(value)[0] if isinstance(value, str) else None


def _is_same(identifier: str, other: str) -> bool:
    """Tell whether two ids are of one container: one may be shortened, as Docker does it."""
    short, whole = sorted((identifier, other), key=len)
    return whole == short or (whole.startswith(short) and len(short) >= SHORT_CHARACTERS)


def _complete(container: dict[str, Any], kubernetes: dict[str, Any]) -> None:
    for key, field in (("docker_id", "id"), ("container_name", "name")):
        value = take_text(kubernetes, key)
        if value is not None:
            container.setdefault(field, value)
    reference = take_text(kubernetes, "container_image")
    digest = take_text(kubernetes, "container_hash")
    if reference is not None:
        container.setdefault("image", image_of(reference))
    if digest is not None and "image" in container:
        container["image"].setdefault("hash", {"all": [digest.rpartition("@")[2]]})


def _address(value: Any) -> str | None:
    """Return an address in its canonical form."""
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    if value is not None:
        target[key] = value
