"""A damaged file of the store is named, and all others are searched."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.store.lucene import translate
from collector.store.reader import Choice, Store, open_store
from tests.kit.batches import TIME, batch_of
from tests.kit.stores import LAST_NS, opened_files, seal_closed

COMMAND = (sys.executable, "-P", "-c", "from collector.cli import main; main()")


def overwritten(path: Path) -> None:
    """Put other bytes into the middle."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))


def emptied(path: Path) -> None:
    """Leave nothing but the size."""
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    """Lose the end."""
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = [Path.unlink, cut, emptied, overwritten]


@pytest.fixture(params=["lines", "sealed"])
def first(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store with a closed file of lines or a sealed one, which is returned, and an open one behind."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, [f"first {number} {'x' * number}" for number in range(200)])])
    files.commit(LAST_NS)
    if request.param == "sealed":
        seal_closed(files)
    files.store([batch_of(1, ["kept"], journal_time=LAST_NS)])
    files.close()
    (path,) = [path for path in (tmp_path / "store").glob("*/*") if path.name.startswith(f"dc{0:017d}")]
    return path


def messages(store: Store) -> list[str]:
    """Messages of all documents."""
    return [json.loads(document)["message"] for document in store.search(translate("", now_ns=TIME))]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_the_others_are_searched(
    tmp_path: Path, first: Path, damage: Callable[[Path], None]
) -> None:
    """Whatever happened to it, by a query and by SQL."""
    damage(first)

    with open_store(tmp_path) as store:
        assert messages(store) == ["kept"]
        assert [str(first) in sentence for sentence in store.damaged] == [True]
    with open_store(tmp_path, Choice(apart=True)) as store:
        _, rows = store.select("SELECT message FROM logs ORDER BY 1")
        assert (list(rows), len(store.damaged)) == ([("kept",)], 1)


def test_the_command_names_it_and_ends_with_1(tmp_path: Path, first: Path) -> None:
    """What was found is printed all the same."""
    emptied(first)
    command = [*COMMAND, "--data-dir", str(tmp_path), "search", "", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, cwd=tmp_path)

    assert (done.returncode, json.loads(done.stdout)["message"]) == (1, "kept")
    assert str(first).encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_damaged_closed_file_does_not_stop_the_writer(tmp_path: Path, first: Path) -> None:
    """What comes is stored; only a file that would be appended to has to be whole."""
    first.unlink()
    files = opened_files(tmp_path)
    files.store([batch_of(2, ["later"], journal_time=LAST_NS)])

    with open_store(tmp_path) as store:
        assert messages(store) == ["kept", "later"]
