"""`tidewaiter search` as it is typed: what it prints, where, and how it ends."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.batch import DataStream
from tests.kit.batches import batch_of
from tests.kit.stores import batch_of_lines, opened_files

AUDIT = DataStream("logs", "tidewaiter.audit", "default")
HOSTILE = "\x1b[2Jgone \x9b31m \u202egnp.exe\r\x07\\ [bold]x[/bold]"
COMMAND = (sys.executable, "-P", "-c", "from collector.cli import main; main()")


def run(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Type a search."""
    command = [*COMMAND, "--data-dir", str(data_dir), "search", *arguments]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUTF8": "1"}
    return subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment, cwd=data_dir)


def messages(output: bytes) -> list[str]:
    """Messages of documents printed as JSON."""
    return [json.loads(line)["message"] for line in output.splitlines()]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder whose store holds five lines, one of them hostile, and an audit record."""
    more = {"container": {"name": "web", "id": "0123456789abcdef"}, "tidewaiter": {"container": {"stream": "stderr"}}}
    batches = [
        batch_of(0, ["one", "two"], more=more),
        batch_of(1, ["three", HOSTILE]),
        batch_of(2, ["started"], stream=AUDIT),
        batch_of(3, ["last line"]),
    ]
    opened_files(tmp_path).store(batches)
    return tmp_path


def test_json_is_the_stored_bytes_oldest_first(tmp_path: Path) -> None:
    """Byte for byte, one document a line, to standard output."""
    lines = [batch_of(0, ["b\x9b", "c"]).documents[0].ndjson, batch_of(1, ["d"]).documents[0].ndjson]
    opened_files(tmp_path).store([batch_of_lines(0, b"".join(reversed(lines)).splitlines(keepends=True))])
    done = run(tmp_path, "", "--json")

    assert (0, b"", b"".join(lines)) == (done.returncode, done.stderr, done.stdout)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("one",), ["one"]),
        (("container.name:web",), ["one", "two"]),
        (("nothing",), []),
        (("*", "--limit", "2"), [HOSTILE, "last line"]),
        (("data_stream.dataset:tidewaiter.audit",), ["started"]),
        (("", "--stream", "logs-tidewaiter.audit-*"), ["started"]),
        (("", "--since", "2023-11-14T22:13:20.000003Z"), ["last line"]),
        (("", "--since", "2023-11-14T22:13:20", "--until", "2023-11-14T22:13:20.000001Z"), ["one", "two"]),
        (("", "--since", "15m"), []),
        (("-host.name:x", "--limit", "1"), ["last line"]),
        (("--limit", "1", "-container.name:web"), ["last line"]),
        (("", "--since", "now-100y", "--until", "2023-11-15"), ["one", "two", "three", HOSTILE, "last line"]),
    ],
)
def test_options_choose_what_is_found(data_dir: Path, arguments: Sequence[str], expected: list[str]) -> None:
    """Query, limit, stream and times; finding nothing is no failure."""
    done = run(data_dir, *arguments, "--json")

    assert (0, b"", expected) == (done.returncode, done.stderr, messages(done.stdout))


def test_people_see_a_line_a_document(data_dir: Path) -> None:
    """Time, container, its stream, message."""
    done = run(data_dir, "one OR last")

    assert done.stdout.decode().splitlines() == [
        "2023-11-14 22:13:20.000Z web stderr one",
        "2023-11-14 22:13:20.000Z 192.0.2.7        last line",
    ]


def test_people_are_told_when_nothing_is_found(data_dir: Path) -> None:
    """An empty screen would leave them in doubt."""
    done = run(data_dir, "nowhere")

    assert (0, b"Nothing found.\n") == (done.returncode, done.stdout)


def test_a_line_cannot_control_the_terminal(data_dir: Path) -> None:
    """Escape sequences, both kinds, direction marks and rich's own markup are shown, not obeyed."""
    done = run(data_dir, "bold")

    assert "\\x1b[2Jgone \\x9b31m \\u202egnp.exe\\r\\x07\\\\ [bold]x[/bold]" in done.stdout.decode()


