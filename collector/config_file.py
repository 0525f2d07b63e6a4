"""Reading the configuration file: every problem at once, each with its path, its line and what was probably meant."""

import difflib
import os
import re
import types
import typing
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import yaml

from collector.config import DURATION, INTERNAL, LISTEN, LISTEN_TCP, SIZE, URL, Config, Secret, Unit
from collector.errors import ConfigError, Problem

FILES: Final = (Path("tidewaiter.yaml"), Path("/etc/tidewaiter/tidewaiter.yaml"))
"""Where a configuration is looked for when neither --config nor TIDEWAITER_CONFIG names one."""

BUILT_IN: Final = "built-in configuration"

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_duration = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_size = re.compile(r"(\d+)(B|KiB|MiB|GiB|TiB)")
_name = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_namespace = re.compile(r"[a-z0-9_.]{1,100}")
_address = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


class Loaded(msgspec.Struct, frozen=True):
    """A configuration with where it came from and what an operator should know about it."""

    config: Config
    source: str
    warnings: list[str]


def load(file: str | None = None, data_dir: str | None = None) -> Loaded:
    """Load the file given, else the first that is found, else the built-in; raise ConfigError with every problem."""
    chosen = file or os.environ.get("TIDEWAITER_CONFIG") or next((str(path) for path in FILES if path.is_file()), None)
    config = parse(_read(chosen), chosen) if chosen else Config()
    override = data_dir or os.environ.get("TIDEWAITER_DATA_DIR")
    if override:
        config = msgspec.structs.replace(config, data_dir=override)
    config = msgspec.structs.replace(config, data_dir=str(Path(config.data_dir).expanduser().absolute()))
    return Loaded(config, chosen or BUILT_IN, list(_warnings(config)))


