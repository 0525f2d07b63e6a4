"""The bench's cases of the journal alone, each in the bench's own process but for `start`.

| case | what |
| --- | --- |
| `append` | messages of 800 KB, eight in flight, beside a plain loop that writes and syncs the very same groups |
| `read` | following and verifying what was appended, from the page cache |
| `start` | a journal of 20 GiB (`--gib`) whose writer was killed: opening it, and a whole collector until it is ready |
| `ids` | memory of a million remembered chunk ids |
"""

import argparse
import asyncio
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from collector.evidence.verify import Verifier
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry
from collector.journal.follow import Follower
from collector.journal.format import DurableEnd
from collector.journal.options import JournalOptions
from collector.journal.recogniser import Recogniser
from collector.journal.remembered import Place, Remembered
from collector.journal.state import VerificationKey
from collector.journal.writer import Journal
from pipelines.frame import Origin
from tests.bench.corpus import forward_chunks
from tests.bench.measure import touch_memory
from tests.kit.running import RunningCollector

Figures = dict[str, float]

APPENDED_BYTES: Final = 400 << 20
IN_FLIGHT: Final = 8
PASSES: Final = 3
IDS: Final = 1_000_000
ORIGIN: Final = Origin("docker", "tcp", "127.0.0.1")
CHILD: Final = ("-m", "tests.bench.journal_cases")


def payloads() -> list[bytes]:
    """The corpus' messages, as an input hands them over."""
    return [b"".join((each.head, bytes(24), each.tail)) for each in forward_chunks()]


async def _append(journal: Journal, messages: Sequence[bytes], size_bytes: int) -> int:
    """Append so much, several in flight; return how much it was."""
    turns, appended = itertools.cycle(messages), 0

    async def one() -> None:
        nonlocal appended
        while appended < size_bytes:
            message = next(turns)
            appended += len(message)
            await journal.append(Entry(ORIGIN, "forward", (message,), claimed=1))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(one())
    return appended


def _appended(folder: Path, messages: Sequence[bytes]) -> tuple[float, list[int]]:
    """Append to a fresh journal; return bytes per second, and how many were written before each sync."""
    groups: list[int] = []
    written = 0

    def write(descriptor: int, buffers: Sequence[memoryview]) -> int:
        nonlocal written
        count = os.writev(descriptor, buffers)
        written += count
        return count

    def sync(descriptor: int) -> None:
        nonlocal written
        os.fdatasync(descriptor)
        groups.append(written)
        written = 0

    async def run() -> float:
        journal = Journal.open(folder / "journal", name="bench", options=JournalOptions(write=write, sync=sync))
        began = time.perf_counter()
        await _append(journal, messages, APPENDED_BYTES)
        seconds = time.perf_counter() - began
        await journal.close()
        return sum(groups) / seconds

    return asyncio.run(run()), [size for size in groups if size]


def _plain(folder: Path, groups: Sequence[int], messages: Sequence[bytes]) -> float:
    """Write and sync the same groups in a loop; return bytes per second."""
    source = memoryview(b"".join(messages))
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    at = 0
    began = time.perf_counter()
    for size in groups:
        at = 0 if at + size > len(source) else at
        os.write(descriptor, source[at : at + size])
        os.fdatasync(descriptor)
        at += size
    seconds = time.perf_counter() - began
    os.close(descriptor)
    return sum(groups) / seconds


def append(_: argparse.Namespace) -> Figures:
    """Appending against a plain loop, by turns; medians."""
    messages = payloads()
    touch_memory()
    journal, plain = [], []
    for _pass in range(PASSES):
        with tempfile.TemporaryDirectory(prefix="tw-bench-") as root:
            rate, groups = _appended(Path(root), messages)
            journal.append(rate)
            plain.append(_plain(Path(root), groups, messages))
    return {
        "append_mb_s": median(journal) / 1e6,
        "plain_mb_s": median(plain) / 1e6,
        "append_share": median(one / other for one, other in zip(journal, plain, strict=True)),
    }


def read(_: argparse.Namespace) -> Figures:
    """Following, then verifying, one journal; CPU seconds, of one core."""
    messages = payloads()
    touch_memory()
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as root:
        folder = Path(root)
        _appended(folder, messages)
        end = asyncio.run(_end_of(folder))
        followed, verified = [], []
        for _pass in range(PASSES):
            follower = Follower(folder / "journal")
            size = 0
            began = time.process_time()
            while (frame := follower.read(end)) is not None:
                size += len(getattr(frame, "payload", b""))
            followed.append(size / (time.process_time() - began))
            follower.close()
            key = msgspec.json.decode((folder / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
            began = time.process_time()
            verdict = Verifier(folder / "journal", folder / "evidence", key).run()
            verified.append(verdict.bytes / (time.process_time() - began))
            if verdict.findings:
                raise SystemExit(f"the journal does not verify: {verdict.findings[0]}")
    return {"read_mb_s": median(followed) / 1e6, "verify_mb_s": median(verified) / 1e6}


async def _end_of(folder: Path) -> DurableEnd:
    journal = Journal.open(folder / "journal", name="bench", options=JournalOptions())
    end = journal.durable
    await journal.close()
    return end


def start(options: argparse.Namespace) -> Figures:
    """How long a start takes behind so much that a killed writer left."""
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as root:
        collector = RunningCollector(Path(root), settings={"journal": {"limit": f"{2 * options.gib:.0f}GiB"}})
        journal = collector.data_dir / "journal"
        collector.data_dir.mkdir(mode=0o700)
        subprocess.run([sys.executable, *CHILD, "fill", str(journal), str(int(options.gib * (1 << 30)))], check=True)
        opened = asyncio.run(_opened(journal))
        try:
            began = time.monotonic()
            collector.start()
            collector.wait_ready()
            ready_s = time.monotonic() - began
            collector.stop()
        finally:
            collector.kill_all()
    return {"start_gib": options.gib, "start_open_s": opened, "start_ready_s": ready_s}


async def _opened(directory: Path) -> float:
    began = time.monotonic()
    journal = Journal.open(directory, name="bench", options=JournalOptions(limit_bytes=1 << 40))
    recogniser = Recogniser(journal, directory)
    seconds = time.monotonic() - began
    for name in ("store", "dead-letters"):
        write_cursor(directory, name, journal.durable.position)
    await journal.close()
    recogniser.close()
    return seconds


def ids(_: argparse.Namespace) -> Figures:
    """Memory of a million remembered ids, in a process of its own."""
    output = subprocess.run([sys.executable, *CHILD, "ids"], check=True, capture_output=True, text=True).stdout
    return {"ids_mb": float(output)}


def _fill(directory: Path, size_bytes: int) -> None:
    """Append so much without syncing, then end as a killed process does."""

    async def run() -> None:
        options = JournalOptions(limit_bytes=1 << 40, sync=lambda _: None, compress=False)
        journal = Journal.open(directory, name="bench", options=options)
        await _append(journal, payloads(), size_bytes)
        os._exit(0)

    asyncio.run(run())


def _remember() -> None:
    remembered = Remembered(limit=2 * IDS, kept_s=3600)
    before_kib = _resident_kib()
    for number in range(IDS):
        key = number.to_bytes(8, "big")[::-1] + b"abcd"
        remembered.add(key, Place(1, number, loose=False), 1000 + number // 1000)
    sys.stdout.write(f"{(_resident_kib() - before_kib) * 1024 / 1e6:.1f}\n")


def _resident_kib() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() // 1024


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        _fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _remember()
