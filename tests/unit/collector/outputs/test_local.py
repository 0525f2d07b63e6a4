"""The local store: what is committed is exactly what is there, whatever happened before."""

import asyncio
import json
from pathlib import Path

import pytest

from collector.config import LocalOutput
from collector.errors import UnreachableError
from collector.outputs.local import LocalStore
from collector.store.files import ROLL_NS, StoreFiles
from collector.store.lucene import translate
from collector.store.manifest import read_manifest
from collector.store.reader import open_store
from collector.testing.batches import EPOCH, TIME, ListedSource, batch_of
from pipelines.batch import DataStream
from pipelines.frame import Position

YEAR_S = 365 * 86400.0


def found(data_dir: Path, query: str = "", *, audit: bool = False) -> list[str]:
    """Messages of the documents that a search finds."""
    with open_store(data_dir, audit=audit) as store:
        documents = list(store.search(translate(query, now_ns=TIME), limit=None, newest=False))
    return [json.loads(document)["message"] for document in documents]


def opened(data_dir: Path, *, retention_s: float = YEAR_S, limit_bytes: int = 1 << 30) -> StoreFiles:
    """Open a store for writing."""
    files = StoreFiles(data_dir / "store", retention_s=retention_s, limit_bytes=limit_bytes)
    files.open(None)
    return files


async def test_what_is_settled_is_found(tmp_path: Path) -> None:
    """The output settles a batch after its documents can be searched, and stops when told."""
    source = ListedSource([batch_of(0, ["a", "b"]), batch_of(1, []), batch_of(2, ["c"])])
    output = LocalStore("store", LocalOutput(), tmp_path)
    output.resume(None)
    running = asyncio.create_task(output.run(source))
    await source.wait_settled(2)

    assert found(tmp_path) == ["a", "b", "c"]
    source.stop()
    await running


def test_what_was_not_committed_is_not_seen_and_is_cut_at_the_next_start(tmp_path: Path) -> None:
    """A reader stops at the committed length; a start cuts what stands beyond it and goes on from there."""
    files = opened(tmp_path)
    files.append(batch_of(0, ["kept"]))
    files.commit(TIME)
    files.append(batch_of(1, ["lost"]))
    (path,) = (tmp_path / "store" / "logs-tidewaiter.container-default").iterdir()

    assert b"lost" in path.read_bytes()
    assert found(tmp_path) == ["kept"]

    again = StoreFiles(tmp_path / "store", retention_s=YEAR_S, limit_bytes=1 << 30)
    assert again.open(None) == Position(0, EPOCH, 1)
    assert b"lost" not in path.read_bytes()
    again.append(batch_of(1, ["lost"]))
    again.commit(TIME)
    assert found(tmp_path) == ["kept", "lost"]


@pytest.mark.parametrize("cut", range(0, 260, 7))
def test_a_torn_write_at_any_byte_loses_and_doubles_nothing(tmp_path: Path, cut: int) -> None:
    """However much of an uncommitted batch reached the disk, repeating it gives each document once."""
    files = opened(tmp_path)
    files.append(batch_of(0, ["first"]))
    files.commit(TIME)
    files.append(batch_of(1, ["second", "third"]))
    (path,) = (tmp_path / "store" / "logs-tidewaiter.container-default").iterdir()
    committed = read_manifest(tmp_path / "store")
    assert committed is not None
    with path.open("r+b") as file:
        file.truncate(committed.bytes + cut)

    again = opened(tmp_path)
    again.append(batch_of(1, ["second", "third"]))
    again.commit(TIME)

    assert found(tmp_path) == ["first", "second", "third"]


def test_files_no_manifest_names_are_removed(tmp_path: Path) -> None:
    """A file made just before a crash is not searched, and gone after the next start."""
    files = opened(tmp_path)
    files.append(batch_of(0, ["a"]))
    files.commit(TIME)
    stray = tmp_path / "store" / "logs-tidewaiter.container-default" / "zz.ndjson"
    stray.write_bytes(b"{}\n")

    assert found(tmp_path) == ["a"]
    opened(tmp_path)
    assert not stray.exists()


def test_audit_records_are_outside_the_default_search(tmp_path: Path) -> None:
    """They have a stream of their own, searched only when asked for."""
    files = opened(tmp_path)
    files.append(batch_of(0, ["line"]))
    files.append(batch_of(1, ["start"], stream=DataStream("logs", "tidewaiter.audit", "default")))
    files.commit(TIME)

    assert found(tmp_path) == ["line"]
    assert found(tmp_path, "data_stream.dataset:tidewaiter.audit", audit=True) == ["start"]


def test_a_file_is_closed_after_an_hour_and_deleted_past_retention(tmp_path: Path) -> None:
    """An hour of journal time rolls the file; what is older than the retention goes, oldest first."""
    files = opened(tmp_path, retention_s=7200)
    for hour in range(4):
        files.append(batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS))
        files.commit(TIME + hour * ROLL_NS)

    assert found(tmp_path) == ["hour 1", "hour 2", "hour 3"]
    assert len(list((tmp_path / "store" / "logs-tidewaiter.container-default").iterdir())) == 3


def test_the_oldest_files_go_at_the_size_limit_but_never_the_open_one(tmp_path: Path) -> None:
    """A limit smaller than one file leaves the one being written."""
    files = opened(tmp_path, limit_bytes=1)
    for hour in range(3):
        files.append(batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS))
        files.commit(TIME + hour * ROLL_NS)

    assert found(tmp_path) == ["hour 2"]


def test_a_folder_without_a_store_is_said_to_be_none(tmp_path: Path) -> None:
    """Searching where no collector ran is an error with a question that helps."""
    with pytest.raises(UnreachableError, match="has a collector run"), open_store(tmp_path):
        pass
