"""Output `local`: the embedded store, searched by `tidewaiter search`.

    outputs:
      store: {type: local, retention: 30d, limit: 10GiB}

A line is findable within a second of its acknowledgement. The oldest files are deleted past retention or limit.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

from collector import telemetry
from collector.config import LocalOutput
from collector.outputs.output import BatchSource, Stopped
from collector.store.files import StoreFiles
from pipelines.batch import Batch
from pipelines.frame import Position

COMMIT_INTERVAL_S: Final = 0.25
"""While batches keep coming, documents are committed this often; at once when none is at hand."""

COMMIT_BYTES: Final = 32 << 20
"""… or when so much is uncommitted."""


class LocalStore:
    """See `collector.outputs.output.Output`."""

    def __init__(self, name: str, options: LocalOutput, data_dir: Path) -> None:
        self._name = name
        self._files = StoreFiles(data_dir / "store", retention_s=options.retention, limit_bytes=options.limit)

    def resume(self, cursor: Position | None) -> Position | None:
        """Cut what was not committed and go on from there."""
        return self._files.open(cursor)

    async def run(self, source: BatchSource) -> None:
        """Write and commit until the source stops."""
        try:
            while True:
                await self._write_group(source, await source.next())
        except Stopped:
            self._files.close()

    async def _write_group(self, source: BatchSource, batch: Batch) -> None:
        """Write batches until none is at hand or the group is large or old, then commit them."""
        deadline = time.monotonic() + COMMIT_INTERVAL_S
        documents = 0
        while True:
            await asyncio.to_thread(self._files.append, batch)
            documents += batch.tally.documents
            if self._files.uncommitted_bytes >= COMMIT_BYTES or time.monotonic() >= deadline:
                break
            following = source.ready()
            if following is None:
                break
            batch = following
        telemetry.OUTPUT_BYTES.labels(output=self._name).inc(self._files.uncommitted_bytes)
        await asyncio.to_thread(self._files.commit, batch.journal_time)
        source.settle(batch.position)
        telemetry.OUTPUT_DOCUMENTS.labels(output=self._name, outcome="delivered").inc(documents)
        manifest = self._files.manifest
        telemetry.STORE_BYTES.labels(output=self._name).set(manifest.bytes)
        telemetry.STORE_FILES.labels(output=self._name).set(manifest.files)
        telemetry.STORE_DOCUMENTS.labels(output=self._name).set(manifest.documents)
