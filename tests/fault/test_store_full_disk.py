"""A disk that is really full under the local store: a small tmpfs."""

import asyncio
import errno
import json
import subprocess
from pathlib import Path

import pytest

from collector.config_outputs import LocalOutputConfig
from collector.outputs.local import LocalOutput
from collector.store.lucene import translate
from collector.store.reader import open_store
from pipelines.frame import Position
from tests.kit.batches import EPOCH, ListedSource, batch_of

LARGER_DISK_BYTES = 8 << 20


@pytest.mark.parametrize("ballast_bytes", [0, 100_000, 1_900_000])
async def test_a_full_disk_loses_and_doubles_nothing(small_disk: Path, ballast_bytes: int) -> None:
    """ENOSPC at some write is raised; what was settled is found, and with room again the rest follows, once."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(ballast_bytes))
    batches = [batch_of(number, [f"{number} " + "x" * 30_000]) for number in range(100)]
    output = LocalOutput("store", LocalOutputConfig(), small_disk)
    output.resume(None)
    source = ListedSource(batches[:10])
    writing = asyncio.create_task(output.run(source))
    if ballast_bytes < 1_000_000:
        await source.wait_settled(9)
        source.stop()
        await writing
        source = ListedSource(batches[10:])
        output.resume(None)
        writing = asyncio.create_task(output.run(source))
    with pytest.raises(OSError, match="No space left") as caught:
        await writing
    assert caught.value.errno == errno.ENOSPC

    ballast.unlink()
    subprocess.run(  # noqa: ASYNC221 - nothing else runs
        ["mount", "-o", f"remount,size={LARGER_DISK_BYTES}", str(small_disk)], check=True
    )
    position = output.resume(None)
    assert position is not None
    again = ListedSource(batches[position.sequence :])
    writing = asyncio.create_task(output.run(again))
    await again.wait_settled(99)
    again.stop()
    await writing

    with open_store(small_disk) as store:
        found = [json.loads(document)["message"] for document in store.search(translate("", now_ns=0))]
    assert [int(message.split()[0]) for message in found] == list(range(100))
    assert position in (Position(0, 0, 0), Position(0, EPOCH, 10))
