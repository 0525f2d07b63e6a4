"""A process that appends numbered entries to a journal and says which were acknowledged; started and killed by tests.

`journal_writer.py append JOURNAL FIRST` appends from FIRST on, several in flight, until it is killed; each acknowledged
number is a line on stdout. `journal_writer.py crash ROOT` runs one scenario again and again, each time in a process
that dies before one more of its file operations, until the scenario gets through; see `_crash_at`. `journal_writer.py
crash-start ROOT LEFT` does so with a start on what an earlier crash has left in the folder LEFT.
"""

import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from collector.journal.cursors import write_cursor
from collector.journal.entry import Receipt
from collector.journal.options import JournalOptions
from collector.journal.writer import Journal
from pipelines.frame import Origin
from tests.kit.clock import FakeClock
from tests.kit.journals import ORIGIN, entry_of

IN_FLIGHT = 8
Scenario = Callable[[Path, int, JournalOptions], Coroutine[object, object, None]]
OTHER = Origin("docker", "tcp", "192.0.2.8")
"""Every second entry is its: nobody is alone, and long entries are written in portions."""

FILE_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.truncate", "os.mkdir"})


async def append_for_ever(directory: Path, first: int) -> None:
    """Append until killed; every 50th entry is large, and segments roll often."""
    options = JournalOptions(segment_bytes=64 << 10, portion_bytes=8 << 10, reserve_bytes=0)
    journal = await asyncio.to_thread(Journal.open, directory, name="test", options=options)
    os.write(1, b"open\n")
    number = first

    async def one() -> None:
        nonlocal number
        while True:
            mine, number = number, number + 1
            padding = b"." * (30_000 if mine % 50 == 0 else 10)
            entry = entry_of(b"%d " % mine + padding)
            entry.origin = OTHER if mine % 2 else ORIGIN
            if await journal.append(entry) is Receipt.DURABLE:
                os.write(1, b"%d\n" % mine)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(one())


async def scenario(directory: Path, acked: int, options: JournalOptions) -> None:
    """Start, append over several segments, reclaim, stop; three times."""
    number = 0
    for _ in range(3):
        clock = FakeClock()
        journal = Journal.open(directory, name="test", options=options, clock=clock)
        for _ in range(3):
            if await journal.append(entry_of(b"%d" % number)) is Receipt.DURABLE:
                position = journal.durable.position
                os.write(acked, b"%d %d %d\n" % (number, position.epoch, position.sequence - 1))
            number += 1
        write_cursor(directory, "store", journal.durable.position._replace(sequence=1))
        journal.reclaim()
        await journal.close()


async def start(directory: Path, _acked: int, options: JournalOptions) -> None:
    """Start, and stop."""
    journal = Journal.open(directory, name="test", options=options, clock=FakeClock())
    await journal.close()


def _crash_at(root: Path, step: int, played: Scenario) -> bool:
    """Play a scenario in a process that dies before its file operation `step`; return whether it got through."""
    acked = os.open(root / "acked", os.O_WRONLY | os.O_CREAT, 0o600)
    child = os.fork()
    if child:
        os.close(acked)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0
    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in FILE_EVENTS and str(root) in str(arguments[0]):
            count()

    def write(descriptor: int, pieces: Sequence[memoryview]) -> int:
        count()
        whole = b"".join(pieces)
        half = os.write(descriptor, whole[: len(whole) // 2])
        count()
        return half + os.write(descriptor, whole[half:])

    def sync(_: int) -> None:
        count()

    sys.addaudithook(audit)
    seam: dict[str, Callable[..., object]] = {"write": write, "sync": sync}
    options = JournalOptions(segment_bytes=1, reserve_bytes=0, consumers=frozenset({"store"}), **seam)  # type: ignore[arg-type]
    asyncio.run(played(root / "journal", acked, options))
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    if arguments[0] == "append":
        asyncio.run(append_for_ever(Path(arguments[1]), int(arguments[2])))
        return
    played = start if arguments[0] == "crash-start" else scenario
    for step in itertools.count():
        root = Path(arguments[1]) / f"{step:03d}"
        if played is start:
            shutil.copytree(arguments[2], root)
        else:
            root.mkdir()
        if _crash_at(root, step, played):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
