"""The bytes of headers and frames."""

import re

import msgspec
import pytest
import xxhash
from blake3 import blake3

import collector.journal
from collector.errors import DataDirError
from collector.journal import format as journal_format
from collector.journal.format import (
    FRAME_HEAD_BYTES,
    SEGMENT_HEAD_BYTES,
    DamageError,
    DurableEnd,
    FrameHeader,
    SegmentHeader,
    decode_frame_header,
    decode_segment_header,
    encode_frame_head,
    encode_segment_header,
    measure_frame,
    position_of,
)
from pipelines.frame import JournalIdentity, Message, Origin, Position, Producer, Run

KEY = bytes(range(32))
SEED = 0x1122_3344_5566_7788
ORIGIN = Origin("docker", "tcp", "192.0.2.7", "")
SEGMENT = SegmentHeader(
    journal=JournalIdentity(0xABCDEF, "collector-1"),
    partition=0,
    epoch=1_800_000_000,
    first_sequence=7,
    created_ns=1_800_000_000_000_000_001,
    link_before=bytes(32),
    key_number=3,
    seed=SEED,
    before=DurableEnd("00-1700000000-00000000000.segment", 4096, Position(0, 1_700_000_000, 12)),
    producers=(Producer("engine", 9, b"cursor"),),
)
PAYLOAD = b"hello" + b"world!"
FRAME = FrameHeader(
    epoch=SEGMENT.epoch,
    sequence=7,
    journal_time=1_800_000_000_000_000_002,
    origins=(ORIGIN,),
    messages=(Message(0, 5, b"tag", b"chunk", b"d" * 16, 2), Message(0, 6)),
    runs=(Run("forward", 1), Run("json", 1)),
    payload_checksum=xxhash.xxh3_64_intdigest(PAYLOAD),
    producer=Producer("engine", 10, b"next"),
)


def _decoded(whole: bytes, *, epoch: int = SEGMENT.epoch) -> FrameHeader:
    view = memoryview(whole)
    lengths = measure_frame(view[:FRAME_HEAD_BYTES], SEED)
    return decode_frame_header(view[FRAME_HEAD_BYTES:], lengths, seed=SEED, epoch=epoch)


def _frame(header: FrameHeader, payload: bytes = PAYLOAD) -> bytes:
    head, _ = encode_frame_head(header, [memoryview(payload)], key=KEY, link_before=bytes(32), seed=SEED)
    return head


def _resealed(head: bytes) -> bytes:
    """Put right checksums over a head that was changed, as a later version of this program would."""
    body = head[: FRAME_HEAD_BYTES - 8]
    return body + xxhash.xxh3_64_intdigest(body, seed=SEED).to_bytes(8, "little") + head[FRAME_HEAD_BYTES:]


def test_a_segment_header_reads_back() -> None:
    """What a header says is what was put into it, and its link is what the docs say."""
    whole, link = encode_segment_header(SEGMENT, key=KEY)

    body = whole[SEGMENT_HEAD_BYTES:-32]

    assert decode_segment_header(memoryview(whole), "f") == (SEGMENT, link)
    assert blake3(bytes(32) + whole[:16] + body, key=KEY).digest() == link


def test_a_frame_header_reads_back() -> None:
    """What a frame's header says is what was put into it."""
    assert _decoded(_frame(FRAME)) == FRAME


def test_the_link_is_the_keyed_hash_of_the_docs() -> None:
    """Link = keyed BLAKE3 over the link before, bytes 0-23 of the head, header and payload."""
    before = b"b" * 32
    head, link = encode_frame_head(
        FRAME, [memoryview(PAYLOAD[:3]), memoryview(PAYLOAD[3:])], key=KEY, link_before=before, seed=SEED
    )

    header = head[FRAME_HEAD_BYTES:-32]

    assert blake3(before + head[:24] + header + PAYLOAD, key=KEY).digest() == link
    assert head[-32:] == link


def test_the_layout_of_a_frame_is_that_of_the_docs() -> None:
    """Magic, marker, version, lengths and checksums stand where a reader written from the docs looks for them."""
    head = _frame(FRAME)

    assert head[:4] == b"\x89TWF"
    assert head[4:8] == (SEED & 0xFFFF_FFFF).to_bytes(4, "little")
    assert head[8:12] == b"\x02\x00\x00\x00"
    assert int.from_bytes(head[12:16], "little") == len(head) - 72
    assert int.from_bytes(head[16:24], "little") == len(PAYLOAD)
    assert int.from_bytes(head[24:32], "little") == xxhash.xxh3_64_intdigest(head[40:], seed=SEED)
    assert int.from_bytes(head[32:40], "little") == xxhash.xxh3_64_intdigest(head[:32], seed=SEED)
    assert msgspec.msgpack.decode(head[40:-32])[:3] == [FRAME.epoch, 7, FRAME.journal_time]


def test_every_flipped_bit_of_a_segment_header_is_noticed() -> None:
    """No single flipped bit of a segment's header passes, nor does it look like a newer version."""
    whole, _ = encode_segment_header(SEGMENT, key=KEY)

    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError):
            decode_segment_header(memoryview(damaged), "f")


