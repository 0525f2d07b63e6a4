"""The page of all options, made of the configuration's schema: `deploy/configuration.md`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from collector.config_schema import schema
from collector.config_values import DURATION, SIZE

HEAD: Final = """# Every option

Made from the code by `make docs`; change it there. `tidewaiter config schema` prints the same as a JSON Schema, for
editors that check and complete YAML. A section that is given replaces the built-in one. `tidewaiter check` names what
is wrong with a file; `tidewaiter reload` lets it hold.

Durations are written `30s`, `5m`, `12h` or `7d`, sizes `64KiB`, `512MiB` or `10GiB`; a number is a whole one, more
than 0. A secret is never written here: `{file: PATH}` names the file whose first line it is, `{env: VARIABLE}` a
variable of the environment.
"""

Schema = Mapping[str, Any]


def page() -> str:
    """Return the page."""
    found = schema()
    lines = [HEAD, "## The file", "", *_table(found)]
    titles = _titles(found)
    for name, title in titles.items():
        definition = found["$defs"][name]
        lines += ["", f"## {title}", "", f'<a id="{_anchor(name)}"></a>{definition["description"]}', ""]
        lines += _table(definition)
    return "\n".join(lines) + "\n"


def _titles(found: Schema) -> dict[str, str]:
    """Return a heading for each definition, in the order in which a reader of the file comes across them."""
    titles: dict[str, str] = {}

    def visit(options: Schema, path: str) -> None:
        for option, said in options.get("properties", {}).items():
            here = f"{path}.{option}" if path else option
            for name, suffix in _references(said):
                if name in titles or name == "Secret":
                    continue
                tagged = found["$defs"][name]["properties"].get("type", {}).get("const")
                titles[name] = f"`{here}{suffix}`" + (f" of type `{tagged}`" if tagged else "")
                visit(found["$defs"][name], f"{here}{suffix}")

    visit(found, "")
    return titles


def _references(said: Schema) -> Iterator[tuple[str, str]]:
    """Yield the definitions that an option refers to, each with what its path has more."""
    if "$ref" in said:
        yield said["$ref"].rpartition("/")[2], ""
    for arm in said.get("anyOf", ()):
        yield from _references(arm)
    for kind, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        inner = said.get(kind)
        if isinstance(inner, dict):
            yield from ((name, suffix + more) for name, more in _references(inner))


def _table(definition: Schema) -> list[str]:
    rows = ["| option | value | built in | what it is |", "| --- | --- | --- | --- |"]
    required = definition.get("required", [])
    for option, said in definition["properties"].items():
        if "const" in said:
            continue
        built_in = "**required**" if option in required else _built_in(said)
        rows.append(f"| `{option}` | {_value(said)} | {built_in} | {_cell(said.get('description', ''))} |")
    return rows


def _built_in(said: Schema) -> str:
    default = said.get("default")
    if default in (None, [], {}):
        return ""
    return f"`{_cell(default if isinstance(default, str) else json.dumps(default))}`"


def _value(said: Schema) -> str:
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        return "secret" if name == "Secret" else f"[options](#{_anchor(name)})"
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_value(arm) for arm in said["anyOf"] if arm.get("type") != "null"))
    if "enum" in said:
        return ", ".join(f"`{each}`" for each in said["enum"])
    if unit := next((each for each in (DURATION, SIZE) if each.examples == said.get("examples")), None):
        return unit.name
    if "examples" in said:
        return f"`{_cell(said['examples'][0])}`"
    if said.get("type") == "array":
        return f"list of {_value(said['items'])}"
    if said.get("type") == "object":
        return f"by name: {_value(said['additionalProperties'])}"
    return {"boolean": "`true`, `false`", "integer": "number"}.get(str(said.get("type")), "text")


def _anchor(name: str) -> str:
    return f"options-{name.lower()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
