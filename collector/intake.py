"""The intake role: ports on one side, the journal on the other, the internal socket between it and our own processes.

It has no output's key. It opens the journal first, so nothing is accepted before it can be kept, and closes it last:
inputs are drained, then internal producers, then what is pending is synced.
"""

import asyncio
import contextlib
import gc
import os
import resource
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from collector import telemetry
from collector.errors import TidewaiterError
from collector.inputs.forward import ForwardInput
from collector.inputs.input import Input
from collector.inputs.sockets import ListenError
from collector.internal import InternalServer
from collector.journal.options import JournalOptions
from collector.journal.recogniser import Recogniser
from collector.journal.writer import Journal
from collector.logs import get_logger
from collector.role import Context
from collector.wire.blocks import Blocks

SWITCH_INTERVAL_S: Final = 0.0002
"""How long the loop may make the journal's thread wait for the interpreter; at Python's 5 ms the acks of 200 waiting
senders took twice as long (p99 of `make bench`, case `acks`)."""

HOUSEKEEPING_S: Final = 1.0
"""How often segments are reclaimed, metrics brought up to date and a failed input tried again."""

ANCHOR_LOG_S: Final = 60.0
"""How often the end of the journal's chain is logged, where it moved: logs are kept elsewhere."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long inputs may wait for receipts at a stop; half of the supervisor's limit."""

new_event_loop: Final = uvloop.new_event_loop
"""A message that somebody waits for is three turns of the loop; here they cost a fifth less of the whole."""

logger = get_logger("intake")


async def main(context: Context) -> None:
    """Run the role until `context.stopping`, then drain."""
    gc.freeze()
    # What waits for a sync holds no cycles: to walk it at the default threshold only costs.
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_file_limit()
    config = context.config
    context.unhealthy("journal", "opening")
    for name in config.inputs:
        context.unhealthy(f"input {name}", "not listening yet")
    journal = await asyncio.to_thread(_open_journal, context)
    _tell_recovery(journal)
    recogniser = await asyncio.to_thread(Recogniser, journal, context.data_dir / "journal")
    internal = InternalServer(journal, Path(context.data_dir) / "run" / "intake.sock")
    blocks = Blocks()
    inputs: list[Input] = [
        ForwardInput(
            name=name,
            listen=options.listen,
            journal=recogniser,
            blocks=blocks,
            message_limit_bytes=options.message_limit,
            connection_limit=options.connection_limit,
        )
        for name, options in config.inputs.items()
    ]
    for each in inputs:
        journal.on_pressure(each.press)
    try:
        await internal.start()
        _tell_journal(context, journal)
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(_listen(context, each)) for each in inputs]
            background.append(tasks.create_task(_keep_house(context, journal, recogniser, inputs)))
            await context.stopping.wait()
            for task in background:
                task.cancel()
        await asyncio.gather(*(each.drain(timeout_s=DRAIN_TIMEOUT_S) for each in inputs))
    finally:
        # Producers last: what they append while senders are drained is kept too.
        await internal.close()
        await journal.close()
        await asyncio.to_thread(recogniser.close)
        _tell_recogniser(recogniser)
        _tell_anchor(journal)
        _count(journal, recogniser, inputs)


def _open_journal(context: Context) -> Journal:
    config = context.config
    consumers = frozenset(config.consumers)
    options = JournalOptions(limit_bytes=config.journal.limit, consumers=consumers, sync=_timed_sync)
    return Journal.open(Path(context.data_dir) / "journal", name=config.name, options=options)


def _timed_sync(descriptor: int) -> None:
    """Make a file durable and note how long that took; runs in the journal's thread."""
    started = time.perf_counter()
    os.fdatasync(descriptor)
    telemetry.JOURNAL_SYNC_DURATION.observe(time.perf_counter() - started)


