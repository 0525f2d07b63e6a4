"""Sealing: a closed file becomes Parquet that holds the same documents, or stays what it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collector.errors import TidewaiterError
from collector.store import sealing as module
from collector.store.files import ROLL_NS, StoreFiles, ToSeal
from collector.store.lucene import translate
from collector.store.manifest import read_manifest
from collector.store.reader import open_store
from collector.store.sealing import seal
from tests.kit.batches import TIME, batch_of
from tests.kit.stores import EVER_S, LAST_NS, SIZE_BYTES, opened_files, seal_all, store_lines

SEPARATORS = {"separators": (",", ":"), "ensure_ascii": False}


def found(data_dir: Path, query: str = "") -> list[str]:
    """Documents of a store, as they are stored."""
    with open_store(data_dir) as store:
        return list(store.search(translate(query, now_ns=TIME)))


def closed(data_dir: Path, *messages: str) -> tuple[StoreFiles, ToSeal]:
    """A store with one closed file."""
    files = opened_files(data_dir)
    files.store([batch_of(0, messages)])
    files.commit(LAST_NS)
    (sealing,) = files.to_seal()
    return files, sealing


def sealed(sealing: ToSeal) -> int:
    """Seal here, without a process."""
    file = sealing.file
    return seal(sealing.source, sealing.target, length_bytes=file.length, largest_bytes=file.largest)


def names(data_dir: Path) -> list[str]:
    """Names of all files of a store but the manifest."""
    return sorted(path.name for path in (data_dir / "store").glob("*/*"))


HOSTILE = [
    "",
    "\x00\x01\x1e\x1f\x7f",
    '"quoted"; DROP VIEW logs; --',
    "a,b\tc|d\\n",
    "\u2028\u2029\ufeff 日本 é 🐟",
    "\r\n",
    "NULL",
    "x" * 100_000,
]


def test_a_sealed_file_holds_the_same_bytes(tmp_path: Path) -> None:
    """Whatever documents hold, they come out of Parquet as they went in, in the same order."""
    files, sealing = closed(tmp_path, *HOSTILE)
    before = found(tmp_path)
    files.take_sealed(sealing, odd=sealed(sealing))

    assert [json.loads(document)["message"] for document in before] == HOSTILE
    assert found(tmp_path) == before
    assert names(tmp_path) == [f"{sealing.file.first_id}.parquet"]


def test_the_manifest_knows_the_size_on_disk_and_as_lines(tmp_path: Path) -> None:
    """The limit of a store is one of the disk; what the documents were is kept beside it."""
    files, sealing = closed(tmp_path, *["same"] * 1000)
    files.take_sealed(sealing, odd=sealed(sealing))
    manifest = read_manifest(tmp_path / "store")
    assert manifest is not None
    ((file,),) = manifest.streams.values()

    assert file.length == (tmp_path / "store" / sealing.stream / file.name).stat().st_size == manifest.bytes
    assert file.length < file.unsealed == sealing.file.length
    assert file.documents == 1000


@pytest.mark.parametrize("value", [["a", "b"], {"a": "b"}, [], "[]", '["a"]', None, 5, True, 1.5])
@pytest.mark.parametrize("name", ["host", "container", "user"])
def test_a_column_that_holds_no_plain_text_is_searched_like_lines(tmp_path: Path, name: str, value: object) -> None:
    """A list, an object, or a text that looks like one is found by the same queries, sealed or not."""
    queries = [f"{name}.name:{wanted}" for wanted in ("a", '"[]"', '"[\\"a\\"]"', "5", "true", "1.5", "*", "a*")]
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["told", "too"], more={name: {"name": value}}), batch_of(1, ["plain"])])
    before = [found(tmp_path, query) for query in queries]
    seal_all(tmp_path)

    assert [found(tmp_path, query) for query in queries] == before


def test_odd_documents_are_counted(tmp_path: Path) -> None:
    """Where there are none, nobody looks for them."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a", "b"], more={"user": {"name": ["x", "y"]}}), batch_of(1, ["c"])])
    files.commit(LAST_NS)
    (sealing,) = files.to_seal()

    assert sealed(sealing) == 2


def test_lines_that_are_no_documents_are_not_sealed(tmp_path: Path) -> None:
    """A damaged file stays as it is, and the error names it."""
    _, sealing = closed(tmp_path, "a", "b")
    content = sealing.source.read_bytes()
    sealing.source.write_bytes(content.replace(b"{", b"#", 1))

    with pytest.raises(TidewaiterError, match=str(sealing.source)):
        sealed(sealing)