def test_a_table_cannot_control_the_terminal(data_dir: Path) -> None:
    """Cells and headings are escaped too."""
    done = run(data_dir, "--sql", "SELECT message AS \"m\x1b[2J\" FROM logs WHERE message LIKE '%gone%'")
    text = done.stdout.decode()

    assert "\\x1b[2Jgone \\x9b31m" in text
    assert "\x1b" not in text
    assert "\x9b" not in text


def test_json_on_a_terminal_is_the_same_json_without_control_characters(tmp_path: Path) -> None:
    """There, and only there, what JSON may hold raw and a terminal obeys is written as an escape."""
    raw = batch_of(0, ["x"]).documents[0].ndjson.replace(b'"x"', '"\x9b31m\u202e"'.encode())
    opened_files(tmp_path).store([batch_of_lines(0, [raw])])
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--data-dir", str(tmp_path), "search", "--json"]
    subprocess.run(command, stdout=theirs, check=True, timeout=120, cwd=tmp_path)
    os.close(theirs)
    shown = b""
    while not shown.endswith(b"\n"):
        shown += os.read(ours, 4096)
    os.close(ours)

    assert b'"\\u009b31m\\u202e"' in shown
    assert json.loads(shown) == json.loads(raw)


def test_sql_gives_rows(data_dir: Path) -> None:
    """As objects with --json, whatever the types."""
    values = "count(*) AS n, max(sequence)::HUGEINT * 10000000000 AS big, 'nan'::DOUBLE AS x, DATE '2026-01-02' AS d"
    done = run(data_dir, "--sql", f"SELECT {values} FROM logs", "--json")  # noqa: S608 - ours

    assert (0, b"") == (done.returncode, done.stderr)
    assert json.loads(done.stdout) == {"n": 5, "big": 400000000 * 10**10, "x": None, "d": "2026-01-02"}


def test_sql_can_ask_for_audit_records(data_dir: Path) -> None:
    """`logs` leaves them out, and `audit` holds nothing else."""
    done = run(data_dir, "--sql", "SELECT count(*) AS n FROM audit", "--json")

    assert (0, b"", {"n": 1}) == (done.returncode, done.stderr, json.loads(done.stdout))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("connection~",), b"(at column 1)"),
        (("contaner.name:x",), b"did you mean container.name?"),
        (("--sql", "DELETE FROM logs"), b"one SELECT"),
        (("--sql", "SELECT 1 AS a, 2 AS a", "--json"), b"same name"),
        (("--sql", "SELECT 1", "--limit", "5"), b"LIMIT of its own"),
        (("--since", "yesterday"), b"--since"),
        (("--since", "-5m"), b"--since"),
        (("--since", "5x"), b"2026-11-23T10:00:00Z (RFC 3339) or now-1h; or how long ago: 30s 5m 7d"),
        (("--until", "2026-02-30"), b"there is no such day or hour; or how long ago: 30s 5m 7d"),
        (("--since", "2023-11-15", "--until", "2023-11-14"), b"--since (2023-11-15T"),
        (("--since", "15m", "--until", "1h"), b"is not before --until"),
        (("-container.name:web", "one"), b"unexpected extra argument"),
        (("--until", "2026"), b"--until"),
        (("--limit", "0"), b"--limit"),
    ],
)
def test_a_wrong_query_ends_with_2(data_dir: Path, arguments: Sequence[str], part: bytes) -> None:
    """One sentence on standard error, nothing on standard output."""
    done = run(data_dir, *arguments)

    assert (2, b"") == (done.returncode, done.stdout)
    assert part in done.stderr
    assert b"Traceback" not in done.stderr


