"""`tidewaiter verify` as an auditor uses it: what it says, what it exits with, what it needs."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands import verify as command
from collector.errors import DataDirError, UnreachableError
from collector.journal.segments import segment_files
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, open_journal


def fill(root: Path) -> None:
    """Write a few frames and stop cleanly."""

    async def write() -> None:
        journal = open_journal(root, FakeClock())
        for number in range(5):
            await journal.append(entry_of(b"%d" % number))
        await journal.close()

    asyncio.run(write())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder, stopped cleanly."""
    fill(tmp_path / "data")
    return tmp_path / "data"


def verify(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)], catch_exceptions=False, standalone_mode=False)


def alter(data_dir: Path) -> None:
    """Change the last byte of the newest segment."""
    path = data_dir / "journal" / segment_files(data_dir / "journal")[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_what_is_as_it_was_written_exits_with_0(data_dir: Path) -> None:
    """It says how much was verified, and that the key should not stand beside it."""
    done = verify("--data-dir", data_dir)

    assert not done.return_value
    assert "5 frames" in done.stdout
    assert "keep it elsewhere" in done.stdout
    assert done.stdout.splitlines()[-1] == "all of it is as it was written"


def test_each_epoch_of_a_writer_is_shown_with_its_frames_and_times(data_dir: Path) -> None:
    """What is proven is a stretch of time: who reads the report need not know what an epoch is."""
    fill(data_dir)

    lines = verify(data_dir).stdout.splitlines()
    report = json.loads(verify(data_dir, "--json").stdout)["epochs"]

    assert lines[1:4] == [
        "  test epoch 1800000000: sequence 0 to 4, 5 frames, 2027-01-15 08:00:00Z to 2027-01-15 08:00:00Z",
        "  test epoch 1800000001: sequence 0 to 4, 5 frames, 2027-01-15 08:00:00Z to 2027-01-15 08:00:00Z",
        "the end is anchored: a cut is noticed before epoch 1800000001 sequence 5",
    ]
    assert [(each["writer"], each["epoch"], each["first"], each["last"], each["frames"]) for each in report] == [
        ("test", 1_800_000_000, 0, 4, 5),
        ("test", 1_800_000_001, 0, 4, 5),
    ]
    assert 1_800_000_000 * 10**9 <= report[0]["first_ns"] < report[0]["last_ns"] < report[1]["first_ns"]


def test_of_many_epochs_people_see_the_newest(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start is one: a year of them would hide the verdict."""
    monkeypatch.setattr(command, "EPOCHS_SHOWN", 1)
    fill(data_dir)

    lines = verify(data_dir).stdout.splitlines()

    assert lines[1] == "  1 earlier epoch: see --json"
    assert lines[2].startswith("  test epoch 1800000001: ")


def test_without_an_anchor_the_end_is_not_proven_and_that_is_said(data_dir: Path) -> None:
    """A dash stood there, and the report looked like any other."""
    (data_dir / "evidence" / "anchor").unlink()

    assert "the end is not proven: no anchor" in verify(data_dir).stdout
    assert "the end is not proven: no anchor" in verify(data_dir, "--partial").stdout


def test_where_no_journal_is_the_right_place_is_named(data_dir: Path, tmp_path: Path) -> None:
    """It asked for a key, which would not have helped."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UnreachableError, match=f"no journal in {empty}/journal: has a collector run"):
        verify("--data-dir", empty)
    with pytest.raises(UnreachableError, match=f"in {empty}/journal, nor in {empty}: PATH is a data folder"):
        verify(empty)
    with pytest.raises(UnreachableError, match=f"--key FILE, or verify the data folder {data_dir}"):
        verify(data_dir / "journal")


def test_a_journal_that_is_gone_is_a_finding_where_its_anchor_stands(data_dir: Path) -> None:
    """Somebody removed it: that is no wrong path."""
    shutil.rmtree(data_dir / "journal")

    done = verify(data_dir)

    assert done.return_value == 1
    assert "CUT" in done.stdout


def test_what_is_not_exits_with_1_and_names_the_place(data_dir: Path) -> None:
    """For people and for programs."""
    alter(data_dir)

    done = verify(data_dir)
    report = json.loads(verify(data_dir, "--json").stdout)

    assert done.return_value == 1
    assert "ALTERED from epoch 1800000000 sequence 4 on" in done.stdout
    assert (report["good"], report["findings"][0]["first"]["sequence"]) == (False, 4)


def test_a_copy_is_verified_with_a_key_and_a_log_kept_elsewhere(data_dir: Path, tmp_path: Path) -> None:
    """The folder of segments alone, the key from a safe, the collector's log with its anchors."""
    archive, safe = tmp_path / "archive", tmp_path / "safe.key"
    shutil.copytree(data_dir / "journal", archive)
    shutil.copy(data_dir / "evidence" / "verification.key", safe)
    fill(data_dir)
    anchor = (data_dir / "evidence" / "anchor").read_text()
    log = tmp_path / "log"
    log.write_text("starting\n" + json.dumps({"event": "journal_anchored", "anchor": anchor}) + "\n")

    assert not verify(archive, "--key", safe, "--partial").return_value
    done = verify(archive, "--key", safe, "--partial", "--anchor", log)

    assert "CUT" not in done.stdout  # a part may end anywhere
    assert verify(archive, "--key", safe, "--anchor", log).return_value == 1


def test_what_is_not_there_is_said_in_a_sentence(data_dir: Path, tmp_path: Path) -> None:
    """No key, no journal, the key of another journal."""
    other = tmp_path / "other"
    fill(other)
    with pytest.raises(DataDirError, match="another id"):
        verify(data_dir, "--key", other / "evidence" / "verification.key")
    with pytest.raises(UnreachableError, match="no segment"):
        verify(tmp_path, "--key", other / "evidence" / "verification.key", "--partial")
    (other / "evidence" / "verification.key").unlink()
    with pytest.raises(UnreachableError, match="--key"):
        verify(other)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), OSError(5, "Input/output error")])
def test_what_the_disk_does_not_give_is_a_sentence_and_exit_code_3(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Never a traceback: what cannot be verified is neither good nor bad."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("collector.evidence.verify.acknowledged_ends", fail)
    with pytest.raises(UnreachableError, match=f"cannot be verified: {error.strerror}") as raised:
        verify(data_dir)

    assert raised.value.exit_code == 3


@pytest.mark.parametrize("key", ["no hex", "ab", ""])
def test_a_key_that_is_none_is_said_in_a_sentence(data_dir: Path, tmp_path: Path, key: str) -> None:
    """A file that was cut or mistyped on its way to the safe."""
    exported = json.loads((data_dir / "evidence" / "verification.key").read_text())
    kept = tmp_path / "kept.key"
    kept.write_text(json.dumps({**exported, "key": key}))

    with pytest.raises(DataDirError, match="no verification key"):
        verify(data_dir, "--key", kept)
