"""The store's files: what is committed is exactly what is there, whatever happened before."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.store.files import ROLL_NS, StoreFiles
from collector.store.lucene import translate
from collector.store.manifest import MANIFEST_FILE, Manifest, read_manifest
from collector.store.reader import Choice, open_store
from pipelines.batch import DataStream
from pipelines.frame import Position
from tests.kit.batches import EPOCH, TIME, batch_of
from tests.kit.stores import EVER_S, SIZE_BYTES, opened_files

STREAM_FOLDER = "logs-tidewaiter.container-default"
AUDIT = DataStream("logs", "tidewaiter.audit", "default")


def found(data_dir: Path) -> list[str]:
    """Messages of all documents of a store."""
    with open_store(data_dir, Choice(audit=True)) as store:
        return [json.loads(document)["message"] for document in store.search(translate("", now_ns=TIME))]


def manifest_of(data_dir: Path) -> Manifest:
    """The committed manifest."""
    manifest = read_manifest(data_dir / "store")
    assert manifest is not None
    return manifest


def test_what_was_not_committed_is_cut_at_the_next_start(tmp_path: Path) -> None:
    """A start cuts what stands beyond the committed length and goes on from there."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["kept"])])
    files.append(batch_of(1, ["lost"]))
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    assert b"lost" in path.read_bytes()

    again = StoreFiles(tmp_path / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES)
    assert again.open(None) == Position(0, EPOCH, 1)
    assert b"lost" not in path.read_bytes()
    again.store([batch_of(1, ["lost"])])
    assert found(tmp_path) == ["kept", "lost"]


@pytest.mark.parametrize("cut", range(0, 260, 13))
def test_a_torn_write_at_any_byte_loses_and_doubles_nothing(tmp_path: Path, cut: int) -> None:
    """However much of an uncommitted batch reached the disk, repeating it gives each document once."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["first"])])
    files.append(batch_of(1, ["second", "third"]))
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    os.truncate(path, manifest_of(tmp_path).bytes + cut)

    again = opened_files(tmp_path)
    again.store([batch_of(1, ["second", "third"])])

    assert found(tmp_path) == ["first", "second", "third"]


def test_a_commit_syncs_data_before_the_manifest_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the power goes, the manifest speaks only of bytes that are on disk."""
    files = opened_files(tmp_path)
    files.append(batch_of(0, ["one"]))
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    steps: list[tuple[str, int]] = []

    def sync(descriptor: int) -> None:
        steps.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, manifest_of(tmp_path).documents))

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, sync)
    files.commit(TIME)

    assert steps == [(path.name, 0), (f".{MANIFEST_FILE}.new", 0), ("store", 1)]


def test_files_no_manifest_names_are_removed(tmp_path: Path) -> None:
    """Files and folders made just before a crash are not searched, and gone after the next start."""
    opened_files(tmp_path).store([batch_of(0, ["a"])])
    stray = tmp_path / "store" / STREAM_FOLDER / "zz.ndjson"
    stray.write_bytes(b"{}\n")
    folder = tmp_path / "store" / "logs-other-default"
    folder.mkdir()
    (folder / "yy.ndjson").write_bytes(b"{}\n")

    assert found(tmp_path) == ["a"]
    opened_files(tmp_path)
    assert not stray.exists()
    assert not folder.exists()


NEGATIVE = (
    b'{"position":[0,0,0,0],"streams":{"a":[{"name":"b","length":-5,"documents":1,"first_time":1,"last_time":1,'
    b'"first_id":"c","last_id":"c","earliest":"d","latest":"d","largest":1}]}}'
)


@pytest.mark.parametrize("content", [b"garbage", b'{"position":[0,0,0,0],"streams":{"\xff":[]}}', NEGATIVE])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    """Whatever its bytes are, the error says which file it is; no traceback."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / MANIFEST_FILE).write_bytes(content)

    with pytest.raises(DataDirError, match=r"manifest.json: damaged"):
        read_manifest(tmp_path / "store")


def test_files_without_a_manifest_are_not_touched(tmp_path: Path) -> None:
    """A manifest that is gone is somebody's mistake: nothing is deleted, and the error says what to do."""
    opened_files(tmp_path).store([batch_of(0, ["a"])])
    (tmp_path / "store" / MANIFEST_FILE).unlink()

    with pytest.raises(DataDirError, match=r"put manifest\.json back or move the folder away"):
        opened_files(tmp_path)
    assert len(list((tmp_path / "store" / STREAM_FOLDER).iterdir())) == 1


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 10)], ids=["gone", "cut"])
def test_nothing_is_appended_to_a_file_that_lost_what_was_committed(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A start refuses the store and says which file: what came later would stand where the manifest does not look."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a"])])
    files.close()
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    damage(path)

    with pytest.raises(DataDirError, match=f"{path}: holds .* bytes that were committed"):
        opened_files(tmp_path)


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (None, Position(0, EPOCH, 3)),
        (Position(0, EPOCH, 2), Position(0, EPOCH, 3)),
        (Position(0, EPOCH, 9), Position(0, EPOCH, 9)),
        (Position(0, EPOCH + 1, 0), Position(0, EPOCH + 1, 0)),
    ],
)
def test_the_newer_of_manifest_and_cursor_counts(tmp_path: Path, cursor: Position | None, expected: Position) -> None:
    """What either says is settled is not written again."""
    opened_files(tmp_path).store([batch_of(2, ["a"])])

    assert StoreFiles(tmp_path / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES).open(cursor) == expected