def test_every_flipped_bit_of_a_frame_head_is_noticed() -> None:
    """No single flipped bit of a frame's head, header or link passes."""
    whole = _frame(FRAME)

    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError):
            _decoded(bytes(damaged))


def test_every_shortened_header_is_noticed() -> None:
    """A header cut anywhere is damage, never another error."""
    segment, _ = encode_segment_header(SEGMENT, key=KEY)
    frame = _frame(FRAME)

    for length in range(len(segment)):
        with pytest.raises(DamageError):
            decode_segment_header(memoryview(segment[:length]), "f")
    for length in range(len(frame)):
        with pytest.raises(DamageError):
            _decoded(frame[:length])


def test_a_newer_segment_is_refused_by_name() -> None:
    """A segment of a higher version is no damage: the program is too old for it, and says so."""
    whole = bytearray(encode_segment_header(SEGMENT, key=KEY)[0])
    whole[8] = 3
    whole[16:24] = xxhash.xxh3_64_intdigest(bytes(whole[:16] + whole[24:])).to_bytes(8, "little")

    with pytest.raises(DataDirError, match=r"journal/a\.segment: journal format 3 is newer than this program's \(2\)"):
        decode_segment_header(memoryview(whole), "journal/a.segment")


def test_a_newer_frame_is_refused() -> None:
    """A frame of a higher version is refused too."""
    head = bytearray(_frame(FRAME))
    head[8] = 3

    with pytest.raises(DataDirError, match="format 3"):
        _decoded(_resealed(bytes(head)))


def test_what_version_1_wrote_is_read() -> None:
    """Its frames are the same but for what it did not know: no message was written in portions."""
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(FRAME))
    body[4] = [message[:7] for message in body[4]]
    header = msgspec.msgpack.encode(body)
    head = bytearray(_frame(FRAME)[:FRAME_HEAD_BYTES])
    head[8], head[12:16] = 1, len(header).to_bytes(4, "little")
    link = bytes(32)
    head[24:32] = xxhash.xxh3_64_intdigest(header + link, seed=SEED).to_bytes(8, "little")

    assert _decoded(_resealed(bytes(head) + header + link)) == FRAME


def test_unknown_algorithms_are_refused() -> None:
    """What was summed or linked by an algorithm we do not know is not guessed at."""
    header = msgspec.structs.replace(SEGMENT, link_algorithm="sha3")

    with pytest.raises(DataDirError, match="sha3"):
        decode_segment_header(memoryview(encode_segment_header(header, key=KEY)[0]), "f")
    with pytest.raises(DataDirError, match="compression 1"):
        _decoded(_frame(msgspec.structs.replace(FRAME, compression=1)))


def test_elements_of_a_later_version_are_ignored() -> None:
    """Headers may grow at their end; a reader of today takes what it knows."""
    grown = [*msgspec.msgpack.decode(msgspec.msgpack.encode(FRAME)), "later", {"more": 1}]
    body = msgspec.msgpack.encode(grown)

    assert journal_format._decode_frame(body) == FRAME


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": -1},
        {"sequence": 1 << 35},
        {"journal_time": -1},
        {"messages": (Message(1, 5), Message(0, 6))},
        {"messages": (Message(-1, 5), Message(0, 6))},
        {"messages": (Message(0, -5), Message(0, 16))},
        {"messages": (Message(0, 5), Message(0, 5))},
        {"runs": (Run("forward", 1),)},
        {"runs": (Run("forward", 3), Run("json", -1))},
        {"epoch": 5},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_impossible_values_are_damage(wrong: dict[str, object]) -> None:
    """A header whose values contradict one another or the payload is not used, right checksums or not."""
    header = msgspec.structs.replace(FRAME, **wrong)

    with pytest.raises(DamageError):
        _decoded(_frame(header))


def test_lengths_are_never_trusted() -> None:
    """A length above its limit is damage before anything of that size is read."""
    head = bytearray(_frame(FRAME))
    head[12:16] = b"\xff\xff\xff\xff"

    with pytest.raises(DamageError, match="lengths"):
        measure_frame(memoryview(_resealed(bytes(head)))[:FRAME_HEAD_BYTES], SEED)


@pytest.mark.parametrize("name", ["x.segment", "00-1-2.segment", "00-1700000000-00000000000.segment.damaged", ""])
def test_other_files_are_no_segments(name: str) -> None:
    """Only names of the exact form are segments."""
    assert position_of(name) is None


def test_segment_names_sort_like_positions() -> None:
    """The name of a segment gives the position of its first frame."""
    assert SEGMENT.file_name == "00-1800000000-00000000007.segment"
    assert position_of(SEGMENT.file_name) == SEGMENT.position


def test_the_docs_name_every_element_of_a_message() -> None:
    """A reader is written from that page: it left out how a message was sent."""
    page = " ".join(str(collector.journal.__doc__).split())
    (listed,) = re.findall(r"messages = \[\[(.*?)\], …\]", page)

    assert len(listed.split(", ")) == len(Message.__struct_fields__)
