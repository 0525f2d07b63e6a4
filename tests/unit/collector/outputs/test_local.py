"""The output `local`: what it settles is stored, it commits neither late nor too often, and it survives a full disk."""

import asyncio
import errno
import json
from pathlib import Path

import pytest

from collector.config_outputs import LocalOutputConfig
from collector.outputs.local import LocalOutput
from collector.store.files import StoreFiles
from collector.store.lucene import translate
from collector.store.manifest import read_manifest
from collector.store.reader import open_store
from pipelines.batch import Batch
from pipelines.frame import Position
from tests.kit.batches import EPOCH, TIME, ListedSource, batch_of


class FedSource(ListedSource):
    """A source that is fed while the output runs, and knows whether all was taken."""

    def __init__(self) -> None:
        super().__init__([])
        self._fed: asyncio.Queue[Batch] = asyncio.Queue()

    def add(self, batch: Batch) -> None:
        """Put a batch at the end."""
        self._fed.put_nowait(batch)

    async def next(self) -> Batch:
        """Return the next batch; raise Stopped after `stop`."""
        taking = asyncio.ensure_future(self._fed.get())
        stopping = asyncio.ensure_future(super().next())
        try:
            await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                return await stopping
            self._fed.task_done()
            return taking.result()
        finally:
            for waiting in (taking, stopping):
                waiting.cancel()

    def ready(self) -> Batch | None:
        """Return the next batch, if any."""
        if self._fed.empty():
            return None
        self._fed.task_done()
        return self._fed.get_nowait()

    async def wait_taken(self) -> None:
        """Wait until the output has all batches in hand."""
        await asyncio.wait_for(self._fed.join(), 10)


def found(data_dir: Path) -> list[str]:
    """Messages of all documents in the store."""
    with open_store(data_dir) as store:
        return [json.loads(document)["message"] for document in store.search(translate("", now_ns=TIME))]


def made(data_dir: Path) -> LocalOutput:
    """An output that has resumed."""
    output = LocalOutput("store", LocalOutputConfig(), data_dir)
    output.resume(None)
    return output


async def test_what_is_settled_is_found(tmp_path: Path) -> None:
    """The output settles a batch after its documents can be searched, and stops when told."""
    source = ListedSource([batch_of(0, ["a", "b"]), batch_of(1, []), batch_of(2, ["c"])])
    running = asyncio.create_task(made(tmp_path).run(source))
    await source.wait_settled(2)

    assert found(tmp_path) == ["a", "b", "c"]
    source.stop()
    await running


async def test_what_is_at_hand_is_one_commit(tmp_path: Path) -> None:
    """Batches that are ready together are settled together: a busy store does not sync for each frame."""
    source = ListedSource([batch_of(number, [str(number)]) for number in range(50)])
    running = asyncio.create_task(made(tmp_path).run(source))
    await source.wait_settled(49)

    assert source.settled == [Position(0, EPOCH, 49)]
    source.stop()
    await running


async def test_a_trickle_shares_a_commit(tmp_path: Path) -> None:
    """After a pause a batch is committed at once; those that follow one at a time wait for the next commit together."""
    source = FedSource()
    running = asyncio.create_task(made(tmp_path).run(source))
    source.add(batch_of(0, ["0"]))
    await source.wait_settled(0)
    for number in range(1, 4):
        source.add(batch_of(number, [str(number)]))
        await source.wait_taken()
    await source.wait_settled(3)

    assert [position.sequence for position in source.settled] == [0, 3]
    assert found(tmp_path) == ["0", "1", "2", "3"]
    source.stop()
    await running


async def test_a_stop_finishes_what_is_in_hand(tmp_path: Path) -> None:
    """A batch that waits for the next commit is stored before the output returns."""
    source = FedSource()
    running = asyncio.create_task(made(tmp_path).run(source))
    source.add(batch_of(0, ["a"]))
    await source.wait_settled(0)
    source.add(batch_of(1, ["b"]))
    await source.wait_taken()
    source.stop()
    await running

    assert [position.sequence for position in source.settled] == [0, 1]
    assert found(tmp_path) == ["a", "b"]


async def test_frames_without_documents_cost_no_commit(tmp_path: Path) -> None:
    """They are settled, and the manifest stays as it is."""
    source = ListedSource([batch_of(0, []), batch_of(1, [])])
    running = asyncio.create_task(made(tmp_path).run(source))
    await source.wait_settled(1)
    manifest = read_manifest(tmp_path / "store")

    assert manifest is not None
    assert manifest.position == Position(0, 0, 0)
    source.stop()
    await running


class FullOnce(StoreFiles):
    """A store whose disk is full once, in the middle of a batch."""

    full = True

    def append(self, batch: Batch) -> None:
        """Write the batch, then fail as a full disk does."""
        super().append(batch)
        if self.full:
            self.full = False
            raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The output raises and settles nothing; after `resume` the same batches are stored once."""
    batches = [batch_of(0, ["a"]), batch_of(1, ["b"])]
    output = made(tmp_path)
    output._files = FullOnce(tmp_path / "store", retention_s=1e9, limit_bytes=1 << 30)
    output.resume(None)
    source = ListedSource(batches)

    with pytest.raises(OSError, match="No space left"):
        await output.run(source)
    assert source.settled == []
    assert found(tmp_path) == []

    position = output.resume(None)
    assert position == Position(0, 0, 0)
    again = ListedSource(batches)
    running = asyncio.create_task(output.run(again))
    await again.wait_settled(1)
    assert found(tmp_path) == ["a", "b"]
    again.stop()
    await running


async def test_a_cancelled_output_leaves_no_file_half_written(tmp_path: Path) -> None:
    """A write in another thread ends before its files are closed."""
    source = ListedSource([batch_of(0, ["x" * 1000] * 5000)])
    output = made(tmp_path)
    running = asyncio.create_task(output.run(source))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert len(found(tmp_path)) in (0, 5000)
