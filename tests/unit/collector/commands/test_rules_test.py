"""`tidewaiter rules test` as an author uses it: what it prints, its exit codes, and what programs read."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.rule_files import FILE_BYTES_LIMIT

RULE = """\
title: A login of root
id: 00000000-0000-4000-8000-000000000001
logsource: {product: linux, service: sshd}
detection:
  selection: {event.outcome: success, user.name: root}
  condition: selection
"""
CASES = """\
cases:
  - name: root
    input: file
    lines: ['Nov 29 12:00:00 web1 sshd[501]: Accepted password for root from 203.0.113.9 port 40022 ssh2']
    expect: 1
  - name: alice
    input: file
    lines: ['Nov 29 12:00:00 web1 sshd[501]: Accepted password for alice from 203.0.113.9 port 40022 ssh2']
    expect: none
"""
WRONG = CASES.replace("expect: none", "expect: 1")


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["rules", "test", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one rule and its tests, which pass; nothing else is configured."""
    (tmp_path / "root.yml").write_text(RULE)
    (tmp_path / "root.test.yml").write_text(CASES)
    return tmp_path


def test_cases_that_pass_are_a_line(folder: Path) -> None:
    """And the exit code is 0, for a folder, a file of rules or its test file."""
    for path in (folder, folder / "root.yml", folder / "root.test.yml"):
        result = run(str(path))

        assert f"✓ {folder / 'root.test.yml'}: 2 of 2 cases\n1 rule: 2 cases passed, 0 failed\n" == result.output
        assert result.exit_code == 0


def test_a_case_that_fails_says_which_condition_failed_on_which_value(folder: Path) -> None:
    """With the place of the case, its document, the values; the exit code is 1."""
    (folder / "root.test.yml").write_text(WRONG)

    result = run(str(folder))

    assert result.exit_code == 1
    assert f"✗ alice ({folder / 'root.test.yml'}:6:5)" in result.output
    assert "✗ user.name is 'root': \"alice\"" in result.output
    assert "✓ event.outcome is 'success': \"success\"" in result.output
    assert "1 case passed, 1 failed" in result.output


def test_a_rule_without_a_test_file_is_named(folder: Path) -> None:
    """It is no failure."""
    (folder / "root.test.yml").unlink()

    result = run(str(folder))

    assert result.exit_code == 0
    assert f"· {folder / 'root.yml'}: A login of root: no test file\n" in result.output
    assert "1 rule without a test file" in result.output


def test_a_rule_that_does_not_load_fails(folder: Path) -> None:
    """With its place; the rules of other files are run."""
    (folder / "broken.yml").write_text(RULE.replace("0001", "0002").replace("condition: selection", "condition: other"))

    result = run(str(folder))

    assert result.exit_code == 1
    assert f"✗ {folder / 'broken.yml'}:6:3: the condition names 'other'" in result.output
    assert "2 cases passed, 0 failed, 1 mistake in files" in result.output


def test_a_test_file_with_a_mistake_fails(folder: Path) -> None:
    """No case of it is run."""
    (folder / "root.test.yml").write_text(CASES.replace("expect: 1", "expected: 1"))

    result = run(str(folder))

    assert result.exit_code == 1
    assert "root.test.yml:5:5: unknown key 'expected'; did you mean expect?" in result.output
    assert "0 cases passed, 0 failed, 1 mistake" in result.output


def test_a_correlation_rule_fails_its_cases(folder: Path) -> None:
    """It is not evaluated by this version: also a case that expects nothing does not pass for that."""
    about = "{type: event_count, rules: [x], timespan: 5m, condition: {gte: 3}}"
    many = f"---\ntitle: Many\nname: many\ncorrelation: {about}\n"
    (folder / "root.yml").write_text(RULE + many)
    (folder / "root.test.yml").write_text(CASES.replace("cases:", "rule: many\ncases:"))

    result = run(str(folder))

    assert result.exit_code == 1
    assert result.output.count("many: a correlation rule is not evaluated by this version") == 2


def test_a_filter_of_another_file_holds_for_the_rule(folder: Path) -> None:
    """As in production, where a set is loaded whole."""
    (folder / "filter.yml").write_text(
        "title: Not from the office\nlogsource: {product: linux, service: sshd}\nfilter:\n"
        "  rules: any\n  selection: {source.ip: 203.0.113.9}\n  condition: not selection\n"
    )

    result = run(str(folder))

    assert result.exit_code == 1
    assert "✗ filter Not from the office: not selection: source.ip is '203.0.113.9': \"203.0.113.9\"" in result.output


