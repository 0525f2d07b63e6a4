"""The data folder is made private, and only a folder that is ours is."""

import fcntl
import os
from pathlib import Path

import pytest

from collector.data_dir import lock_data_dir, make_data_dir
from collector.errors import DataDirError


@pytest.mark.parametrize("names", [(), ("lost+found",), ("lock", "run"), ("journal", "evidence", "notes.txt")])
def test_an_empty_folder_and_one_of_ours_are_made_private(tmp_path: Path, names: tuple[str, ...]) -> None:
    """New, the root of a file system, left by a start that failed, or with something put beside."""
    tmp_path.chmod(0o755)
    for name in names:
        (tmp_path / name).mkdir()

    make_data_dir(tmp_path)

    assert 0o700 == tmp_path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    "names", [("home.txt",), ("lock", "lib", "log"), ("journal", "syslog"), ("evidence", "photos")]
)
def test_a_folder_in_use_for_something_else_stays_as_it_is(tmp_path: Path, names: tuple[str, ...]) -> None:
    """`--data-dir /tmp` must not shut everybody else out of it."""
    tmp_path.chmod(0o755)
    for name in names:
        (tmp_path / name).mkdir()

    with pytest.raises(DataDirError, match="holds other files"):
        make_data_dir(tmp_path)

    assert 0o755 == tmp_path.stat().st_mode & 0o777


def test_a_file_in_its_place_is_named_as_such(tmp_path: Path) -> None:
    """Not "file exists"."""
    (tmp_path / "file").touch()

    with pytest.raises(DataDirError, match="is no folder"):
        make_data_dir(tmp_path / "file")


async def test_a_folder_that_another_collector_holds_is_refused(tmp_path: Path) -> None:
    """Two on one folder would harm each other; the second is told the pid of the first."""
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.write(held, b"%d" % os.getppid())
    fcntl.flock(held, fcntl.LOCK_EX)

    with pytest.raises(DataDirError, match=rf"in use by another tidewaiter \(pid {os.getppid()}\)"):
        await lock_data_dir(tmp_path)
    os.close(held)
    os.close(await lock_data_dir(tmp_path))
