"""kill -9 of a real writer, at any moment: what was acknowledged stands in the journal."""

import asyncio
import random
import selectors
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from collector.evidence.verdict import Finding
from collector.evidence.verify import Verifier
from collector.journal.cursors import read_cursor
from collector.journal.format import FRAME_MAGIC
from collector.journal.options import JournalOptions
from collector.journal.segments import segment_files
from collector.journal.state import VerificationKey
from collector.journal.writer import Journal
from pipelines.frame import Position
from tests.kit.clock import FakeClock
from tests.kit.journals import entry_of, frames_in, gaps_in, payloads_in, read_all

WRITER = Path(__file__).with_name("journal_writer.py")
ROUNDS = 10
SEED = 20261123
TIMEOUT_S = 60


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", str(WRITER), *map(str, arguments)]


def _kill_within(directory: Path, first: int, chance: random.Random) -> list[int]:
    """Run a writer, kill it at a random moment, return what it acknowledged."""
    with subprocess.Popen(_command("append", directory, first), stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        wanted_bytes = chance.choice([0, 0, 1, 5, *[chance.randrange(6, 4000) for _ in range(6)]])
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(writer.stdout, selectors.EVENT_READ)
            while len(output) < wanted_bytes:
                assert selector.select(TIMEOUT_S)
                output += writer.stdout.read1(65536)  # type: ignore[attr-defined]
            selector.select(chance.uniform(0.0, 0.3) if wanted_bytes == 0 else 0)
        writer.kill()
        output += writer.stdout.read()
    lines = output.split(b"\n")[:-1]
    return [int(line) for line in lines if line != b"open"]


@pytest.mark.timeout(600)
def test_kill_at_random_moments_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Every acknowledged entry is there once, whole, over ten kills of one journal, some of them during its start."""
    chance = random.Random(SEED)
    directory = tmp_path / "journal"
    acked: list[int] = []
    for turn in range(ROUNDS):
        acked += _kill_within(directory, turn * 1_000_000, chance)

    async def read() -> list[bytes]:
        journal = Journal.open(directory, name="test", options=JournalOptions(reserve_bytes=0))
        found = read_all(directory, journal.durable)
        await journal.close()
        assert gaps_in(found) == []
        return payloads_in(found)

    payloads = asyncio.run(read())
    numbers = [int(payload.split()[0]) for payload in payloads]

    assert len(acked) > 100
    assert set(acked) <= set(numbers)
    assert len(numbers) == len(set(numbers))
    assert all(len(payload.split()[1]) == (30_000 if int(payload.split()[0]) % 50 == 0 else 10) for payload in payloads)


@pytest.mark.timeout(600)
def test_a_crash_before_any_file_operation_is_survived(tmp_path: Path) -> None:
    """Starts, epochs, ratchets, rolls, cursors and deletions may end between any two steps.

    The next start goes on, with every acknowledged entry that no consumer had passed, and no position twice.
    """
    subprocess.run(_command("crash", tmp_path), check=True, timeout=100)
    roots = sorted(tmp_path.iterdir())

    assert len(roots) > 100
    for root in roots:
        cursor = read_cursor(root / "journal", "store") or Position(0, 0, 0)
        lines = [tuple(map(int, line.split())) for line in (root / "acked").read_bytes().splitlines()]
        needed = {number for number, epoch, sequence in lines if Position(0, epoch, sequence) >= cursor}
        findings = _verified(root) if lines else []  # before the first is, seals may be missing
        numbers = [int(payload) for payload in asyncio.run(_go_on(root / "journal"))]
        assert needed <= set(numbers), root
        assert findings == [], root
        assert numbers == sorted(set(numbers)), root


def _empty_at_the_end(root: Path, torn: bytes) -> None:
    """Leave what a kill behind a second start leaves: a segment without a frame, or with a part of one; anchored."""

    async def live() -> None:
        options = JournalOptions(reserve_bytes=0)
        for appended in (3, 0):
            journal = Journal.open(root / "journal", name="test", options=options, clock=FakeClock())
            for number in range(appended):
                await journal.append(entry_of(b"%d" % number))
            if appended:
                await journal.close()
        await asyncio.to_thread(shutil.copytree, root, root.with_name("left"))
        await journal.close()

    asyncio.run(live())
    newest = root.with_name("left") / "journal" / segment_files(root / "journal")[-1]
    with newest.open("ab") as segment:
        segment.write(torn)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("torn", [b"", FRAME_MAGIC + bytes(40)], ids=["no frame", "part of a frame"])
def test_a_kill_within_a_start_is_no_alarm(tmp_path: Path, torn: bytes) -> None:
    """The start removed the segment that the anchor named before another was anchored: `verify` said CUT, or FORGED.

    Nothing that was acknowledged was missing.
    """
    _empty_at_the_end(tmp_path / "first", torn)
    (tmp_path / "killed").mkdir()
    command = _command("crash-start", tmp_path / "killed", tmp_path / "left")
    subprocess.run(command, check=True, timeout=100)
    roots = sorted((tmp_path / "killed").iterdir())

    assert len(roots) > 10
    assert {root.name: found for root in roots if (found := _verified(root))} == {}
    for root in roots:
        assert asyncio.run(_go_on(root / "journal")) == [b"0", b"1", b"2", b"1000"]
        assert _verified(root) == []
        assert len(segment_files(root / "journal")) <= 3


def _verified(root: Path) -> list[Finding]:
    """What `tidewaiter verify` finds."""
    evidence = root / "evidence"
    key = msgspec.json.decode((evidence / "verification.key").read_bytes(), type=VerificationKey)
    return Verifier(root / "journal", evidence, key).run().findings


async def _go_on(directory: Path) -> list[bytes]:
    """Open what a crash left, append to it, and read it whole."""
    options = JournalOptions(reserve_bytes=0, sync=lambda _: None)
    journal = Journal.open(directory, name="test", options=options)
    await journal.append(entry_of(b"1000"))
    found = read_all(directory, journal.durable)
    positions = [frame.position for frame in frames_in(found)]
    assert gaps_in(found) == []
    assert len(positions) == len(set(positions))
    await journal.close()
    return payloads_in(found)