def test_no_store_ends_with_3(tmp_path: Path) -> None:
    """There is nothing to search where no collector ran."""
    done = run(tmp_path, "x")

    assert (3, b"") == (done.returncode, done.stdout)
    assert b"has a collector run" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    """`tidewaiter search --json | head -1` ends in silence."""
    opened_files(tmp_path).store([batch_of(0, ["x" * 1000] * 2000)])
    command = [*COMMAND, "--data-dir", str(tmp_path), "search", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as searching:
        assert searching.stdout is not None
        assert searching.stderr is not None
        searching.stdout.readline()
        searching.stdout.close()
        said = searching.stderr.read()

    assert (0, b"") == (searching.returncode, said)


def test_help_tells_the_limits() -> None:
    """What is shown by default, and the columns of the view, stand in the help."""
    done = subprocess.run([*COMMAND, "search", "--help"], capture_output=True, check=True, timeout=120, text=True)
    said = " ".join(done.stdout.split())

    assert "Without it 100, and with --json all." in said
    assert "container_id, container_name, image, host, level, message and document" in said


def test_an_error_of_sql_cannot_control_the_terminal(data_dir: Path) -> None:
    """It may quote a line that a container wrote; that is escaped too."""
    done = run(data_dir, "--sql", "SELECT message::INT FROM logs WHERE message LIKE '%gone%'")

    assert 2 == done.returncode
    assert b"\\x1b[2Jgone \\x9b31m" in done.stderr
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        ("SELEC 1", ['syntax error at or near "SELEC"', "(at column 1)"]),
        ("SELECT container_nam FROM logs", ['"container_nam" not found', '"container_name"', "(at column 8)"]),
        ("SELECT * FROM log", ['Did you mean "logs"?', "(at column 15)"]),
        ("SELECT 1,\nnone FROM logs", ['"none" not found']),
    ],
)
def test_an_error_of_sql_has_its_place_and_its_hint(data_dir: Path, statement: str, parts: Sequence[str]) -> None:
    """One line: the reason, what was probably meant, and the column where it is known."""
    done = run(data_dir, "--sql", statement)
    said = done.stderr.decode()

    assert (2, 1) == (done.returncode, said.count("\n"))
    assert [part for part in parts if part not in said] == []


def test_rows_that_are_piped_are_whole_and_separated_by_tabs(data_dir: Path) -> None:
    """No frame, no width: a tab within a cell is escaped, so `cut` and `sort` can work on them."""
    wide, statement = "x" * 20_000, "SELECT '{}' AS wide, NULL AS nothing, 'a' || chr(9) || 'b' AS tab"
    done = run(data_dir, "--sql", statement.format(wide))

    assert f"wide\tnothing\ttab\n{wide}\t\ta\\tb\n" == done.stdout.decode()


def test_a_table_on_a_terminal_hides_nothing(data_dir: Path) -> None:
    """Cells and headings that do not fit are folded."""
    ours, theirs = pty.openpty()
    statement = f"SELECT '{'x' * 300}' AS one, '{'y' * 300}' AS two"
    command = [*COMMAND, "--data-dir", str(data_dir), "search", "--sql", statement]
    environment = {**os.environ, "COLUMNS": "60", "LINES": "40"}
    subprocess.run(command, stdout=theirs, check=True, timeout=120, cwd=data_dir, env=environment)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)

    assert (300, 300) == (shown.count("x"), shown.count("y"))


def test_people_are_told_that_only_the_newest_are_shown(tmp_path: Path) -> None:
    """Beside the output, so that a pipe stays clean; who gave a limit is told nothing."""
    opened_files(tmp_path).store([batch_of(0, [f"line {number}" for number in range(101)])])
    built_in, given = run(tmp_path, "*"), run(tmp_path, "*", "--limit", "100")

    assert (100, 100) == (built_in.stdout.count(b"\n"), given.stdout.count(b"\n"))
    assert b"The newest 100; more by --limit, all by --json.\n" == built_in.stderr
    assert b"" == given.stderr
