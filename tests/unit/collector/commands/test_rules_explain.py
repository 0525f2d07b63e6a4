"""`tidewaiter rules explain` as an author uses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.rule_files import FILE_BYTES_LIMIT

RULE = """\
title: A login of root
id: 00000000-0000-4000-8000-000000000001
name: root_login
level: high
logsource: {product: linux, service: sshd}
detection:
  selection: {event.outcome: success, user.name: root}
  office: {source.ip|cidr: 192.0.2.0/24}
  condition: selection and not office
"""
LINE = "Nov 29 12:00:00 web1 sshd[501]: Accepted password for root from 192.0.2.7 port 40022 ssh2"


def explain(*arguments: str, given: str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["rules", "explain", *arguments], input=given)


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """A file with one rule."""
    path = tmp_path / "root.yml"
    path.write_text(RULE)
    return path


def test_a_rule_is_told_as_it_runs(rule: Path) -> None:
    """Source, datasets, the condition as a tree, the fields, and what the scan looks for."""
    result = explain(str(rule))

    assert result.exit_code == 0
    assert [
        "A login of root",
        f"  00000000-0000-4000-8000-000000000001, high; {rule}:1:1",
        "  log source: product: linux, service: sshd",
        "  as linux-sshd, on documents of system.auth:",
        "    · all of",
        "      · the log source is such a document's: process.name is one of 'sshd', 'sshd-session'",
        "      · all of",
        "        · selection: all of",
        "          · event.outcome is 'success'",
        "          · user.name is 'root'",
        "        · not office: source.ip cidr 192.0.2.0/24",
        "    reads process.name, event.outcome, user.name, source.ip",
    ] == result.output.splitlines()[:12]
    assert result.output.splitlines()[12].startswith("    the scan looks for ")


def test_with_a_line_each_condition_is_told_with_its_value(rule: Path) -> None:
    """The document that it becomes, and what holds there."""
    result = explain(str(rule), LINE, "--input", "file")

    assert result.exit_code == 0
    assert "document 1 of 1, system.auth" in result.output
    assert "✓ user.name is 'root': \"root\"" in result.output
    assert '✗ not office: source.ip cidr 192.0.2.0/24: "192.0.2.7"' in result.output
    assert "✗ A login of root" in result.output


def test_lines_come_by_the_standard_input(rule: Path) -> None:
    """Each becomes a document."""
    result = explain(str(rule), "-", "--input", "file", given=f"{LINE}\n{LINE.replace('root', 'alice')}\n")

    assert ["document 1 of 2, system.auth", "document 2 of 2, system.auth"] == [
        line for line in result.output.splitlines() if line.startswith("document ")
    ]


def test_a_line_may_be_a_containers(rule: Path) -> None:
    """Name, image and labels decide about its document as in production."""
    told = explain(
        str(rule), LINE, "--container", "jump", "--image", "sshd:1", "--label", "team=a", "--stream", "stderr", "--json"
    )

    (document,) = json.loads(told.output)["documents"]
    container = document["document"]["container"]
    assert ("jump", {"name": "sshd", "tag": ["1"]}, {"team": "a"}) == (
        container["name"],
        container["image"],
        container["labels"],
    )
    assert (False, "system.auth") == (document["holds"], document["dataset"])


def test_a_rule_of_the_configuration_is_named(rule: Path, tmp_path: Path) -> None:
    """By id, name or title; one that is not there is wrong usage, and the nearest is named."""
    config = tmp_path / "tidewaiter.conf"
    config.write_text(f"data_dir: {tmp_path}\nrules: {{paths: ['{rule}'], pack: false}}\n")

    for name in ("00000000-0000-4000-8000-000000000001", "root_login", "A login of root"):
        assert explain(name, "--config", str(config)).output.startswith("A login of root\n")
    wrong = explain("root_logins", "--config", str(config))
    assert wrong.exit_code == 2
    assert "did you mean root_login?" in wrong.output


def test_a_rule_that_can_never_match_says_why(rule: Path) -> None:
    """Instead of a condition."""
    rule.write_text(RULE.replace("user.name", "no.such"))

    assert "✗ it can never match: no document of its log source has the field no.such" in explain(str(rule)).output


def test_a_rule_that_does_not_load_says_where(rule: Path) -> None:
    """The exit code is 1."""
    rule.write_text(RULE.replace("not office", "not home"))

    result = explain(str(rule))

    assert result.exit_code == 1
    assert f"{rule}:9:3: the condition names 'home'" in result.output


def test_a_rule_without_a_literal_says_what_that_costs(rule: Path) -> None:
    """Each document that may be meant is looked at."""
    rule.write_text("title: t\nlogsource: {product: docker}\ndetection: {s: {process.pid|gte: 5}, condition: s}\n")

    assert (
        "the scan looks for nothing: each document that has 'pid\":' is looked at, which costs time"
        in explain(str(rule)).output
    )


def test_programs_read_the_compiled_rule(rule: Path) -> None:
    """Condition, fields and clauses of each source."""
    told = json.loads(explain(str(rule), "--json").output)

    (variant,) = told["variants"]
    assert ("linux-sshd", "system.auth", None) == (variant["source"], variant["datasets"], told["never"])
    assert "all of" == variant["condition"]["text"]
    assert all(isinstance(literal, str) for clause in variant["clauses"] for literal in clause)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """It holds no rule that could be explained, and the exit code says that something is wrong."""
    path = tmp_path / "large.yml"
    path.write_text("#" * (FILE_BYTES_LIMIT + 1))

    result = explain(str(path))

    assert result.exit_code == 1
    assert "the file is larger than 1 MiB" in result.output
