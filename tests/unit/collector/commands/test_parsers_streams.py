"""`tidewaiter parsers streams`: read from the journal's files, beside whoever writes them."""

import asyncio
import json
import time
from pathlib import Path

import msgpack
import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands.parsers_streams import found_streams
from collector.journal.checkpoints import Checkpoint, write_checkpoint
from collector.journal.entry import Entry
from collector.journal.survey import end_of_files
from pipelines.frame import Position
from pipelines.parse import Choice, ParserRule
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.journals import ORIGIN, open_journal

ACCESS = '192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET /cart HTTP/1.1" 200 512 "-" "curl/8.5.0"'
JSON = '{"level":"info","msg":"cart is full"}'
CONTAINERS = {"web": "a" * 64, "shop": "b" * 64, "db": "c" * 64, "lab": "d" * 64}


def entry(name: str, line: str, image: str = "", **labels: str) -> Entry:
    """One line as Docker's driver sends it."""
    identifier = CONTAINERS[name]
    tag = f"{image}/{name}/{identifier[:12]}" if image else name
    fields = {"container_id": identifier, "container_name": f"/{name}", "source": "stdout", "log": line, **labels}
    payload = msgpack.packb([1_795_917_600, fields])
    return Entry(ORIGIN, "forward", (payload,), tag=tag.encode(), claimed=1)


def fill(folder: Path, *entries: Entry) -> Position:
    """Append to a journal; return its end."""

    async def append() -> Position:
        journal = open_journal(folder, time.time_ns)
        for each in entries:
            await journal.append(each)
        end = journal.durable.position
        await journal.close()
        return end

    return asyncio.run(append())


def streams(folder: Path, *arguments: str) -> Result:
    """Run the command on a data folder."""
    command = ["parsers", "streams", *arguments, "--data-dir", str(folder)]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def test_every_stream_is_shown_with_its_parsers_and_the_reason(tmp_path: Path) -> None:
    """Found by its lines, known by its image, asked for by a label, one that names no parser among them."""
    fill(
        tmp_path,
        entry("web", ACCESS, "nginx:1.27"),
        entry("shop", JSON),
        entry("shop", "hello"),
        entry("db", "hello", **{"tidewaiter.parser": "postgresql"}),
        entry("lab", "hello", **{"tidewaiter.parser": "ngnix"}),
    )

    rows = {row["name"]: row for row in map(json.loads, streams(tmp_path, "--json").stdout.splitlines())}

    told = {name: (row["parsers"], row["reason"], row["misses"]) for name, row in rows.items()}
    assert told == {
        "web": (["nginx"], "image", 0),
        "shop": (["json"], "lines", 2),
        "db": (["postgresql"], "label", 0),
        "lab": ([], "label, no parser 'ngnix'", 0),
    }
    assert (rows["web"]["container"], rows["web"]["image"], rows["web"]["stream"]) == ("a" * 64, "nginx", "stdout")


def test_people_read_short_ids(tmp_path: Path) -> None:
    """Twelve characters, as Docker shows them; tags stay whole."""
    fill(tmp_path, entry("shop", JSON))

    (row,) = streams(tmp_path).stdout.splitlines()[1:]
    assert row.split("\t") == ["docker", "192.0.2.7", "b" * 12, "shop", "", "stdout", "json", "lines", "1"]


def test_what_stood_before_the_newest_checkpoint_is_known_from_it(tmp_path: Path) -> None:
    """The frames before it are not read: their streams have what the state says, and no name."""
    position = fill(tmp_path, entry("shop", JSON))
    state = State()
    state.choices.put(("docker", "192.0.2.7", "e" * 64, "stdout"), Choice(("nginx",), "lines", 7))
    settings = Settings(version="0.1.0")
    write_checkpoint(tmp_path / "journal", Checkpoint(position, settings.fingerprint, state.encode()))
    fill(tmp_path, entry("web", JSON))

    found = found_streams(tmp_path / "journal", settings)

    assert [(each.container[0], each.name, each.parsers, each.misses) for each in found] == [
        ("a", "web", ("json",), 1),
        ("e", "", ("nginx",), 7),
    ]


def test_a_rule_of_today_holds_for_streams_that_wrote_lately(tmp_path: Path) -> None:
    """As it does in a worker that starts now, whatever the lines had chosen."""
    fill(tmp_path, entry("shop", JSON))

    (found,) = found_streams(tmp_path / "journal", Settings(version="0.1.0", parsers=(ParserRule("none", name="s*"),)))

    assert (found.parsers, found.reason) == ((), "rule")


def test_a_group_that_is_being_written_is_not_damage(tmp_path: Path) -> None:
    """What stands half written behind the last frame is left alone, and nothing is changed."""
    fill(tmp_path, entry("shop", JSON))
    journal = tmp_path / "journal"
    (segment,) = journal.glob("*.segment")
    before = end_of_files(journal)
    with segment.open("ab") as file:
        file.write(b"half of a frame")
    content = {path: path.read_bytes() for path in journal.rglob("*") if path.is_file()}

    found = found_streams(journal, Settings(version="0.1.0"))

    assert [each.name for each in found] == ["shop"]
    assert end_of_files(journal) == before
    assert {path: path.read_bytes() for path in journal.rglob("*") if path.is_file()} == content


def test_a_checkpoint_that_cannot_be_used_is_told_and_passed_over(tmp_path: Path) -> None:
    """The journal is read from further back."""
    position = fill(tmp_path, entry("shop", JSON))
    write_checkpoint(tmp_path / "journal", Checkpoint(position, "", b"\xc1"))

    result = streams(tmp_path)

    assert "note: a checkpoint is not used" in result.stderr
    assert "\tjson\t" in result.stdout


@pytest.mark.parametrize("folder", ["", "journal"], ids=["no folder", "an empty folder"])
def test_without_a_journal_there_is_nothing_to_look_at(tmp_path: Path, folder: str) -> None:
    """No folder: exit code 3; a journal without segments has no streams."""
    (tmp_path / "data" / folder).mkdir(parents=True)
    runner = CliRunner().invoke(cli, ["parsers", "streams", "--data-dir", str(tmp_path / "data")])

    assert getattr(runner.exception, "exit_code", 0) == (0 if folder else 3)
