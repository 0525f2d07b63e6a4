"""`tidewaiter journal` as an operator uses it: who holds the journal, and letting go."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands import journal as command
from collector.commands.journal import held_by_strangers
from collector.config_file import load
from collector.config_values import size_text
from collector.data_dir import lock_data_dir
from collector.journal.checkpoints import Checkpoint, write_checkpoint
from collector.journal.cursors import cursors, write_cursor
from pipelines.frame import Position
from tests.kit.journals import entry_of, open_journal


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder whose journal holds seven records, all settled by the store and none by an output named old."""

    async def fill() -> None:
        journal = open_journal(tmp_path, time.time_ns)
        await journal.append(entry_of(b"x", claimed=7))
        write_cursor(tmp_path / "journal", "store", journal.durable.position)
        write_cursor(tmp_path / "journal", "old", Position(0, 0, 0))
        await journal.close()

    asyncio.run(fill())
    return tmp_path


def tidewaiter(data_dir: Path, *arguments: str) -> Result:
    """Run a command on the data folder."""
    return CliRunner().invoke(cli, [*arguments, "--data-dir", str(data_dir)], catch_exceptions=False)


def test_info_tells_programs_who_is_behind(data_dir: Path) -> None:
    """By name, in records, bytes and seconds, and whether the configuration knows it."""
    report = json.loads(tidewaiter(data_dir, "journal", "info", "--json").stdout)

    behind = {each["name"]: (each["configured"], each["behind"]["records"]) for each in report["consumers"]}
    assert behind == {"dead-letters": (True, 7), "store": (True, 0), "old": (False, 7)}
    assert report["bytes"] == sum(segment["bytes"] for segment in report["segments"])
    old = next(each for each in report["consumers"] if each["name"] == "old")
    assert old["behind"]["seconds"] > 0
    assert report["end"]["sequence"] == 1


def test_info_tells_people_how_to_let_go(data_dir: Path) -> None:
    """The line of an output that is no more says what to type."""
    lines = tidewaiter(data_dir, "journal", "info").stdout.splitlines()

    (old,) = (line for line in lines if line.startswith("old "))
    assert old.split()[1] == "7"
    assert old.endswith("tidewaiter journal forget old")


def test_info_shows_checkpoints_and_what_is_wrong_with_them(data_dir: Path) -> None:
    """How many there are, what they take, and by name why one is not used."""
    directory = data_dir / "journal"
    for sequence in (3, 8):
        write_checkpoint(directory, Checkpoint(Position(0, 7, sequence), "", b"state"))
    (broken,) = (directory / "checkpoints").glob("*8.checkpoint")
    broken.write_bytes(b"broken")

    report = json.loads(tidewaiter(data_dir, "journal", "info", "--json").stdout)["checkpoints"]
    assert [(each["position"]["sequence"], bool(each["problem"])) for each in report] == [(3, False), (8, True)]
    lines = tidewaiter(data_dir, "journal", "info").stdout.splitlines()
    assert f"checkpoints: 2, {size_text(sum(each['bytes'] for each in report))}" in lines
    assert f"not used: {report[1]['problem']}" in lines
    assert broken.name in report[1]["problem"]


def test_info_shows_an_output_that_has_delivered_nothing_yet(data_dir: Path) -> None:
    """The one that holds the journal, since its target was never there, was the one that was left out."""
    lines = tidewaiter(data_dir, "journal", "info").stdout.splitlines()

    (line,) = (line for line in lines if line.startswith("dead-letters "))
    assert line.split()[1] == "7"
    assert line.endswith("has delivered nothing yet")


def test_an_output_that_is_no_more_is_named_until_it_is_forgotten(data_dir: Path) -> None:
    """`check` and `run` warn of it; `forget` lets go of it and of nothing else."""
    config = load(None, str(data_dir)).config
    assert held_by_strangers(config) == [
        "the journal is held for output old, which is no more: tidewaiter journal forget old"
    ]
    assert "tidewaiter journal forget old" in tidewaiter(data_dir, "check").stdout

    said = tidewaiter(data_dir, "journal", "forget", "old", "--yes").stdout.splitlines()
    assert said[0].startswith("output old had not settled 7 records (1 frame, ")
    assert said[1:] == ["forgotten: old"]

    assert held_by_strangers(config) == []
    assert set(cursors(data_dir / "journal")) == {"store"}


def test_letting_go_is_asked_for_and_recorded_with_what_it_costs(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went without a word; what had not been delivered was in no record either."""
    refused = tidewaiter(data_dir, "journal", "forget", "old")
    assert (refused.exit_code, "say --yes" in refused.output) == (2, True)
    monkeypatch.setattr(command, "is_asked", lambda: True)
    declined = CliRunner().invoke(cli, ["journal", "forget", "old", "--data-dir", str(data_dir)], input="n\n")
    assert declined.exit_code == 1
    assert set(cursors(data_dir / "journal")) == {"store", "old"}

    agreed = CliRunner().invoke(cli, ["journal", "forget", "old", "--data-dir", str(data_dir)], input="y\n")

    assert agreed.exit_code == 0
    (file,) = (data_dir / "audit").iterdir()
    details = json.loads(file.read_bytes())["details"]
    assert (details["output"], details["records"], details["frames"]) == ("old", 7, 1)
    assert details["bytes"] > 0


def test_letting_go_beside_a_running_collector_is_warned_of(data_dir: Path) -> None:
    """One that was started with the output writes its cursor again."""

    async def hold() -> int:
        return await lock_data_dir(data_dir)

    lock = asyncio.run(hold())
    done = tidewaiter(data_dir, "journal", "forget", "old", "--yes")
    os.close(lock)

    assert f"a collector runs here (pid {os.getpid()})" in done.stderr
    assert "warning" not in tidewaiter(data_dir, "check").stderr


def test_an_output_that_has_all_loses_nothing(data_dir: Path) -> None:
    """And one whose journal is gone cannot be counted, and can be forgotten all the same."""
    (last,) = {cursors(data_dir / "journal")["store"]}
    write_cursor(data_dir / "journal", "old", last)
    said = tidewaiter(data_dir, "journal", "forget", "old", "--yes").stdout
    assert said.startswith("output old had settled all that stands in the journal\n")

    write_cursor(data_dir / "journal", "old", last)
    for segment in (data_dir / "journal").glob("*.segment"):
        segment.unlink()

    said = tidewaiter(data_dir, "journal", "forget", "old", "--yes").stdout
    assert said.startswith("output old: no segment can be read")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("store", "take it out there first"),
        ("typo", "held for an output 'typo'"),
        ("../x", "'../x'"),
        ("dead-letters", "stays"),
    ],
)
def test_nothing_else_is_forgotten(data_dir: Path, name: str, part: str) -> None:
    """An output of the configuration would begin anew; an unknown name is a mistake."""
    result = tidewaiter(data_dir, "journal", "forget", name, "--yes")

    assert result.exit_code == 2
    assert part in result.output
    assert set(cursors(data_dir / "journal")) == {"store", "old"}


def test_a_folder_that_cannot_be_read_is_no_reason_to_warn(tmp_path: Path) -> None:
    """The configuration may be meant for another machine."""
    assert held_by_strangers(load(None, str(tmp_path / "none")).config) == []
