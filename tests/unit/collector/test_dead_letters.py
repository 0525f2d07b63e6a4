"""Dead letters: kept with their bytes, once each whatever happens, bounded."""

import asyncio
import base64
import contextlib
import os
import re
import resource
from pathlib import Path

import msgspec
import pytest

from collector.dead_letters import (
    PIPELINE,
    DeadLetterFile,
    DeadLettersFullError,
    Letter,
    Refusal,
    read_letters,
    sources,
)
from collector.errors import DataDirError
from collector.outputs.dead_letters import DeadLettersOutput, letters_of
from pipelines.batch import Batch, DeadLetter
from pipelines.frame import Position
from tests.kit.batches import EPOCH, ListedSource, batch_of
from tests.kit.bulk_server import Worker


def refused(sequence: int, payload: bytes = b"\xc1\x00") -> Batch:
    """A batch with one refused record."""
    position = Position(0, EPOCH, sequence, 0)
    return batch_of(sequence, [], dead=[DeadLetter(position, "decode", "bad_entry", "no entry", "docker/x", payload)])


def kept(data_dir: Path) -> list[Letter]:
    """The pipeline's letters."""
    return list(read_letters(data_dir, PIPELINE))


async def test_what_the_pipeline_refused_is_kept_with_its_bytes(tmp_path: Path) -> None:
    """The built-in output writes each letter and settles every batch."""
    source = ListedSource([batch_of(0, ["fine"]), refused(1), batch_of(2, [])])
    output = DeadLettersOutput(tmp_path, Worker())
    output.resume(None)
    running = asyncio.create_task(output.run(source))
    await source.wait_settled(2)
    source.stop()
    await running
    (letter,) = kept(tmp_path)

    assert (letter.payload_bytes, letter.code, letter.origin) == (b"\xc1\x00", "bad_entry", "docker/x")
    assert letter.position == Position(0, EPOCH, 1, 0)
    assert [position.sequence for position in source.settled] == [0, 1, 2]


def test_a_letter_at_or_beyond_the_cursor_is_cut_at_the_start(tmp_path: Path) -> None:
    """Its record will be met again, so a crash doubles nothing."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    file.open(Position(0, EPOCH, 1))

    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]


async def test_a_letter_of_a_batch_that_begins_before_the_cursor_is_not_doubled(tmp_path: Path) -> None:
    """A verdict on a whole frame came when its beginning was settled; killed before that settles, it is met again."""
    batch = refused(1)
    cursor = batch.position._replace(record=7)
    for _ in range(2):
        source = ListedSource([batch])
        output = DeadLettersOutput(tmp_path, Worker())
        output.resume(cursor)
        running = asyncio.create_task(output.run(source))
        await source.wait_settled(1)
        source.stop()
        await running

    assert [cursor] == [letter.position for letter in kept(tmp_path)]


def test_letters_in_the_order_of_their_refusals_are_cut_by_their_positions(tmp_path: Path) -> None:
    """Requests finish in any order: what stands behind a later record's letter is not lost with it."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in (4, 1, 5, 0, 2):
        file.append(letters_of(refused(sequence)))
    file.open(Position(0, EPOCH, 2))

    assert [letter.position.sequence for letter in kept(tmp_path)] == [1, 0]
    assert [file.path] == list(file.path.parent.iterdir())


def test_without_a_cursor_letters_of_frames_that_the_journal_has_are_cut(tmp_path: Path) -> None:
    """They will be met again; those of frames that are gone will not, and stay."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    file.open(None)
    assert [letter.position.sequence for letter in kept(tmp_path)] == [0, 1, 2]

    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / f"00-{EPOCH}-{1:011}.segment").touch()
    file.open(None)
    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """On a full disk no half letter stays, so the next try begins at a line's start."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    before = file.path.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, unlimited[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append(letters_of(refused(1, b"x" * 300)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    assert before == file.path.read_bytes()


