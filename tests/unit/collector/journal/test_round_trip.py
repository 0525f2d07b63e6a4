"""Random entries, groups, rolls and restarts: what was appended is what is followed."""

import asyncio
import itertools
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.journal.entry import Entry, Receipt
from collector.journal.options import JournalOptions
from collector.journal.writer import Journal
from pipelines.frame import Frame, Origin
from tests.kit.clock import FakeClock
from tests.kit.journals import frames_in, gaps_in, kept_of, messages_of, read_all

ORIGINS = [Origin("docker", "tcp", "192.0.2.7"), Origin("socket", "unix", "unix:uid=0", "uid 0")]

entries = st.builds(
    Entry,
    origin=st.sampled_from(ORIGINS),
    encoding=st.sampled_from(["forward", "forward-message", "json"]),
    payload=st.lists(st.binary(max_size=300), max_size=4),
    tag=st.binary(max_size=20),
    chunk_id=st.binary(max_size=20),
    claimed=st.integers(-1, 100),
)
groups = st.lists(entries, min_size=1, max_size=6)
runs = st.lists(groups, max_size=5)


async def _append_all(directory: Path, run: list[list[Entry]], options: JournalOptions) -> Journal:
    journal = await asyncio.to_thread(Journal.open, directory, name="test", options=options, clock=FakeClock())
    for group in run:
        receipts = await asyncio.gather(*(journal.append(entry) for entry in group))
        assert set(receipts) == {Receipt.DURABLE}
    await journal.close()
    return journal


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=st.lists(runs, min_size=1, max_size=3),
    segment_bytes=st.sampled_from([1, 500, 1 << 20]),
    frame_bytes=st.sampled_from([1, 200, 1 << 20]),
    portion_bytes=st.sampled_from([50, 300, 1 << 20]),
)
def test_what_is_appended_is_what_is_followed(
    history: list[list[list[Entry]]], segment_bytes: int, frame_bytes: int, portion_bytes: int
) -> None:
    """Across groups, frames, segments and restarts every entry is read once, whole, in its client's order."""
    options = JournalOptions(
        limit_bytes=1 << 30,
        reserve_bytes=0,
        segment_bytes=segment_bytes,
        frame_bytes=frame_bytes,
        portion_bytes=portion_bytes,
        sync=lambda _: None,
    )
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "journal"
        for run in history:
            journal = asyncio.run(_append_all(directory, run, options))
        found = read_all(directory, journal.durable)
        frames = frames_in(found)
        appended = [kept_of(entry) for run in history for group in run for entry in group]
        followed = [kept for frame in frames for kept in messages_of(frame)]

        assert gaps_in(found) == []
        for line in itertools.product(("forward", "forward-message", "json"), ORIGINS):
            expected = [kept for kept in appended if (kept.encoding, kept.origin) == line]
            assert expected == [kept for kept in followed if (kept.encoding, kept.origin) == line]
        assert len(followed) == len(appended)
        _assert_ordered(frames)


def _assert_ordered(frames: list[Frame]) -> None:
    positions = [frame.position for frame in frames]
    times = [frame.journal_time for frame in frames]
    assert positions == sorted(set(positions))
    assert times == sorted(set(times))
    for before, after in itertools.pairwise(frames):
        assert after.sequence == (before.sequence + 1 if after.epoch == before.epoch else 0)
