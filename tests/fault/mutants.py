"""`make mutants [ONLY=name]`: takes each guard out of the product, and shows that a test turns red without it.

    python tests/fault/mutants.py [--only NAME]… [--part K/N] [--at-once TREES] [--json FILE]

`mutants/GUARD.patch` takes one guard out. Above its diff stands in words which guard that is and what it holds, and in
lines `Test: FILE::NAME` the cheapest tests that notice. They run in a copy of the working tree, which is what they and
their child processes import. First all of them must pass there as it is. Then each patch is applied by itself, and one
of its tests has to fail, in one of three runs: exit code 1, since a test that cannot be found or imported notices
nothing.

`--part K/N` runs every N-th patch from the K-th on. Exit code 1 when a patch turns nothing red or does not apply.
"""

import argparse
import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(__file__).with_name("mutants")
PACKAGES: Final = ("collector", "parsers", "pipelines", "tests")

AT_ONCE: Final = 4
"""Trees that are worked in side by side: some mutants only wait for a time limit."""

TEST_TIMEOUT_S: Final = 5.0
"""A test that waits for what never comes is red after so long, unless it says otherwise; unmutated most take 0.1 s."""

HURRIED: Final = ("-x", f"--timeout={TEST_TIMEOUT_S}", "--timeout-method=thread")
"""Without a guard the first failure will do, and one that hangs, be it in C or in another thread, ends the process."""

TIMEOUT_S: Final = 120.0
"""A run of a mutant's tests; one that hangs for longer is no red test."""

TRIES: Final = 3
"""Runs in which a test may notice: what a guard prevents can be a race, which is not lost every time."""

UNUSED_PLUGINS: Final = ("cacheprovider", "hypothesispytest")
"""Of pytest; to start Hypothesis takes three times as long as all else for a test that does not use it."""

RED, GREEN, STALE, BROKEN = "red", "GREEN", "DOES NOT APPLY", "BROKEN"

_test_line = re.compile(r"^Test: (\S+)$", re.MULTILINE)
_failure = re.compile(r"^(?:(?:FAILED|ERROR) tests/.*|\++ Timeout \++)$", re.MULTILINE)
_no_program = re.compile(r" - (?:NameError|SyntaxError|IndentationError|ImportError|ModuleNotFoundError)\b")


class Mutant(msgspec.Struct, frozen=True):
    """One patch: the guard it takes out, what its text says, and the tests that have to notice."""

    guard: str
    path: Path
    text: str
    tests: tuple[str, ...]

    @property
    def about(self) -> str:
        """The text above the diff."""
        return self.text.partition("diff --git ")[0]


class Outcome(msgspec.Struct):
    """What became of one mutant; `noticed` is pytest's line on the first test that failed, or what went wrong."""

    guard: str
    verdict: str
    tests: tuple[str, ...]
    seconds: float
    noticed: str = ""


