"""The configuration's JSON Schema, made of the structs that read it, and the page that lists every option.

Nothing is described twice: descriptions, defaults and units stand beside the types (`msgspec.Meta`, `config_values`).
The schema takes what the loader takes, and refuses what that refuses in kind: unknown keys, wrong types, what is
written in another way than its unit. What only several values together show, such as a port given twice, the loader
alone tells (`collector.config_file`).
"""

import types
import typing
from typing import Any, Final

import msgspec

from collector.config import INTERNAL, Config
from collector.config_nodes import NAME_PATTERN
from collector.config_secrets import Secret
from collector.config_values import Unit

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

LARGEST_NUMBER: Final = 10**15 - 1

TEXT: Final = ["string", "number", "boolean"]
"""YAML makes numbers and booleans of some texts that have no quotes; the loader reads what was written."""


_SCALARS: Final[dict[Any, dict[str, Any]]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 1, "maximum": LARGEST_NUMBER},
    str: {"type": TEXT, "minLength": 1},
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    made = _Made()
    root = made.struct(Config)
    return {"$schema": DIALECT, "title": "Configuration of Tidewaiter", **root, "$defs": made.definitions}


class _Made:
    """Definitions of structs, as far as they were come across."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def struct(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """Return the schema of a struct."""
        hints = typing.get_type_hints(kind, include_extras=True)
        tag_field, tag = kind.__struct_config__.tag_field, kind.__struct_config__.tag
        properties: dict[str, Any] = {}
        required = []
        if tag_field is not None:
            properties[tag_field] = {"const": tag}
            required.append(tag_field)
        for field in msgspec.structs.fields(kind):
            marks = _marks(hints[field.name])
            if INTERNAL in marks:
                continue
            properties[field.encode_name] = self._option(hints[field.name], field)
            if field.required:
                required.append(field.encode_name)
        made: dict[str, Any] = {"type": "object", "description": _summary(kind), "properties": properties}
        if kind is Secret:
            made["oneOf"] = [{"required": [name]} for name in properties]
        if required:
            made["required"] = required
        return made | {"additionalProperties": False}

    def _option(self, hint: Any, field: msgspec.structs.FieldInfo) -> dict[str, Any]:
        """Return the schema of an option with what an operator has to know of it."""
        made = self._value(hint)
        for mark in _marks(hint):
            if isinstance(mark, msgspec.Meta) and mark.description:
                made = {"description": mark.description, **made}
        default = _default_of(field)
        if default is not msgspec.NODEFAULT and default is not None:
            made["default"] = _written(default, hint)
        return made

    def _value(self, hint: Any) -> dict[str, Any]:
        unit = next((mark for mark in _marks(hint) if isinstance(mark, Unit)), None)
        if unit is not None:
            pattern = {"pattern": f"^(?:{unit.pattern})$"} if unit.pattern else {}
            return {"type": "string", **pattern, "examples": unit.examples}
        if typing.get_origin(hint) is typing.Annotated:
            return self._value(typing.get_args(hint)[0])
        origin, arms = typing.get_origin(hint), typing.get_args(hint)
        if origin in (types.UnionType, typing.Union):
            return self._one_of(arms)
        if origin is typing.Literal:
            return {"enum": list(arms)}
        if origin is list:
            return {"type": "array", "minItems": 1, "items": self._value(arms[0])}
        if origin is dict:
            return self._named(arms[0], arms[1])
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._reference(hint)
        return dict(_SCALARS[hint])

    def _one_of(self, arms: tuple[Any, ...]) -> dict[str, Any]:
        made = [self._value(arm) for arm in arms if arm is not type(None)]
        if type(None) in arms:
            made.append({"type": "null"})
        return made[0] if len(made) == 1 else {"anyOf": made}

    def _named(self, key: Any, value: Any) -> dict[str, Any]:
        """Return the schema of a mapping; of inputs and outputs, each is of the type that it says."""
        made = {"type": "object", "additionalProperties": self._value(value)}
        if any(kind.__struct_config__.tag for kind in _structs(value)):
            return made | {"propertyNames": {"pattern": f"^{NAME_PATTERN}$"}}
        pattern = next((mark.pattern for mark in _marks(key) if isinstance(mark, Unit)), "")
        return made | ({"propertyNames": {"pattern": f"^(?:{pattern})$"}} if pattern else {})

    def _reference(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        name = kind.__name__.removesuffix("Config")
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.struct(kind)
        return {"$ref": f"#/$defs/{name}"}


def _marks(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()


def _structs(hint: Any) -> list[Any]:
    arms = typing.get_args(hint) or (hint,)
    return [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]


def _summary(kind: type[msgspec.Struct]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    """Return an option's default; none of one that differs from machine to machine: its description says what it is."""
    if field.default_factory is msgspec.NODEFAULT:
        return field.default
    if field.default_factory in (list, dict):
        return field.default_factory()
    made = field.default_factory()
    return msgspec.NODEFAULT if isinstance(made, str) else made


def _written(value: Any, hint: Any) -> Any:
    """Return a value as the file has it."""
    unit = next((mark for mark in _marks(hint) if isinstance(mark, Unit)), None)
    if unit is not None:
        return unit.write(value)
    if isinstance(value, msgspec.Struct):
        kind = type(value)
        hints = typing.get_type_hints(kind, include_extras=True)
        config = kind.__struct_config__
        said = {config.tag_field: config.tag} if config.tag_field is not None else {}
        changed = {
            field.encode_name: _written(getattr(value, field.name), hints[field.name])
            for field in msgspec.structs.fields(kind)
            if getattr(value, field.name) != _default_of(field)
        }
        return said | changed
    if isinstance(value, dict):
        return {name: _written(each, None) for name, each in value.items()}
    return value
