"""Index files of resends: a chain in which each names the one before, of which the whole end counts."""

from pathlib import Path

import pytest

from collector.journal import resend_index
from collector.journal.remembered import CHANGE
from collector.journal.resend_index import FOLDER, IndexWriter, index_files, read_indexes
from collector.journal.resends import Snapshot


def _segment(number: int) -> str:
    return f"00-1800000000-{number:011}.segment"


def _snapshot(number: int) -> Snapshot:
    return Snapshot(number, _change(number), (), ())


def _change(number: int) -> bytes:
    return CHANGE.pack(True, bytes([number]) * 12, number, 1)


def _written(journal: Path, count: int = 4) -> list[Path]:
    writer = IndexWriter(journal)
    return [writer.write(_segment(number), _snapshot(number)) for number in range(count)]


def _counting(journal: Path) -> list[int]:
    return [snapshot.newest_number for snapshot in read_indexes(journal).snapshots]


def test_all_of_them_are_the_memory(tmp_path: Path) -> None:
    """Also when the writer was another process in between."""
    _written(tmp_path)
    IndexWriter(tmp_path, _segment(3)).write(_segment(4), _snapshot(4))

    assert _counting(tmp_path) == [0, 1, 2, 3, 4]
    assert (read_indexes(tmp_path).newest, read_indexes(tmp_path).damaged) == (_segment(4), [])


@pytest.mark.parametrize("how", ["missing", "damaged", "unreadable"])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_what_stood_before_a_damaged_or_missing_index_still_counted(tmp_path: Path, how: str, which: int) -> None:
    """It may have told that a message was absorbed: without that, one that is new was swallowed."""
    lost = _written(tmp_path)[which]
    content = lost.read_bytes()
    lost.unlink()
    if how == "damaged":
        lost.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "unreadable":
        lost.mkdir()

    found = read_indexes(tmp_path)

    # Of the newest it is known only from the segments behind; the oldest may have been too old.
    is_unknown = how == "missing" and which in {0, 3}
    assert _counting(tmp_path) == ([0, 1, 2] if which == 3 else list(range(which + 1, 4)))
    assert found.damaged == ([] if is_unknown else [lost.name])
    assert found.newest == _segment(2 if which == 3 else 3)


def test_old_ones_may_be_deleted(tmp_path: Path) -> None:
    """They go from the oldest on, and that is no damage."""
    for path in _written(tmp_path)[:2]:
        path.unlink()

    assert (_counting(tmp_path), read_indexes(tmp_path).damaged) == ([2, 3], [])


def test_changes_of_an_index_that_could_not_be_written_were_lost(tmp_path: Path) -> None:
    """A disk that was full for a moment: they stand in the next, and it follows the last that was written."""
    writer = IndexWriter(tmp_path)
    writer.write(_segment(0), _snapshot(0))
    folder = tmp_path / FOLDER
    folder.rename(tmp_path / "away")
    folder.write_bytes(b"")
    for number in (1, 2):
        with pytest.raises(OSError, match="exists"):
            writer.write(_segment(number), _snapshot(number))
    folder.unlink()
    (tmp_path / "away").rename(folder)
    writer.write(_segment(3), _snapshot(3))

    assert [snapshot.changes for snapshot in read_indexes(tmp_path).snapshots] == [
        _change(0),
        _change(1) + _change(2) + _change(3),
    ]


def test_what_could_not_be_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, the next begins anew, and nothing before it counts."""
    monkeypatch.setattr(resend_index, "UNWRITTEN_LIMIT_BYTES", 2 * CHANGE.size)
    _written(tmp_path, 1)
    writer = IndexWriter(tmp_path, _segment(0))
    folder = tmp_path / FOLDER
    folder.rename(tmp_path / "away")
    folder.write_bytes(b"")
    for number in (1, 2, 3):
        with pytest.raises(OSError, match="exists"):
            writer.write(_segment(number), _snapshot(number))
    folder.unlink()
    (tmp_path / "away").rename(folder)
    writer.write(_segment(4), _snapshot(4))

    assert [snapshot.changes for snapshot in read_indexes(tmp_path).snapshots] == [_change(4)]


def test_an_older_version_counts_for_nothing_and_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update the memory is what stands behind the newest of the present version."""
    with monkeypatch.context() as before:
        before.setattr(resend_index, "VERSION", 1)
        _written(tmp_path, 2)
    assert (_counting(tmp_path), read_indexes(tmp_path).damaged) == ([], [])
    IndexWriter(tmp_path, read_indexes(tmp_path).newest).write(_segment(2), _snapshot(2))

    assert (_counting(tmp_path), read_indexes(tmp_path).damaged) == ([2], [])
    assert len(index_files(tmp_path)) == 3
