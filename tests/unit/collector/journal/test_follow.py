"""Following: order, the durable end, damage, deletion."""

from pathlib import Path

import pytest

from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry
from collector.journal.follow import Follower, Gap
from collector.journal.format import FRAME_MAGIC, DurableEnd
from collector.journal.segments import segment_files
from collector.journal.writer import Journal
from pipelines.frame import Frame, Position
from tests.kit.journals import (
    ORIGIN,
    entry_of,
    frame_offsets,
    frames_in,
    gaps_in,
    open_journal,
    payloads_in,
    read_all,
)


async def _filled(root: Path, count: int = 5, **changed: object) -> Journal:
    journal = open_journal(root, **changed)
    for number in range(count):
        await journal.append(entry_of(b"payload %d" % number))
    return journal


def _damage(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


async def test_a_follower_goes_on_while_the_writer_appends_and_rolls(tmp_path: Path) -> None:
    """Whatever is durable is read once, in order; at the end there is None, and later more."""
    journal = open_journal(tmp_path, segment_bytes=600)
    follower = Follower(tmp_path / "journal")
    seen = []
    for number in range(30):
        assert follower.read(journal.durable) is None
        await journal.append(entry_of(b"%d" % number))
        found = follower.read(journal.durable)
        assert isinstance(found, Frame)
        seen.append(bytes(found.payload))

    assert seen == [b"%d" % number for number in range(30)]
    assert len(segment_files(tmp_path / "journal")) > 5
    await journal.close()


async def test_a_follower_never_reads_beyond_the_end_it_is_given(tmp_path: Path) -> None:
    """What stands in the files behind the durable end is not looked at, even when it is whole."""
    journal = await _filled(tmp_path, 1)
    end = journal.durable
    await journal.append(entry_of(b"later"))

    assert payloads_in(read_all(tmp_path / "journal", end)) == [b"payload 0"]
    await journal.close()


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20], ids=["a segment each", "one segment"])
async def test_a_position_is_found_again(tmp_path: Path, segment_bytes: int) -> None:
    """From any cursor the follower goes on with exactly the frame it names; its record index does not matter."""
    journal = await _filled(tmp_path, segment_bytes=segment_bytes)
    first = frames_in(read_all(tmp_path / "journal", journal.durable))[0].position

    for sequence in range(6):
        after = first._replace(sequence=sequence, record=3)
        found = read_all(tmp_path / "journal", journal.durable, after=after)
        assert payloads_in(found) == [b"payload %d" % number for number in range(sequence, 5)]
        assert gaps_in(found) == []
    await journal.close()


async def test_a_follower_may_be_moved_and_closed(tmp_path: Path) -> None:
    """After a seek, or a close, it goes on where it should; frames it gave stay valid."""
    journal = await _filled(tmp_path)
    follower = Follower(tmp_path / "journal")
    first = follower.read(journal.durable)
    assert isinstance(first, Frame)
    follower.close()
    second = follower.read(journal.durable)
    follower.seek(None)
    again = follower.read(journal.durable)

    assert isinstance(second, Frame)
    assert isinstance(again, Frame)
    assert [bytes(each.payload) for each in (first, second, again)] == [b"payload 0", b"payload 1", b"payload 0"]
    follower.close()
    await journal.close()


async def test_frames_larger_and_smaller_than_a_block_are_read_whole(tmp_path: Path) -> None:
    """Where frames lie relative to the blocks that are read makes no difference."""
    journal = open_journal(tmp_path)
    sizes = [0, 1, (1 << 20) - 500, 1 << 20, (1 << 20) + 1, 5 << 20, 3, *[70_000] * 40, 0]
    for number, size in enumerate(sizes):
        await journal.append(entry_of(bytes([number]) * size))
    found = read_all(tmp_path / "journal", journal.durable)

    assert payloads_in(found) == [bytes([number]) * size for number, size in enumerate(sizes)]
    await journal.close()


async def test_a_damaged_payload_is_a_gap_of_one_frame(tmp_path: Path) -> None:
    """Its head is sound, so what is lost is known exactly, and the next frame follows."""
    journal = await _filled(tmp_path)
    path = tmp_path / "journal" / journal.durable.segment
    _damage(path, frame_offsets(path.read_bytes())[3] - 1)
    found = read_all(tmp_path / "journal", journal.durable)
    lost = journal.durable.position._replace(sequence=2)

    gap = found[2]
    assert isinstance(gap, Gap)
    assert (gap.first, gap.last, gap.reason) == (lost, lost, "a frame's payload is damaged")
    assert [len("payload 2")] == [message.length for message in gap.messages]
    assert payloads_in(found) == [b"payload 0", b"payload 1", b"payload 3", b"payload 4"]
    await journal.close()