def test_a_letter_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor passes its record when `append` returns: by then it is on disk, and so is a new file's name."""
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, sync)
    file.append(letters_of(refused(0)))
    file.append(letters_of(refused(1)))

    assert synced == ["pipeline.ndjson", "dead-letters", "pipeline.ndjson"]


async def test_a_batch_whose_letters_cannot_be_written_is_not_settled(tmp_path: Path) -> None:
    """The output ends with the error and is started again by the worker, from the cursor."""
    source = ListedSource([batch_of(0, ["fine"]), refused(1), refused(2)])
    output = DeadLettersOutput(tmp_path, Worker())
    output.resume(None)
    (tmp_path / "dead-letters" / "pipeline.ndjson").mkdir()

    with pytest.raises(IsADirectoryError):
        await output.run(source)
    assert [position.sequence for position in source.settled] == [0]


async def test_where_letters_have_reached_their_limit_the_output_waits_for_room(tmp_path: Path) -> None:
    """It says what to do, does not read all letters again, and goes on when they were moved away."""
    source = ListedSource([refused(0), refused(1), refused(2)])
    worker = Worker()
    output = DeadLettersOutput(tmp_path, worker, limit_bytes=400, again_s=0.001)
    output.resume(None)
    running = asyncio.create_task(output.run(source))
    reason = await worker.wait_told()
    before = list(source.settled)
    (tmp_path / "dead-letters" / "pipeline.ndjson").rename(tmp_path / "away")
    await source.wait_settled(1)
    (tmp_path / "dead-letters" / "pipeline.ndjson").rename(tmp_path / "away, too")
    await source.wait_settled(2)
    source.stop()
    await running

    assert [position.sequence for position in before] == [0]
    assert "look at them (tidewaiter dead-letters list) and move" in reason
    assert reason.endswith(".*ndjson away, or raise dead_letters.limit")
    assert [letter.position.sequence for letter in kept(tmp_path)] == [2]


async def test_an_output_that_waits_for_room_stops_when_it_is_told(tmp_path: Path) -> None:
    """The batch is not settled: it is met again at the next start."""
    source = ListedSource([refused(0), refused(1)])
    worker = Worker()
    output = DeadLettersOutput(tmp_path, worker, limit_bytes=400, again_s=3600)
    output.resume(None)
    running = asyncio.create_task(output.run(source))
    await worker.wait_told()
    worker.stopping.set()
    await asyncio.wait_for(running, 10)

    assert [position.sequence for position in source.settled] == [0]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_letter_is_cut(tmp_path: Path, cut: int) -> None:
    """What a crash left of a line is no letter; those before it stay."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    file.append(letters_of(refused(1)))
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-cut])

    assert [letter.position.sequence for letter in kept(tmp_path)] == [0]
    file.open(Position(0, EPOCH, 5))
    assert file.path.read_bytes() == content[: content.index(b"\n") + 1]


def test_a_full_file_is_an_error_and_deletes_nothing(tmp_path: Path) -> None:
    """The output waits for an operator; the letters that are there stay."""
    file = DeadLetterFile(tmp_path, PIPELINE, limit_bytes=400)
    file.open(None)
    file.append(letters_of(refused(0)))
    with pytest.raises(DeadLettersFullError, match="those of pipeline have reached 400 B: look at them"):
        file.append(letters_of(refused(1, b"x" * 300)))

    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("damage", [b"garbage\n", b'{"id":"\xff"}\n'])
def test_damage_within_the_file_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    """Reading does not pass over it, whatever the bytes are, and the output goes on."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    file.path.write_bytes(damage + file.path.read_bytes())
    file.open(None)

    with pytest.raises(DataDirError, match=":1: damaged"):
        kept(tmp_path)


def test_the_same_refusal_gets_the_same_id_again() -> None:
    """An id is made of the position, so a repeat after a crash can be recognised."""
    first, second = letters_of(refused(1)), letters_of(refused(1))

    assert first[0].id == second[0].id
    assert base64.b64decode(first[0].payload) == b"\xc1\x00"


