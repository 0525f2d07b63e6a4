"""Verdicts in the journal: who reads it anew knows all of them before the frames that they are about.

A verdict is an audit record of the internal producer `isolation`. That producer's cursor, which the journal keeps and
hands on from segment to segment, holds all verdicts about frames that are still there; so the newest says all.
"""

import asyncio
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from collector.audit import ENCODING, RETRY_S, audit_payload
from collector.errors import DataDirError
from collector.internal import InternalClient, InternalClosed
from collector.journal.entry import Receipt
from collector.journal.segments import HEADERS_BYTES, FrameHead, Segment, first_position, segment_files, walk
from pipelines.condemned import Verdict, Verdicts
from pipelines.frame import Position, Producer

PRODUCER: Final = "isolation"
ACTION: Final = "condemn"

VERDICTS_LIMIT: Final = 1024
"""Frames of one journal that may be condemned, at some 50 bytes each in every segment's head. With one more the oldest
is forgotten that every consumer has passed; where none is, the worker is not helped any more: it is a crash loop, and
says so."""

APPEND_LIMIT_S: Final = 10.0
"""How long the journal is asked to take a verdict; then the frame is judged again when it ended the next worker."""

NOTHING_PASSED: Final = Position(0, 0, 0)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Verdict]).decode


class FullError(Exception):
    """There are as many verdicts as there may be."""


def verdicts_of(last: Producer | None) -> dict[Position, Verdict]:
    """Return what the producer's newest cursor says; raise DataDirError for one that this program cannot read."""
    if last is None:
        return {}
    try:
        return {verdict.position: verdict for verdict in _decode(last.cursor)}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"the journal's verdicts cannot be read, of a newer program perhaps: {error}") from error


def cursor_of(verdicts: Verdicts, verdict: Verdict, oldest: Position, needed: Position = NOTHING_PASSED) -> bytes:
    """Return the cursor that adds a verdict, without those about frames before `oldest`; raise FullError.

    Where there are too many, the oldest go that nobody needs who goes on at `needed`.
    """
    kept = {**verdicts, verdict.position: verdict}
    kept = {position: kept[position] for position in sorted(kept) if position >= oldest}
    for position in list(kept)[: max(len(kept) - VERDICTS_LIMIT, 0)]:
        if position < needed:
            del kept[position]
    if len(kept) > VERDICTS_LIMIT:
        raise FullError(f"{VERDICTS_LIMIT} frames of this journal are condemned already")
    return _encode(list(kept.values()))


async def append_verdict(
    socket: Path,
    journal: Path,
    verdict: Verdict,
    details: dict[str, object],
    known: Producer | None,
    *,
    needed: Position = NOTHING_PASSED,
) -> bool:
    """Append a verdict behind those that are `known`; return whether it is durable. Raises FullError.

    `needed` is the oldest position that a consumer still reads.
    """
    names = segment_files(journal)
    oldest = first_position(names[0]) if names else verdict.position
    cursor = cursor_of(verdicts_of(known), verdict, oldest, needed)
    producer = Producer(PRODUCER, known.sequence + 1 if known is not None else 1, cursor)
    payload = audit_payload(ACTION, details)
    try:
        async with asyncio.timeout(APPEND_LIMIT_S):
            while True:
                try:
                    async with InternalClient(socket) as client:
                        # On a full disk as well: it is the worker that lets the journal go on, and this the worker.
                        receipt = await client.append(producer, ENCODING, payload, urgent=True)
                except (InternalClosed, OSError):
                    receipt = Receipt.RETRY
                if receipt is not Receipt.RETRY:
                    return receipt is Receipt.DURABLE
                await asyncio.sleep(RETRY_S)
    except TimeoutError:
        return False


def verdicts_in_files(journal: Path) -> dict[Position, Verdict]:
    """Return the verdicts that stand in a journal's files, for who only looks; raises OSError."""
    for name in reversed(segment_files(journal)):
        try:
            segment = Segment(journal, name, block_bytes=HEADERS_BYTES)
        except FileNotFoundError:
            continue  # deleted meanwhile
        with closing(segment):
            header = segment.header
            last = _last((header.producers if header is not None else ()), None)
            for each in walk(segment, segment.size, payloads=False):
                if isinstance(each, FrameHead):
                    last = _last([each.header.producer], last)
            return verdicts_of(last)
    return {}


def _last(producers: Iterable[Producer | None], before: Producer | None) -> Producer | None:
    for producer in producers:
        if producer is not None and producer.name == PRODUCER:
            before = producer
    return before