def read_mutants() -> list[Mutant]:
    """Read all patches, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.patch")):
        text = path.read_text(encoding="utf-8")
        about = text.partition("diff --git ")[0]
        found.append(Mutant(path.stem, path, text, tuple(_test_line.findall(about))))
    return found


def apply(mutant: Mutant, tree: Path, *options: str) -> str:
    """Apply a patch to a tree; return what git has against it, nothing when it fits exactly."""
    # Without a repository around it git takes the patch's paths as they stand, from the tree on.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    command = ["git", "apply", "--whitespace=nowarn", *options, str(mutant.path)]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def copy_tree(target: Path) -> None:
    """Copy the working tree, files not yet added included, and compile it.

    What is compiled is believed by the hash of its source: a patch may leave size and second of a file as they were.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    how = ["-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([sys.executable, "-m", "compileall", *how, *PACKAGES], cwd=target, check=True)


def environment_of(tree: Path, *, ci: bool) -> dict[str, str]:
    """Return the environment in which a tree's packages go before the installed ones, for child processes too."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    own = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | own | ({"CI": "true"} if ci else {})


def check_imports(tree: Path) -> None:
    """Raise RuntimeError unless a program started for this tree imports it."""
    code = f"import {', '.join(PACKAGES[:-1])} as last; print(collector.__file__, parsers.__file__, last.__file__)"
    command = [sys.executable, "-P", "-c", code]
    environment = environment_of(tree, ci=False)
    done = subprocess.run(command, cwd=tree.parent, env=environment, capture_output=True, text=True, check=True)
    if not all(Path(file).is_relative_to(tree) for file in done.stdout.split()):
        raise RuntimeError(f"not the tree's packages would be tested, but {done.stdout}")


def run_tests(tree: Path, tests: Sequence[str], *, ci: bool, timeout_s: float) -> tuple[int, str]:
    """Run tests in a tree; return pytest's exit code and what it printed."""
    plugins = [f"-pno:{name}" for name in UNUSED_PLUGINS]
    options = ["-q", "--no-header", "--tb=short", *plugins, *([] if ci else HURRIED)]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = environment_of(tree, ci=ci)
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return -1, f"not over after {timeout_s:.0f} s"
    return done.returncode, done.stdout + done.stderr


def try_mutant(mutant: Mutant, tree: Path) -> Outcome:
    """Take the guard out of the tree, see whether a test notices, put it back."""
    started = time.monotonic()
    verdict, noticed = STALE, apply(mutant, tree)
    if not noticed:
        for _ in range(TRIES):
            code, printed = run_tests(tree, mutant.tests, ci=False, timeout_s=TIMEOUT_S)
            if code:
                break
        lines = sorted(_failure.findall(printed), reverse=True)  # what failed goes before what could not be cleaned up
        noticed = lines[0] if lines else "\n".join(printed.splitlines()[-3:])
        verdict = {0: GREEN, 1: RED}.get(code, BROKEN)
        if verdict == RED and (not lines or _no_program.search(noticed)):
            verdict = BROKEN  # that was no guard less, but no program
        if wrong := apply(mutant, tree, "--reverse"):
            raise RuntimeError(f"{mutant.guard} cannot be put back: {wrong}")
    return Outcome(mutant.guard, verdict, mutant.tests, round(time.monotonic() - started, 1), noticed)


def try_all(mutants: Sequence[Mutant], trees: Sequence[Path]) -> Iterator[Outcome]:
    """Try mutants, as many at once as there are trees; yield what became of them, in order."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def take_turn(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            return try_mutant(mutant, tree)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as threads:
        yield from threads.map(take_turn, mutants)


def chosen(mutants: Sequence[Mutant], only: Sequence[str], part: str) -> list[Mutant]:
    """Return those that are asked for; raise ValueError for a name that no patch has."""
    unknown = set(only) - {mutant.guard for mutant in mutants}
    if unknown:
        raise ValueError(f"there is no mutant {', '.join(sorted(unknown))}")
    number, _, parts = part.partition("/")
    picked = [mutant for mutant in mutants if not only or mutant.guard in only]
    return picked[int(number) - 1 :: int(parts)]


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Lay the outcomes out."""
    table = Table("guard taken out", "test", "verdict", "s")
    for each in outcomes:
        colour = "red" if each.verdict == RED else "bold yellow"
        names = escape("\n".join(test.rpartition("::")[2] for test in each.tests))
        table.add_row(each.guard, names, f"[{colour}]{each.verdict}[/]", f"{each.seconds:.1f}")
    return table


def main() -> int:
    """Try, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console(highlight=False)
    started = time.monotonic()
    mutants = chosen(read_mutants(), arguments.only, arguments.part)
    with contextlib.ExitStack() as stack:
        names = [f"tidewaiter-mutants-{number}-" for number in range(min(arguments.at_once, len(mutants)))]
        trees = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=name))) / "tree" for name in names]
        copy_tree(trees[0])
        for tree in trees[1:]:
            shutil.copytree(trees[0], tree)
        check_imports(trees[0])
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        code, printed = run_tests(trees[0], tests, ci=True, timeout_s=TIMEOUT_S + 10 * len(tests))
        if code:
            console.out(printed)
            console.out("With all guards in their places these tests must pass; nothing was taken out.")
            return 1
        console.out(f"{len(tests)} tests pass in {time.monotonic() - started:.0f} s; now without one guard at a time:")
        outcomes = []
        for each in try_all(mutants, trees):
            outcomes.append(each)
            console.out(f"{each.guard}: {each.verdict} ({each.seconds:.1f} s)")
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes)) + b"\n")
    wrong = [each for each in outcomes if each.verdict != RED]
    console.print(table_of(outcomes))
    for each in wrong:
        console.out(f"{each.guard}: {each.verdict}: {each.noticed}")
    console.out(f"{len(outcomes)} guards, {len(outcomes) - len(wrong)} red, in {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
