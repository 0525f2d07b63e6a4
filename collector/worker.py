"""The worker role: follows the journal, makes batches, and drives every output from its own cursor.

It has no port and no input's secret. What it may lose at a kill is repeated from the cursors; what outputs keep beside
their data (the local store) tells them what they have already.
"""

import asyncio
import contextlib
import gc
import os
import random
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final, Protocol

import uvloop

from collector import telemetry
from collector.batches import START, Source, Window
from collector.config import Config
from collector.dead_letters import DEAD_LETTERS
from collector.errors import DataDirError, sentence_of
from collector.internal import InternalClient, InternalClosed
from collector.journal.checkpoints import Checkpoint, delete_checkpoints, write_checkpoint
from collector.journal.cursors import needed_position, read_cursor, write_cursor
from collector.journal.follow import Gap
from collector.logs import get_logger
from collector.outputs import make_output
from collector.outputs.dead_letters import DeadLettersOutput
from collector.outputs.output import Output
from collector.pipeline_settings import pipeline_settings
from collector.reader import Listeners
from collector.role import Context
from pipelines.frame import Frame, Position
from pipelines.pipeline import Pipeline

CURSOR_INTERVAL_S: Final = 1.0
"""A cursor is written at most this often: each costs a sync, and a stale one only repeats what outputs recognise."""

CHECKPOINTS_WAITING: Final = 2
"""So many checkpoints may wait to be written; of more the newest stay: any of them does."""

CHECKPOINT_RETRY_S: Final = 1.0
"""Pause before one is tried again that could not be written: without it the journal cannot let go of what is old."""

NICENESS: Final = 10
"""Acknowledgements come first: where cores are short the worker gives way to the intake and catches up later."""

TICK_S: Final = 0.4
"""How long nothing comes before a tick is asked for, where a line waits: the next is asked for twice as much later."""

RECONNECT_S: Final = 0.05
"""Pause between attempts to reach the intake."""

RESTART_LIMIT_S: Final = 30.0
"""Longest pause before a failed output is started again; the first is 0.5 s."""

new_event_loop: Final = uvloop.new_event_loop
"""It writes large bodies without a copy of what a socket does not take at once (measured: 0.05 us per event)."""

logger = get_logger("worker")


class Health(Protocol):
    """Where it is said how a component is."""

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""