async def test_damage_over_several_frames_is_one_gap(tmp_path: Path) -> None:
    """The next sound frame tells by its sequence how many are lost."""
    journal = await _filled(tmp_path)
    path = tmp_path / "journal" / journal.durable.segment
    for at in frame_offsets(path.read_bytes())[1:4]:
        _damage(path, at)
    found = read_all(tmp_path / "journal", journal.durable)
    position = journal.durable.position

    assert gaps_in(found) == [Gap(position._replace(sequence=1), position._replace(sequence=3), "no frame begins here")]
    assert payloads_in(found) == [b"payload 0", b"payload 4"]
    await journal.close()


async def test_a_damaged_tail_is_a_gap_up_to_the_end(tmp_path: Path) -> None:
    """In the open segment the durable end tells what is lost, in a sealed one the header of the next."""
    journal = await _filled(tmp_path)
    position = journal.durable.position
    path = tmp_path / "journal" / journal.durable.segment
    for at in frame_offsets(path.read_bytes())[3:]:
        _damage(path, at + 35)
    lost = Gap(position._replace(sequence=3), position._replace(sequence=4), "a frame's head is damaged")

    assert gaps_in(read_all(tmp_path / "journal", journal.durable)) == [lost]
    await journal.close()


@pytest.mark.parametrize("restart", [False, True], ids=["rolled", "restarted"])
async def test_a_cut_off_end_of_a_sealed_segment_is_a_gap(tmp_path: Path, *, restart: bool) -> None:
    """A sealed segment that lost its last frames is noticed, whether the next has the same epoch or not."""
    journal = await _filled(tmp_path, segment_bytes=(1 << 20) if restart else 900)
    if restart:
        await journal.close()
        journal = open_journal(tmp_path)
    await journal.append(entry_of(b"last"))
    path = tmp_path / "journal" / segment_files(tmp_path / "journal")[0]
    frames = frame_offsets(path.read_bytes())
    path.write_bytes(path.read_bytes()[: frames[-2]])
    found = read_all(tmp_path / "journal", journal.durable)
    (gap,) = gaps_in(found)

    assert (gap.first.sequence, gap.last.sequence) == (len(frames) - 2, len(frames) - 1)
    assert payloads_in(found)[-1] == b"last"
    await journal.close()


async def test_a_damaged_segment_header_costs_no_frame(tmp_path: Path) -> None:
    """Journal and seed are the same in all segments: any other one helps out."""
    journal = await _filled(tmp_path, segment_bytes=1)
    *older, _ = segment_files(tmp_path / "journal")
    assert len(older) == 4
    for name in older:
        _damage(tmp_path / "journal" / name, 30)
    found = read_all(tmp_path / "journal", journal.durable)

    assert (payloads_in(found), gaps_in(found)) == ([b"payload %d" % number for number in range(5)], [])
    await journal.close()


async def test_a_journal_without_any_header_is_one_gap_and_no_loop(tmp_path: Path) -> None:
    """Where nothing can be read the follower says so once."""
    journal = await _filled(tmp_path)
    _damage(tmp_path / "journal" / journal.durable.segment, 0)
    found = read_all(tmp_path / "journal", journal.durable)
    first = journal.durable.position._replace(sequence=0)

    assert [(gap.first, gap.last) for gap in gaps_in(found)] == [(first, first._replace(sequence=4))]
    assert len(found) == 1
    await journal.close()


async def test_a_segment_deleted_before_its_position_is_a_gap(tmp_path: Path) -> None:
    """A follower that comes too late is told which frames are gone; one that reads from the oldest is not."""
    journal = await _filled(tmp_path, segment_bytes=1)
    position = journal.durable.position
    write_cursor(tmp_path / "journal", "store", position._replace(sequence=3))
    assert journal.reclaim(wait=True) == 3
    late = read_all(tmp_path / "journal", journal.durable, after=position._replace(sequence=1))
    oldest = read_all(tmp_path / "journal", journal.durable)

    assert [(gap.first.sequence, gap.last.sequence) for gap in gaps_in(late)] == [(1, 2)]
    assert payloads_in(late) == payloads_in(oldest) == [b"payload 3", b"payload 4"]
    assert gaps_in(oldest) == []
    await journal.close()


async def test_a_segment_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """Deletion takes the name, not the bytes that a reader has open."""
    journal = await _filled(tmp_path, 2, segment_bytes=10_000)
    follower = Follower(tmp_path / "journal")
    first = follower.read(journal.durable)
    old = journal.durable.segment
    for number in range(2, 40):
        await journal.append(entry_of(b"payload %d" % number + b"x" * 500))
    (tmp_path / "journal" / old).unlink()
    found: list[Frame | Gap] = [first] if first is not None else []
    while (each := follower.read(journal.durable)) is not None:
        found.append(each)

    assert gaps_in(found) == []
    assert len(payloads_in(found)) == 40
    follower.close()
    await journal.close()


