"""A process that writes a local store until it is killed: `store_writer.py DATA_DIR`. Each batch holds its number."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from collector.config_outputs import LocalOutputConfig
from collector.outputs.local import LocalOutput
from pipelines.batch import Batch
from pipelines.frame import Position
from tests.kit.batches import EPOCH, TIME, batch_of

LAST = 10_000_000
ROLL_EVERY = 40
"""Batches of an hour of journal time, so that files roll often."""


class EndlessSource:
    """Makes batches from a position on, and prints what is settled."""

    def __init__(self, start: Position | None) -> None:
        self._sequence = start.sequence if start is not None else 0

    async def next(self) -> Batch:
        """Return the next batch, now and then."""
        await asyncio.sleep(0.001)
        return self._made()

    def ready(self) -> Batch | None:
        """Have something at hand two times of three."""
        return self._made() if self._sequence % 3 else None

    def refuse(self, position: Position, identifiers: Sequence[bytes]) -> None:
        """A store refuses nothing."""
        raise AssertionError(position, identifiers)

    def settle(self, position: Position) -> None:
        """Tell the parent what is durable."""
        sys.stdout.write(f"{position.sequence}\n")
        sys.stdout.flush()

    def _made(self) -> Batch:
        sequence = self._sequence
        self._sequence += 1
        hour = sequence // ROLL_EVERY
        lines = [f"{sequence} {index} {'x' * (sequence % 100)}" for index in range(3)]
        return batch_of(sequence, lines, journal_time=TIME + hour * 3600 * 10**9)


def main(data_dir: Path) -> None:
    """Resume and write."""
    output = LocalOutput("store", LocalOutputConfig(retention=1e9), data_dir)
    start = output.resume(None)
    assert start is None or start.epoch in (0, EPOCH)
    asyncio.run(output.run(EndlessSource(start)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