class Cursors:
    """Keeps the cursors of all outputs durable, off the event loop.

    One that cannot be written is tried again and stops nothing: a stale cursor only repeats what outputs recognise.
    """

    def __init__(self, journal: Path, health: Health) -> None:
        self._journal = journal
        self._health = health
        self._moved: dict[str, Position] = {}
        self._wake = asyncio.Event()

    def move(self, name: str, position: Position) -> None:
        """Note that everything before `position` is settled for this output."""
        self._moved[name] = position
        self._wake.set()

    async def keep(self) -> None:
        """Write moved cursors until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.save()
            await asyncio.sleep(CURSOR_INTERVAL_S)

    async def save(self) -> None:
        """Write every moved cursor now; those that cannot be written stay moved."""
        moved, self._moved = self._moved, {}
        problem = ""
        for name, position in moved.items():
            try:
                await asyncio.to_thread(write_cursor, self._journal, name, position)
            except OSError as error:
                problem = f"that of output {name} cannot be written: {error.strerror}"
                self._moved.setdefault(name, position)
                self._wake.set()
        if problem:
            logger.error("cursor_not_written", reason=problem)
            self._health.unhealthy("cursors", problem)
        else:
            self._health.healthy("cursors")


class Checkpoints:
    """Keeps checkpoints durable, off the event loop, and deletes those that no cursor needs.

    One that cannot be written is tried again and stops nothing: outputs would read more of the journal again.
    """

    def __init__(self, journal: Path, consumers: Set[str], health: Health) -> None:
        self._journal = journal
        self._consumers = consumers
        self._health = health
        self._waiting: list[Checkpoint] = []
        self._wake = asyncio.Event()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Take a checkpoint that is to be written."""
        self._waiting = [*self._waiting, checkpoint][-CHECKPOINTS_WAITING:]
        self._wake.set()

    async def write(self) -> None:
        """Write what comes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.save():
                self._wake.set()
                await asyncio.sleep(CHECKPOINT_RETRY_S)

    async def save(self) -> bool:
        """Write what waits now; return whether nothing is left."""
        while self._waiting:
            checkpoint = self._waiting[0]
            try:
                await asyncio.to_thread(self._write, checkpoint)
            except OSError as error:
                problem = f"cannot be written: {error.strerror}"
                logger.error("checkpoint_not_written", reason=problem)  # noqa: TRY400 - a sentence
                self._health.unhealthy("checkpoints", problem)
                return False
            if checkpoint in self._waiting:
                self._waiting.remove(checkpoint)
        self._health.healthy("checkpoints")
        return True

    def _write(self, checkpoint: Checkpoint) -> None:
        write_checkpoint(self._journal, checkpoint)
        with contextlib.suppress(DataDirError):  # a damaged cursor: what it needs is not known, and its output says so
            delete_checkpoints(self._journal, needed_position(self._journal, self._consumers))


async def main(context: Context) -> None:
    """Run the role until `context.stopping`, then let every output finish what it has in hand."""
    os.nice(NICENESS)
    # A batch task takes the core from nobody when it wakes (measured: a quarter off the p99 of 200 waiting senders).
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    gc.freeze()
    # A chunk makes tens of thousands of short-lived tuples that hold no cycles; at the default threshold the collector
    # walks them again and again (measured: 0.35 us per event).
    gc.set_threshold(100_000, 20, 20)
    config: Config = context.config
    journal = context.data_dir / "journal"
    settings = pipeline_settings(config)
    cursors = Cursors(journal, context)
    checkpoints = Checkpoints(journal, {*config.outputs, DEAD_LETTERS}, context)
    listeners = Listeners(_report_gap, checkpoints.keep, _report_passed_over)
    window = Window(journal, lambda: Pipeline(settings, _report_failure), listeners)
    outputs: dict[str, Output] = {name: make_output(name, options, context) for name, options in config.outputs.items()}
    outputs[DEAD_LETTERS] = DeadLettersOutput(context.data_dir)
    sources: dict[str, Source] = {}
    context.telemetry.before_report(lambda: _report_lag(sources))
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(_follow(context.data_dir / "run" / "intake.sock", window, context)),
            tasks.create_task(cursors.keep()),
            tasks.create_task(checkpoints.write()),
            tasks.create_task(_tick(context.data_dir / "run" / "intake.sock", window)),
            tasks.create_task(_stop_when_told(context, window)),
        ]
        await window.opened.wait()
        running = [
            tasks.create_task(
                _run_output(name, output, window=window, cursors=cursors, sources=sources, context=context)
            )
            for name, output in outputs.items()
        ]
        await asyncio.gather(*running)
        for task in background:
            task.cancel()
    await cursors.save()


async def _stop_when_told(context: Context, window: Window) -> None:
    await context.stopping.wait()
    window.stop()


async def _follow(socket: Path, window: Window, context: Context) -> None:
    """Keep `window.end` at what the intake says is durable, across its restarts."""
    while True:
        try:
            async with InternalClient(socket) as client:
                context.healthy("journal")
                async for end in client.durable_ends():
                    window.grow(end)
        except (InternalClosed, OSError):
            context.unhealthy("journal", "the intake does not answer")
        await asyncio.sleep(RECONNECT_S)


async def _tick(socket: Path, window: Window) -> None:
    """Let journal time go on where something waits for it and nothing comes; a clock of our own is never compared."""
    seen: Position | None = None
    while True:
        await asyncio.sleep(TICK_S)
        if window.waits and window.end == seen:
            with contextlib.suppress(InternalClosed, OSError):
                async with InternalClient(socket) as client:
                    await client.tick()
        seen = window.end


def _report_lag(sources: dict[str, Source]) -> None:
    for name, source in sources.items():
        frames, seconds = source.lag(time.time_ns())
        telemetry.OUTPUT_LAG_FRAMES.labels(output=name).set(frames)
        telemetry.OUTPUT_LAG_SECONDS.labels(output=name).set(seconds)


async def _run_output(
    name: str, output: Output, *, window: Window, cursors: Cursors, sources: dict[str, Source], context: Context
) -> None:
    """Run one output from its cursor; a failure stops only it, and not for long."""
    pause_s = 0.5
    while not window.stopped:
        try:
            cursor = await asyncio.to_thread(output.resume, read_cursor(window.journal, name))
            leads = name != DEAD_LETTERS or not context.config.outputs
            source = Source(window, start_of(cursor, window.end), _mover(cursors, name), leads=leads)
            sources[name] = source
            context.healthy(f"output {name}")
            with contextlib.closing(source):
                await output.run(source)
        except Exception as error:  # the boundary of an output
            context.unhealthy(f"output {name}", _told(name, error, pause_s))
            telemetry.OUTPUT_FAILURES.labels(output=name).inc()
            await context.pause(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause_s = min(2 * pause_s, RESTART_LIMIT_S)


def start_of(cursor: Position | None, end: Position | None) -> Position:
    """Return where an output starts; raise DataDirError beyond the journal's end: it would wait there in silence."""
    if cursor is not None and end is not None and cursor > end:
        raise DataDirError(
            f"goes on at epoch {cursor.epoch}, sequence {cursor.sequence}, beyond the journal's end:"
            " its cursor or its store is of another journal; move that away"
        )
    return cursor or START


def _told(name: str, error: Exception, pause_s: float) -> str:
    """Log why an output failed and return it for its health: what an operator can act on is a sentence."""
    if sentence := sentence_of(error):
        logger.error("output_failed", output=name, again_in_s=pause_s, reason=sentence)
        return sentence
    logger.error("output_failed", output=name, again_in_s=pause_s, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _mover(cursors: Cursors, name: str) -> Callable[[Position], None]:
    def move(position: Position) -> None:
        cursors.move(name, position)

    return move


def _report_failure(path: str, frame: Frame, error: Exception) -> None:
    telemetry.PIPELINE_FAILURES.labels(path=path).inc()
    logger.error("pipeline_path_failed", path=path, epoch=frame.epoch, sequence=frame.sequence, exc_info=error)


def _report_gap(gap: Gap) -> None:
    telemetry.JOURNAL_GAPS.inc()
    logger.error("journal_gap", first=tuple(gap.first), last=tuple(gap.last), reason=gap.reason)


def _report_passed_over(reason: str) -> None:
    logger.warning("checkpoint_not_used", reason=reason)
