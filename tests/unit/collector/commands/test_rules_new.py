"""`tidewaiter rules new` and `schema` as an author uses them."""

import json
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands.rules_new_samples import SAMPLES
from tests.kit.json_schema import problems


def rules(*arguments: str) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(cli, ["rules", *arguments])


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_new_rule_passes_its_tests(tmp_path: Path, kind: str) -> None:
    """Of each kind of logs: it loads without a remark, fires on one case and not on the other."""
    new = rules("new", "odd_thing", "--logsource", kind, "--folder", str(tmp_path))
    tested = rules("test", str(tmp_path))
    listed = rules("list", str(tmp_path), "--json")

    assert (0, 0) == (new.exit_code, tested.exit_code)
    assert "1 rule: 2 cases passed, 0 failed" in tested.output
    assert [] == json.loads(listed.output.splitlines()[0])["why"]


def test_new_rules_differ_by_their_ids(tmp_path: Path) -> None:
    """So two of them are no double; titles come from the names."""
    for name in ("odd_thing", "other_thing"):
        rules("new", name, "--folder", str(tmp_path))
    one, other = (yaml.safe_load((tmp_path / f"{name}.yml").read_text()) for name in ("odd_thing", "other_thing"))

    assert UUID(one["id"]) != UUID(other["id"])
    assert ["Odd thing", "Other thing"] == [one["title"], other["title"]]


@pytest.mark.parametrize("name", ["Odd", "../odd", "odd-thing", "1odd", ""])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written."""
    assert rules("new", name, "--folder", str(tmp_path)).exit_code == 2
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["yml", "test.yml"])
def test_what_is_there_is_not_written_over(tmp_path: Path, suffix: str) -> None:
    """Neither a rule nor its tests."""
    (tmp_path / f"odd.{suffix}").write_text("mine")

    assert rules("new", "odd", "--folder", str(tmp_path)).exit_code == 2
    assert [f"odd.{suffix}"] == [path.name for path in tmp_path.iterdir()]


def test_the_schema_takes_test_files_and_refuses_mistakes(tmp_path: Path) -> None:
    """It is what `new` writes beside the first rule, and names for editors."""
    rules("new", "odd", "--folder", str(tmp_path))
    schema = json.loads((tmp_path / "rule-tests.schema.json").read_text())
    text = (tmp_path / "odd.test.yml").read_text()
    good = yaml.safe_load(text)

    assert json.loads(rules("schema").output) == schema
    assert text.startswith("# yaml-language-server: $schema=rule-tests.schema.json\n")
    assert [] == problems(schema, good)
    assert [] != problems(schema, {"cases": [{**good["cases"][0], "extra": 1}]})
    assert [] != problems(schema, {"cases": [{"name": "a", "lines": ["x"]}]})
    assert [] == problems(schema, {"cases": [{"name": "a", "lines": ["x"], "expect": [{"fields": {"a": 1}}]}]})
