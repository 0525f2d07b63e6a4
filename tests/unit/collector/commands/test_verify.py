"""`tidewaiter verify` as an auditor uses it: what it says, what it exits with, what it needs."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.errors import DataDirError, UnreachableError
from collector.journal.segments import segment_files
from collector.testing.clock import FakeClock
from collector.testing.journals import entry_of, open_journal


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
