"""YAML nodes beside types: every problem is noted with its path and line, and reading goes on behind it.

`Reader.struct` walks the composed nodes of a file, never the loaded values: a node knows its line, nothing in the file
is constructed by tags, and what an alias points to is read anew at each place under the type that stands there.
"""

import difflib
import re
import types
import typing
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml

from collector.config import INTERNAL
from collector.config_secrets import Secret
from collector.config_values import URL, Unit
from collector.errors import Problem

SHOWN_LIMIT: Final = 60
"""Characters of a value that a message repeats."""

NAME_RULE: Final = "a name is 1 to 40 of a-z, 0-9, _ and -, beginning with a letter or digit"

NAME_PATTERN: Final = "[a-z0-9][a-z0-9_-]{0,39}"

_name = re.compile(NAME_PATTERN)
_whole_number = re.compile(r"0|[1-9][0-9]{0,14}")
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_STANDARD_TAGS: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(
    f"{_STANDARD_TAGS}{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
)
"""What YAML gives a value by itself; any other tag asks for something that is not done."""
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class Bad:
    """Stands for a value that has been reported."""


BAD: Final = Bad()


class Reader:
    """Makes structs of nodes; `problems` is what was wrong so far."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, node: yaml.Node | None, path: str, message: str) -> Bad:
        """Note a problem and return what stands for the value."""
        line = node.start_mark.line + 1 if node else None
        self.problems.append(Problem(_shown(path) or "(file)", line, message))
        return BAD

    def struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: str) -> Any:
        """Make a struct; unknown keys are refused with the nearest known one."""
        hints = typing.get_type_hints(kind, include_extras=True)
        options = [field for field in msgspec.structs.fields(kind) if INTERNAL not in _marks(hints[field.name])]
        fields = {field.encode_name: field for field in options}
        tag_field = kind.__struct_config__.tag_field
        given: dict[str, Any] = {}
        for name, key, value in self._pairs(node, path):
            if name == tag_field:
                continue
            if name in fields:
                attribute = fields[name].name
                given[attribute] = self.value(value, hints[attribute], _join(path, name))
            elif kind is Secret:
                given[name] = self.problem(key, path, _secret_key(name))
            else:
                known = [*fields, *([tag_field] if tag_field else [])]
                given[name] = self.problem(key, _join(path, name), unknown(name, known))
        for name, field in fields.items():
            if field.required and field.name not in given:
                given[field.name] = self.problem(node, _join(path, name), "is required")
        if any(value is BAD for value in given.values()) or not isinstance(node, yaml.MappingNode):
            return BAD
        made = kind(**given)
        if isinstance(made, Secret) and (made.file is None) == (made.env is None):
            return self.problem(node, path, "needs exactly one of file and env")
        return made

    def value(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """Make a value of a type."""
        if not isinstance(node, yaml.MappingNode) and not self._plain(node, path):
            return BAD
        unit = next((mark for mark in _marks(hint) if isinstance(mark, Unit)), None)
        if unit is not None:
            return self._measured(node, unit, path)
        if typing.get_origin(hint) is typing.Annotated:
            return self.value(node, typing.get_args(hint)[0], path)
        origin, arms = typing.get_origin(hint), typing.get_args(hint)
        if arms == (str, list[str]):
            return self.value(node, list[str] if isinstance(node, yaml.SequenceNode) else str, path)
        if origin in (types.UnionType, typing.Union) and type(None) in arms:
            (inner,) = (arm for arm in arms if arm is not type(None))
            return None if is_null(node) else self.value(node, inner, path)
        if origin is typing.Literal:
            return self._choice(node, arms, path)
        if origin is dict:
            return self._mapping(node, arms[0], arms[1], path)
        if origin is list:
            return self._list(node, arms[0], path)
        if hint is Secret and isinstance(node, yaml.ScalarNode):
            return self.problem(node, path, "a secret is never written here: use {file: PATH} or {env: VARIABLE}")
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(node, hint, path)
        return self._scalar(node, hint, path)

    def _plain(self, node: yaml.Node, path: str) -> bool:
        """Tell whether a node is without a tag that its writer gave it; note one."""
        if node.tag in _PLAIN_TAGS:
            return True
        self.problem(node, path, "has a YAML tag: write the value alone")
        return False

    def _pairs(self, node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path, f"must be a mapping, not {_kind(node)}")
            return
        self._plain(node, path)
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, path, f"a key must be text, not {_kind(key)}")
            elif key.value in seen:
                self.problem(key, _join(path, key.value), f"given twice, first on line {seen[key.value]}")
            elif self._plain(key, path):  # not its name: that may be a secret
                seen[key.value] = key.start_mark.line + 1
                yield key.value, key, value

    def _mapping(self, node: yaml.Node, key_hint: Any, hint: Any, path: str) -> Any:
        made: dict[Any, Any] = {}
        tagged = {kind.__struct_config__.tag: kind for kind in _structs(hint) if kind.__struct_config__.tag}
        for name, key, value in self._pairs(node, path):
            here = _join(path, name)
            if tagged and not name_is_good(name):
                self.problem(key, here, NAME_RULE)
            made_key = name if tagged else self.value(key, key_hint, here)
            made_value = self._tagged(value, tagged, here) if tagged else self.value(value, hint, here)
            if made_key is not BAD:
                made[made_key] = made_value
        return BAD if any(value is BAD for value in made.values()) or not isinstance(node, yaml.MappingNode) else made

    def _tagged(self, node: yaml.Node, kinds: dict[Any, type[msgspec.Struct]], path: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self.problem(node, path, f"must be a mapping, not {_kind(node)}")
        given = members(node).get("type")
        if given is None:
            return self.problem(node, _join(path, "type"), f"is required: one of {', '.join(sorted(kinds))}")
        if not isinstance(given, yaml.ScalarNode):
            return self.problem(given, _join(path, "type"), f"must be text, not {_kind(given)}")
        if given.value not in kinds:
            return self.problem(given, _join(path, "type"), unknown(given.value, sorted(kinds), what="type"))
        return self.struct(node, kinds[given.value], path)

    def _list(self, node: yaml.Node, hint: Any, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.problem(node, path, f"must be a list, not {_kind(node)}")
        if not node.value:
            return self.problem(node, path, "must not be empty")
        made = [self.value(item, hint, f"{path}[{place}]") for place, item in enumerate(node.value)]
        return BAD if any(value is BAD for value in made) else made

    def _scalar(self, node: yaml.Node, hint: Any, path: str) -> Any:
        if isinstance(node, yaml.ScalarNode) and not is_null(node):
            if hint is str:
                return self._text(node, path)
            if hint is bool and _is(node, "bool"):
                return _BOOLEANS[node.value.lower()]
            if hint is int and _is(node, "int") and _whole_number.fullmatch(node.value):
                return int(node.value) or self.problem(node, path, "must be more than 0")
        names = {str: "text", bool: "true or false", int: "a whole number, more than 0"}
        return self.problem(node, path, f"must be {names[hint]}, not {_kind(node)}")

    def _choice(self, node: yaml.Node, choices: tuple[str, ...], path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            return self.problem(node, path, f"must be one of {', '.join(choices)}, not {_kind(node)}")
        return (
            node.value
            if node.value in choices
            else self.problem(node, path, unknown(node.value, list(choices), what="value"))
        )

    def _text(self, node: yaml.ScalarNode, path: str) -> Any:
        if not node.value.strip():
            return self.problem(node, path, "must not be empty")
        if not _printable(node.value):
            return self.problem(node, path, "holds a control character")
        return node.value

    def _measured(self, node: yaml.Node, unit: Unit, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            return self.problem(node, path, f"{_kind(node)} is no {unit.name}; write for example {unit.example}")
        if not _printable(node.value):
            return self.problem(node, path, "holds a control character")
        try:
            return unit.read(node.value)
        except ValueError as error:
            # Before the @ of a URL may stand a password.
            shown = "this" if unit is URL and "@" in node.value else quoted(node.value)
            reason = f" ({error})" if str(error) else ""
            return self.problem(node, path, f"{shown} is no {unit.name}{reason}; write for example {unit.example}")


def members(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return the values of a mapping by key, the first where a key is given twice; nothing of any other node."""
    found: dict[str, yaml.Node] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                found.setdefault(key.value, value)
    return found


