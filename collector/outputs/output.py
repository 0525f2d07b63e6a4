"""The contract between the worker and its outputs.

The worker runs each output as one task and gives it a source of batches that starts at the output's cursor. The output
pulls, delivers, and settles; nothing is pushed at it, so a dead output stalls nobody else.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pipelines.batch import Batch
from pipelines.frame import Position


class Stopped(Exception):
    """No further batch will come: finish what is in hand, settle it and return."""


class BatchSource(Protocol):
    """Batches in journal order. They are shared between outputs: never change one."""

    async def next(self) -> Batch:
        """Wait for the next batch; raise Stopped when the worker drains."""

    def ready(self) -> Batch | None:
        """Return the next batch if it is at hand without waiting, else None."""

    def refuse(self, position: Position, identifiers: Sequence[bytes]) -> None:
        """Note that documents of the batch at `position` are dead letters, on disk, before the batch is settled."""

    def settle(self, position: Position) -> None:
        """Let the cursor pass the batch at `position`: all up to its end is stored, or dead letters on disk."""


class Surroundings(Protocol):
    """What an output is told by its worker, and where it says how it is."""

    stopping: asyncio.Event

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""


class Output(Protocol):
    """Delivers batches somewhere; owns one cursor."""

    def resume(self, cursor: Position | None) -> Position | None:
        """Choose where to start, given the journal's cursor (None: the oldest frame).

        An output that keeps a committed position beside its own data answers with that, so what stands beyond it is
        neither lost nor written twice. May block; called before each `run`, in a thread of its own.
        """

    async def run(self, source: BatchSource) -> None:
        """Deliver until `source.next()` raises Stopped. Raising anything else restarts the output with back-off."""
