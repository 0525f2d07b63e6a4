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
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from collector import telemetry
from collector.balance.keeper import Books
from collector.balance.teller import tell_balance
from collector.batches import START, Source, Window
from collector.config import Config
from collector.dead_letters import DEAD_LETTERS
from collector.errors import DataDirError, sentence_of
from collector.health import Health
from collector.internal import InternalClient, InternalClosed
from collector.isolation.in_hand import InHand
from collector.isolation.marked import MarkedPipeline
from collector.isolation.memory import limit_memory, own_limit
from collector.isolation.verdicts import PRODUCER, verdicts_of
from collector.journal.checkpoints import Checkpoint, delete_checkpoints, write_checkpoint
from collector.journal.cursors import needed_position, read_cursor
from collector.journal.follow import Gap
from collector.letter_teller import tell_letters
from collector.logs import get_logger
from collector.lookups import keep_lookups
from collector.outputs import make_output
from collector.outputs.dead_letters import DeadLettersOutput
from collector.outputs.output import Output
from collector.pipeline_settings import pipeline_settings
from collector.reader import Listeners
from collector.reader import Pipeline as ReaderPipeline
from collector.relief import Skips, relieve
from collector.replayer import serve_replays
from collector.role import Context
from collector.rules import keep_rules
from collector.standing_by import stood_by
from pipelines.condemned import Verdict
from pipelines.detect.ready import Matchers
from pipelines.detect.rule import Rule
from pipelines.frame import Frame, Position
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings

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


class Cursors:
    """Keeps the cursors of all outputs durable, off the event loop.

    One that cannot be written is tried again and stops nothing: a stale cursor only repeats what outputs recognise.
    The book of a consumer is written before its cursor.
    """

    def __init__(self, journal: Path, health: Health, books: Books) -> None:
        self._journal = journal
        self._books = books
        self._health = health
        self._moved: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def move(self, name: str) -> None:
        """Note that everything before its book's position is settled for this output."""
        self._moved.add(name)
        self._wake.set()

    async def keep(self) -> None:
        """Write moved cursors until `stop`.

        Cancelled it would leave a write behind that nobody waits for, and `save` would write the same files beside it.
        """
        while not self._stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self.save()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CURSOR_INTERVAL_S):
                    await self._stopping.wait()

    def stop(self) -> None:
        """Let `keep` end, with the writes that it has in hand; what moves from now on is for a last `save`."""
        self._stopping.set()
        self._wake.set()

    async def save(self) -> None:
        """Write every moved cursor now; those that cannot be written stay moved. One at a time may do so."""
        problem = ""
        for name in sorted(self._moved):
            self._moved.discard(name)
            taken = self._books.take(name)
            try:
                await asyncio.to_thread(self._books.write, self._journal, name, taken)
            except OSError as error:
                problem = f"that of output {name} cannot be written: {error.strerror}"
                self._books.put_back(name, taken)
                self.move(name)
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
    _give_way()
    config: Config = context.config
    journal = context.data_dir / "journal"
    socket = context.data_dir / "run" / "intake.sock"
    settings = pipeline_settings(config)
    outputs: dict[str, Output] = {name: make_output(name, options, context) for name, options in config.outputs.items()}
    outputs[DEAD_LETTERS] = DeadLettersOutput(context.data_dir, context, limit_bytes=config.dead_letters.limit)
    if context.stands_by and not await stood_by(context, socket):
        return
    books = Books(context.data_dir)
    cursors = Cursors(journal, context, books)
    verdicts: dict[Position, Verdict] = {}
    mark = _marking(context)
    checkpoints = Checkpoints(journal, {*config.outputs, DEAD_LETTERS}, context)
    listeners = Listeners(_report_gap, checkpoints.keep, _report_passed_over)
    matchers = Matchers()
    window = Window(journal, lambda: mark(_pipeline(settings, verdicts, matchers)), listeners)
    sources: dict[str, Source] = {}
    context.telemetry.before_report(lambda: _report_lag(sources))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cursors.keep())
        background = [
            tasks.create_task(_follow(socket, window, context, verdicts)),
            tasks.create_task(checkpoints.write()),
            tasks.create_task(_tick(socket, window)),
            tasks.create_task(_stop_when_told(context, window)),
            tasks.create_task(keep_lookups(config.lookups, socket, context)),
            tasks.create_task(keep_rules(config.rules, context.data_dir, socket, context, prepare=matchers.prepare)),
            tasks.create_task(serve_replays(context)),
            tasks.create_task(tell_balance(context)),
            *([tasks.create_task(tell_letters(context))] if config.dead_letters.stream else []),
        ]
        await window.opened.wait()
        await _begin(books, window, context)
        skips = Skips()
        background.append(tasks.create_task(relieve(journal, skips, context)))
        run = partial(
            _run_output, window=window, books=books, cursors=cursors, skips=skips, sources=sources, context=context
        )
        await asyncio.gather(*(tasks.create_task(run(name, output)) for name, output in outputs.items()))
        cursors.stop()
        for task in background:
            task.cancel()
    await cursors.save()


