"""Checks a value against a JSON Schema, as far as ours use it (2020-12); a keyword that is not known here fails."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

ANNOTATIONS: Final = {"$schema", "$defs", "title", "description", "default", "examples"}


def problems(schema: Schema, value: Any) -> list[str]:
    """Return what is wrong with a value, each with its place; empty where nothing is."""
    return list(_problems(schema, value, schema, ""))


def _problems(schema: Schema, value: Any, root: Schema, path: str) -> Iterator[str]:
    for keyword, said in schema.items():
        if keyword in ANNOTATIONS:
            continue
        if keyword == "$ref":
            yield from _problems(root["$defs"][said.removeprefix("#/$defs/")], value, root, path)
        elif keyword in ("anyOf", "oneOf"):
            fitting = [arm for arm in said if not list(_problems(arm, value, root, path))]
            if not fitting or (keyword == "oneOf" and len(fitting) > 1):
                yield f"{path}: fits {len(fitting)} of {keyword}"
        elif keyword in ("properties", "additionalProperties", "propertyNames", "required"):
            yield from _of_object(keyword, schema, value, root, path)
        elif keyword == "items":
            for place, each in enumerate(value if isinstance(value, list) else ()):
                yield from _problems(said, each, root, f"{path}[{place}]")
        elif not _CHECKS[keyword](said, value):
            yield f"{path}: {keyword} {said} is not kept by {value!r}"


def _of_object(keyword: str, schema: Schema, value: Any, root: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    properties, said = schema.get("properties", {}), schema[keyword]
    if keyword == "required":
        yield from (f"{path}.{name}: is required" for name in said if name not in value)
        return
    for name, each in value.items():
        if keyword == "properties" and name in said:
            yield from _problems(said[name], each, root, f"{path}.{name}")
        elif keyword == "propertyNames":
            yield from _problems(said, name, root, f"{path}.{name}")
        elif keyword == "additionalProperties" and name not in properties:
            if said is False:
                yield f"{path}.{name}: is unknown"
            else:
                yield from _problems(said, each, root, f"{path}.{name}")


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
    return isinstance(value, {"object": dict, "array": list, "string": str}[kind])


_CHECKS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "type": lambda said, value: any(_is(kind, value) for kind in ([said] if isinstance(said, str) else said)),
    "const": lambda said, value: said == value,
    "enum": lambda said, value: value in said,
    "pattern": lambda said, value: not isinstance(value, str) or re.search(said, value) is not None,
    "minLength": lambda said, value: not isinstance(value, str) or len(value) >= said,
    "minItems": lambda said, value: not isinstance(value, list) or len(value) >= said,
    "minimum": lambda said, value: not isinstance(value, int | float) or value >= said,
    "maximum": lambda said, value: not isinstance(value, int | float) or value <= said,
}
