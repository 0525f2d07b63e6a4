"""What `tidewaiter run` tells of itself."""

from pathlib import Path

import pytest

from collector.commands.run import how_to_search
from collector.config import Config


def make_program(folder: Path) -> str:
    """Make an executable of our name."""
    folder.mkdir()
    program = folder / "tidewaiter"
    program.touch(mode=0o755)
    return str(program)


def test_the_search_that_is_shown_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name where the shell finds us, by path where it does not, as after `make run`."""
    installed, other = make_program(tmp_path / "bin"), make_program(tmp_path / "other")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    data_dir = Config().data_dir

    assert "tidewaiter search '*'" == how_to_search(installed, data_dir)
    assert f"{other} search '*'" == how_to_search(other, data_dir)


def test_the_search_that_is_shown_is_of_the_same_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was named stands in it, quoted for the shell."""
    monkeypatch.setenv("PATH", "")

    assert "tidewaiter --data-dir '/srv/the data' search '*'" == how_to_search("-c", "/srv/the data")
