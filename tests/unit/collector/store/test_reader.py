"""Reading the store: exactly what is committed, while it is written; and by SQL nothing but the view."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.errors import DataDirError, QueryError, UnreachableError
from collector.store.lucene import translate
from collector.store.manifest import MANIFEST_FILE
from collector.store.reader import Choice, Store, open_store
from pipelines.batch import DataStream
from tests.kit.batches import TIME, batch_of
from tests.kit.stores import batch_of_lines, opened_files, store_documents

AUDIT = DataStream("logs", "tidewaiter.audit", "default")
STREAM_FOLDER = "logs-tidewaiter.container-default"


def messages(store: Store, query: str = "", *, limit: int | None = None) -> list[str]:
    """Messages of the documents that a query finds."""
    found = store.search(translate(query, now_ns=TIME), limit=limit)
    return [json.loads(document)["message"] for document in found]


def found(data_dir: Path, choice: Choice = Choice()) -> list[str]:  # noqa: B008 - frozen
    """Messages of all documents of a store."""
    with open_store(data_dir, choice) as store:
        return messages(store)


def test_an_uncommitted_tail_is_not_seen(tmp_path: Path) -> None:
    """Neither whole lines nor half ones beyond the committed length."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["kept"])])
    files.append(batch_of(1, ["not yet"]))
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    with path.open("ab") as file:
        file.write(b'{"event":{"half')

    assert b"not yet" in path.read_bytes()
    assert found(tmp_path) == ["kept"]


def test_what_is_deleted_after_opening_is_still_read(tmp_path: Path) -> None:
    """A search reads the store of one moment, even if the writer rolls and deletes its files meanwhile."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a"]), batch_of(1, ["b"])])
    with open_store(tmp_path) as store:
        for path in (tmp_path / "store" / STREAM_FOLDER).iterdir():
            path.unlink()

        assert messages(store) == ["a", "b"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 10)], ids=["gone", "cut"])
def test_a_damaged_file_is_not_called_a_store_that_changes_too_fast(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """What a manifest that does not change promises in vain is named, with what to do."""
    opened_files(tmp_path).store([batch_of(0, ["a"])])
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    damage(path)

    with pytest.raises(UnreachableError, match=f"{path}: holds .* that were committed: put it back, or move"):
        found(tmp_path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A folder in the place of a file is an error in a sentence, not a traceback."""
    opened_files(tmp_path).store([batch_of(0, ["a"])])
    (path,) = (tmp_path / "store" / STREAM_FOLDER).iterdir()
    path.unlink()
    path.mkdir()

    with pytest.raises(UnreachableError, match=f"{path}: cannot be read: Is a directory"):
        found(tmp_path)


def test_a_folder_without_a_store_is_said_to_be_none(tmp_path: Path) -> None:
    """Searching where no collector ran is an error with a question that helps."""
    with pytest.raises(UnreachableError, match="has a collector run"), open_store(tmp_path):
        pass


@pytest.mark.parametrize(("content", "part"), [(b"{", "damaged"), (b'{"version": 3}', "newer than")])
def test_a_manifest_that_cannot_be_understood_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    """A newer store, or a damaged one, is never read halfway."""
    opened_files(tmp_path)
    (tmp_path / "store" / MANIFEST_FILE).write_bytes(content)

    with pytest.raises(DataDirError, match=part), open_store(tmp_path):
        pass


def test_an_empty_store_finds_nothing(tmp_path: Path) -> None:
    """A collector that ran and stored nothing has a store."""
    opened_files(tmp_path)

    assert found(tmp_path) == []


def test_documents_come_oldest_first_and_a_limit_keeps_the_newest(tmp_path: Path) -> None:
    """By `@timestamp`, then id; whatever the order they were stored in."""
    files = opened_files(tmp_path)
    files.store([batch_of(2, ["e", "f"]), batch_of(0, ["a", "b"]), batch_of(1, ["c", "d"])])

    with open_store(tmp_path) as store:
        assert messages(store) == ["a", "b", "c", "d", "e", "f"]
        assert messages(store, limit=3) == ["d", "e", "f"]


def test_documents_are_the_stored_bytes(tmp_path: Path) -> None:
    """Also where JSON could be written otherwise."""
    line = (
        b'{"event":{"id":"x"},"@timestamp":"2023-11-14T22:13:20.000000000Z",'
        b'"message":"\\u0000 \xf0\x9f\x94\xa5 \\"\\\\",'
        b'"tidewaiter":{"fields":{"n":1.0,"e":1e+22,"big":18446744073709551615,"dup":1,"dup":2,"z":-0.0}}}'
    )
    opened_files(tmp_path).store([batch_of_lines(0, [line + b"\n"])])

    with open_store(tmp_path) as store:
        assert [document.encode() for document in store.search(translate("", now_ns=0))] == [line]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), ["line"]),
        (Choice(audit=True), ["line", "start"]),
        (Choice(streams="logs-tidewaiter.audit-*"), ["start"]),
        (Choice(streams="logs-tidewaiter.container-default"), ["line"]),
        (Choice(streams="nothing"), []),
    ],
)
def test_audit_records_are_outside_the_default_search(tmp_path: Path, choice: Choice, expected: list[str]) -> None:
    """They have a stream of their own, searched only when asked for."""
    opened_files(tmp_path).store([batch_of(0, ["line"]), batch_of(1, ["start"], stream=AUDIT)])

    assert found(tmp_path, choice) == expected


