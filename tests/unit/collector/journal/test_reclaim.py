"""Deleting what every consumer has passed: what is spared whatever the cursors say."""

from pathlib import Path

from collector.journal.reclaim import Reclaimer
from collector.journal.segments import segment_files
from collector.journal.state import load_state
from collector.testing.clock import FakeClock
from collector.testing.journals import entry_of, open_journal


async def test_the_segment_that_is_being_written_is_never_deleted(tmp_path: Path) -> None:
    """The writer may open the next one while it is looked at: what it was told is the newest stays all the same."""
    journal = open_journal(tmp_path, segment_bytes=1)
    for number in range(4):
        await journal.append(entry_of(b"%d" % number))
    names = segment_files(tmp_path / "journal")
    state = load_state(tmp_path / "journal", export_to=tmp_path / "evidence")
    reclaimer = Reclaimer(tmp_path / "journal", tmp_path / "evidence", FakeClock())

    count, _ = reclaimer.delete_before(journal.durable.position, names[2], state, wait=True)

    assert (count, segment_files(tmp_path / "journal")) == (2, names[2:])
    reclaimer.close()
    await journal.close()
