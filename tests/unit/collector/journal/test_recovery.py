"""What a start makes of whatever a crash, or a bad disk, left."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from collector.errors import DataDirError
from collector.journal.format import FRAME_MAGIC
from collector.journal.recovery import Recovered
from collector.journal.segments import Segment, segment_files
from collector.journal.writer import Journal
from pipelines.frame import Producer
from tests.kit.journals import (
    end_of_files,
    entry_of,
    frame_offsets,
    frames_in,
    gaps_in,
    open_journal,
    payloads_in,
    read_all,
)

PAYLOADS = [b"first", b"second!", b"third"]


def _open(root: Path, *, segment_bytes: int = 1 << 20) -> Journal:
    return open_journal(root, segment_bytes=segment_bytes, sync=lambda _: None)  # nothing here cuts the power


async def _stopped(root: Path, *, segment_bytes: int = 1 << 20) -> Path:
    """Make a journal of three frames, stopped cleanly; return its last segment."""
    journal = _open(root, segment_bytes=segment_bytes)
    for number, payload in enumerate(PAYLOADS):
        await journal.append(entry_of(payload, producer=Producer("engine", number)))
    await journal.close()
    return root / "journal" / segment_files(root / "journal")[-1]


@pytest.mark.timeout(60)
async def test_every_flipped_byte_is_survived_and_placed(tmp_path: Path) -> None:
    """A flip costs at most the frame it is in: a gap with its position in the middle, a cut at the end, no more."""
    await _stopped(tmp_path / "pristine")
    name = segment_files(tmp_path / "pristine" / "journal")[0]
    content = (tmp_path / "pristine" / "journal" / name).read_bytes()
    frames = frame_offsets(content)
    epoch = int(name.split("-")[1])

    for at in range(len(content)):
        root = tmp_path / "copy"
        shutil.copytree(tmp_path / "pristine", root)
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        (root / "journal" / name).write_bytes(damaged)
        lost = sum(1 for each in frames if each <= at) - 1
        expected = [payload for number, payload in enumerate(PAYLOADS) if number != lost]

        before = read_all(root / "journal", end_of_files(root / "journal"))
        journal = _open(root)
        found = read_all(root / "journal", journal.durable)

        # Before a start there may be no other header to read the frames with.
        assert payloads_in(before) == (expected if lost >= 0 else [])
        assert payloads_in(found) == expected
        placed = [(gap.first.epoch, gap.first.sequence, gap.last.sequence) for gap in gaps_in(found)]
        assert placed == ([(epoch, lost, lost)] if lost in (0, 1) else [])
        cut = len(content) - frames[2] if lost == 2 else 0
        assert journal.recovered == Recovered(cut_bytes=cut, gaps=int(lost < 2))
        await journal.append(entry_of(b"after"))
        assert payloads_in(read_all(root / "journal", journal.durable)) == [*expected, b"after"]
        await journal.close()
        shutil.rmtree(root)


@pytest.mark.timeout(60)
async def test_every_torn_end_is_cut(tmp_path: Path) -> None:
    """A file that ends anywhere keeps its whole frames; the rest is cut, and what follows is a new epoch."""
    await _stopped(tmp_path / "pristine")
    name = segment_files(tmp_path / "pristine" / "journal")[0]
    content = (tmp_path / "pristine" / "journal" / name).read_bytes()
    ends = [*frame_offsets(content)[1:], len(content)]

    for length in range(len(content)):
        root = tmp_path / "copy"
        shutil.copytree(tmp_path / "pristine", root)
        (root / "journal" / name).write_bytes(content[:length])
        whole = sum(1 for end in ends if end <= length)
        journal = _open(root)
        last = journal.last_produced("engine")
        await journal.append(entry_of(b"after"))
        found = read_all(root / "journal", journal.durable)

        assert payloads_in(found) == [*PAYLOADS[:whole], b"after"]
        assert gaps_in(found) == []
        assert (last.sequence if last else -1) == whole - 1
        assert not whole or (root / "journal" / name).stat().st_size == ends[whole - 1]
        assert len(segment_files(root / "journal")) == (2 if whole else 1)
        await journal.close()
        shutil.rmtree(root)


async def test_a_tail_of_zeros_is_cut(tmp_path: Path) -> None:
    """Some file systems leave zeros where data was not written before the power went."""
    path = await _stopped(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(10_000))
    journal = _open(tmp_path)

    assert journal.recovered == Recovered(cut_bytes=10_000)
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS
    await journal.close()


async def test_starts_without_frames_leave_no_files_behind(tmp_path: Path) -> None:
    """A segment that never got a frame is removed at the next start, and breaks neither chain nor producers."""
    await _stopped(tmp_path)
    for _ in range(5):
        await _open(tmp_path).close()
    journal = _open(tmp_path)
    await journal.append(entry_of(b"after"))
    found = read_all(tmp_path / "journal", journal.durable)

    assert len(segment_files(tmp_path / "journal")) == 2
    assert (payloads_in(found), gaps_in(found)) == ([*PAYLOADS, b"after"], [])
    assert journal.last_produced("engine") == Producer("engine", 2)
    await journal.close()


@pytest.mark.parametrize("content", [b"", b"TWSEG", bytes(100), b"TWSEGMT\n\1\0\0\0\xff\xff\xff\xff" + bytes(20)])
async def test_a_half_made_segment_is_removed(tmp_path: Path, content: bytes) -> None:
    """A crash while a segment was made leaves a file that held nothing; its epoch is not taken again."""
    await _stopped(tmp_path)
    half = tmp_path / "journal" / "00-1900000000-00000000000.segment"
    half.write_bytes(content)
    journal = _open(tmp_path)

    assert not half.exists()
    assert journal.durable.position.epoch == 1_900_000_001
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS
    assert journal.recovered == Recovered()
    await journal.close()


async def test_a_damaged_header_of_the_newest_segment_loses_nothing(tmp_path: Path) -> None:
    """Its frames are read with the journal's own seed; producers are those of older segments and of its frames."""
    path = await _stopped(tmp_path, segment_bytes=1)
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    journal = _open(tmp_path)
    await journal.append(entry_of(b"after"))
    found = read_all(tmp_path / "journal", journal.durable)

    assert (payloads_in(found), gaps_in(found)) == ([*PAYLOADS, b"after"], [])
    assert journal.last_produced("engine") == Producer("engine", 2)
    assert journal.recovered == Recovered(gaps=1)
    await journal.close()


