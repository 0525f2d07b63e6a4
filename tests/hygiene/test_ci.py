"""The guard that lets no test be skipped or deselected in CI, tried on suites that do it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

GOOD = "def test_one():\n    pass\n"
SKIPPED = "import pytest\n\ndef test_two():\n    pytest.skip('no engine here')\n"
MODULE_SKIPPED = "import pytest\n\npytest.skip('not here', allow_module_level=True)\n"
EXPECTED_TO_FAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_two():\n    assert False\n"


def run(folder: Path, second: str, *arguments: str, ci: bool = True) -> subprocess.CompletedProcess[str]:
    """Run pytest on two tests with our conftest, as CI does."""
    shutil.copy(CONFTEST, folder)
    (folder / "test_one.py").write_text(GOOD)
    (folder / "test_two.py").write_text(second)
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | ({"CI": "true"} if ci else {})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        ".",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("second", "arguments"),
    [(SKIPPED, []), (MODULE_SKIPPED, []), (EXPECTED_TO_FAIL, []), (GOOD.replace("one", "two"), ["-k", "one"])],
    ids=["skipped", "module skipped", "expected to fail", "deselected"],
)
def test_a_test_that_did_not_run_fails_the_build(tmp_path: Path, second: str, arguments: list[str]) -> None:
    """Every test that was collected runs and passes, or CI is red; the reason is printed."""
    done = run(tmp_path, second, *arguments)

    assert done.returncode == 1
    assert "CI runs every test" in done.stdout


def test_a_suite_that_ran_whole_is_green(tmp_path: Path) -> None:
    """The guard lets through what it should."""
    assert run(tmp_path, GOOD.replace("one", "two")).returncode == 0


def test_elsewhere_a_test_may_say_what_it_lacks(tmp_path: Path) -> None:
    """On a laptop without an engine a skip is a skip."""
    assert run(tmp_path, SKIPPED, ci=False).returncode == 0