def test_nothing_to_test_is_wrong_usage(folder: Path) -> None:
    """Neither paths nor a configuration that names some; a path that is not there; a test file without rules."""
    config = folder / "tidewaiter.yaml"
    config.write_text(f"data_dir: {folder}\n")
    (folder / "alone.test.yml").write_text(CASES)

    assert run("--config", str(config)).exit_code == 2
    for path, why in (("none.yml", "there is no such file"), ("alone.test.yml", "there are no rules beside it")):
        result = CliRunner().invoke(cli, ["rules", "test", str(folder / path)])
        assert why in str(result.exception)


def test_the_configurations_paths_are_what_is_tested(folder: Path) -> None:
    """Where none are given."""
    config = folder / "tidewaiter.yaml"
    config.write_text(f"data_dir: {folder}\nrules: {{paths: ['{folder}'], pack: false}}\n")
    config.rename(folder / "tidewaiter.conf")

    assert "2 cases passed" in run("--config", str(folder / "tidewaiter.conf")).output


def test_programs_read_an_object_a_case(folder: Path) -> None:
    """Its place, what was expected and what came, and the documents."""
    (folder / "root.test.yml").write_text(WRONG)

    passed, failed = map(json.loads, run(str(folder), "--json").output.splitlines())

    assert (True, "root", 1, 2) == (passed["passed"], passed["case"], len(passed["alerts"]), passed["line"])
    assert (False, "alice", [], 1) == (failed["passed"], failed["case"], failed["alerts"], failed["expected"])
    assert ["expected 1 alert, got no alert"] == failed["faults"]
    assert "alice" == failed["documents"][0]["user"]["name"]


def test_results_are_written_as_junits_xml(folder: Path, tmp_path: Path) -> None:
    """A suite a file: what passed, what failed with why, what is skipped for it has no tests."""
    (folder / "root.test.yml").write_text(WRONG)
    (folder / "bare.yml").write_text(RULE.replace("0001", "0002"))

    run(str(folder), "--junit", str(tmp_path / "junit.xml"))

    root = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - we wrote it
    suites = {suite.get("name"): suite for suite in root}
    suite = suites[str(folder / "root.test.yml")]
    assert ("2", "1", "0", "0") == tuple(suite.get(name) for name in ("tests", "failures", "errors", "skipped"))
    failure = suite.find("testcase[@name='alice']/failure")
    assert failure is not None
    assert "expected 1 alert, got no alert" == failure.get("message")
    assert "✗ user.name is 'root': \"alice\"" in (failure.text or "")
    assert "1" == suites[str(folder / "bare.yml")].get("skipped")


def test_what_a_line_holds_does_not_control_the_terminal(folder: Path) -> None:
    """An escape of a terminal in a line, and in a case's name, is shown as an escape (P5)."""
    (folder / "root.test.yml").write_text(
        'cases:\n  - name: "a\\e[2J\\u202e"\n    input: file\n    expect: 1\n    lines:\n'
        '      - "Nov 29 12:00:00 web1 sshd[501]: Accepted password for al\\e[2Jice from 203.0.113.9 port 4 ssh2"\n'
    )

    result = run(str(folder))

    assert result.exit_code == 1
    assert not [each for each in result.output if not each.isprintable() and each != "\n"]


def test_a_test_file_that_cannot_be_read_fails(folder: Path) -> None:
    """And the rule is not taken for one without tests."""
    (folder / "root.test.yml").write_text("#" * (FILE_BYTES_LIMIT + 1))

    result = run(str(folder))

    assert result.exit_code == 1
    assert "root.test.yml:1:1: the file is larger than 1 MiB" in result.output


def test_tests_without_their_rules_are_told(folder: Path) -> None:
    """A rule that was renamed leaves its tests behind, and nothing would run them any more."""
    (folder / "root.yml").rename(folder / "login.yml")

    result = run(str(folder))

    assert result.exit_code == 1
    assert "root.test.yml:1:1" in result.output
    assert "there are no rules beside it" in result.output
