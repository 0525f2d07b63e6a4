"""deploy/evidence.md by its word: an archive that was copied is proven on another machine, or is not."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.running import RunningCollector, wait_until


@pytest.fixture
def archiving(tmp_path: Path) -> RunningCollector:
    """A collector that seals a segment each second and keeps an archive."""
    settings = {"journal": {"archive": "1h", "segment_age": "1s"}}
    collector = RunningCollector(tmp_path / "c", settings=settings)
    collector.start()
    try:
        collector.wait_ready()
        for number in range(3):
            sender = ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name=f"s{number}"))
            asyncio.run(sender.send(50))
            before = len(segments(collector.data_dir))
            wait_until(
                lambda before=before: len(segments(collector.data_dir)) > before,  # type: ignore[misc]
                timeout_s=60,
                what="a sealed segment",
            )
        assert collector.stop() == 0
    finally:
        collector.kill_all()
    return collector


def segments(folder: Path) -> list[Path]:
    """The segment files of a data folder or a copy, oldest first."""
    return sorted((folder / "journal").glob("*.segment*"))


def verify(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command where there is no collector and no configuration."""
    command = [str(Path(sys.executable).with_name("tidewaiter")), "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")


def test_an_archive_is_proven_on_another_machine(archiving: RunningCollector, tmp_path: Path) -> None:
    """With the key and the log kept elsewhere: all of it, some segments of it, and what is compressed by now."""
    kept, copy = tmp_path / "kept.key", tmp_path / "copy"
    (archiving.data_dir / "evidence" / "verification.key").rename(kept)
    shutil.copytree(archiving.data_dir / "journal", copy / "journal")
    shutil.copytree(archiving.data_dir / "evidence", copy / "evidence")

    whole = verify(copy, "--key", kept, "--anchor", archiving.log_file)
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "all of it is as it was written")

    some = tmp_path / "some"
    (some / "journal").mkdir(parents=True)
    for path in segments(copy)[1:3]:
        shutil.copy(path, some / "journal")
    assert verify(some, "--key", kept, "--partial").returncode == 0


def test_what_was_done_to_the_archive_is_named(archiving: RunningCollector, tmp_path: Path) -> None:
    """A byte, a segment, the end: exit code 1, and the first finding says what, where."""
    key, log = archiving.data_dir / "evidence" / "verification.key", archiving.log_file
    second = segments(archiving.data_dir)[1]
    content = second.read_bytes()

    second.write_bytes(content[:-20] + b"X" + content[-19:])
    altered = verify(archiving.data_dir, "--key", key)
    second.unlink()
    missing = verify(archiving.data_dir, "--key", key)
    second.write_bytes(content)
    newest = segments(archiving.data_dir)[-1]
    newest.unlink()
    cut = verify(archiving.data_dir, "--key", key, "--anchor", log)

    assert [each.returncode for each in (altered, missing, cut)] == [1, 1, 1]
    assert first_finding(altered).startswith("ALTERED ")
    assert second.name in first_finding(altered)
    assert first_finding(missing).startswith("MISSING ")
    assert first_finding(cut).startswith("CUT ")
    assert newest.name in first_finding(cut)


def first_finding(verified: subprocess.CompletedProcess[str]) -> str:
    """The first line behind the summary that names a kind of finding."""
    kinds = ("ALTERED", "FORGED", "MISSING", "REORDERED", "CUT", "UNREADABLE")
    return next(line for line in verified.stdout.splitlines() if line.startswith(kinds))
