"""Output `local`: the embedded store, searched by `tidewaiter search`.

    outputs:
      store: {type: local, retention: 30d, limit: 10GiB}

A line is findable within a second of its acknowledgement. Files become Parquet when they are closed, and the oldest are
deleted past retention or limit. On a full disk the store keeps trying, and nothing is lost or doubled: the journal
holds what was not committed.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collector import telemetry
from collector.config_outputs import LocalOutputConfig
from collector.outputs.output import BatchSource, Stopped
from collector.store.files import StoreFiles
from collector.store.keeping import Keeper, whole
from pipelines.batch import Batch
from pipelines.frame import Position

COMMIT_INTERVAL_S: Final = 0.25
"""A commit costs three syncs, so there are at most four a second; after a pause a line is committed at once."""

COMMIT_BYTES: Final = 16 << 20
"""So much is committed without waiting: what is gathered is held in memory."""


class LocalOutput:
    """See `collector.outputs.output.Output`; `clock` gives seconds that never go back."""

    def __init__(
        self, name: str, options: LocalOutputConfig, data_dir: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._files = StoreFiles(data_dir / "store", retention_s=options.retention, limit_bytes=options.limit)
        self._lock = asyncio.Lock()
        self._clock = clock
        self._committed_at_s = clock() - COMMIT_INTERVAL_S

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut what was not committed and go on from there."""
        return self._files.open(cursor)

    async def run(self, source: BatchSource) -> None:
        """Write and commit until the source stops; raise OSError (a full disk, say), after which `resume` comes."""
        keeper = Keeper(self._name, self._files, self._lock, clock=self._clock)
        tasks = [asyncio.create_task(self._deliver(source, keeper)), asyncio.create_task(keeper.keep())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._files.close()

    async def _deliver(self, source: BatchSource, keeper: Keeper) -> None:
        with contextlib.suppress(Stopped):
            while True:
                await self._store(await self._gather(source), source, keeper)

    async def _gather(self, source: BatchSource) -> list[Batch]:
        """Return the batches of one commit, at least one: what is at hand, or comes before the next commit is due."""
        batch = await source.next()
        batches, size = [batch], batch.size_bytes
        due_s = max(self._clock(), self._committed_at_s + COMMIT_INTERVAL_S)
        until_s = max(due_s, self._clock() + COMMIT_INTERVAL_S)
        while size < COMMIT_BYTES and self._clock() < until_s:
            following = source.ready() or await self._next_before(due_s, source)
            if following is None:
                break
            batches.append(following)
            size += following.size_bytes
            await asyncio.sleep(0)
        return batches

    async def _next_before(self, due_s: float, source: BatchSource) -> Batch | None:
        left_s = due_s - self._clock()
        if left_s <= 0:
            return None
        try:
            async with asyncio.timeout(left_s):
                return await source.next()
        except (TimeoutError, Stopped):
            # What is in hand is finished first; a source that stopped says so again.
            return None

    async def _store(self, batches: list[Batch], source: BatchSource, keeper: Keeper) -> None:
        documents = sum(batch.tally.documents + batch.tally.derived for batch in batches)
        if documents:
            async with self._lock:
                removed = await whole(self._files.store, batches)
                keeper.committed(removed)
            self._committed_at_s = self._clock()
        source.settle(batches[-1].position)
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="delivered").inc(documents)
        telemetry.OUTPUT_BYTES.labels(output=self._name).inc(sum(batch.size_bytes for batch in batches))
