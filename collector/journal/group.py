"""From the entries that gathered during a sync to the frames of the next: tables, runs and order."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import xxhash

from collector.journal.entry import Buffer, Entry
from collector.journal.format import PAYLOAD_LIMIT_BYTES, PORTION, FrameHeader
from pipelines.frame import Message, Origin, Producer, Run

MESSAGES_LIMIT: Final = 16_384
"""Messages of one frame: its table is decoded whole."""

RECORDS_LIMIT: Final = 1 << 20
"""Claimed records of one frame, unless one message claims more: a worker holds the documents of a frame at once."""

TABLE_LIMIT_BYTES: Final = 4 << 20
"""Bytes of tags, chunk ids and the like in one frame's table, unless one entry has more."""

ENTRY_TABLE_LIMIT_BYTES: Final = 1 << 20
"""An entry with more than this beside its payload is rejected: no sender means it."""


JOINED_BYTES: Final = 4 << 10
"""Buffers that are smaller than this on average are joined into one."""


class FrameParts(msgspec.Struct):
    """A frame before it has a sequence and a time."""

    origins: tuple[Origin, ...]
    messages: tuple[Message, ...]
    runs: tuple[Run, ...]
    payload: list[memoryview]
    producer: Producer | None

    @property
    def is_portion(self) -> bool:
        """Whether it holds a portion of a message that a later frame completes."""
        return self.runs[0].encoding == PORTION

    def header(self, *, epoch: int, sequence: int, journal_time: int) -> FrameHeader:
        """Return the frame's header; checksums the payload."""
        checksum = xxhash.xxh3_64()
        for buffer in self.payload:
            checksum.update(buffer)
        return FrameHeader(
            epoch, sequence, journal_time, self.origins, self.messages, self.runs, checksum.intdigest(), self.producer
        )


def fits(entry: Entry) -> bool:
    """Whether an entry can be kept at all."""
    return entry.payload_bytes <= PAYLOAD_LIMIT_BYTES and entry.table_bytes <= ENTRY_TABLE_LIMIT_BYTES


def frames_of(entries: Sequence[Entry], *, frame_bytes: int) -> Iterator[FrameParts]:
    """Cut entries into frames of about `frame_bytes`; one of a producer stands alone, and what is written in portions.

    So whatever becomes of a portion, no other message is lost with it.
    """
    held: list[Entry] = []
    size = records = table = 0
    for entry in entries:
        length, claimed, beside = entry.payload_bytes, max(entry.claimed, 0), entry.table_bytes
        alone = entry.producer is not None or entry.encoding == PORTION or bool(entry.portions)
        over = (
            size + length > frame_bytes
            or records + claimed > RECORDS_LIMIT
            or table + beside > TABLE_LIMIT_BYTES
            or len(held) >= MESSAGES_LIMIT
        )
        if held and (alone or over):
            yield _parts(held)
            held, size, records, table = [], 0, 0, 0
        if alone:
            yield _parts([entry])
            continue
        held.append(entry)
        size, records, table = size + length, records + claimed, table + beside
    if held:
        yield _parts(held)


def _parts(entries: list[Entry]) -> FrameParts:
    """Group entries by encoding, keeping their order within one."""
    by_encoding: dict[str, list[Entry]] = {}
    for entry in entries:
        by_encoding.setdefault(entry.encoding, []).append(entry)
    origins: dict[Origin, int] = {}
    messages: list[Message] = []
    payload: list[Buffer] = []
    for run in by_encoding.values():
        for entry in run:
            payload += entry.payload
            messages.append(
                Message(
                    origins.setdefault(entry.origin, len(origins)),
                    entry.payload_bytes,
                    entry.tag,
                    entry.chunk_id,
                    entry.digest,
                    entry.claimed,
                    entry.sending,
                    entry.portions,
                )
            )
    runs = tuple(Run(encoding, len(run)) for encoding, run in by_encoding.items())
    return FrameParts(tuple(origins), tuple(messages), runs, _gathered(payload), entries[0].producer)


def _gathered(payload: list[Buffer]) -> list[memoryview]:
    """Return the buffers that are not empty; very small ones as one, since each costs more than its bytes."""
    if sum(map(len, payload)) < JOINED_BYTES * len(payload):
        payload = [b"".join(payload)]
    return [memoryview(buffer) for buffer in payload if len(buffer)]
