"""Cursors: durable, readable, never guessed."""

from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal.cursors import cursors, forget_cursor, read_cursor, write_cursor
from pipelines.frame import Position

POSITION = Position(0, 1_800_000_000, 42, 7)


def test_a_cursor_reads_back(tmp_path: Path) -> None:
    """The newest position that was written is what is read."""
    write_cursor(tmp_path, "store", Position(0, 1, 2, 3))
    write_cursor(tmp_path, "store", POSITION)

    assert read_cursor(tmp_path, "store") == POSITION
    assert (tmp_path / "cursors" / "store.json").stat().st_mode & 0o777 == 0o600


def test_no_cursor_is_none(tmp_path: Path) -> None:
    """A consumer that never wrote one has none."""
    assert read_cursor(tmp_path, "store") is None
    assert cursors(tmp_path) == {}


def test_all_cursors_are_listed_by_consumer(tmp_path: Path) -> None:
    """Names with dots are kept whole, half-written files are no cursors."""
    write_cursor(tmp_path, "store", POSITION)
    write_cursor(tmp_path, "es.eu-1", Position(0, 1, 2))
    (tmp_path / "cursors" / ".store.json.new").write_bytes(b"{")

    assert cursors(tmp_path) == {"store": POSITION, "es.eu-1": Position(0, 1, 2)}


def test_a_forgotten_cursor_is_gone(tmp_path: Path) -> None:
    """Forgetting says whether there was anything to forget."""
    write_cursor(tmp_path, "old", POSITION)

    assert forget_cursor(tmp_path, "old") is True
    assert forget_cursor(tmp_path, "old") is False
    assert cursors(tmp_path) == {}


def test_every_flipped_bit_of_a_cursor_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A damaged cursor is never another position: it would skip records, or repeat all of them, in silence."""
    write_cursor(tmp_path, "store", POSITION)
    path = tmp_path / "cursors" / "store.json"
    whole = path.read_bytes()

    for bit in range((len(whole) - 1) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DataDirError, match=r"store\.json: damaged"):
            read_cursor(tmp_path, "store")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"partition":0,"epoch":-1,"sequence":0,"record":0}', b"\xff"])
def test_a_cut_or_foreign_cursor_is_an_error(tmp_path: Path, content: bytes) -> None:
    """What is no cursor at all is reported like a damaged one."""
    write_cursor(tmp_path, "store", POSITION)
    (tmp_path / "cursors" / "store.json").write_bytes(content)

    with pytest.raises(DataDirError, match=r"store\.json: damaged"):
        cursors(tmp_path)


@pytest.mark.parametrize("name", ["../state", "", ".hidden", "a/b", "a b", "x" * 101])
def test_a_consumer_cannot_name_another_file(tmp_path: Path, name: str) -> None:
    """A cursor's name never leads out of its folder."""
    with pytest.raises(DataDirError):
        write_cursor(tmp_path, name, POSITION)
