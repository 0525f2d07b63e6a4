"""Senders of every kind against the real recogniser and journal: cut, failed, killed and robbed of indexes at random.

In the end every sender has its acknowledgements, and what stands in the journal is compared with what was sent.
"""

import asyncio
import contextlib
import math
import os
import queue
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.journal.committer import Committed
from collector.journal.cursors import write_cursor
from collector.journal.recogniser import Recogniser
from collector.journal.resend_index import index_files
from collector.journal.resends import Resends
from collector.journal.segments import segment_files
from collector.journal.writer import Journal
from pipelines.frame import Origin, Position
from tests.kit.clock import FakeClock
from tests.kit.journals import frames_in, messages_of, open_journal, read_all
from tests.kit.resend_senders import KINDS, ORIGINS, Key, Kind, Line, Sender

STEPS = 1500
PERMIT_TIMEOUT_S = 60.0
"""A test that fails in the middle must not leave the writer's thread waiting for ever."""
FAILED_PARTS = 12
"""One group in so many fails."""

RESTART_PARTS = 60
RECLAIM_PARTS = 40


class Collector:
    """A journal that commits when it is told to, with the recogniser, across restarts; `stored` is what is in it."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.clock = FakeClock()
        self.stored: Counter[Key] = Counter()
        self.recognised = 0
        self._read_to: Position | None = None
        self._permits: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._fails = False
        self.damage: Callable[[Path], None] = lambda folder: None
        self.open()

    def open(self) -> None:
        """Start, with what became of the indexes meanwhile."""
        self.damage(self.folder / "journal")
        self.journal: Journal = open_journal(
            self.folder, self.clock, segment_bytes=1500, segment_age_s=math.inf, compress=False, sync=self._sync
        )
        commit = self.journal._committer.commit

        def permitted(*arguments: Any, **named: Any) -> Committed:
            self._fails = self._permits.get(timeout=PERMIT_TIMEOUT_S)
            return commit(*arguments, **named)

        setattr(self.journal._committer, "commit", permitted)  # noqa: B010 - mypy takes no assignment to a method
        resends = Resends(lambda: self.clock() / 1e9)
        self.recogniser = Recogniser(self.journal, self.folder / "journal", resends)

    def _sync(self, descriptor: int) -> None:
        if self._fails:
            self._fails = False
            raise OSError(5, "Input/output error")

    async def commit(self, *, fails: bool = False) -> None:
        """Let the group that is being written become durable, or fail, and be answered."""
        group = self.journal._writing
        if group is not None:
            self._permits.put(fails)
            with contextlib.suppress(Exception):  # a fault of ours is the journal's to report
                await asyncio.wrap_future(group)
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """Commit all there is."""
        while self.journal._writing is not None:
            await self.commit()

    def take_stock(self, *, reclaim: bool) -> None:
        """Count what stands in the journal, and delete what was counted."""
        end = self.journal.durable
        for frame in frames_in(read_all(self.folder / "journal", end, after=self._read_to)):
            self.stored.update(
                (kept.origin.peer, kept.chunk_id, kept.payload) for kept in messages_of(frame) if kept.payload
            )
        self._read_to = end.position
        if reclaim and self.journal._writing is None:
            write_cursor(self.folder / "journal", "store", end.position)
            self.journal.reclaim(wait=True)
            self.recogniser.sweep()

    def index_is_idle(self) -> None:
        """Wait until all indexes are written."""
        self.recogniser._thread.submit(int).result()

    async def stop(self) -> None:
        """Stop cleanly, and start."""
        await self.settle()
        await self._close()
        self.open()

    async def kill(self) -> None:
        """Go on from what stands on disk now, before anything is answered that is being written."""
        self.index_is_idle()
        if self.chance.random() < 0.5 and (group := self.journal._writing) is not None:
            self._permits.put(False)
            group.result()
        folder = self.folder.with_name(f"{self.folder.name}+")
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(".*"))
        await self.settle()
        await self._close()
        shutil.rmtree(self.folder)
        self.folder = folder
        indexes, segments = index_files(folder / "journal"), segment_files(folder / "journal")
        if indexes and f"{indexes[-1].stem}.segment" in segments and self.chance.random() < 0.3:
            indexes[-1].unlink()  # it was about to be written
        self.open()

    async def _close(self) -> None:
        self.recognised += self.recogniser.recognised
        await self.journal.close()
        self.recogniser.close()

    async def close(self) -> None:
        """Stop for good."""
        await self.settle()
        self.take_stock(reclaim=False)
        await self._close()


class World:
    """All senders and one collector."""

    def __init__(self, folder: Path, chance: random.Random, kinds: list[tuple[Kind, Origin]]) -> None:
        self.chance = chance
        self.senders = [Sender(kind, origin, chance) for kind, origin in kinds]
        self.collector = Collector(folder, chance)

    async def step(self) -> None:
        """Let something happen."""
        sender, chance = self.chance.choice(self.senders), self.chance
        action = chance.choices(("send", "receive", "read", "cut", "hear", "commit", "wait"), (8, 10, 8, 1, 1, 6, 1))[0]
        line = chance.choice(sender.lines) if sender.lines else None
        if action == "send":
            sender.send()
            sender.show(self.collector.recogniser)
        elif action == "receive":
            for each in chance.sample([*sender.lines, *sender.left], len(sender.lines) + len(sender.left)):
                if each.wire:
                    each.receive(self.collector.recogniser)
                    break
        elif action == "read" and line is not None:
            sender.read_acks(line, chance.randint(1, 3))
        elif action == "cut" and line is not None:
            self._cut(sender, line)
        elif action == "hear" and sender.left:
            self._hear(sender, chance.choice(sender.left))
        elif action == "commit":
            await self.collector.commit(fails=not chance.randrange(FAILED_PARTS))
            self._end_refused()
        elif action == "wait":
            await self._wait(chance.choice((0.01, 2.0, 65.0)))
        self.collector.clock.advance(0.0001)

    def _cut(self, sender: Sender, line: Line) -> None:
        sender.cut(line)
        for _ in range(self.chance.randint(0, len(line.wire))):
            line.wire.pop()
        sender.left.append(line)
        if sender.kind.hears_cuts:
            self._hear(sender, line)

    def _hear(self, sender: Sender, line: Line) -> None:
        """Let the collector hear of a cut; what had arrived may come up before or after that."""
        sender.left.remove(line)
        ends_first = self.chance.random() < 0.5
        if ends_first:
            line.sender.end()
        while line.wire:
            line.receive(self.collector.recogniser)
        line.sender.end()

    def _end_refused(self) -> None:
        for sender in self.senders:
            for line in [line for line in sender.lines if line.is_refused]:
                sender.read_acks(line)
                sender.cut(line)
                line.sender.end()

    async def _wait(self, seconds: float) -> None:
        """Let time pass in which everything is kept that has arrived, and every sender reads what there is to read."""
        await self.collector.settle()
        self._end_refused()
        for sender in self.senders:
            for line in sender.lines:
                sender.read_acks(line)
            for line in sender.left:
                line.wire.clear()
        self.collector.clock.advance(seconds)

    async def restart(self) -> None:
        """Stop or kill the collector: all connections are gone."""
        self.collector.take_stock(reclaim=False)
        is_clean = self.chance.random() < 0.4
        if is_clean:
            await self.collector.settle()
        for sender in self.senders:
            for line in list(sender.lines):
                if self.chance.random() < 0.5:
                    sender.read_acks(line)
                sender.cut(line)
                if is_clean and self.chance.random() < 0.5:
                    line.sender.end()
            sender.left.clear()
        if is_clean:
            await self.collector.stop()
        else:
            await self.collector.kill()

    async def finish(self) -> None:
        """Let every sender have its acknowledgements."""
        while not all(sender.is_done for sender in self.senders):
            for sender in self.senders:
                sender.send(anew=False)
                for line in [*sender.lines, *sender.left]:
                    while line.wire:
                        line.receive(self.collector.recogniser)
            await self.collector.settle()
            self._end_refused()
            for sender in self.senders:
                for line in sender.lines:
                    sender.read_acks(line)
        await self.collector.close()


async def _live(folder: Path, seed: int, *, damaged: bool = False, kinds: list[tuple[Kind, Origin]]) -> World:
    """Run senders against a collector; return what became of them."""
    chance = random.Random(seed)
    (folder / "data").mkdir()
    world = World(folder / "data", chance, kinds)
    if damaged:
        world.collector.damage = lambda journal: _damage(journal, chance)
    for _ in range(STEPS):
        await world.step()
        if not chance.randrange(RESTART_PARTS):
            await world.restart()
        elif not chance.randrange(RECLAIM_PARTS):
            world.collector.take_stock(reclaim=True)
    await world.finish()
    return world


def _damage(journal: Path, chance: random.Random) -> None:
    """Delete an index, or flip a bit in it, or cut it short."""
    for index in chance.sample(files := index_files(journal), min(len(files), chance.randint(0, 2))):
        how = chance.choice(("missing", "flipped", "short"))
        content = bytearray(index.read_bytes())
        if how == "missing":
            index.unlink()
        elif how == "flipped" and content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            index.write_bytes(content)
        else:
            index.write_bytes(content[: chance.randrange(len(content) or 1)])


def _wrong(world: World) -> tuple[Counter[Key], Counter[Key]]:
    """Return what is missing (or was swallowed) and what stands there too often."""
    sent: Counter[Key] = sum((sender.sent for sender in world.senders), Counter())
    return sent - world.collector.stored, world.collector.stored - sent


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about what a disk keeps: syncing would be most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("seed", range(12))
async def test_everything_acknowledged_is_stored_and_nothing_twice(
    tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    """Through cuts, failed groups, kills and stops: what was sent stands in the journal as often as it was meant."""
    kinds = [(KINDS[(seed + number) % len(KINDS)], origin) for number, origin in enumerate(ORIGINS)]

    world = await _live(tmp_path, seed, kinds=kinds)

    assert (Counter(), Counter()) == _wrong(world)
    record_property("stored, sent again", (world.collector.stored.total(), world.collector.recognised))


@pytest.mark.parametrize("seed", range(8))
async def test_damaged_and_missing_indexes_cost_second_copies_and_nothing_else(
    tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    """Whatever of them is lost before a start, nothing is missing, and no equal message is taken for a resend."""
    kinds = [(KINDS[(seed + number) % len(KINDS)], origin) for number, origin in enumerate(ORIGINS)]

    world = await _live(tmp_path, seed, damaged=True, kinds=kinds)

    missing, twice = _wrong(world)
    assert Counter() == missing
    record_property("stored, twice", (world.collector.stored.total(), twice.total()))
