"""Batches made by hand: what a test of an output feeds, and a source that hands them out."""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from collector.outputs.output import Stopped
from pipelines.batch import Batch, DataStream, DeadLetter, Documents, Tally
from pipelines.frame import Ids, Position

STREAM = DataStream("logs", "tidewaiter.container", "default")
EPOCH = 1_700_000_000
TIME = EPOCH * 1_000_000_000


def batch_of(
    sequence: int,
    messages: Iterable[str],
    *,
    stream: DataStream = STREAM,
    dead: Iterable[DeadLetter] = (),
    more: dict[str, Any] | None = None,
    journal_time: int = TIME,
) -> Batch:
    """Make a batch of one document per message, with ids and order as the pipeline gives them."""
    messages = list(messages)
    suffixes = [f"{index:05d}".encode() for index in range(len(messages))]
    ids = Ids(f"dc{sequence:017d}".encode(), suffixes)
    lines = [
        json.dumps(
            {
                "event": {"id": ids[index].decode(), "sequence": (sequence + 1) * 10**8 + index},
                "@timestamp": f"2023-11-14T22:13:20.{sequence * 1000 + index:09d}Z",
                "message": message,
                "data_stream": stream._asdict(),
                "host": {"name": "192.0.2.7"},
                **(more or {}),
            },
            separators=(",", ":"),
        ).encode()
        + b"\n"
        for index, message in enumerate(messages)
    ]
    documents = Documents.of_lines(stream, lines, ids)
    here = Position(0, EPOCH, sequence)
    letters = tuple(dead)
    tally = Tally(len(lines), len(lines) + len(letters), len(lines), len(letters), 0)
    after = here._replace(sequence=sequence + 1)
    return Batch(here, after, journal_time, (documents,) if lines else (), letters, tally, documents.size_bytes)


class ListedSource:
    """Hands out batches from a list, then waits until `stop`; remembers what was settled."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = deque(batches)
        self._stopped = asyncio.Event()
        self._added = asyncio.Event()
        self.settled: list[Position] = []
        self.refused: list[tuple[Position, bytes]] = []
        self._on_settled = asyncio.Event()

    async def next(self) -> Batch:
        """Return the next batch; wait for `stop` when there is none."""
        while not self._batches and not self._stopped.is_set():
            self._added.clear()
            await self._added.wait()
        if self._stopped.is_set():
            raise Stopped
        return self._batches.popleft()

    def ready(self) -> Batch | None:
        """Return the next batch, if any."""
        return self._batches.popleft() if self._batches and not self._stopped.is_set() else None

    @property
    def left(self) -> int:
        """How many batches nobody took yet."""
        return len(self._batches)

    def add(self, batch: Batch) -> None:
        """Let a further batch come."""
        self._batches.append(batch)
        self._added.set()

    def refuse(self, position: Position, identifiers: Sequence[bytes]) -> None:
        """Remember that these are dead letters."""
        self.refused += [(position, identifier) for identifier in identifiers]

    def settle(self, position: Position) -> None:
        """Remember that everything up to `position` is settled."""
        self.settled.append(position)
        self._on_settled.set()

    def stop(self) -> None:
        """Let `next` raise Stopped."""
        self._stopped.set()
        self._added.set()

    async def wait_settled(self, sequence: int, *, timeout_s: float = 10.0) -> None:
        """Wait until the batch of this sequence is settled."""
        async with asyncio.timeout(timeout_s):
            while not self.settled or self.settled[-1].sequence < sequence:
                self._on_settled.clear()
                await self._on_settled.wait()