def test_a_new_store_starts_at_the_cursor(tmp_path: Path) -> None:
    """A folder deleted by hand is made anew, and the journal's cursor says where to go on."""
    cursor = Position(0, EPOCH, 7)

    assert StoreFiles(tmp_path / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES).open(cursor) == cursor
    assert StoreFiles(tmp_path / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES).open(None) == cursor


def test_the_manifest_describes_each_file(tmp_path: Path) -> None:
    """Length, number, ids and times of what is committed; the widest times whatever the order."""
    files = opened_files(tmp_path)
    files.store([batch_of(1, ["b", "c"], journal_time=TIME), batch_of(0, ["a"], journal_time=TIME + 5)])
    (file,) = manifest_of(tmp_path).streams[STREAM_FOLDER]
    path = tmp_path / "store" / STREAM_FOLDER / file.name

    assert file.name == f"{file.first_id}.ndjson"
    assert (file.length, file.documents) == (path.stat().st_size, 3)
    assert (file.first_id, file.last_id) == (f"dc{1:017d}00000", f"dc{0:017d}00000")
    assert (file.first_time, file.last_time) == (TIME, TIME + 5)
    assert (file.earliest[-11:], file.latest[-11:]) == (".000000000Z"[-11:], ".000001001Z"[-11:])
    assert file.largest >= max(map(len, path.read_bytes().splitlines()))
    assert file.open


def test_files_are_closed_by_size_and_the_small_limit_is_kept(tmp_path: Path) -> None:
    """A store with a small limit closes its files early, deletes the oldest, and stays near the limit."""
    limit = 100_000
    files = opened_files(tmp_path, limit_bytes=limit)
    for number in range(200):
        files.store([batch_of(number, [f"{number} " + "x" * 1000])])
    kept = found(tmp_path)

    assert files.manifest.bytes <= limit
    assert files.manifest.bytes > limit // 2
    assert kept == [f"{number} " + "x" * 1000 for number in range(200 - len(kept), 200)]
    assert len(list((tmp_path / "store" / STREAM_FOLDER).iterdir())) == files.manifest.files


def test_a_file_is_closed_after_an_hour_and_deleted_past_retention(tmp_path: Path) -> None:
    """An hour of journal time rolls the file; what is older than the retention goes, oldest first."""
    files = opened_files(tmp_path, retention_s=7200)
    for hour in range(4):
        files.store([batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS)])

    assert found(tmp_path) == ["hour 1", "hour 2", "hour 3"]
    assert len(list((tmp_path / "store" / STREAM_FOLDER).iterdir())) == 3


def test_a_stream_that_fell_silent_is_closed_and_deleted_too(tmp_path: Path) -> None:
    """Time goes on for a stream without new documents; its folder's last file goes with the retention."""
    files = opened_files(tmp_path, retention_s=7200)
    files.store([batch_of(0, ["start"], stream=AUDIT)])
    for hour in range(1, 5):
        files.store([batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS)])

    assert found(tmp_path) == ["hour 2", "hour 3", "hour 4"]
    assert str(AUDIT) not in manifest_of(tmp_path).streams


def test_the_oldest_files_go_at_the_size_limit_but_never_the_open_one(tmp_path: Path) -> None:
    """A limit smaller than one file leaves the one being written."""
    files = opened_files(tmp_path, limit_bytes=1)
    for hour in range(3):
        files.store([batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS)])

    assert found(tmp_path) == ["hour 2"]


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    """Log lines are nobody else's business."""
    opened_files(tmp_path).store([batch_of(0, ["a"])])
    store = tmp_path / "store"
    (path,) = (store / STREAM_FOLDER).iterdir()

    assert [
        oct(each.stat().st_mode & 0o777) for each in (store, store / STREAM_FOLDER, path, store / MANIFEST_FILE)
    ] == [
        "0o700",
        "0o700",
        "0o600",
        "0o600",
    ]
