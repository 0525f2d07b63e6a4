"""What `tidewaiter reload` prints of an outcome; what becomes of a reload: `tests/unit/collector/test_reload.py`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli import cli
from collector.commands import reload as command
from collector.config_file import folder_named
from collector.errors import Problem
from collector.reload import Outcome

DONE = Outcome("reloaded", "/etc/t.yaml", "abc", ["outputs.old removed", "hosts changed"], [], ["careful"], 1.25)
REFUSED = Outcome(
    "refused", "/etc/t.yaml", problems=[Problem("outputs.a", 7, "is\x1b[2J wrong"), Problem("b", None, "x")]
)


def printed(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> tuple[int, str]:
    """Return exit code and output of the command, where a collector gives this outcome."""
    monkeypatch.setattr(command, "holder_of", lambda _folder: "7")
    monkeypatch.setattr(command, "ask_for_reload", lambda _folder, limit_s: outcome)
    result = CliRunner().invoke(cli, ["--data-dir", str(folder), "reload", *options])
    return result.exit_code, result.output


def test_changes_are_printed_with_what_they_leave_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An output that is no more still holds the journal; warnings come first."""
    assert (
        0,
        "/etc/t.yaml: warning: careful\n"
        "outputs.old removed: what it has not settled holds the journal until `tidewaiter journal forget old`\n"
        "hosts changed\n"
        "reloaded: /etc/t.yaml holds since now (1.2 s)\n",
    ) == printed(DONE, monkeypatch, tmp_path)


def test_problems_are_printed_with_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1; what the file holds does not reach the terminal as a command."""
    assert (
        1,
        "/etc/t.yaml:7: outputs.a: is\\x1b[2J wrong\n"
        "/etc/t.yaml:1: b: x\n"
        "refused: 2 problems; the configuration before holds, unchanged\n",
    ) == printed(REFUSED, monkeypatch, tmp_path)


def test_programs_get_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One object, the same keys whatever the outcome."""
    code, text = printed(REFUSED, monkeypatch, tmp_path, "--json")

    assert 1 == code
    found = json.loads(text)
    assert {"status", "source", "hash", "changes", "problems", "warnings", "seconds"} == found.keys()
    assert {"path": "outputs.a", "line": 7, "message": "is\x1b[2J wrong"} == found["problems"][0]


def test_the_data_folder_is_found_in_a_file_that_is_wrong(tmp_path: Path) -> None:
    """The collector that runs tells what is wrong with it; so it must be found first."""
    file = tmp_path / "tidewaiter.yaml"
    file.write_text(f"data_dir: {tmp_path}/data\noutputs: {{a: {{type: lokal}}}}\n")

    assert f"{tmp_path}/data" == folder_named(str(file))
    assert "/given" == folder_named(str(file), "/given")
