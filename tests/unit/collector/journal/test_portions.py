"""Long messages while others send: written in portions, read whole, and nobody waits for all of one."""

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from collector.evidence.verify import Verifier
from collector.journal.arrivals import SenderConnection
from collector.journal.entry import Entry, Receipt
from collector.journal.format import DurableEnd
from collector.journal.segments import FrameHead, Segment, segment_files, walk
from collector.journal.state import VerificationKey
from collector.journal.survey import survey
from collector.journal.writer import Journal
from pipelines.frame import Origin
from tests.kit.journals import (
    ORIGIN,
    Gate,
    frames_in,
    gaps_in,
    open_journal,
    payloads_in,
    read_all,
)
from tests.kit.recognisers import crash, intake

PORTION_BYTES = 100
LONG = b"".join(b"%03d" % number for number in range(300))
FLOODER = Origin("docker", "tcp", "192.0.2.66")
QUIET = ORIGIN
CLIENT = ORIGIN.peer.encode()
OTHER = Origin("docker", "tcp", "192.0.2.8")


def entry(origin: Origin, payload: bytes, *, claimed: int = 1) -> Entry:
    """A message, cut as inflated ones are."""
    return Entry(origin, "forward", (payload[:7], b"", payload[7:]), tag=b"t", claimed=claimed)


async def shared(journal: Journal) -> None:
    """See to it that nobody is alone."""
    for origin in (QUIET, FLOODER):
        await journal.append(entry(origin, b"hello"))


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """One in which two have sent something."""
    opened = open_journal(tmp_path, portion_bytes=PORTION_BYTES)
    await shared(opened)
    yield opened
    await opened.close()


def stored(folder: Path, journal: Journal) -> list[bytes]:
    """What a consumer gets behind the two greetings."""
    return payloads_in(read_all(folder / "journal", journal.durable))[2:]


async def test_a_long_message_is_read_whole(tmp_path: Path, journal: Journal) -> None:
    """Its bytes, its table and its place among the others are as if it had been written at once."""
    written = entry(FLOODER, LONG, claimed=300)
    receipts = set(await asyncio.gather(journal.append(written), journal.append(entry(FLOODER, b"behind"))))
    found = read_all(tmp_path / "journal", journal.durable)
    (message,) = frames_in(found)[-2].messages

    assert receipts == {Receipt.DURABLE}
    assert stored(tmp_path, journal) == [LONG, b"behind"]
    assert (message.length, message.tag, message.claimed, message.portions) == (len(LONG), b"t", 300, ())
    assert len(found) == 2 + len(LONG) // PORTION_BYTES + 1
    assert journal.room.in_flight_bytes == 0


@pytest.mark.parametrize("size", [PORTION_BYTES - 1, PORTION_BYTES, PORTION_BYTES + 1, 2 * PORTION_BYTES])
async def test_no_portion_is_empty(tmp_path: Path, journal: Journal, size: int) -> None:
    """Whatever its length, what is written is what was sent."""
    await journal.append(entry(FLOODER, LONG[:size]))

    assert stored(tmp_path, journal) == [LONG[:size]]
    assert journal.appended.frames == 2 + -(-size // PORTION_BYTES)


async def test_nobody_waits_for_all_of_a_long_message(tmp_path: Path) -> None:
    """Who comes while a portion is synced is in the group behind it."""
    gate = Gate()
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES, sync=gate)
    await shared(journal)
    gate.shut()
    long = journal.append(entry(FLOODER, LONG))
    await gate.wait_entered()
    quiet = journal.append(entry(QUIET, b"quiet"))
    gate.open.set()
    await quiet

    assert not long.done()
    await long
    assert stored(tmp_path, journal) == [b"quiet", LONG]
    await journal.close()


async def test_who_is_alone_has_long_messages_written_at_once(tmp_path: Path) -> None:
    """There is nobody to wait, and every portion costs a sync."""
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES)
    await journal.append(entry(FLOODER, LONG))

    assert journal.appended.frames == 1
    await journal.close()


async def test_from_every_cursor_a_long_message_is_read_whole_or_not_at_all(tmp_path: Path, journal: Journal) -> None:
    """A consumer may go on between two portions: others' messages stand there, and were settled."""
    long = journal.append(entry(FLOODER, LONG))
    await asyncio.gather(*(journal.append(entry(OTHER, b"%d" % number)) for number in range(3)))
    await long
    whole = read_all(tmp_path / "journal", journal.durable)
    frames = frames_in(whole)

    for number, frame in enumerate(frames):
        found = read_all(tmp_path / "journal", journal.durable, after=frame.position)
        assert payloads_in(found) == payloads_in(whole[number:])
        assert gaps_in(found) == []
    assert len({frame.position for frame in frames}) == journal.appended.frames


def in_one_segment(directory: Path) -> bool:
    """Whether the portions of all messages stand in the segment of the frame that names them."""
    for name in segment_files(directory):
        segment = Segment(directory, name)
        heads = [head for head in walk(segment, segment.size) if isinstance(head, FrameHead)]
        segment.close()
        places = {(head.header.sequence, head.at) for head in heads}
        named = {place for head in heads for message in head.header.messages for place in message.portions}
        if not named <= places:
            return False
    return True


