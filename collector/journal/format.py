"""The bytes of a segment: its header, and the frames behind it. `collector.journal` has the normative description."""

import struct
from typing import Final

import msgspec
import xxhash
from blake3 import blake3

from collector.errors import DataDirError
from pipelines.frame import JournalIdentity, Message, Origin, Position, Producer, Run

VERSION: Final = 1
SEGMENT_MAGIC: Final = b"TWSEGMT\n"
FRAME_MAGIC: Final = b"\x89TWF"
LINK_BYTES: Final = 32

HEADER_LIMIT_BYTES: Final = 64 << 20
"""A longer frame header is damage: the writer bounds the messages of a frame."""

PAYLOAD_LIMIT_BYTES: Final = 1 << 30

CHECKSUM_ALGORITHM: Final = "xxh3-64"
LINK_ALGORITHM: Final = "blake3-keyed"

_segment_head = struct.Struct("<8sHHI")
_frame_head = struct.Struct("<4sHHIQ")
_checksum = struct.Struct("<Q")
SEGMENT_HEAD_BYTES: Final = _segment_head.size + _checksum.size
FRAME_HEAD_BYTES: Final = _frame_head.size + _checksum.size


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
    """What every segment says of itself. `seed` is random: no sender can make bytes that pass for a frame.

    `producers` are the last triples before this segment; `link_before` is the link of the frame before its first;
    `key_number` says how often the chain's key was ratcheted.
    """

    journal: JournalIdentity
    partition: int
    epoch: int
    first_sequence: int
    created_ns: int
    link_before: bytes
    key_number: int
    seed: int
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


class FrameHead(msgspec.Struct, frozen=True):
    """Where a frame's parts lie; `payload_at` and `end` are offsets in the segment."""

    header: FrameHeader
    link: bytes
    payload_at: int
    end: int


_encode = msgspec.msgpack.Encoder().encode
_decode_segment = msgspec.msgpack.Decoder(SegmentHeader).decode
_decode_frame = msgspec.msgpack.Decoder(FrameHeader).decode


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Return the bytes a segment begins with."""
    body = _encode(header)
    head = _segment_head.pack(SEGMENT_MAGIC, VERSION, 0, len(body))
    return b"".join((head, _checksum.pack(xxhash.xxh3_64_intdigest(head + body)), body))


def decode_segment_header(segment: memoryview, file: str) -> tuple[SegmentHeader, int]:
    """Return the header and the offset behind it; raise DamageError, or DataDirError for a newer version."""
    if len(segment) < SEGMENT_HEAD_BYTES:
        raise DamageError("the segment ends inside its header")
    magic, version, _, length = _segment_head.unpack_from(segment)
    if magic != SEGMENT_MAGIC:
        raise DamageError("the segment does not begin with its magic")
    if version > VERSION:
        raise DataDirError(f"{file}: journal format {version} is newer than this program's ({VERSION})")
    end = SEGMENT_HEAD_BYTES + length
    (checksum,) = _checksum.unpack_from(segment, _segment_head.size)
    body = segment[SEGMENT_HEAD_BYTES:end]
    if len(body) != length or checksum != xxhash.xxh3_64_intdigest(bytes(segment[: _segment_head.size]) + bytes(body)):
        raise DamageError("the segment's header is damaged")
    try:
        return _decode_segment(body), end
    except msgspec.DecodeError as error:
        raise DamageError("the segment's header cannot be decoded") from error


def encode_frame_head(
    header: FrameHeader, payload: list[memoryview], *, key: bytes, link_before: bytes, seed: int
) -> tuple[bytes, bytes]:
    """Return all of a frame but its payload, and its link."""
    body = _encode(header)
    length = sum(len(piece) for piece in payload)
    head = _frame_head.pack(FRAME_MAGIC, VERSION, 0, len(body), length)
    link = frame_link(key, link_before, head + body, payload)
    checksum = xxhash.xxh3_64_intdigest(head + body + link, seed=seed)
    return b"".join((head, _checksum.pack(checksum), body, link)), link


def frame_link(key: bytes, link_before: bytes, head: bytes, payload: list[memoryview]) -> bytes:
    """Return the keyed hash over the link before and the frame."""
    state = blake3(link_before, key=key)
    state.update(head)
    for piece in payload:
        state.update(piece)
    return state.digest()


def decode_frame_head(segment: memoryview, at: int, segment_header: SegmentHeader) -> FrameHead:
    """Return what the header of the frame at `at` says; raise DamageError. The payload is not looked at."""
    if len(segment) - at < FRAME_HEAD_BYTES:
        raise DamageError("the segment ends inside a frame's head")
    magic, version, _, length, payload_length = _frame_head.unpack_from(segment, at)
    if magic != FRAME_MAGIC or version > VERSION:
        raise DamageError("no frame begins here")
    if length > HEADER_LIMIT_BYTES or payload_length > PAYLOAD_LIMIT_BYTES:
        raise DamageError("a frame's lengths are impossible")
    body_at = at + FRAME_HEAD_BYTES
    payload_at = body_at + length + LINK_BYTES
    end = payload_at + payload_length
    if end > len(segment):
        raise DamageError("the segment ends inside a frame")
    (checksum,) = _checksum.unpack_from(segment, at + _frame_head.size)
    covered = bytes(segment[at : at + _frame_head.size]) + bytes(segment[body_at:payload_at])
    if checksum != xxhash.xxh3_64_intdigest(covered, seed=segment_header.seed):
        raise DamageError("a frame's header is damaged")
    try:
        header = _decode_frame(segment[body_at : payload_at - LINK_BYTES])
    except msgspec.DecodeError as error:
        raise DamageError("a frame's header cannot be decoded") from error
    if header.epoch != segment_header.epoch:
        raise DamageError("a frame of another epoch")
    return FrameHead(header, bytes(segment[payload_at - LINK_BYTES : payload_at]), payload_at, end)


def check_payload(segment: memoryview, head: FrameHead) -> memoryview:
    """Return the frame's payload; raise DamageError when it is not what was written."""
    payload = segment[head.payload_at : head.end]
    if xxhash.xxh3_64_intdigest(payload) != head.header.payload_checksum:
        raise DamageError("a frame's payload is damaged")
    if sum(message.length for message in head.header.messages) != len(payload):
        raise DamageError("a frame's messages do not fill its payload")
    return payload


def next_frame(segment: memoryview, at: int, segment_header: SegmentHeader) -> int | None:
    """Return where the next whole, valid frame begins at or behind `at`, or None."""
    whole = segment.obj
    while True:
        at = whole.find(FRAME_MAGIC, at, len(segment))  # type: ignore[attr-defined]
        if at < 0:
            return None
        try:
            check_payload(segment, decode_frame_head(segment, at, segment_header))
        except DamageError:
            at += 1
        else:
            return at
