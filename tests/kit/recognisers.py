"""A journal with a recogniser in front of it: what is sent, what stands in it, and what a kill would leave."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from collector.journal.arrivals import SenderConnection
from collector.journal.entry import Entry, Receipt
from collector.journal.recogniser import Recogniser
from collector.journal.writer import Journal
from tests.kit.journals import ORIGIN, open_journal, payloads_in, read_all


class Intake:
    """A journal with a recogniser in front, and what stands in it."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.journal = journal
        self.directory = folder / "journal"
        self.recogniser = Recogniser(journal, self.directory)

    def send(self, connection: SenderConnection, content: bytes, chunk_id: bytes = b"") -> asyncio.Future[Receipt]:
        """Send one message; its chunk id is its content unless another is given."""
        entry = Entry(ORIGIN, "forward", (content,), chunk_id=chunk_id or content, claimed=1, connection=connection)
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def tell() -> None:
            assert entry.receipt is not None
            answer.set_result(entry.receipt)

        self.recogniser.submit(entry, tell)
        return answer

    def stored(self) -> list[bytes]:
        """Return the messages kept, without records of resends."""
        return [payload for payload in payloads_in(read_all(self.directory, self.journal.durable)) if payload]

    async def close(self) -> None:
        """Stop cleanly."""
        await self.journal.close()
        await asyncio.to_thread(self.recogniser.close)


@asynccontextmanager
async def intake(folder: Path, /, **options: object) -> AsyncIterator[Intake]:
    """Run an intake; stop it cleanly."""
    running = Intake(folder, open_journal(folder, **options))
    yield running
    await running.close()


async def crash(running: Intake, folder: Path) -> Path:
    """Return a copy of the data folder as a kill would leave it now."""
    copy = folder.with_name(f"{folder.name}+")
    # What is half-written may be renamed under the copy: an index is written by a thread.
    await asyncio.to_thread(shutil.copytree, folder, copy, ignore=shutil.ignore_patterns(".*"))
    await running.close()
    return copy