async def test_portions_of_a_message_stand_in_one_segment(tmp_path: Path) -> None:
    """Segments are deleted one by one; they roll between two long messages, however many clients send such."""
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES, segment_bytes=1500)
    await shared(journal)
    origins = [Origin("docker", "tcp", f"192.0.2.{number}") for number in range(20, 24)]
    sent = [b"%d " % number + LONG for number in range(20)]
    await asyncio.gather(*(journal.append(entry(origins[at % 4], payload)) for at, payload in enumerate(sent)))

    assert sorted(stored(tmp_path, journal)) == sorted(sent)
    assert in_one_segment(tmp_path / "journal")
    assert len(segment_files(tmp_path / "journal")) > 4
    await journal.close()


async def test_a_failed_sync_ends_what_is_begun(tmp_path: Path) -> None:
    """Of no message do some bytes stand in a segment that was left: all are sent again, and kept once."""
    gate = Gate()
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES, sync=gate)
    await shared(journal)
    gate.errors = [None, None, None, OSError(errno.EIO, "Input/output error")]
    receipts = await asyncio.gather(*(journal.append(entry(origin, LONG)) for origin in (FLOODER, OTHER)))
    left = journal.room.in_flight_bytes
    again = await asyncio.gather(*(journal.append(entry(origin, LONG)) for origin in (FLOODER, OTHER)))
    found = read_all(tmp_path / "journal", journal.durable)

    assert (receipts, again) == ([Receipt.RETRY] * 2, [Receipt.DURABLE] * 2)
    assert payloads_in(found)[2:] == [LONG, LONG]
    assert gaps_in(found) == []
    assert (left, journal.room.in_flight_bytes) == (0, 0)
    await journal.close()


async def test_a_long_message_without_room_is_not_begun(tmp_path: Path) -> None:
    """What is refused in the end would have filled the disk meanwhile."""
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES, limit_bytes=4000, in_flight_limit_bytes=1)
    await shared(journal)
    before = journal.room.disk_bytes
    receipt = await journal.append(entry(FLOODER, bytes(4000 - before + 1)))

    assert receipt is Receipt.RETRY
    assert journal.room.disk_bytes == before
    assert await journal.append(entry(QUIET, b"quiet")) is Receipt.DURABLE
    await journal.close()


@pytest.mark.parametrize("portion", [0, 4])
async def test_a_damaged_portion_loses_its_message_alone(tmp_path: Path, journal: Journal, portion: int) -> None:
    """The gap stands where the message would, and what was written in between is read."""
    long = journal.append(entry(FLOODER, LONG))
    await asyncio.gather(journal.append(entry(OTHER, b"in between")), long, journal.append(entry(QUIET, b"behind")))
    path = tmp_path / "journal" / journal.durable.segment
    content = bytearray(path.read_bytes())
    at = content.index(LONG[portion * PORTION_BYTES :][:PORTION_BYTES])
    content[at + 3] ^= 1
    path.write_bytes(content)
    found = read_all(tmp_path / "journal", journal.durable)
    whole = journal.durable.position._replace(sequence=journal.durable.position.sequence - 1)

    (gap,) = gaps_in(found)
    assert (gap.first, gap.last, gap.reason) == (whole, whole, "a frame's payload is damaged")
    assert sorted(payloads_in(found)[2:]) == [b"behind", b"in between"]


async def test_a_crash_between_portions_leaves_no_message(tmp_path: Path) -> None:
    """It was not acknowledged: its sender sends it again, and it stands there once."""

    def copy_at(end: DurableEnd, sequence: int) -> None:
        if end.position.sequence == sequence:
            shutil.copytree(tmp_path / "data", tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))

    async with intake(tmp_path / "data", portion_bytes=PORTION_BYTES) as running:
        await shared(running.journal)
        running.journal.on_durable(lambda end: copy_at(end, 4))
        assert await running.send(SenderConnection(CLIENT), LONG, b"id") is Receipt.DURABLE
    async with intake(tmp_path / "copy") as running:
        assert running.stored()[2:] == []
        assert await running.send(SenderConnection(CLIENT), LONG, b"id") is Receipt.DURABLE
        assert running.stored()[2:] == [LONG]
        assert running.recogniser.recognised == 0


async def test_a_long_message_that_is_sent_again_is_kept_once(tmp_path: Path) -> None:
    """What is known of it stands in the frame that completes it, also after a crash."""
    async with intake(tmp_path / "data", portion_bytes=PORTION_BYTES) as running:
        await shared(running.journal)
        await running.send(SenderConnection(CLIENT), LONG, b"id")
        copy = await crash(running, tmp_path / "data")
    async with intake(copy) as running:
        assert await running.send(SenderConnection(CLIENT), LONG, b"id") is Receipt.DURABLE
        assert running.stored()[2:] == [LONG]
        assert running.recogniser.recognised == 1


async def test_portions_are_no_records_and_verify_as_all_frames_do(tmp_path: Path) -> None:
    """What claims nothing is not counted, and the chain goes through every portion."""
    journal = open_journal(tmp_path, portion_bytes=PORTION_BYTES)
    await shared(journal)
    await journal.append(entry(FLOODER, LONG, claimed=300))
    await journal.close()
    evidence = tmp_path / "evidence"
    key = msgspec.json.decode((evidence / "verification.key").read_bytes(), type=VerificationKey)
    verdict = Verifier(tmp_path / "journal", evidence, key).run()
    (segment,) = survey(tmp_path / "journal").segments

    assert (verdict.findings, segment.records) == ([], 2 + 300)
