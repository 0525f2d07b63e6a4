"""The seams between packages, where import rules alone do not show them."""

import ast
import tomllib
import typing
from pathlib import Path

import msgspec
import pytest

from collector.config import Config

ROOT = Path(__file__).parents[2]
PURE = sorted(path for folder in ("parsers", "pipelines", "collector/wire") for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
WRITES_CODE = "parsers/written.py"
CLOCKS = {"now", "utcnow", "today"}


def types_of(section: str) -> list[str]:
    """The types a section of the configuration knows, as users write them."""
    hint = typing.get_args(typing.get_type_hints(Config)[section])[1]
    kinds: list[type[msgspec.Struct]] = list(typing.get_args(hint)) or [hint]
    return [str(kind.__struct_config__.tag) for kind in kinds]


def module_of(section: str, kind: str) -> str:
    """The module of a type, empty where there is none."""
    folders = [folder for folder in (section, "watchers") if (ROOT / "collector" / folder / f"{kind}.py").is_file()]
    return f"collector.{folders[0]}.{kind}" if folders else ""


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_opens_nothing_and_asks_no_clock(path: Path) -> None:
    """Neither by a builtin, which needs no import, nor by `datetime`, which is imported for its types."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]

    forbidden = FORBIDDEN_CALLS - ({"exec"} if str(path.relative_to(ROOT)) == WRITES_CODE else set())

    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in forbidden] == []
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS] == []


def test_there_are_pure_modules() -> None:
    """The test above looks at all three places."""
    assert {path.relative_to(ROOT).parts[0] for path in PURE} == {"parsers", "pipelines", "collector"}


@pytest.mark.parametrize("section", ["inputs", "outputs"])
def test_a_type_is_a_module_of_the_name_that_users_type(section: str) -> None:
    """`type: forward` is `collector/inputs/forward.py`; what asks instead of listening is in `collector/watchers`."""
    kinds = types_of(section)

    assert kinds
    assert [kind for kind in kinds if not module_of(section, kind)] == []


@pytest.mark.parametrize("section", ["inputs", "outputs"])
def test_types_of_one_section_are_held_apart(section: str) -> None:
    """Where there are several, the import rules name every one of them as independent."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    apart = {module for rule in rules if rule["type"] == "independence" for module in rule["modules"]}
    kinds = types_of(section)

    assert len(kinds) < 2 or {module_of(section, kind) for kind in kinds} <= apart
