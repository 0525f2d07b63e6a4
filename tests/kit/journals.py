"""Journals of tests: opened with small reserves and a fake clock, what is put in, and what is read back."""

import asyncio
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from collector.journal.entry import Entry
from collector.journal.follow import Follower, Gap
from collector.journal.format import FRAME_MAGIC, DurableEnd
from collector.journal.options import JournalOptions
from collector.journal.writer import Journal
from pipelines.frame import Frame, Origin, Position, Producer
from tests.kit.clock import FakeClock

GATE_TIMEOUT_S: Final = 10.0
"""A test that forgets to open its gate fails after so long."""

ORIGIN = Origin("docker", "tcp", "192.0.2.7")


class Gate:
    """A sync that waits until it is let through, and fails when it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.errors: list[OSError | None] = []

    def __call__(self, descriptor: int) -> None:
        """Take the place of fdatasync."""
        self.entered.set()
        if not self.open.wait(GATE_TIMEOUT_S):
            raise TimeoutError("the gate was not opened")
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        os.fsync(descriptor)

    async def wait_entered(self) -> None:
        """Wait until a sync has begun since `shut`."""
        if not await asyncio.to_thread(self.entered.wait, GATE_TIMEOUT_S):
            raise TimeoutError("nothing was synced")

    def shut(self) -> None:
        """Let the next sync wait."""
        self.entered.clear()
        self.open.clear()


class Kept(msgspec.Struct, frozen=True):
    """One message as it stands in the journal."""

    origin: Origin
    encoding: str
    payload: bytes
    tag: bytes
    chunk_id: bytes
    claimed: int


def open_journal(folder: Path, clock: Callable[[], int] | None = None, /, **options: object) -> Journal:
    """Open `folder/journal` for one consumer, `store`; `options` are JournalOptions that matter to the test."""
    usual: dict[str, object] = {"limit_bytes": 1 << 30, "reserve_bytes": 0, "consumers": frozenset({"store"})}
    chosen = JournalOptions(**(usual | options))  # type: ignore[arg-type]
    return Journal.open(folder / "journal", name="test", options=chosen, clock=clock or FakeClock())


def entry_of(payload: bytes, *, producer: Producer | None = None, encoding: str = "forward", claimed: int = 1) -> Entry:
    """Make an entry as the Forward input would."""
    return Entry(ORIGIN, encoding, (payload,), tag=b"docker.web", claimed=claimed, producer=producer)


def read_all(directory: Path, end: DurableEnd, *, after: Position | None = None) -> list[Frame | Gap]:
    """Read everything from a position up to the durable end."""
    follower = Follower(directory)
    follower.seek(after)
    found: list[Frame | Gap] = []
    while (each := follower.read(end)) is not None:
        found.append(each)
    follower.close()
    return found


def frames_in(found: list[Frame | Gap]) -> list[Frame]:
    """Leave the gaps out."""
    return [each for each in found if isinstance(each, Frame)]


def gaps_in(found: list[Frame | Gap]) -> list[Gap]:
    """Leave the frames out."""
    return [each for each in found if isinstance(each, Gap)]


def messages_of(frame: Frame) -> list[Kept]:
    """Return a frame's messages, each with its bytes."""
    encodings = [run.encoding for run in frame.runs for _ in range(run.messages)]
    kept, at = [], 0
    for message, encoding in zip(frame.messages, encodings, strict=True):
        payload = bytes(frame.payload[at : at + message.length])
        at += message.length
        origin = frame.origins[message.origin]
        kept.append(Kept(origin, encoding, payload, message.tag, message.chunk_id, message.claimed))
    return kept


def kept_of(entry: Entry) -> Kept:
    """Return what has to stand in the journal once an entry is durable; a copy."""
    payload = b"".join(entry.payload)
    return Kept(entry.origin, entry.encoding, payload, bytes(entry.tag), bytes(entry.chunk_id), entry.claimed)


def frame_offsets(content: bytes) -> list[int]:
    """Return where the frames of a segment begin, whatever became of them."""
    return [found.start() for found in re.finditer(re.escape(FRAME_MAGIC), content)]


def payloads_in(found: list[Frame | Gap]) -> list[bytes]:
    """Return the payloads of all messages that can be read, in order."""
    return [message.payload for frame in frames_in(found) for message in messages_of(frame)]


def end_of_files(directory: Path) -> DurableEnd:
    """Return the end of what stands in the files, for a journal that nobody has open."""
    newest = max(name for name in os.listdir(directory) if name.endswith(".segment"))
    _, epoch, _ = newest.removesuffix(".segment").split("-")
    position = Position(0, int(epoch), 1 << 34)
    return DurableEnd(newest, (directory / newest).stat().st_size, position)