async def test_a_file_with_frames_of_nobody_is_set_aside(tmp_path: Path) -> None:
    """What has neither a header nor a frame we can read, but looks as if it had, is kept for whoever investigates."""
    await _stopped(tmp_path)
    strange = tmp_path / "journal" / "00-1900000000-00000000000.segment"
    strange.write_bytes(b"?" * 200 + FRAME_MAGIC + b"?" * 200)
    journal = _open(tmp_path)

    assert journal.recovered.set_aside == (strange.with_suffix(".damaged").name,)
    assert strange.with_suffix(".damaged").read_bytes()[200:204] == FRAME_MAGIC
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS
    await journal.close()


async def test_half_written_small_files_are_removed(tmp_path: Path) -> None:
    """A crash while the state was replaced leaves a temporary file, which counts for nothing."""
    await _stopped(tmp_path)
    (tmp_path / "journal" / ".state.json.new").write_bytes(b'{"version":1,')
    journal = _open(tmp_path)

    assert not (tmp_path / "journal" / ".state.json.new").exists()
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS
    await journal.close()


async def test_what_a_start_goes_on_from_is_synced_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that was killed may have left in the page cache what a power cut still takes; followers read it now."""
    newest = await _stopped(tmp_path)
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    monkeypatch.setattr(os, "fsync", sync)
    journal = _open(tmp_path)

    assert newest.name in synced[: synced.index(".state.json.new")]
    assert journal.durable.segment > newest.name
    await journal.close()


async def test_a_tail_that_the_disk_does_not_give_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read error is no torn end: the bytes may be whole when the disk is well again, so the start refuses."""
    newest = await _stopped(tmp_path)
    content = newest.read_bytes()
    last = frame_offsets(content)[-1]
    pread = os.pread

    def failing(descriptor: int, length: int, at: int) -> bytes:
        if at + length > last and os.readlink(f"/proc/self/fd/{descriptor}") == str(newest):
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, length, at)

    monkeypatch.setattr("collector.journal.segments.BLOCK_BYTES", 64)
    monkeypatch.setattr(Segment.__init__, "__kwdefaults__", {"block_bytes": 64})
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(DataDirError, match="Input/output error"):
        _open(tmp_path)
    monkeypatch.undo()

    assert newest.read_bytes() == content
    journal = _open(tmp_path)
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS
    await journal.close()


async def test_a_restart_takes_a_new_epoch_and_starts_it_at_zero(tmp_path: Path) -> None:
    """Frames of two runs never share a position, though the clock stands still."""
    for _ in range(3):
        journal = _open(tmp_path)
        await journal.append(entry_of(b"x"))
        await journal.close()
    positions = [frame.position for frame in frames_in(read_all(tmp_path / "journal", journal.durable))]

    assert [position.sequence for position in positions] == [0, 0, 0]
    assert [position.epoch - positions[0].epoch for position in positions] == [0, 1, 2]


async def test_only_the_newest_segments_are_read_at_a_start(tmp_path: Path) -> None:
    """The cost of a start is bounded by the tail: older segments are not looked into, whatever they hold."""
    await _stopped(tmp_path, segment_bytes=1)
    oldest = tmp_path / "journal" / segment_files(tmp_path / "journal")[0]
    oldest.write_bytes(b"not even a header")
    journal = _open(tmp_path)

    assert oldest.exists()
    assert journal.recovered == Recovered()
    assert payloads_in(read_all(tmp_path / "journal", journal.durable)) == PAYLOADS[1:]
    await journal.close()


async def test_a_damaged_state_refuses_to_start_by_name(tmp_path: Path) -> None:
    """Without its keys the journal does not go on; nothing is changed."""
    path = await _stopped(tmp_path)
    before = path.read_bytes()
    (tmp_path / "journal" / "state.json").write_bytes(b"{}")

    with pytest.raises(DataDirError, match=r"state\.json"):
        _open(tmp_path)
    assert path.read_bytes() == before


async def test_a_failed_start_lets_go_of_the_lock(tmp_path: Path) -> None:
    """After the fault is mended the same process may open the journal."""
    await _stopped(tmp_path)
    state = tmp_path / "journal" / "state.json"
    content = state.read_bytes()
    state.write_bytes(b"{}")
    with pytest.raises(DataDirError):
        _open(tmp_path)
    state.write_bytes(content)

    await _open(tmp_path).close()
