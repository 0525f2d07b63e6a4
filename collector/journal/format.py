"""The bytes of a segment: its header, and the frames behind it. `collector.journal` has the normative description."""

import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import xxhash
from blake3 import blake3

from collector.errors import DataDirError
from pipelines.frame import JournalIdentity, Message, Origin, Position, Producer, Run

VERSION: Final = 2
SEGMENT_MAGIC: Final = b"TWSEGMT\n"
FRAME_MAGIC: Final = b"\x89TWF"
LINK_BYTES: Final = 32
FIRST_LINK: Final = bytes(LINK_BYTES)

PORTION: Final = "portion"
"""Encoding of a run whose one message is the beginning, or a middle, of a long one that a later frame completes."""

HEADER_LIMIT_BYTES: Final = 64 << 20
"""A longer header is damage: the writer bounds what it puts into one."""

PAYLOAD_LIMIT_BYTES: Final = 1 << 30
"""A longer payload is damage; the writer refuses such a message."""

EPOCH_LIMIT: Final = 1 << 32
SEQUENCE_LIMIT: Final = 1 << 35
"""Document ids have so much room (`pipelines.frame.id_prefix`)."""

CHECKSUM_ALGORITHM: Final = "xxh3-64"
LINK_ALGORITHM: Final = "blake3-keyed"

_segment_head = struct.Struct("<8sHHI")
_frame_head = struct.Struct("<4sIHHIQ")
_checksum = struct.Struct("<Q")
_two_checksums = struct.Struct("<QQ")
SEGMENT_HEAD_BYTES: Final = _segment_head.size + _checksum.size
FRAME_HEAD_BYTES: Final = _frame_head.size + _two_checksums.size
_segment_name = re.compile(r"(\d{2})-(\d{10})-(\d{11})\.segment", re.ASCII)


class DamageError(ValueError):
    """Bytes that are no valid header or frame; the text says why."""


class DurableEnd(msgspec.Struct, frozen=True, array_like=True):
    """What is known to be on disk: everything before `offset` of `segment`, and all older segments.

    `position` is that of the next frame.
    """

    segment: str
    offset: int
    position: Position


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """What every segment says of itself.

    `link_before` is the link of the last valid frame before this segment, `before` where that frame ends; `key_number`
    says how often the chain's key was ratcheted; `seed` is the journal's; `producers` are the last triples before.
    """

    journal: JournalIdentity
    partition: int
    epoch: int
    first_sequence: int
    created_ns: int
    link_before: bytes
    key_number: int
    seed: int
    before: DurableEnd | None = None
    producers: tuple[Producer, ...] = ()
    checksum_algorithm: str = CHECKSUM_ALGORITHM
    link_algorithm: str = LINK_ALGORITHM

    @property
    def position(self) -> Position:
        """Position of the first frame."""
        return Position(self.partition, self.epoch, self.first_sequence)

    @property
    def file_name(self) -> str:
        """The segment's file name; names sort as positions do."""
        return f"{self.partition:02d}-{self.epoch:010d}-{self.first_sequence:011d}.segment"


class FrameHeader(msgspec.Struct, frozen=True, array_like=True):
    """The header of a frame; `payload_checksum` is XXH3-64 of the payload, `compression` 0 for none."""

    epoch: int
    sequence: int
    journal_time: int
    origins: tuple[Origin, ...]
    messages: tuple[Message, ...]
    runs: tuple[Run, ...]
    payload_checksum: int
    producer: Producer | None = None
    compression: int = 0


class Lengths(NamedTuple):
    """What a frame's first bytes say of the rest; `checksum` is that of header and link."""

    header_bytes: int
    payload_bytes: int
    checksum: int


_encode = msgspec.msgpack.Encoder().encode
_decode_segment = msgspec.msgpack.Decoder(SegmentHeader).decode
_decode_frame = msgspec.msgpack.Decoder(FrameHeader).decode


def position_of(name: str) -> Position | None:
    """Return the position of a segment's first frame from its file name; None for any other file."""
    match = _segment_name.fullmatch(name)
    return Position(int(match[1]), int(match[2]), int(match[3])) if match else None


def marker_of(seed: int) -> bytes:
    """Return what every frame of a journal begins with."""
    return FRAME_MAGIC + (seed & 0xFFFF_FFFF).to_bytes(4, "little")


def encode_segment_header(header: SegmentHeader, *, key: bytes) -> tuple[bytes, bytes]:
    """Return the bytes a segment begins with, and their link."""
    body = _encode(header)
    head = _segment_head.pack(SEGMENT_MAGIC, VERSION, 0, len(body))
    link = link_of(key, header.link_before, head, body)
    checksum = xxhash.xxh3_64_intdigest(head + body + link)
    return b"".join((head, _checksum.pack(checksum), body, link)), link


def measure_segment_header(head: memoryview) -> int:
    """Return the length of the whole header from its first SEGMENT_HEAD_BYTES; raise DamageError."""
    if len(head) < SEGMENT_HEAD_BYTES:
        raise DamageError("the segment ends inside its header")
    magic, _, _, length = _segment_head.unpack_from(head)
    if magic != SEGMENT_MAGIC or length > HEADER_LIMIT_BYTES:
        raise DamageError("the segment does not begin with its magic and a possible length")
    return SEGMENT_HEAD_BYTES + int(length) + LINK_BYTES