def name_is_good(name: str) -> bool:
    """Tell whether a name keeps to NAME_RULE."""
    return _name.fullmatch(name) is not None


def is_null(node: yaml.Node) -> bool:
    """Tell whether nothing stands there."""
    return _is(node, "null")


def unknown(name: str, known: list[str], *, what: str = "key") -> str:
    """Say that a name is unknown, and which was probably meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {what} {quoted(name)}; {hint}"


def _secret_key(name: str) -> str:
    # The name itself may be the secret: `api_key: {c2VjcmV0}` is YAML for a key without a value.
    near = difflib.get_close_matches(name, ["file", "env"], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "a secret is never written here"
    return f"unknown key ({hint}); use {{file: PATH}} or {{env: VARIABLE}}"


def _marks(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    arms = typing.get_args(hint) or (hint,)
    return [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]


def _is(node: yaml.Node, tag: str) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.tag == f"{_STANDARD_TAGS}{tag}")


def _printable(text: str) -> bool:
    return not any(unicodedata.category(character) in _UNPRINTABLE for character in text)


def _shown(path: str) -> str:
    return path if _printable(path) else quoted(path)[1:-1]


def quoted(text: str) -> str:
    """Return a text as messages show it: printable, and not too long."""
    return repr(text if len(text) <= SHOWN_LIMIT else text[:SHOWN_LIMIT] + "…")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if is_null(node) else quoted(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
