"""What the chunk path remembers of the streams it saw is bounded."""

import tracemalloc

import msgpack

from pipelines.chunk import STREAMS_KEPT_BYTES, ChunkPath
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

SETTINGS = Settings(version="0.1.0")


def test_large_fields_that_change_all_the_time_do_not_fill_the_memory() -> None:
    """What is remembered of streams is bounded in bytes: 100 messages with other large fields each took 1.5 GB."""
    path = ChunkPath(SETTINGS)

    tracemalloc.start()
    try:
        for number in range(16):
            entries = [
                msgpack.packb([1_700_000_000, {"log": "x", "large": f"{number}-{each}".ljust(32 << 10)}])
                for each in range(64)
            ]
            (batch,) = path.process(frame_of(("forward", [(b"".join(entries), b"", len(entries))])), State())
            assert batch.tally.documents == len(entries)
            del batch, entries
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 2 * STREAMS_KEPT_BYTES


def test_tags_that_are_never_seen_again_do_not_fill_the_memory() -> None:
    """A tag of which no tail is kept is not remembered either."""
    path = ChunkPath(SETTINGS)

    tracemalloc.start()
    try:
        for number in range(96):
            entries = b"".join(msgpack.packb([1_700_000_000, {"log": "x", "n": each}]) for each in range(80))
            (batch,) = path.process(frame_of(("forward", [(entries, b"%d" % number * (16 << 10), 80)])), State())
            assert batch.tally.documents == 80
            del batch, entries
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 1 << 20
