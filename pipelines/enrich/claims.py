"""What a record claims of its container that its Engine or cluster contradicts: kept beside their word, and a finding.

Not a contradiction: a name that the container had before (Docker's driver goes on sending it after a rename), an image
without its registry or its tag, and a variable of the container's environment, sent among labels.
"""

from typing import Any

import msgspec

from parsers.flattened import key_text, labels
from pipelines.enrich.docker import Inspected
from pipelines.enrich.kubernetes import Placed
from pipelines.normalize.identity import image_of

_DEFAULT_REGISTRY = ("docker.io/", "library/")


class Claims(msgspec.Struct):
    """Contradicted claims: about the container (its labels apart) and about its pod."""

    container: dict[str, Any]
    labels: dict[str, str]
    orchestrator: dict[str, Any]

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.container or self.labels or self.orchestrator)

    def added_to(self, claimed: dict[str, Any]) -> dict[str, Any]:
        """Return `tidewaiter.claimed` with them."""
        container = {**claimed.get("container", {}), **self.container}
        if self.labels:
            container["labels"] = self.labels
        made = dict(claimed)
        if container:
            made["container"] = container
        if self.orchestrator:
            made["orchestrator"] = self.orchestrator
        return made


def contradicted(
    container: dict[str, Any],
    orchestrator: dict[str, Any],
    inspected: Inspected | None,
    former: tuple[str, ...],
    placed: Placed | None,
) -> Claims:
    """Hold what a record says against what is known, as far as that is."""
    claims = Claims({}, {}, {})
    if inspected is None and placed is None:
        return claims
    names = [*former, *([inspected.name] if inspected is not None else ())]
    names += [placed.status.name] if placed is not None else []
    names = [name for name in names if name]
    if names and container.get("name", names[0]) not in names:
        claims.container["name"] = container["name"]
    if "image" in container and not _is_an_image(container["image"], inspected, placed):
        claims.container["image"] = container["image"]
    if inspected is not None:
        claims.labels = _foreign(container.get("labels", {}), inspected)
    if placed is not None and orchestrator:
        claims.orchestrator = _other_pod(orchestrator, placed)
    return claims


def _is_an_image(claimed: dict[str, Any], inspected: Inspected | None, placed: Placed | None) -> bool:
    references = [inspected.container.config.image] if inspected is not None else []
    references += _asked(placed) if placed is not None else []
    if any(_is_reference(claimed, image_of(each)) for each in references if each):
        return True
    known = (inspected.ecs if inspected is not None else {}, placed.ecs if placed is not None else {})
    return any(_fits(claimed, each["image"]) for each in known if "image" in each)


def _asked(placed: Placed) -> list[str]:
    return [each.image for each in placed.pod.spec.containers or () if each.name == placed.status.name]


def _is_reference(claimed: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether it is what the container was made from, as it was asked for."""
    return _plain(claimed["name"]) == _plain(asked["name"]) and claimed.get("tag") == asked.get("tag")


def _fits(claimed: dict[str, Any], image: dict[str, Any]) -> bool:
    """Tell whether name, tag and digest are that image's, as far as they are known."""
    tags, hashes = image.get("tag"), image.get("hash", {}).get("all")
    return (
        _plain(claimed["name"]) == _plain(image["name"])
        and (not tags or set(tags).issuperset(claimed.get("tag", ())))
        and (not hashes or set(hashes).issuperset(claimed.get("hash", {}).get("all", ())))
    )


def _plain(name: str) -> str:
    for prefix in _DEFAULT_REGISTRY:
        name = name.removeprefix(prefix)
    return name


def _foreign(claimed: dict[str, str], inspected: Inspected) -> dict[str, str]:
    """Return claimed labels that are neither the container's nor variables of its environment."""
    if not claimed:
        return {}
    marks = inspected.container.config.labels or {}
    known = labels(marks)
    values: dict[str, set[str]] = {}
    for name, value in marks.items():
        values.setdefault(_dotless(name), set()).add(value)
    variables = set(map(_dotless, inspected.container.config.env or ()))
    return {
        name: value
        for name, value in claimed.items()
        if known.get(name) != value and value not in values.get(name, ()) and (name in values or name not in variables)
    }


def _dotless(name: str) -> str:
    return key_text(name).replace(".", "_").strip() or "_"


def _other_pod(claimed: dict[str, Any], placed: Placed) -> dict[str, Any]:
    about, resource = placed.pod.metadata, claimed.get("resource", {})
    found: dict[str, Any] = {}
    if claimed.get("namespace", about.namespace) != about.namespace:
        found["namespace"] = claimed["namespace"]
    other = {
        key: resource[key]
        for key, known in (("name", about.name), ("id", about.uid))
        if resource.get(key, known) != known
    }
    if other:
        found["resource"] = other
    return found
