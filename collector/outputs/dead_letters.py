"""The built-in output that keeps what the pipeline refused; it follows the journal like any other.

While its letters have reached their limit it waits, and looks again and again whether there is room.
"""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collector.dead_letters import (
    DEAD_LETTERS,
    LIMIT_BYTES,
    PIPELINE,
    DeadLetterFile,
    DeadLettersFullError,
    Letter,
    letter_id,
)
from collector.outputs.elasticsearch_waits import Waits
from collector.outputs.output import BatchSource, Stopped, Surroundings
from parsers.timestamps import rfc3339
from pipelines.batch import Batch
from pipelines.frame import Position

AGAIN_S: Final = 5.0
"""Where letters have reached their limit is looked so often whether an operator made room."""


class DeadLettersOutput:
    """Writes the letters of every batch to the file of the source `pipeline`."""

    def __init__(
        self,
        data_dir: Path,
        surroundings: Surroundings,
        *,
        limit_bytes: int = LIMIT_BYTES,
        again_s: float = AGAIN_S,
    ) -> None:
        self._file = DeadLetterFile(data_dir, PIPELINE, limit_bytes=limit_bytes)
        self._waits = Waits(DEAD_LETTERS, surroundings)
        self._again_s = again_s
        self._cursor: Position | None = None

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut what will be met again."""
        self._waits.clear()
        self._file.open(cursor)
        self._cursor = cursor
        return cursor

    async def run(self, source: BatchSource) -> None:
        """Write letters until the source stops."""
        try:
            while True:
                batch = await source.next()
                if batch.dead_letters:
                    await self._keep(letters_of(batch, self._cursor))
                source.settle(batch.position)
        except Stopped:
            return

    async def _keep(self, letters: Sequence[Letter]) -> None:
        """Write letters, waiting while they have reached their limit; raise Stopped when the worker drains."""
        while True:
            try:
                await asyncio.to_thread(self._file.append, letters)
                break
            except DeadLettersFullError as error:
                self._waits.begin(0, "dead letters", f"dead letters cannot be written: {error}", len(letters))
            if not await self._waits.pause(self._again_s):
                raise Stopped
        self._waits.end(0)


def letters_of(batch: Batch, cursor: Position | None = None) -> list[Letter]:
    """Return the letters of a batch's refused records, for an output that began at `cursor`.

    A batch may begin before it, where a verdict came in the middle of a frame: its letters stand where it is met again.
    """
    return [
        Letter(
            id=letter_id(PIPELINE, dead.position, dead.number),
            position=dead.position if cursor is None else max(dead.position, cursor),
            time=rfc3339(batch.journal_time),
            stage=dead.stage,
            code=dead.code,
            reason=dead.reason,
            origin=dead.origin,
            payload=base64.b64encode(dead.payload).decode(),
            records=dead.records,
        )
        for dead in batch.dead_letters
    ]
