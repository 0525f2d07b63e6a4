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

import uvloop

from collector import telemetry
from collector.housekeeping import INTERVAL_S, Housekeeping
from collector.inputs.forward import ForwardInput
from collector.inputs.input import Input
from collector.inputs.peers import Places
from collector.inputs.sockets import ListenError
from collector.internal import InternalServer
from collector.journal.options import JournalOptions
from collector.journal.recogniser import Recogniser
from collector.journal.writer import Journal
from collector.logs import Recurring, get_logger
from collector.role import Context
from collector.wire.blocks import Blocks

SWITCH_INTERVAL_S: Final = 0.0002
"""How long the loop may make the journal's thread wait for the interpreter; at Python's 5 ms the acks of 200 waiting
senders took twice as long (p99 of `make bench`, case `acks`)."""

OWN_FILES: Final = 64
"""Files that connections leave to us: without them no segment could roll, and a flood of connections would stop all."""

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
    places = Places(_raise_file_limit())
    config = context.config
    context.unhealthy("journal", "opening")
    for name in config.inputs:
        context.unhealthy(f"input {name}", "not listening yet")
    journal = await asyncio.to_thread(_open_journal, context)
    recogniser = await asyncio.to_thread(Recogniser, journal, context.data_dir / "journal")
    internal = InternalServer(journal, Path(context.data_dir) / "run" / "intake.sock")
    blocks = Blocks()
    inputs: list[Input] = [
        ForwardInput(
            name=name,
            options=options,
            journal=recogniser,
            blocks=blocks,
            collector=config.name,
            places=places,
        )
        for name, options in config.inputs.items()
    ]
    for each in inputs:
        journal.room.on_pressure(each.press)
    house = Housekeeping(context, journal, recogniser, inputs)
    try:
        await internal.start()
        house.tell_journal()
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(_listen(context, each)) for each in inputs]
            background.append(tasks.create_task(house.keep()))
            await context.stopping.wait()
            for task in background:
                task.cancel()
        await asyncio.gather(*(each.drain(timeout_s=DRAIN_TIMEOUT_S) for each in inputs))
    finally:
        # Producers last: what they append while senders are drained is kept too.
        await internal.close()
        await house.finish()
        await journal.close()
        await asyncio.to_thread(recogniser.close)
        house.close()


def _open_journal(context: Context) -> Journal:
    config = context.config
    consumers = frozenset(config.consumers)
    options = JournalOptions(
        limit_bytes=config.journal.limit,
        segment_age_s=config.journal.segment_age,
        archive_s=config.journal.archive,
        compress=config.journal.compress,
        consumers=consumers,
        replayed=True,
        sync=_timed_sync,
    )
    return Journal.open(Path(context.data_dir) / "journal", name=config.name, options=options)


def _timed_sync(descriptor: int) -> None:
    """Make a file durable and note how long that took; runs in the journal's thread."""
    started = time.perf_counter()
    os.fdatasync(descriptor)
    telemetry.JOURNAL_SYNC_DURATION.observe(time.perf_counter() - started)


def _raise_file_limit() -> int:
    """Allow as many connections as the system allows at all; return how many files that leaves for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - OWN_FILES, 1)


async def _listen(context: Context, each: Input) -> None:
    """Start an input; while that fails, the others work, and the operator is told."""
    failures = Recurring()
    while True:
        try:
            await each.start()
        except ListenError as error:
            context.unhealthy(f"input {each.name}", str(error))
            if failures.is_due(str(error)):
                logger.error("input_not_listening", input=each.name, reason=str(error))  # noqa: TRY400 - a sentence
            await asyncio.sleep(INTERVAL_S)
        else:
            context.healthy(f"input {each.name}")
            logger.info("input_listening", input=each.name, address=each.address)
            return