def _raise_file_limit() -> None:
    """Allow as many connections as the system allows at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _listen(context: Context, each: Input) -> None:
    """Start an input; while that fails, the others work, and the operator is told."""
    while True:
        try:
            await each.start()
        except ListenError as error:
            context.unhealthy(f"input {each.name}", str(error))
            logger.error("input_not_listening", input=each.name, reason=str(error))  # noqa: TRY400 - a sentence
            await asyncio.sleep(HOUSEKEEPING_S)
        else:
            context.healthy(f"input {each.name}")
            logger.info("input_listening", input=each.name, address=each.address)
            return


async def _keep_house(context: Context, journal: Journal, recogniser: Recogniser, inputs: list[Input]) -> None:
    told_at_s, told = -ANCHOR_LOG_S, None
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        if journal.anchored != told and time.monotonic() - told_at_s >= ANCHOR_LOG_S:
            told_at_s, told = time.monotonic(), journal.anchored
            _tell_anchor(journal)
        try:
            journal.reclaim()
            recogniser.sweep()
            journal.anchor()
        except (OSError, TidewaiterError) as error:
            logger.error("journal_not_reclaimed", reason=str(error))  # noqa: TRY400 - a sentence
        _tell_journal(context, journal)
        _tell_recogniser(recogniser)
        _count(journal, recogniser, inputs)


def _tell_journal(context: Context, journal: Journal) -> None:
    if journal.full:
        context.unhealthy("journal", "full: its limit is reached or the disk is; senders wait")
    else:
        context.healthy("journal")


def _tell_anchor(journal: Journal) -> None:
    if journal.anchored is not None:
        anchor = msgspec.json.encode(journal.anchored).decode()
        logger.info("journal_anchored", anchor=anchor)


def _tell_recogniser(recogniser: Recogniser) -> None:
    if recogniser.failure:
        logger.warning("resend_index_not_written", reason=recogniser.failure)


def _tell_recovery(journal: Journal) -> None:
    recovered = journal.recovered
    if recovered.cut_bytes or recovered.gaps or recovered.set_aside:
        logger.warning(
            "journal_recovered", cut_bytes=recovered.cut_bytes, gaps=recovered.gaps, set_aside=recovered.set_aside
        )


def _count(journal: Journal, recogniser: Recogniser, inputs: list[Input]) -> None:
    """Bring the metrics up to date; once a second, never per message."""
    for each in inputs:
        counts = each.counts
        telemetry.INPUT_CONNECTIONS.labels(input=each.name).set(counts.connections)
        for counter, total in (
            (telemetry.INPUT_CONNECTIONS_TOTAL, counts.connections_total),
            (telemetry.INPUT_CONNECTIONS_REFUSED, counts.connections_refused),
            (telemetry.INPUT_UNFINISHED, counts.unfinished),
            (telemetry.INPUT_BYTES, counts.bytes),
            (telemetry.INPUT_MESSAGES, counts.messages),
            (telemetry.INPUT_CLAIMED, counts.claimed_records),
            (telemetry.INPUT_ACKS, counts.acks),
            (telemetry.INPUT_REFUSED, counts.refused),
            (telemetry.INPUT_BROKEN_PAYLOADS, counts.broken_payloads),
            (telemetry.INPUT_FAILURES, counts.failures),
        ):
            telemetry.set_total(counter.labels(input=each.name), total)
        for reason, total in counts.broken.items():
            telemetry.set_total(telemetry.INPUT_BROKEN.labels(input=each.name, reason=reason), total)
    appended = journal.appended
    telemetry.set_total(telemetry.JOURNAL_FRAMES, appended.frames)
    telemetry.set_total(telemetry.JOURNAL_BYTES, appended.bytes)
    telemetry.set_total(telemetry.JOURNAL_SYNCS, appended.syncs)
    telemetry.set_total(telemetry.JOURNAL_SYNC_SECONDS, appended.sync_seconds)
    telemetry.set_total(telemetry.JOURNAL_FAILURES, appended.failures)
    telemetry.set_total(telemetry.JOURNAL_RESENDS, recogniser.recognised)
    telemetry.JOURNAL_REMEMBERED.set(recogniser.remembered)
    telemetry.JOURNAL_IN_FLIGHT.set(journal.in_flight_bytes)
    telemetry.JOURNAL_DISK.set(journal.disk_bytes)
    telemetry.JOURNAL_FULL.set(journal.full)