async def test_a_position_of_a_deleted_epoch_that_was_at_its_end_is_no_gap(tmp_path: Path) -> None:
    """A consumer that had passed everything misses nothing when the old epoch's segments are gone."""
    journal = await _filled(tmp_path, 2)
    cursor = journal.durable.position
    old = journal.durable.segment
    await journal.close()
    journal = await _filled(tmp_path, 1)
    (tmp_path / "journal" / old).unlink()

    assert gaps_in(read_all(tmp_path / "journal", journal.durable, after=cursor)) == []
    before_end = cursor._replace(sequence=1)
    (gap,) = gaps_in(read_all(tmp_path / "journal", journal.durable, after=before_end))
    assert (gap.first, gap.last) == (before_end, before_end)
    await journal.close()


async def test_damage_before_the_wanted_position_is_not_reported(tmp_path: Path) -> None:
    """A consumer hears only of what it misses itself; a cursor of a later epoch is not disturbed at all."""
    journal = await _filled(tmp_path)
    end = journal.durable
    await journal.close()
    journal = await _filled(tmp_path, 1)
    path = tmp_path / "journal" / end.segment
    for at in frame_offsets(path.read_bytes())[1:3]:
        _damage(path, at)
    later = end.position._replace(sequence=4)

    assert gaps_in(read_all(tmp_path / "journal", journal.durable, after=later)) == []
    assert gaps_in(read_all(tmp_path / "journal", journal.durable, after=journal.durable.position)) == []
    await journal.close()


async def test_missing_and_repeated_bytes_are_noticed(tmp_path: Path) -> None:
    """A frame cut out is a gap although all others are sound; one copied in again is read once."""
    journal = await _filled(tmp_path)
    path = tmp_path / "journal" / journal.durable.segment
    content = path.read_bytes()
    at = frame_offsets(path.read_bytes())
    size = at[2] - at[1]
    path.write_bytes(content[: at[1]] + content[at[2] :] + content[at[0] : at[1]])
    end = journal.durable
    assert size == at[1] - at[0]
    found = read_all(tmp_path / "journal", DurableEnd(end.segment, path.stat().st_size, end.position))

    assert [(gap.first.sequence, gap.last.sequence) for gap in gaps_in(found)] == [(1, 1)]
    assert payloads_in(found) == [b"payload 0", b"payload 2", b"payload 3", b"payload 4"]
    await journal.close()


async def test_no_payload_passes_for_a_frame(tmp_path: Path) -> None:
    """A sender that knows the format, but not the journal's seed, cannot plant a frame for the search behind damage."""
    forged = FRAME_MAGIC + b"\0" * 4 + b"\1\0\0\0" + b"\5\0\0\0" + b"\0" * 24 + b"\x95\1\1\1\1\1"
    journal = open_journal(tmp_path)
    await journal.append(Entry(ORIGIN, "forward", (forged * 20_000,)))
    await journal.append(entry_of(b"next"))
    path = tmp_path / "journal" / journal.durable.segment
    _damage(path, path.read_bytes().index(FRAME_MAGIC) + 33)
    found = read_all(tmp_path / "journal", journal.durable)

    assert [(gap.first.sequence, gap.last.sequence) for gap in gaps_in(found)] == [(0, 0)]
    assert payloads_in(found) == [b"next"]
    await journal.close()


async def test_no_frame_of_another_journal_passes_for_one(tmp_path: Path) -> None:
    """A sender may have a whole journal of his own, of the same epoch: its frames differ by the seed, in every way."""
    theirs = open_journal(tmp_path / "theirs")
    await theirs.append(entry_of(b"filler"))
    await theirs.append(entry_of(b"planted"))
    content = (tmp_path / "theirs" / "journal" / theirs.durable.segment).read_bytes()
    planted = content[frame_offsets(content)[1] :]
    journal = open_journal(tmp_path)
    await journal.append(entry_of(planted))
    await journal.append(entry_of(b"next"))
    path = tmp_path / "journal" / journal.durable.segment
    _damage(path, path.read_bytes().index(FRAME_MAGIC) + 33)
    found = read_all(tmp_path / "journal", journal.durable)

    assert journal.durable.position == theirs.durable.position
    assert payloads_in(found) == [b"next"]
    assert [(gap.first.sequence, gap.last.sequence) for gap in gaps_in(found)] == [(0, 0)]
    for each in (theirs, journal):
        await each.close()


async def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    """Strangers in the folder are left alone, by writer and reader."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "notes.segment").write_bytes(b"mine")
    journal = await _filled(tmp_path, 1)

    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == [b"payload 0"]
    assert (tmp_path / "journal" / "notes.segment").exists()
    assert journal.durable.position > Position(0, 0, 0)
    await journal.close()
