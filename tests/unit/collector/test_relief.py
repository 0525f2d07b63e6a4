"""Before the journal is full: who holds it is named, and an optional output goes on without what it has not had."""

import asyncio
from pathlib import Path

import pytest

from collector.journal.cursors import write_cursor
from collector.journal.segments import first_position, segment_files
from collector.relief import Skips, pressure
from pipelines.frame import Position
from tests.kit.journals import entry_of, open_journal

SEGMENT_BYTES = 8 << 10
SEGMENTS = 12


@pytest.fixture
async def segments(tmp_path: Path) -> list[Position]:
    """The first positions of a journal's segments."""
    journal = open_journal(tmp_path, segment_bytes=SEGMENT_BYTES)
    while len(segment_files(tmp_path / "journal")) < SEGMENTS:
        await journal.append(entry_of(b"x" * 3000))
    await journal.close()
    return [first_position(name) for name in segment_files(tmp_path / "journal")]


def at(folder: Path, **cursors: Position) -> Path:
    """Put cursors into a journal; return its directory."""
    for name, position in cursors.items():
        write_cursor(folder / "journal", name, position)
    return folder / "journal"


def limit_bytes(folder: Path, part: float) -> int:
    """Return the limit of which the journal is so large a part."""
    return int(sum(path.stat().st_size for path in (folder / "journal").glob("*.segment*")) / part)


async def test_an_optional_output_skips_to_what_the_journal_has_room_for(
    tmp_path: Path, segments: list[Position]
) -> None:
    """At most half of the limit waits for it then; what others need is not passed over for its sake."""
    directory = at(tmp_path, store=segments[-1], elastic=segments[0])
    found = pressure(directory, limit_bytes(tmp_path, 0.8), {"store", "elastic"}, {"elastic"})

    (target,) = found.skips.values()
    assert segments[0] < target < segments[-1]
    assert found.warning.endswith("wait for output elastic: it is skipped")
    at(tmp_path, elastic=target)
    assert pressure(directory, limit_bytes(tmp_path, 0.8), {"store", "elastic"}, {"elastic"}).warning == ""

    at(tmp_path, store=segments[2], elastic=segments[0])
    assert pressure(directory, limit_bytes(tmp_path, 0.8), set(), {"elastic"}).skips == {"elastic": segments[2]}


async def test_nothing_is_skipped_in_vain(tmp_path: Path, segments: list[Position]) -> None:
    """Not while there is room, and not where another output holds as much that must not be skipped."""
    directory = at(tmp_path, store=segments[-1], elastic=segments[0])
    assert pressure(directory, limit_bytes(tmp_path, 0.7), {"store", "elastic"}, {"elastic"}).skips == {}

    at(tmp_path, store=segments[0])
    found = pressure(directory, limit_bytes(tmp_path, 0.8), {"store", "elastic"}, {"elastic"})
    assert found.skips == {}
    assert found.warning.endswith("wait for outputs elastic, store: at the limit senders wait")


async def test_an_output_that_has_settled_nothing_holds_all(tmp_path: Path, segments: list[Position]) -> None:
    """It has no cursor, and is named all the same."""
    directory = at(tmp_path, store=segments[-1])

    assert (
        "wait for output late: at" in pressure(directory, limit_bytes(tmp_path, 0.9), {"store", "late"}, set()).warning
    )


async def test_a_run_is_interrupted_when_its_output_is_to_skip() -> None:
    """What it waits for, a server that is down, would keep it for ever. Asked for the same again it goes on."""
    skips = Skips()
    running = asyncio.create_task(skips.interrupt("elastic", asyncio.sleep(3600)))
    await asyncio.sleep(0)

    assert skips.ask("elastic", Position(0, 1, 7))
    await asyncio.wait_for(running, 10)
    assert not skips.ask("elastic", Position(0, 1, 7))
    assert skips.target("elastic") == Position(0, 1, 7)
    assert not skips.ask("elastic", Position(0, 1, 3))


async def test_what_a_run_raises_is_told(tmp_path: Path) -> None:
    """An output that fails is started again as ever."""

    async def fail() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await Skips().interrupt("store", fail())