def parse(text: str, source: str) -> Config:
    """Make a configuration of YAML text; raise ConfigError with every problem."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(
            source, [Problem("(file)", mark.line + 1 if mark else None, f"not YAML: {error.problem}")]
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [Problem("(file)", None, f"not YAML: {error}")]) from error
    reader = _Reader()
    config = Config() if root is None else reader.struct(root, Config, "")
    reader.check_whole(root)
    if reader.problems or not isinstance(config, Config):
        raise ConfigError(source, sorted(reader.problems, key=lambda problem: problem.line or 0))
    return config


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file, [Problem("(file)", None, f"cannot be read: {error}")]) from error


class _Bad:
    """Stands for a value that has been reported."""


_BAD: Final = _Bad()


class _Reader:
    """Walks the YAML nodes beside the types, and goes on after a problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def _problem(self, node: yaml.Node | None, path: str, message: str) -> _Bad:
        self.problems.append(Problem(path or "(file)", node.start_mark.line + 1 if node else None, message))
        return _BAD

    def _pairs(self, node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, path, f"must be a mapping, not {_kind(node)}")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in seen:
                self._problem(key, _join(path, name), f"given twice, first on line {seen[name]}")
                continue
            seen[name] = key.start_mark.line + 1
            yield name, key, value

    def struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: str) -> Any:
        """Make a struct; unknown keys are refused with the nearest known one."""
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {
            field.encode_name: field for field in msgspec.structs.fields(kind) if not _internal(hints[field.name])
        }
        tag_field = kind.__struct_config__.tag_field
        given: dict[str, Any] = {}
        for name, key, value in self._pairs(node, path):
            if name == tag_field:
                continue
            if name not in fields:
                self._problem(key, _join(path, name), _unknown(name, [*fields, *([tag_field] if tag_field else [])]))
                continue
            given[name] = self.value(value, hints[name], _join(path, name))
        for name, field in fields.items():
            if field.required and name not in given:
                self._problem(node, _join(path, name), "is required")
                given[name] = _BAD
        if any(value is _BAD for value in given.values()) or not isinstance(node, yaml.MappingNode):
            return _BAD
        made = kind(**given)
        if isinstance(made, Secret) and (made.file is None) == (made.env is None):
            return self._problem(node, path, "needs exactly one of file and env")
        return made

    def value(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """Make a value of a type."""
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            return self._measured(node, typing.get_args(hint)[1], path)
        if origin is types.UnionType and type(None) in typing.get_args(hint):
            (inner,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
            return None if _is_null(node) else self.value(node, inner, path)
        if origin is dict:
            return self._mapping(node, typing.get_args(hint)[1], path)
        if origin is list:
            return self._list(node, typing.get_args(hint)[0], path)
        if hint is Secret and isinstance(node, yaml.ScalarNode):
            return self._problem(node, path, "a secret is never written here: use {file: PATH} or {env: VARIABLE}")
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(node, hint, path)
        return self._scalar(node, hint, path)

    def _mapping(self, node: yaml.Node, hint: Any, path: str) -> Any:
        made: dict[str, Any] = {}
        tagged = {kind.__struct_config__.tag: kind for kind in _structs(hint)}
        for name, key, value in self._pairs(node, path):
            here = _join(path, name)
            if tagged and not _name.fullmatch(name):
                self._problem(key, here, "a name is 1 to 40 of a-z, 0-9, _ and -, beginning with a letter or digit")
            made[name] = self._tagged(value, tagged, here) if tagged else self.value(value, hint, here)
        return _BAD if any(value is _BAD for value in made.values()) or not isinstance(node, yaml.MappingNode) else made

    def _tagged(self, node: yaml.Node, kinds: dict[Any, type[msgspec.Struct]], path: str) -> Any:
        types_known = sorted(str(kind) for kind in kinds)
        if not isinstance(node, yaml.MappingNode):
            return self._problem(node, path, f"must be a mapping, not {_kind(node)}")
        given = next((value for key, value in node.value if key.value == "type"), None)
        if given is None:
            return self._problem(node, _join(path, "type"), f"is required: one of {', '.join(types_known)}")
        if given.value not in kinds:
            return self._problem(given, _join(path, "type"), _unknown(str(given.value), types_known, what="type"))
        return self.struct(node, kinds[given.value], path)

    def _list(self, node: yaml.Node, hint: Any, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._problem(node, path, f"must be a list, not {_kind(node)}")
        if not node.value:
            return self._problem(node, path, "must not be empty")
        made = [self.value(item, hint, f"{path}[{place}]") for place, item in enumerate(node.value)]
        return _BAD if any(value is _BAD for value in made) else made

    def _scalar(self, node: yaml.Node, hint: Any, path: str) -> Any:
        loaded = _plain(node)
        if hint is str and isinstance(node, yaml.ScalarNode) and loaded is not None:
            return node.value
        if hint is bool and isinstance(loaded, bool):
            return loaded
        if hint is int and isinstance(loaded, int) and not isinstance(loaded, bool):
            return loaded if loaded > 0 else self._problem(node, path, "must be more than 0")
        names = {str: "text", bool: "true or false", int: "a whole number"}
        return self._problem(node, path, f"must be {names[hint]}, not {_kind(node)}")

    def _measured(self, node: yaml.Node, unit: Unit, path: str) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        made = _measure(text, unit) if text is not None else None
        if made is None:
            shown = f"{text!r} is" if text is not None else f"{_kind(node)} is"
            return self._problem(node, path, f"{shown} no {unit.name}; write for example {unit.example}")
        return made

    def check_whole(self, root: yaml.Node | None) -> None:
        """Check what no single value shows; by nodes, so that it is told beside all other problems."""
        namespace = _members(root).get("namespace")
        if isinstance(namespace, yaml.ScalarNode) and not _namespace.fullmatch(namespace.value):
            self._problem(namespace, "namespace", "has at most 100 of a-z, 0-9, _ and .")
        listening: dict[str, str] = {}
        for name, options in _members(_members(root).get("inputs")).items():
            listen = _members(options).get("listen")
            if isinstance(listen, yaml.ScalarNode):
                first = listening.setdefault(listen.value, name)
                if first != name:
                    self._problem(listen, f"inputs.{name}.listen", f"{listen.value} is taken by input {first}")
        for name, options in _members(_members(root).get("outputs")).items():
            given = _members(options)
            if ("username" in given) != ("password" in given):
                self._problem(options, f"outputs.{name}", "username and password go together")
            if "api_key" in given and "username" in given:
                self._problem(options, f"outputs.{name}", "give api_key, or username and password, not both")


def _measure(text: str, unit: Unit) -> Any:
    if unit is DURATION:
        found = _duration.fullmatch(text)
        return float(found[1]) * _SECONDS[found[2]] if found and float(found[1]) > 0 else None
    if unit is SIZE:
        found = _size.fullmatch(text)
        return int(found[1]) * _BYTES[found[2]] if found and int(found[1]) > 0 else None
    if unit is URL:
        return text.rstrip("/") if _is_url(text) else None
    if unit is LISTEN and text.startswith("unix:///") and len(text) > len("unix:///"):
        return text
    return text if unit in (LISTEN, LISTEN_TCP) and _is_address(text) else None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    found = _address.fullmatch(text)
    return found is not None and int(found["port"]) <= 65535


def _warnings(config: Config) -> Iterator[str]:
    for name, options in config.inputs.items():
        if not _is_private(options.listen):
            yield (
                f"input {name} listens on {options.listen}, beyond loopback, without TLS or a shared key: "
                "whoever reaches the port can send records"
            )


def _is_private(listen: str) -> bool:
    found = _address.fullmatch(listen)
    if found is None:
        return True
    host = found["six"] or found["host"] or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _internal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated and typing.get_args(hint)[1] is INTERNAL


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    arms = typing.get_args(hint) or (hint,)
    return [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]


def _unknown(name: str, known: list[str], *, what: str = "key") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {what} {name!r}; {hint}"


def _plain(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_object(node) if isinstance(node, yaml.ScalarNode) else None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if _is_null(node) else repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _members(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
