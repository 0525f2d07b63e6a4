"""Review comments turned into tests."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES_LIMIT = 400
TEST_FILES_LIMIT = 520
"""A test module mirrors one module, and states more facts than that has functions."""

FUNCTIONS_LIMIT = 50
BAGS = {"utils", "util", "helpers", "helper", "common", "misc", "core", "shared"}
FROZEN = {"tests/bench/gen.py"}


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, those not yet added included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.splitlines() if name not in FROZEN]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


SOURCES = tracked("*.py")


def test_there_are_sources() -> None:
    """The other tests of this file look at something."""
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_documented_and_well_named(path: Path) -> None:
    """A module has a docstring, at most 400 lines, functions of at most 50 and a name of its own."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTIONS_LIMIT]

    assert ast.get_docstring(tree)
    assert text.count("\n") <= (TEST_FILES_LIMIT if path.is_relative_to(ROOT / "tests") else FILES_LIMIT)
    assert long == []
    assert path.stem not in BAGS


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name.startswith("test_")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_test_states_its_fact(path: Path) -> None:
    """A test's docstring says what holds, and nothing sleeps."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]

    assert [node.name for node in tests if not ast.get_docstring(node)] == []
    assert not re.search(r"\btime\.sleep\(", path.read_text(encoding="utf-8"))


def test_the_wheel_holds_exactly_our_packages(tmp_path: Path) -> None:
    """No tests and no deploy files in site-packages; data files are in."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}

    assert {name for name in top if not name.endswith(".dist-info")} == {"collector", "parsers", "pipelines"}
    assert "parsers/data/ecs_types.json" in names
    assert "collector/setup/data/ecs_mappings.json" in names


@pytest.mark.parametrize("package", ["collector", "parsers", "pipelines"])
def test_one_distribution_owns_each_package(package: str) -> None:
    """No dependency brings a package of our name, which pip would overwrite without a word."""
    owners = set(importlib.metadata.packages_distributions().get(package, ["tidewaiter"]))

    assert owners == {"tidewaiter"}


def test_every_declared_metric_is_used() -> None:
    """A metric that nothing counts would always read 0; that a docstring speaks of it is no use."""
    text = (ROOT / "collector/telemetry.py").read_text()
    declared = re.findall(r"^([A-Z_]+): Final = _\w+\.\w+\(", text, re.MULTILINE)
    nodes = [node for path in tracked("collector/*.py") for node in ast.walk(ast.parse(path.read_text()))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    assert declared
    assert [name for name in declared if name not in used] == []