def _give_way() -> None:
    """Take a core only where the intake leaves one, and walk garbage seldom."""
    os.nice(NICENESS)
    # A batch task takes the core from nobody when it wakes (measured: a quarter off the p99 of 200 waiting senders).
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    gc.freeze()
    # A chunk makes tens of thousands of short-lived tuples that hold no cycles; at the default threshold the collector
    # walks them again and again (measured: 0.35 us per event).
    gc.set_threshold(100_000, 20, 20)


async def _begin(books: Books, window: Window, context: Context) -> None:
    """Write down where outputs begin that are new, before anything is delivered; tried again until it can be."""
    oldest = {name: options.start == "oldest" for name, options in context.config.outputs.items()}
    while not window.stopped and window.end is not None:
        try:
            await asyncio.to_thread(books.begin, window.journal, oldest, window.end)
        except OSError as error:
            context.unhealthy("cursors", f"new ones cannot be written: {error.strerror}")
            await context.pause(CURSOR_INTERVAL_S)
        else:
            return


async def _stop_when_told(context: Context, window: Window) -> None:
    await context.stopping.wait()
    window.stop()


def _pipeline(settings: Settings, verdicts: dict[Position, Verdict], matchers: Matchers) -> Pipeline:
    return Pipeline(settings, _report_failure, verdicts, on_rule_failure=_report_rule, matchers=matchers)


def _marking(context: Context) -> Callable[[Pipeline], ReaderPipeline]:
    """Return what makes a pipeline say what it has in hand; without a disk's few bytes for that it goes without."""
    limit_memory(own_limit(context.config.worker.memory_limit))
    try:
        in_hand = InHand(context.data_dir, os.getpid())
    except OSError as error:
        logger.warning("not_isolated", reason=error.strerror)
        return lambda pipeline: pipeline
    return lambda pipeline: MarkedPipeline(pipeline, in_hand)


async def _follow(socket: Path, window: Window, context: Context, verdicts: dict[Position, Verdict]) -> None:
    """Keep `window.end` at what the intake says is durable, across its restarts; all verdicts are known before it."""
    while True:
        try:
            async with InternalClient(socket) as client:
                verdicts.update(verdicts_of(await client.last_produced(PRODUCER)))
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
    name: str,
    output: Output,
    *,
    window: Window,
    books: Books,
    cursors: Cursors,
    skips: Skips,
    sources: dict[str, Source],
    context: Context,
) -> None:
    """Run one output from its cursor; a failure stops only it, and not for long."""
    pause_s = 0.5
    while not window.stopped:
        try:
            cursor = read_cursor(window.journal, name)
            book = await asyncio.to_thread(books.open, name, cursor)
            counted = book.position if book.position > START else None
            reached = start_of(await asyncio.to_thread(output.resume, counted), window.end)
            leads = name != DEAD_LETTERS or not context.config.outputs
            moved, skip_to = partial(cursors.move, name), skips.target(name)
            source = Source(window, book, moved, hand_from=reached, skip_to=skip_to, leads=leads)
            sources[name] = source
            context.healthy(f"output {name}")
            with contextlib.closing(source):
                await skips.interrupt(name, output.run(source))
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


def _report_failure(path: str, frame: Frame, error: Exception) -> None:
    telemetry.PIPELINE_FAILURES.labels(path=path).inc()
    logger.error("pipeline_path_failed", path=path, epoch=frame.epoch, sequence=frame.sequence, exc_info=error)


def _report_rule(rule: Rule | None, error: Exception) -> None:
    telemetry.RULE_FAILURES.inc()
    named = "the set" if rule is None else f"{rule.title} ({rule.key})"
    logger.error("rule_failed", rule=named, exc_info=error)


def _report_gap(gap: Gap) -> None:
    telemetry.JOURNAL_GAPS.inc()
    logger.error("journal_gap", first=tuple(gap.first), last=tuple(gap.last), reason=gap.reason)


def _report_passed_over(reason: str) -> None:
    logger.warning("checkpoint_not_used", reason=reason)
