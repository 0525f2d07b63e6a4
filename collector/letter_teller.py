"""Dead letters as documents: each is appended to the journal once, as a record of an internal producer.

Told is a letter whose record its output's cursor has passed: it stays what it is, while one beyond would be cut at a
start and written anew. How far each source is told stands in the producer's cursor, so a crash tells none twice. A
letter about a document of this kind is not told: a store that refuses these would make more of them for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from collector.config import OWN_INPUT
from collector.dead_letters import DEAD_LETTERS, PIPELINE, DeadLetterFile, Letter, decoded, opened_files, sources
from collector.errors import DataDirError, sentence_of
from collector.journal.cursors import cursors
from collector.logs import Recurring, get_logger
from collector.producer import JournalProducer
from collector.role import Context
from pipelines.frame import Position
from pipelines.normalize.dead_letter import DeadLetterRecord

PRODUCER: Final = "dead-letters"
ENCODING: Final = "dead-letter"

OWN_STREAM: Final = "logs-tidewaiter.dead_letters-"
OWN_ORIGIN: Final = f"{OWN_INPUT}/{PRODUCER}"

INTERVAL_S: Final = 1.0
"""How often letters are looked for."""

PORTION_LETTERS: Final = 500
"""Letters that are read, and appended, at once."""

ORIGINAL_BYTES: Final = 32 << 10
"""So much of a letter's document or record stands in its document; `dead-letters show` has it whole."""

logger = get_logger("worker")

_told = msgspec.json.Decoder(dict[str, int]).decode


class _Place(NamedTuple):
    """Where a letter's line begins, in the file with this inode, and when that letter was kept."""

    inode: int
    offset: int
    kept_ns: int


class Untold:
    """Finds letters that are not told yet, from the last on that is; remembers files in which there are none."""

    def __init__(self, data_dir: Path, consumers: Mapping[str, object]) -> None:
        self._data_dir = data_dir
        self._consumers = consumers
        self._passed: dict[str, tuple[object, ...]] = {}
        self._places: dict[str, _Place] = {}
        self._waits: dict[str, Position] = {}

    def sources(self) -> list[str]:
        """Return who has letters that may be told."""
        return [source for source in sources(self._data_dir) if not self._is_waiting(source) and self._changed(source)]

    def next(self, source: str, after: int) -> list[Letter]:
        """Return the oldest letters of a source that were kept after a time. Raises OSError."""
        state = self._state(source)
        settled = self._settled(source)
        self._waits.pop(source, None)
        found: list[Letter] = []
        with contextlib.ExitStack() as until:
            files = opened_files(self._data_dir, source, until)
            for letter, place in _letters_from(self._places.get(source), files):
                if letter.kept_ns <= after:
                    self._places[source] = place
                    continue
                if settled is not None and letter.position >= settled:
                    self._waits[source] = letter.position
                    return found
                if len(found) == PORTION_LETTERS:
                    return found
                found.append(letter)
        self._passed[source] = state
        return found

    def _is_waiting(self, source: str) -> bool:
        """Tell whether the next letter still waits for its cursor: no file has to be looked at for that."""
        position = self._waits.get(source)
        settled = self._settled(source) if position is not None else None
        return position is not None and settled is not None and position >= settled

    def _changed(self, source: str) -> bool:
        return self._passed.get(source) != self._state(source)

    def _settled(self, source: str) -> Position | None:
        """Return the position before which a source's letters stay; None for a source that is read no more."""
        name = DEAD_LETTERS if source == PIPELINE else source
        known = cursors(self._data_dir / "journal").get(name)
        if known is None and (name == DEAD_LETTERS or name in self._consumers):
            return Position(0, 0, 0)
        return known

    def _state(self, source: str) -> tuple[object, ...]:
        """Return what changes with a source's files, and with its cursor."""
        stats = [path.stat() for path in DeadLetterFile(self._data_dir, source).files]
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in stats)


def _letters_from(place: _Place | None, files: Sequence[Any]) -> Iterator[tuple[Letter, _Place]]:
    """Yield letters with their places, oldest first: those behind a place, all where its letter stands there no more.

    A file that is written anew has another inode, and an inode may be another file's some day; when a letter was kept
    is its source's only. Damaged lines are passed over.
    """
    inodes = [os.fstat(file.fileno()).st_ino for file in files]
    first = start = 0
    if place is not None and place.inode in inodes:
        at = inodes.index(place.inode)
        files[at].seek(place.offset)
        line = files[at].readline()
        letter = decoded(line)
        if letter is not None and letter.kept_ns == place.kept_ns:
            first, start = at, place.offset + len(line)
    for inode, file in zip(inodes[first:], files[first:], strict=True):
        file.seek(start)
        for line in file:
            letter = decoded(line)
            if letter is not None:
                yield letter, _Place(inode, start, letter.kept_ns)
            start += len(line)
        start = 0


async def tell_letters(context: Context) -> None:
    """Append the letters that are not told yet, and those that come, until cancelled."""
    untold = Untold(context.data_dir, context.config.outputs)
    failures = Recurring()
    socket = context.data_dir / "run" / "intake.sock"
    async with JournalProducer(socket, PRODUCER, encoding=ENCODING) as producer:
        told = await _cursor(producer)
        while True:
            try:
                for source in await asyncio.to_thread(untold.sources):
                    while letters := await asyncio.to_thread(untold.next, source, told.get(source, 0)):
                        await _tell(producer, source, letters, told)
            except (OSError, DataDirError) as error:
                reason = sentence_of(error) or str(error)
                if failures.is_due(reason):
                    logger.error("letters_not_told", reason=reason)  # noqa: TRY400 - a sentence
            await asyncio.sleep(INTERVAL_S)


async def _cursor(producer: JournalProducer) -> dict[str, int]:
    try:
        return _told(await producer.cursor() or b"{}")
    except msgspec.DecodeError:
        return {}


async def _tell(producer: JournalProducer, source: str, letters: list[Letter], told: dict[str, int]) -> None:
    """Append letters, and note that they are told."""
    messages = []
    for letter in letters:
        told[source] = letter.kept_ns
        if not letter.target.startswith(OWN_STREAM) and letter.origin != OWN_ORIGIN:
            messages.append((payload_of(source, letter), msgspec.json.encode(told)))
    if messages:
        await producer.append_all(messages)


def payload_of(source: str, letter: Letter) -> bytes:
    """Encode what the pipeline makes a document of."""
    try:
        content = letter.payload_bytes
    except ValueError:
        content = b""
    record = DeadLetterRecord(
        id=letter.id,
        source=source,
        code=letter.code,
        words=letter.reason,
        kept_ns=letter.kept_ns,
        arrived=letter.time,
        original=content[:ORIGINAL_BYTES].decode("utf-8", "backslashreplace"),
        bytes=len(content),
        records=letter.records,
        stream=letter.target,
        document_id=letter.document_id or "",
        sender=letter.origin if source == PIPELINE else "",
    )
    return msgspec.json.encode(record)