def test_a_damaged_last_letter_stays_and_is_named(tmp_path: Path) -> None:
    """Only what has no end is a write that was cut off; a whole line may be a letter that its disk lost."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    file.append(letters_of(refused(0)))
    before = file.path.read_bytes() + b"garbage\n"
    file.path.write_bytes(before)
    file.open(Position(0, EPOCH, 5))

    assert before == file.path.read_bytes()
    with pytest.raises(DataDirError, match=":2: damaged"):
        kept(tmp_path)


def test_a_flipped_bit_is_damage_and_harms_no_other_letter(tmp_path: Path) -> None:
    """Wherever it is: no letter is read with another document, reason or id than it was written with."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    lines = file.path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines[1]) - 1):
        flipped = lines[1][:at] + bytes([lines[1][at] ^ 1]) + lines[1][at + 1 :]
        file.path.write_bytes(lines[0] + flipped + lines[2])
        places: list[str] = []
        found = list(read_letters(tmp_path, PIPELINE, damaged=places.append))

        assert [letter.position.sequence for letter in found] == [0, 2], flipped
        assert places, flipped


def test_letters_of_older_versions_are_read(tmp_path: Path) -> None:
    """They had no checksum, data stream, tries."""
    file = DeadLetterFile(tmp_path, "elastic")
    file.open(None)
    document = b'{"event":{"id":"dc1"},"data_stream":{"type":"logs","dataset":"tidewaiter.container","namespace":"x"}}'
    old = {
        "id": "elastic-0-7-1-0-dc1",
        "position": [0, 7, 1, 0],
        "time": "2026-11-29T00:00:00.000000000Z",
        "stage": "output",
        "code": "too_large",
        "reason": "HTTP 413",
        "origin": "elastic",
        "payload": base64.b64encode(document).decode(),
        "document_id": "dc1",
    }
    file.path.write_bytes(msgspec.json.encode(old) + b"\n")
    (letter,) = read_letters(tmp_path, "elastic")

    assert (letter.position, letter.tries, letter.tried) == (Position(0, 7, 1, 0), 1, "")
    assert (letter.target, letter.payload_bytes) == ("logs-tidewaiter.container-x", document)


def test_a_long_file_is_closed_and_all_count_for_the_limit(tmp_path: Path) -> None:
    """Files stay small enough to be written anew; the bound is that of all together, and moving one away is room."""
    file = DeadLetterFile(tmp_path, PIPELINE, file_bytes=300, limit_bytes=1500)
    file.open(None)
    count = 0
    with contextlib.suppress(DeadLettersFullError):
        while count < 10:
            file.append(letters_of(refused(count)))
            count += 1
    names = [path.name for path in file.files]

    assert names == ["pipeline.000001.ndjson", "pipeline.000002.ndjson", "pipeline.ndjson"]
    assert [letter.position.sequence for letter in kept(tmp_path)] == list(range(count))
    assert sum(path.stat().st_size for path in file.files) <= 1500
    file.files[0].rename(tmp_path / "moved")
    file.append(letters_of(refused(99)))
    assert kept(tmp_path)[-1].position.sequence == 99


def test_letters_in_every_file_are_cut_by_their_positions(tmp_path: Path) -> None:
    """Closed files hold letters beyond the cursor as well: it is written once a second."""
    file = DeadLetterFile(tmp_path, PIPELINE, file_bytes=1)
    file.open(None)
    for sequence in (4, 1, 5, 0, 2):
        file.append(letters_of(refused(sequence)))
    file.open(Position(0, EPOCH, 2))

    assert [letter.position.sequence for letter in kept(tmp_path)] == [1, 0]
    assert [path.name for path in file.files] == ["pipeline.000002.ndjson", "pipeline.000004.ndjson"]