def test_sql_has_a_view_of_its_own_for_audit_records(tmp_path: Path) -> None:
    """A SELECT over `logs` left them out and nothing said so, nor was there a way to reach them but --stream."""
    opened_files(tmp_path).store([batch_of(0, ["line"]), batch_of(1, ["start"], stream=AUDIT)])
    both = "SELECT message FROM logs UNION ALL SELECT message FROM audit ORDER BY 1"

    with open_store(tmp_path, Choice(apart=True)) as store:
        assert list(store.select("SELECT message FROM audit")[1]) == [("start",)]
        assert list(store.select("SELECT message FROM logs")[1]) == [("line",)]
        assert list(store.select(both)[1]) == [("line",), ("start",)]
    with open_store(tmp_path, Choice(apart=True, streams="logs-tidewaiter.audit-*")) as store:
        assert list(store.select(both)[1]) == [("start",), ("start",)]
    with open_store(tmp_path, Choice(apart=True, until="2000")) as store:
        assert list(store.select(both)[1]) == []


def test_instants_bound_what_is_read(tmp_path: Path) -> None:
    """`since` is inclusive, `until` exclusive; files wholly outside are not opened."""
    files = opened_files(tmp_path, limit_bytes=8000)
    for number in range(5):
        files.store([batch_of(number, [f"m{number}" + "x" * 1200])])
    first = "2023-11-14T22:13:20.000001000Z"
    last = "2023-11-14T22:13:20.000003000Z"
    oldest = min((tmp_path / "store" / STREAM_FOLDER).iterdir())
    oldest.unlink()

    assert [message[:2] for message in found(tmp_path, Choice(since=first, until=last))] == ["m1", "m2"]


def test_many_files_are_read(tmp_path: Path) -> None:
    """A month of hourly files is more than the usual limit of open files of a process."""
    files = opened_files(tmp_path, limit_bytes=10 << 20)
    for number in range(300):
        files.append(batch_of(number, [str(number)], journal_time=TIME + number * 3600 * 10**9))
    files.commit(TIME + 300 * 3600 * 10**9)

    assert files.manifest.files == 300
    assert found(tmp_path) == [str(number) for number in range(300)]


def test_a_large_document_is_read_back(tmp_path: Path) -> None:
    """The reader's buffers follow the largest document there is."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["small", "x" * (20 << 20), "last"])])

    assert [len(message) for message in found(tmp_path)] == [5, 20 << 20, 4]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY logs TO '/tmp/out.csv'",
        "COPY (SELECT 1) TO '/dev/fd/1'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_parquet('https://127.0.0.1/x.parquet')",
        "ATTACH '/tmp/other.db'",
        "SELECT 1; SELECT 2",
        "",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "PRAGMA enable_external_access = true",
        "RESET allowed_paths",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t (a INT)",
        "DROP VIEW logs",
        "EXPORT DATABASE '/tmp/x'",
        "CALL pragma_version()",
        "SELECT nothing FROM logs",
        "SELECT * FROM SECRET_ROWS",
        "SELEC",
    ],
)
def test_sql_reaches_nothing_but_the_view(tmp_path: Path, statement: str) -> None:
    """No other file, no network, no writing, no setting, no second statement, no variable of ours."""
    SECRET_ROWS = [{"a": 1}]  # noqa: F841 - DuckDB would find it by name
    store_documents(tmp_path, [json.loads(batch_of(0, ["x"]).documents[0].ndjson)])

    with open_store(tmp_path) as store, pytest.raises(QueryError):
        list(store.select(statement)[1])


def test_sql_reads_the_promoted_columns(tmp_path: Path) -> None:
    """The view has columns for what people group by, and the whole document."""
    more = {"container": {"id": "c1", "name": "web", "image": {"name": "nginx"}}, "log": {"level": "error"}}
    opened_files(tmp_path).store([batch_of(0, ["x"], more=more)])
    names = '"@timestamp", id, sequence, stream, container_id, container_name, image, host, level, message'

    with open_store(tmp_path) as store:
        columns, rows = store.select(f"SELECT {names}, document ->> '$.message' AS again FROM logs")  # noqa: S608 - ours

        assert ",".join(columns) == names.replace('"', "").replace(" ", "") + ",again"
        assert list(rows) == [
            (
                "2023-11-14T22:13:20.000000000Z",
                f"dc{0:017d}00000",
                100000000,
                STREAM_FOLDER,
                "c1",
                "web",
                "nginx",
                "192.0.2.7",
                "error",
                "x",
                "x",
            )
        ]


def test_an_error_between_rows_is_a_query_error(tmp_path: Path) -> None:
    """A SELECT may fail after its first rows were read."""
    opened_files(tmp_path).store([batch_of(0, [str(number) for number in range(1000)] + ["no number"])])

    with open_store(tmp_path) as store, pytest.raises(QueryError, match="no number"):
        list(store.select("SELECT message::INTEGER FROM logs")[1])