def decode_segment_header(whole: memoryview, file: str) -> tuple[SegmentHeader, bytes]:
    """Return header and link; raise DamageError, or DataDirError for a newer version."""
    length = measure_segment_header(whole[:SEGMENT_HEAD_BYTES])
    _, version, zero, _ = _segment_head.unpack_from(whole)
    (checksum,) = _checksum.unpack_from(whole, _segment_head.size)
    covered = bytes(whole[: _segment_head.size]) + bytes(whole[SEGMENT_HEAD_BYTES:])
    if len(whole) != length or checksum != xxhash.xxh3_64_intdigest(covered):
        raise DamageError("the segment's header is damaged")
    if version > VERSION or zero:
        raise DataDirError(f"{file}: journal format {version} is newer than this program's ({VERSION})")
    try:
        header = _decode_segment(whole[SEGMENT_HEAD_BYTES : length - LINK_BYTES])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamageError("the segment's header cannot be decoded") from error
    if (header.checksum_algorithm, header.link_algorithm) != (CHECKSUM_ALGORITHM, LINK_ALGORITHM):
        raise DataDirError(
            f"{file}: algorithms {header.checksum_algorithm}, {header.link_algorithm} are not known here"
        )
    if len(header.link_before) != LINK_BYTES or not 0 <= header.seed < 1 << 64:
        raise DamageError("the segment's header holds impossible values")
    return header, bytes(whole[length - LINK_BYTES :])


def encode_frame_head(
    header: FrameHeader, payload: Sequence[memoryview], *, key: bytes, link_before: bytes, seed: int
) -> tuple[bytes, bytes]:
    """Return all of a frame but its payload, and its link."""
    body = _encode(header)
    length = sum(map(len, payload))
    head = _frame_head.pack(FRAME_MAGIC, seed & 0xFFFF_FFFF, VERSION, 0, len(body), length)
    link = link_of(key, link_before, head, body, *payload)
    head += _checksum.pack(xxhash.xxh3_64_intdigest(body + link, seed=seed))
    return b"".join((head, _checksum.pack(xxhash.xxh3_64_intdigest(head, seed=seed)), body, link)), link


def link_of(key: bytes, *buffers: bytes | memoryview) -> bytes:
    """Return the keyed hash over the link before and what it links."""
    state = blake3(key=key)
    for buffer in buffers:
        state.update(buffer)
    return state.digest()


def frame_link(key: bytes, link_before: bytes, whole: memoryview, payload_at: int) -> bytes:
    """Return what the link of a frame should be; `whole` are all its bytes."""
    body = whole[FRAME_HEAD_BYTES : payload_at - LINK_BYTES]
    return link_of(key, link_before, whole[: _frame_head.size], body, whole[payload_at:])


def header_link(key: bytes, link_before: bytes, whole: memoryview) -> bytes:
    """Return what the link of a segment's header should be; `whole` are all its bytes."""
    return link_of(key, link_before, whole[: _segment_head.size], whole[SEGMENT_HEAD_BYTES:-LINK_BYTES])


def measure_frame(head: memoryview, seed: int) -> Lengths:
    """Check a frame's first FRAME_HEAD_BYTES; raise DamageError, or DataDirError for a newer version."""
    if len(head) < FRAME_HEAD_BYTES:
        raise DamageError("the segment ends inside a frame's head")
    magic, marker, version, zero, header_bytes, payload_bytes = _frame_head.unpack_from(head)
    checksum, own_checksum = _two_checksums.unpack_from(head, _frame_head.size)
    if magic != FRAME_MAGIC or marker != seed & 0xFFFF_FFFF:
        raise DamageError("no frame begins here")
    if own_checksum != xxhash.xxh3_64_intdigest(head[: FRAME_HEAD_BYTES - _checksum.size], seed=seed):
        raise DamageError("a frame's head is damaged")
    if version > VERSION or zero:
        raise DataDirError(f"the journal holds a frame of format {version}, newer than this program's ({VERSION})")
    if header_bytes > HEADER_LIMIT_BYTES or payload_bytes > PAYLOAD_LIMIT_BYTES:
        raise DamageError("a frame's lengths are impossible")
    return Lengths(header_bytes, payload_bytes, checksum)


def decode_frame_header(header_and_link: memoryview, lengths: Lengths, *, seed: int, epoch: int) -> FrameHeader:
    """Return the header behind a frame's head, every value checked; raise DamageError or DataDirError."""
    if lengths.checksum != xxhash.xxh3_64_intdigest(header_and_link, seed=seed):
        raise DamageError("a frame's header is damaged")
    try:
        header = _decode_frame(header_and_link[: lengths.header_bytes])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamageError("a frame's header cannot be decoded") from error
    if header.epoch != epoch:
        raise DamageError("a frame of another epoch")
    if header.compression:
        raise DataDirError(f"the journal holds a frame of compression {header.compression}, not known here")
    if not 0 <= header.sequence < SEQUENCE_LIMIT or not 0 <= header.journal_time < 1 << 63:
        raise DamageError("a frame's header holds impossible values")
    _check_table(header, lengths.payload_bytes)
    return header


def _check_table(header: FrameHeader, payload_bytes: int) -> None:
    origins = len(header.origins)
    total = 0
    for message in header.messages:
        if message.length < 0 or not 0 <= message.origin < origins:
            raise DamageError("a frame's table holds impossible values")
        total += message.length
    if total != payload_bytes:
        raise DamageError("a frame's messages do not fill its payload")
    if any(run.messages < 1 for run in header.runs) or sum(run.messages for run in header.runs) != len(header.messages):
        raise DamageError("a frame's runs do not cover its messages")


def check_payload(header: FrameHeader, payload: memoryview) -> None:
    """Raise DamageError when a payload is not what was written."""
    if xxhash.xxh3_64_intdigest(payload) != header.payload_checksum:
        raise DamageError("a frame's payload is damaged")
