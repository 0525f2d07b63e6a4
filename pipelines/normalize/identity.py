"""Who wrote a line: container, image and orchestrator from what senders give, defended against what containers choose.

Docker's `fluentd` driver merges labels and environment over its own keys, so a label `container_id` replaces the real
id in the fields. The tag is rendered by the Engine: with the default `{{.ID}}`, or with the recommended
`{{.ImageName}}/{{.Name}}/{{.ID}}`, it holds the Engine's word, and that wins (P5); the other stands beside it as a
claim and the document is tagged `_identity_conflict`.
"""

import ipaddress
import re
from typing import Any, Final

from parsers.flattened import labels, text_of

IDENTITY_CONFLICT: Final = "_identity_conflict"

_ENGINE_TAG = re.compile(r"(?:(?P<image>.+)/(?P<name>[^/]+)/)?(?P<id>[0-9a-f]{12}|[0-9a-f]{64})")
_IMAGE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>\w+:[0-9a-f]{32,}))?")


def container_of(fields: dict[str, Any], tag: str, claims: dict[str, Any]) -> dict[str, Any]:
    """Take the container's keys out of `fields` and return ECS `container.*`.

    What contradicts the Engine's tag is put into `claims`.
    """
    container: dict[str, Any] = {}
    identifier, name = take_text(fields, "container_id"), take_text(fields, "container_name")
    engine = _ENGINE_TAG.fullmatch(tag) if identifier is not None else None
    if name is not None:
        name = name.removeprefix("/")
    image = None
    if engine and identifier is not None:
        image = engine["image"]
        if not identifier.startswith(engine["id"]):
            claims["container"] = {"id": identifier}
            identifier = engine["id"]
        if engine["name"] and name is not None and engine["name"] != name:
            claims.setdefault("container", {})["name"] = name
            name = engine["name"]
    _put(container, "id", identifier)
    _put(container, "name", name)
    if image:
        container["image"] = image_of(image)
    return container


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


def kubernetes_of(fields: dict[str, Any], container: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Take Fluent Bit's `kubernetes` map out of `fields`; return `orchestrator.*` and the node's name.

    Completes `container` where it is silent. Keys of the map that have no place stay in the fields.
    """
    given = fields.get("kubernetes")
    if not isinstance(given, dict) or not isinstance(given.get("pod_name"), str):
        return {}, None
    rest = dict(given)
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
    orchestrator: dict[str, Any] = {"type": "kubernetes"}
    _put(orchestrator, "namespace", take_text(rest, "namespace_name"))
    orchestrator["resource"] = resource
    _complete(container, rest)
    node = take_text(rest, "host")
    if rest:
        fields["kubernetes"] = rest
    else:
        del fields["kubernetes"]
    return orchestrator, node


def driver_labels(fields: dict[str, Any]) -> dict[str, str]:
    """Take the labels and variables that Docker's driver was told to send: all further text in its flat fields."""
    keys = [key for key, value in fields.items() if isinstance(value, str)]
    return labels({key: fields.pop(key) for key in keys})


def take_text(fields: dict[str, Any], key: str) -> str | None:
    """Take a text out of `fields`; a value of another type stays where it is."""
    if not isinstance(fields.get(key), str):
        return None
    return text_of(fields.pop(key))[0]


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