def test_a_file_that_lost_bytes_is_not_sealed(tmp_path: Path) -> None:
    """What was committed and is gone must not look like a whole file."""
    _, sealing = closed(tmp_path, "a", "b")
    sealing.source.write_bytes(sealing.source.read_bytes()[:-10])

    with pytest.raises(TidewaiterError, match="bytes that were committed"):
        sealed(sealing)


def test_what_is_read_back_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that changed one document is refused before anything is deleted."""
    _, sealing = closed(tmp_path, "a", "b")
    written = module._copy
    monkeypatch.setattr(
        module,
        "_copy",
        lambda *given: written(*given).replace("line, document FROM", "line, document || ' ' AS document FROM", 1),
    )

    with pytest.raises(TidewaiterError, match="what was read back is not what was written"):
        sealed(sealing)


def test_a_start_removes_what_was_sealed_and_not_taken(tmp_path: Path) -> None:
    """After a kill between sealing and manifest the lines are what is searched, and they are sealed again."""
    files, sealing = closed(tmp_path, "a")
    sealed(sealing)
    files.close()
    assert len(names(tmp_path)) == 2

    again = opened_files(tmp_path)
    assert names(tmp_path) == [sealing.source.name]
    (sealing,) = again.to_seal()
    again.take_sealed(sealing, odd=sealed(sealing))
    assert len(found(tmp_path)) == 1


def test_a_start_removes_the_lines_of_what_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill between manifest and deletion each document is there once."""
    files, sealing = closed(tmp_path, "a")
    lines = sealing.source.read_bytes()
    files.take_sealed(sealing, odd=sealed(sealing))
    sealing.source.write_bytes(lines)

    assert len(found(tmp_path)) == 1
    opened_files(tmp_path)
    assert names(tmp_path) == [f"{sealing.file.first_id}.parquet"]


def test_what_was_deleted_meanwhile_is_not_taken(tmp_path: Path) -> None:
    """Retention that overtakes a conversion has the last word."""
    files = opened_files(tmp_path, retention_s=7200)
    files.store([batch_of(0, ["old"])])
    files.commit(TIME + ROLL_NS)
    (sealing,) = files.to_seal()
    odd = sealed(sealing)
    files.commit(TIME + 4 * ROLL_NS)
    files.take_sealed(sealing, odd=odd)

    assert found(tmp_path) == []
    assert names(tmp_path) == []


def test_a_reader_that_opened_the_lines_reads_on(tmp_path: Path) -> None:
    """A search that began before a file was sealed ends as it began."""
    files, sealing = closed(tmp_path, "a", "b")
    with open_store(tmp_path) as store:
        files.take_sealed(sealing, odd=sealed(sealing))
        read = list(store.search(translate("", now_ns=TIME)))

    assert len(read) == 2


def test_a_store_of_the_first_version_is_read_and_sealed(tmp_path: Path) -> None:
    """What a version without sealing wrote is a store like any other."""
    store_lines(tmp_path, [b'{"event":{"id":"a"},"@timestamp":"2023-11-14T22:13:20.000000000Z","message":"x"}\n'])
    path = tmp_path / "store" / "manifest.json"
    content = path.read_bytes().replace(b'"version":2', b'"version":1')
    path.write_bytes(content.replace(b',"unsealed":0,"odd":0', b""))
    assert b"unsealed" not in path.read_bytes()
    before = found(tmp_path)
    seal_all(tmp_path)

    assert len(before) == 1
    assert found(tmp_path) == before


def test_the_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Its standard input closes: it seals nothing more, for nobody would take it."""
    _, sealing = closed(tmp_path, *["x" * 1000] * 20_000)
    arguments = [str(sealing.source), str(sealing.target), str(sealing.file.length), str(sealing.file.largest)]
    command = [sys.executable, "-P", "-m", "collector.store.sealing", *arguments]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, b"")


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    """What is sealed is nobody else's business either."""
    files = StoreFiles(tmp_path / "store", retention_s=EVER_S, limit_bytes=SIZE_BYTES)
    files.open(None)
    files.store([batch_of(0, ["a"])])
    files.commit(LAST_NS)
    (sealing,) = files.to_seal()
    arguments = [str(sealing.source), str(sealing.target), str(sealing.file.length), str(sealing.file.largest)]
    command = [sys.executable, "-P", "-m", "collector.store.sealing", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"0\n"
        process.kill()

    assert oct(sealing.target.stat().st_mode & 0o777) == "0o600"
