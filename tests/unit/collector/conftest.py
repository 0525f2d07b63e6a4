"""An intake's internal socket before a journal in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collector.internal import InternalServer
from tests.kit.memory_journal import MemoryJournal


@pytest.fixture
def journal() -> MemoryJournal:
    """An empty journal."""
    return MemoryJournal()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "run" / "intake.sock"


@pytest.fixture
async def server(journal: MemoryJournal, path: Path) -> AsyncIterator[InternalServer]:
    """A listening server."""
    each = InternalServer(journal, path)
    await each.start()
    yield each
    await each.close()
