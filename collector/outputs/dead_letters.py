"""The built-in output that keeps what the pipeline refused; it follows the journal like any other."""

import asyncio
import base64
from pathlib import Path

from collector.dead_letters import PIPELINE, DeadLetterFile, Letter, letter_id
from collector.outputs.output import BatchSource, Stopped
from parsers.timestamps import rfc3339
from pipelines.batch import Batch
from pipelines.frame import Position


class DeadLettersOutput:
    """Writes the letters of every batch to the file of the source `pipeline`."""

    def __init__(self, data_dir: Path) -> None:
        self._file = DeadLetterFile(data_dir, PIPELINE)

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut what will be met again."""
        self._file.open(cursor)
        return cursor

    async def run(self, source: BatchSource) -> None:
        """Write letters until the source stops."""
        try:
            while True:
                batch = await source.next()
                if batch.dead_letters:
                    await asyncio.to_thread(self._file.append, letters_of(batch))
                source.settle(batch.position)
        except Stopped:
            return


def letters_of(batch: Batch) -> list[Letter]:
    """Return the letters of a batch's refused records."""
    return [
        Letter(
            id=letter_id(PIPELINE, dead.position),
            position=dead.position,
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
