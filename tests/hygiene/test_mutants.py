"""Mutants do not rot: each patch fits the product of today, says what it takes out, and names tests that exist."""

import ast
import re
from itertools import takewhile
from pathlib import Path

import pytest

from tests.fault.mutants import BROKEN, FOLDER, GREEN, RED, ROOT, STALE, Mutant, apply, read_mutants, try_mutant

MUTANTS = read_mutants()
CONTEXT_LIMIT = 3
"""Lines of context around a change: more, and edits beside it would break the patch."""

GUARD = "def bounded(number):\n    return min(number, 5)\n"
TESTS = """
from guard import bounded

def test_of_the_bound():
    assert bounded(9) == 5

def test_of_something_else():
    assert bounded(1) == 1
"""


def functions_of(file: str) -> set[str]:
    """Names of a test module's functions; none where there is no such file."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_mutants_and_nothing_else() -> None:
    """Every file of the folder is a patch, and no two take out the same."""
    diffs = {mutant.text.removeprefix(mutant.about) for mutant in MUTANTS}

    assert len(diffs) == len(MUTANTS) == len(list(FOLDER.iterdir())) >= 35


def test_every_patch_fits() -> None:
    """`make mutants` would say the same, a minute later."""
    assert {mutant.guard: wrong for mutant in MUTANTS if (wrong := apply(mutant, ROOT, "--check"))} == {}


def test_every_patch_changes_the_product_and_little_of_it() -> None:
    """A mutant that changed tests, or their kit, would show nothing of a guard."""
    for mutant in MUTANTS:
        files = re.findall(r"^\+\+\+ b/(\S+)$", mutant.text, re.MULTILINE)
        hunks = re.split(r"^@@ .+ @@.*\n", mutant.text, flags=re.MULTILINE)[1:]
        context = [len(list(takewhile(lambda line: line[:1] not in "+-", hunk.splitlines()))) for hunk in hunks]
        assert files, mutant.guard
        assert all(re.match(r"(collector/|parsers/|pipelines/)", file) for file in files), mutant.guard
        assert max(context) <= CONTEXT_LIMIT, mutant.guard


def test_every_patch_says_what_it_takes_out() -> None:
    """A sentence on what the product does without the guard, what the guard holds, and the tests that notice."""
    form = re.compile(r"[A-Z](?:.+\n)+Holds: [A-Z].+\.\n(?:Test: tests/\S+::test_\w+\n)+\n")

    assert [mutant.guard for mutant in MUTANTS if not form.fullmatch(mutant.about)] == []


def test_every_named_test_exists() -> None:
    """By file and function."""
    named = {tuple(test.split("::")) for mutant in MUTANTS for test in mutant.tests}

    assert [(file, name) for file, name in sorted(named) if name not in functions_of(file)] == []


@pytest.mark.parametrize(
    ("before", "after", "test", "verdict"),
    [
        ("min(number, 5)", "number", "of_the_bound", RED),
        ("min(number, 5)", "number", "of_something_else", GREEN),
        ("min(number, 5)", "nunber", "of_the_bound", BROKEN),
        ("min(number, 5)", "number", "that_is_not_there", BROKEN),
        ("min(number, 7)", "number", "of_the_bound", STALE),
    ],
)
def test_a_mutant_is_red_only_where_a_test_fails(
    tmp_path: Path, before: str, after: str, test: str, verdict: str
) -> None:
    """Not where nothing notices, nor where program, test or place of the guard is missing; the tree stays as it was."""
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "guard.py").write_text(GUARD)
    (tree / "tests" / "test_guard.py").write_text(TESTS)
    path = tmp_path / "no-bound.patch"
    path.write_text(
        "The bound is gone.\n\ndiff --git a/guard.py b/guard.py\n--- a/guard.py\n+++ b/guard.py\n@@ -1,2 +1,2 @@\n"
        f" def bounded(number):\n-    return {before}\n+    return {after}\n"
    )
    mutant = Mutant("no-bound", path, path.read_text(), (f"tests/test_guard.py::test_{test}",))

    assert try_mutant(mutant, tree).verdict == verdict
    assert (tree / "guard.py").read_text() == GUARD
