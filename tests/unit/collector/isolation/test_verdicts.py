"""Verdicts stand in the journal, all of them in the newest: who begins anywhere knows those about what comes."""

from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.internal import InternalServer
from collector.isolation.verdicts import (
    ACTION,
    PRODUCER,
    VERDICTS_LIMIT,
    FullError,
    append_verdict,
    cursor_of,
    verdicts_in_files,
    verdicts_of,
)
from collector.journal.entry import Receipt
from pipelines.condemned import Part, Verdict
from pipelines.frame import Position, Producer
from tests.kit.journals import entry_of, open_journal

OLDEST = Position(0, 1, 0)


def verdict(sequence: int, *, epoch: int = 1) -> Verdict:
    """Return a verdict on the frame of this sequence."""
    return Verdict(Position(0, epoch, sequence), "crash", (Part(0, 1, 3, 9, 1, 1),))


def test_a_cursor_holds_all_verdicts_about_frames_that_are_still_there() -> None:
    """A newer one about the same frame takes its place; those about deleted frames go."""
    known = {each.position: each for each in map(verdict, (3, 5, 8))}
    newer = Verdict(Position(0, 1, 5), "hang", (Part(0, 2),))

    found = verdicts_of(Producer(PRODUCER, 9, cursor_of(known, newer, Position(0, 1, 4))))
    assert {newer.position: newer, Position(0, 1, 8): verdict(8)} == found
    assert {} == verdicts_of(None)


def test_there_are_only_so_many() -> None:
    """What stands in every segment's head is bounded, and as small as the limit says."""
    known = {each.position: each for each in map(verdict, range(VERDICTS_LIMIT))}

    with pytest.raises(FullError, match="1024 frames"):
        cursor_of(known, verdict(VERDICTS_LIMIT), OLDEST)
    assert len(cursor_of(known, verdict(0), OLDEST)) < 50 * VERDICTS_LIMIT


def test_where_there_are_too_many_the_oldest_is_forgotten_that_nobody_needs() -> None:
    """In an archive that keeps what every output has passed, their number would else only grow; but no more than that.

    Whoever reads the archive again meets what it was about; it is judged again then.
    """
    known = {each.position: each for each in map(verdict, range(VERDICTS_LIMIT))}
    newer = verdict(VERDICTS_LIMIT)

    found = verdicts_of(Producer(PRODUCER, 9, cursor_of(known, newer, OLDEST, Position(0, 1, 7))))
    assert {*known, newer.position} - {OLDEST} == found.keys()
    with pytest.raises(FullError, match="1024 frames"):
        cursor_of(known, newer, OLDEST, OLDEST)


def test_verdicts_that_cannot_be_read_are_not_passed_over() -> None:
    """Of a newer program: without them the worker would meet again what ends it, and what is delivered would differ."""
    with pytest.raises(DataDirError, match="newer program"):
        verdicts_of(Producer(PRODUCER, 1, b"\x91\x01"))


async def test_a_verdict_is_in_the_journal_and_found_there_after_a_restart(tmp_path: Path) -> None:
    """By the producer's triple, and in the files by who only looks; the record is found among our own acts."""
    journal = open_journal(tmp_path)
    socket = tmp_path / "run" / "intake.sock"
    server = InternalServer(journal, socket)
    await server.start()
    known, epoch = None, journal.durable.position.epoch
    verdicts = [verdict(sequence, epoch=epoch) for sequence in (3, 5)]
    for each in verdicts:
        assert await append_verdict(socket, tmp_path / "journal", each, {"cause": "crash"}, known)
        known = journal.last_produced(PRODUCER)
    await server.close()
    await journal.close()

    assert known is not None
    assert 2 == known.sequence
    expected = {each.position: each for each in verdicts}
    assert expected == verdicts_of(known) == verdicts_in_files(tmp_path / "journal")
    again = open_journal(tmp_path)
    assert known == again.last_produced(PRODUCER)
    await again.close()
    assert ACTION.encode() in (tmp_path / "journal" / journal.durable.segment).read_bytes()


async def test_a_full_disk_takes_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full of what the worker does not get past: without the verdict it would be so for ever."""
    for module in ("committer", "room"):
        monkeypatch.setattr(f"collector.journal.{module}.free_bytes", lambda _: 3 << 20)
    journal = open_journal(tmp_path, reserve_bytes=4 << 20)
    socket = tmp_path / "run" / "intake.sock"
    server = InternalServer(journal, socket)
    await server.start()

    assert await journal.append(entry_of(b"of a sender")) is Receipt.RETRY
    assert await append_verdict(socket, tmp_path / "journal", verdict(1), {"cause": "crash"}, None)
    assert journal.full
    await server.close()
    await journal.close()


async def test_a_journal_that_takes_nothing_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is started again then, and the frame judged again when it ended that."""
    monkeypatch.setattr("collector.isolation.verdicts.APPEND_LIMIT_S", 0.0)

    assert not await append_verdict(tmp_path / "no.sock", tmp_path, verdict(1), {}, None)