def test_a_closed_file_never_takes_an_older_ones_name(tmp_path: Path) -> None:
    """A rename would put one in the place of the other."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
        file.close()
    file.close()

    assert [path.name for path in file.files] == [f"pipeline.00000{number}.ndjson" for number in (1, 2, 3)]
    assert sources(tmp_path) == ["pipeline"]


def test_what_was_delivered_is_taken_out_and_tries_are_counted(tmp_path: Path) -> None:
    """Other letters, damaged lines and those that are appended meanwhile stay as they are."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(3):
        file.append(letters_of(refused(sequence)))
    file.path.write_bytes(b"garbage\n" + file.path.read_bytes())
    first, second, third = read_letters(tmp_path, PIPELINE, damaged=lambda _: None)
    file.close()
    file.append(letters_of(refused(3)))
    tried = {first.id: None, second.id: Refusal("other", "still not")}
    file.take_out(file.closed[0], tried, at="2026-11-29T01:00:00.000000000Z")
    places: list[str] = []
    found = list(read_letters(tmp_path, PIPELINE, damaged=places.append))

    assert [(each.position.sequence, each.code, each.tries) for each in found] == [
        (1, "other", 2),
        (2, "bad_entry", 1),
        (3, "bad_entry", 1),
    ]
    assert found[1] == third
    assert len(places) == 1
    assert re.search(r"pipeline.000001.ndjson:1: damaged$", places[0])


def test_a_file_in_which_nothing_is_left_is_removed_on_a_full_disk_too(tmp_path: Path) -> None:
    """That needs no room; one that has to be written anew stays as it was, with an error."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(4):
        file.append(letters_of(refused(sequence)))
        if sequence % 2:
            file.close()
    first, second, third, _ = kept(tmp_path)
    before = file.closed[1].read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
    try:
        file.take_out(file.closed[0], {first.id: None, second.id: None}, at="")
        with pytest.raises(OSError, match="File too large"):
            file.take_out(file.closed[0], {third.id: None}, at="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    assert [path.name for path in file.path.parent.iterdir()] == ["pipeline.000002.ndjson"]
    assert before == file.closed[0].read_bytes()


def test_who_reads_misses_nothing_that_is_closed_meanwhile(tmp_path: Path) -> None:
    """All files of a source are opened at one moment."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    for sequence in range(2):
        file.append(letters_of(refused(sequence)))
        file.close()
    file.append(letters_of(refused(2)))
    reading = read_letters(tmp_path, PIPELINE)
    found = [next(reading)]
    file.close()
    for path in file.closed:
        path.unlink()

    assert [letter.position.sequence for letter in [*found, *reading]] == [0, 1, 2]


def test_each_letter_is_kept_later_than_the_one_before(tmp_path: Path) -> None:
    """Whatever the clock does, and after a start as well: what is told of letters goes on from there."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    late = msgspec.structs.replace(letters_of(refused(0))[0], kept_ns=1 << 62)
    file.path.write_bytes(msgspec.json.encode(late) + b"\n")
    again = DeadLetterFile(tmp_path, PIPELINE)
    again.open(None)
    again.append([*letters_of(refused(1)), *letters_of(refused(2))])
    again.append(letters_of(refused(3)))

    assert [letter.kept_ns - (1 << 62) for letter in kept(tmp_path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("torn_bytes", [1, 5000, 3 << 20])
def test_a_torn_end_is_found_however_long_it_is(tmp_path: Path, torn_bytes: int) -> None:
    """A letter may hold a whole message."""
    file = DeadLetterFile(tmp_path, PIPELINE)
    file.open(None)
    before = b""
    if torn_bytes > 1:
        file.append(letters_of(refused(0)))
        before = file.path.read_bytes()
    file.path.write_bytes(before + b"{" * torn_bytes)
    file.open(Position(0, EPOCH, 5))

    assert before == file.path.read_bytes()
