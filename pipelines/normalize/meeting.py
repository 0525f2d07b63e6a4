"""Where a line's own fields meet what is said of its stream: an application's `service.name`, and the operator's.

No parser writes who a container, a host or a pod is. But `service`, `labels` and their like may come from both sides;
then one object holds both, and where both give a field, the stream's stands (P5): a line cannot change what the
operator or the engine says. What it says itself is not lost, but stays under `tidewaiter.claimed`.
"""

from typing import Any

from parsers.flattened import flattened

Roots = tuple[str, ...]


def put_together(fields: dict[str, Any], tail: dict[str, Any]) -> dict[str, Any]:
    """Return a line's fields and its stream's tail as the rest of a document; neither is changed."""
    merged, roots, claims = met(fields, tail)
    return merged | without(tail, roots, claims)


def met(fields: dict[str, Any], tail: dict[str, Any]) -> tuple[dict[str, Any], Roots, dict[str, Any]]:
    """Return the fields with what the tail says of the same objects, which these are, and what the line claims."""
    roots = tuple(name for name in fields if name in tail)
    claims: dict[str, Any] = {}
    merged = dict(fields)
    for name in roots:
        merged[name] = _merged(fields[name], tail[name], (name,), claims)
    return merged, roots, claims


def without(tail: dict[str, Any], roots: Roots, claims: dict[str, Any]) -> dict[str, Any]:
    """Return a tail without the objects that stand among the line's fields, and with the line's claims."""
    rest = {name: value for name, value in tail.items() if name not in roots}
    if claims:
        own = rest["tidewaiter"]
        rest["tidewaiter"] = {**own, "claimed": {**flattened(claims), **own.get("claimed", {})}}
    return rest


def _merged(said: Any, fixed: Any, path: Roots, claims: dict[str, Any]) -> Any:
    """Return both objects in one; what is said otherwise than it is fixed is put into `claims`."""
    if isinstance(said, dict) and isinstance(fixed, dict):
        merged = dict(said)
        for name, value in fixed.items():
            merged[name] = _merged(said[name], value, (*path, name), claims) if name in said else value
        return merged
    if said != fixed:
        place = claims
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = said
    return fixed
