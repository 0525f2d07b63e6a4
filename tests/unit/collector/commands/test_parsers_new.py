"""`tidewaiter parsers new` as a developer uses it."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from parsers.check import problems
from parsers.table import Payload

DATA = Path(__file__).parents[3] / "data"
NOW_S = 1795953600


def new(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["parsers", "new", *arguments])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the source."""
    for folder in ("parsers/formats", "tests/golden/formats"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_a_new_parser_works_on_its_samples(checkout: Path) -> None:
    """Its table is a good one, and it takes all of its lines but the last."""
    result = new("shop_log", "--checkout", str(checkout))

    assert result.exit_code == 0
    spec = importlib.util.spec_from_file_location("shop_log", checkout / "parsers/formats/shop_log.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    taxonomy = json.loads((DATA / "event_taxonomy.json").read_text())
    lines = (checkout / "tests/golden/formats/shop_log/shop_log.log").read_text().splitlines()
    parsed = [module.FORMAT.parse(Payload(line), NOW_S) for line in lines]

    assert list(problems("shop_log", module.FORMAT, taxonomy, frozenset())) == []
    assert [each is not None for each in parsed] == [*[True] * 7, False]
    assert [each.message for each in parsed[:2]] == ["cart is slow", "cart saved"]


@pytest.mark.parametrize("name", ["nginx", "none", "Shop", "../shop", "shop-log", ""])
def test_a_name_that_cannot_be_one_is_refused(checkout: Path, name: str) -> None:
    """Taken, or not to be written as a module; nothing is written."""
    result = new(name, "--checkout", str(checkout))

    assert result.exit_code == 2
    assert [path for path in checkout.rglob("*") if path.is_file()] == []


def test_what_is_there_is_not_written_over(checkout: Path) -> None:
    """The second time says so."""
    new("shop", "--checkout", str(checkout))
    module = checkout / "parsers/formats/shop.py"
    module.write_text("mine")

    assert new("shop", "--checkout", str(checkout)).exit_code == 2
    assert module.read_text() == "mine"


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    """It says how to name one."""
    result = new("shop", "--checkout", str(tmp_path))

    assert result.exit_code == 2
    assert "--checkout" in result.output
