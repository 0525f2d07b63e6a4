"""`tidewaiter tap` as it is typed: what comes is shown as it comes, once, and it ends as it should."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.store.files import StoreFiles
from pipelines.batch import DataStream
from tests.kit.batches import batch_of
from tests.kit.stores import LAST_NS, opened_files, seal_closed

AUDIT = DataStream("logs", "tidewaiter.audit", "default")
START = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from collector.cli import main; main()"
"""As a terminal starts it: also where who runs the tests has Ctrl-C ignored, which is inherited."""

COMMAND = (sys.executable, "-P", "-c", START)


class Tap:
    """A tap that runs; `lines` are what it printed."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def messages(self, count: int) -> list[str]:
        """Wait for so many documents and return their messages."""
        assert self.process.stdout is not None
        return [json.loads(self.process.stdout.readline())["message"] for _ in range(count)]

    def end(self) -> tuple[int, bytes, bytes]:
        """Press Ctrl-C; return exit code and what else was printed."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


@contextmanager
def tapping(data_dir: Path, *arguments: str) -> Iterator[Tap]:
    """Type a tap."""
    command = [*COMMAND, "--data-dir", str(data_dir), "tap", "--json", *arguments]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=data_dir
    ) as process:
        try:
            yield Tap(process)
        finally:
            process.kill()


@pytest.fixture
def files(tmp_path: Path) -> StoreFiles:
    """A store with 12 documents, and one audit record."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, [f"old {number}" for number in range(12)]), batch_of(1, ["started"], stream=AUDIT)])
    return files


def test_the_newest_come_first_then_what_is_committed(tmp_path: Path, files: StoreFiles) -> None:
    """Ten of those that were there, then each commit as it comes; Ctrl-C is its ordinary end."""
    with tapping(tmp_path) as tap:
        assert tap.messages(10) == [f"old {number}" for number in range(2, 12)]
        for number in range(2, 5):
            files.store([batch_of(number, [f"new {number}", "too"])])
            assert tap.messages(2) == [f"new {number}", "too"]
        assert tap.end() == (0, b"", b"")


def test_only_what_is_asked_for_is_shown(tmp_path: Path, files: StoreFiles) -> None:
    """The query is that of a search, and audit records are left out unless they are asked for."""
    files.store([batch_of(2, ["first wanted"])])
    with (
        tapping(tmp_path, "message:wanted", "-n1") as tap,
        tapping(tmp_path, "-n1", "--stream", "*audit*") as audit,
    ):
        assert (tap.messages(1), audit.messages(1)) == (["first wanted"], ["started"])
        files.store([batch_of(3, ["wanted"]), batch_of(4, ["stopped wanted"], stream=AUDIT)])
        assert audit.messages(1) == ["stopped wanted"]
        files.store([batch_of(5, ["other", "wanted too"])])
        assert tap.messages(2) == ["wanted", "wanted too"]


def test_since_begins_with_all_that_is_not_older(tmp_path: Path, files: StoreFiles) -> None:
    """Without -n nothing of that is left out."""
    with tapping(tmp_path, "--since", "2023-11-14") as tap:
        assert tap.messages(12) == [f"old {number}" for number in range(12)]
        files.store([batch_of(2, ["new"])])
        assert tap.messages(1) == ["new"]


def test_files_are_followed_through_rolling_and_sealing(tmp_path: Path, files: StoreFiles) -> None:
    """A document is shown once, whatever becomes of its file before and after."""
    with tapping(tmp_path) as tap:
        tap.messages(10)
        for number in range(2, 6):
            files.store([batch_of(number, [f"in file {number}"], journal_time=LAST_NS + number * 10**13)])
            files.commit(LAST_NS + (number + 1) * 10**13)
            seal_closed(files)
            assert tap.messages(1) == [f"in file {number}"]
        assert tap.end() == (0, b"", b"")


def test_a_tap_that_was_stopped_reads_on_from_parquet(tmp_path: Path, files: StoreFiles) -> None:
    """What was sealed before it was read is not missed."""
    with tapping(tmp_path) as tap:
        tap.messages(10)
        tap.process.send_signal(signal.SIGSTOP)
        files.store([batch_of(2, ["one", "two"])])
        files.commit(LAST_NS)
        files.store([batch_of(3, ["three"], journal_time=LAST_NS)])
        files.commit(2 * LAST_NS)
        seal_closed(files)
        tap.process.send_signal(signal.SIGCONT)

        assert tap.messages(3) == ["one", "two", "three"]


def test_what_was_deleted_before_it_was_read_is_told(tmp_path: Path, files: StoreFiles) -> None:
    """Retention waits for nobody, and nothing is passed over in silence."""
    files.commit(LAST_NS)
    files.store([batch_of(2, ["begin"], journal_time=LAST_NS)])
    with tapping(tmp_path, "-n", "1") as tap:
        assert tap.messages(1) == ["begin"]
        tap.process.send_signal(signal.SIGSTOP)
        files.store([batch_of(3, ["gone"], journal_time=LAST_NS)])
        files.commit(2 * LAST_NS)
        files.store([batch_of(4, ["gone too"], journal_time=2 * LAST_NS)])
        files.commit(3 * LAST_NS)
        files.store([batch_of(5, ["kept"], journal_time=3 * LAST_NS)])
        files._limit_bytes = 1
        files.commit(3 * LAST_NS)
        tap.process.send_signal(signal.SIGCONT)

        assert tap.messages(1) == ["kept"]
        code, _, err = tap.end()
        assert (code, b"deleted before they were shown" in err) == (1, True)


def test_a_closed_pipe_ends_it_though_nothing_comes(tmp_path: Path, files: StoreFiles) -> None:
    """`tap | head -1` ends when head does, without a word."""
    with tapping(tmp_path) as tap:
        tap.messages(10)
        assert tap.process.stdout is not None
        assert tap.process.stderr is not None
        tap.process.stdout.close()

        assert (tap.process.wait(20), tap.process.stderr.read()) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("message:(",), 2, b"not closed"),
        (("nosuch:field",), 2, b"no document has a field"),
        (("--since", "never"), 2, b"--since"),
    ],
)
def test_a_wrong_query_ends_with_2(
    tmp_path: Path, files: StoreFiles, arguments: Sequence[str], code: int, part: bytes
) -> None:
    """Before anything is shown."""
    with tapping(tmp_path, *arguments) as tap:
        out, err = tap.process.communicate(timeout=120)

    assert (tap.process.returncode, out, part in err) == (code, b"", True)


def test_no_store_ends_with_3(tmp_path: Path) -> None:
    """Where no collector ran there is nothing to follow."""
    with tapping(tmp_path) as tap:
        _, err = tap.process.communicate(timeout=120)

    assert (tap.process.returncode, b"there is no local store" in err) == (3, True)
