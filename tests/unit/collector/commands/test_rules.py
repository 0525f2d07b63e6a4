"""`tidewaiter rules list` as a rule author uses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from tests.kit.rule_folders import BROKEN, rule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rule that can match, one that never does, and one in part."""
    (tmp_path / "a.yml").write_text(rule(1, "alpha"))
    (tmp_path / "b.yml").write_text(rule(2, "beta").replace("category: application", "product: plan9"))
    (tmp_path / "c.yml").write_text(
        "title: C\nlogsource: {product: linux}\ndetection:\n  a: {Nowhere: 1}\n  b: {message: x}\n  condition: a or b\n"
    )
    return tmp_path


def rules_list(*arguments: str, config: Path | None = None) -> Result:
    """Run the command."""
    given = ["--config", str(config)] if config is not None else []
    return CliRunner().invoke(cli, [*given, "rules", "list", *arguments], catch_exceptions=False)


def test_rules_are_listed_with_their_state(folder: Path) -> None:
    """A line each, in the order of files; how many there are is told beside it."""
    done = rules_list(str(folder))

    assert [
        "title\tid\tlevel\tstate\tlog_source\tfile",
        f"Word alpha\t6d1f2a00-0000-4000-8000-000000000001\thigh\tactive\tcategory: application\t{folder}/a.yml:1:1",
        f"Word beta\t6d1f2a00-0000-4000-8000-000000000002\thigh\tnever\tproduct: plan9\t{folder}/b.yml:1:1",
        f"C\t-\t-\tactive\tproduct: linux\t{folder}/c.yml:1:1",
    ] == done.stdout.splitlines()
    assert "3 rules, 2 can match\n" == done.stderr


def test_it_says_why_a_rule_cannot_match(folder: Path) -> None:
    """And which part of another cannot."""
    said = [line.split("\t")[-1] for line in rules_list(str(folder), "--why").stdout.splitlines()]

    assert [
        "why",
        "",
        "no document is of the log source (product: plan9)",
        "no document has the field Nowhere",
    ] == said


def test_programs_get_all_of_it(folder: Path) -> None:
    """An object a line, with reasons as lists and nothing where a rule says nothing."""
    found = [json.loads(line) for line in rules_list(str(folder), "--json").stdout.splitlines()]

    assert [[], ["no document is of the log source (product: plan9)"], ["no document has the field Nowhere"]] == [
        each["why"] for each in found
    ]
    assert [("6d1f2a00-0000-4000-8000-000000000001", "high"), (None, None)] == [
        (each["id"], each["level"]) for each in (found[0], found[2])
    ]


def test_the_configuration_says_which_rules(folder: Path) -> None:
    """Where no paths are given."""
    config = folder / "tidewaiter.yaml.txt"
    config.write_text(f"rules: {{pack: false, paths: ['{folder}/a.yml']}}\n")

    done = rules_list(config=config)

    assert ["title", "Word alpha"] == [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_what_did_not_load_is_told(folder: Path) -> None:
    """With its place, beside the rules that did."""
    (folder / "d.yml").write_text(BROKEN)

    done = rules_list(str(folder))

    assert 4 == len(done.stdout.splitlines())
    first, last = done.stderr.splitlines()
    assert first.startswith(f"not loaded: {folder}/d.yml:")
    assert "3 rules, 2 can match; mistakes that keep others from loading: 1" == last
