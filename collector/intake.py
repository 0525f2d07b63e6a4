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
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from collector import telemetry
from collector.config import Config, ForwardInputConfig, ListeningInputConfig, listening
from collector.config_http import HttpInputConfig
from collector.control import Prepare
from collector.housekeeping import Housekeeping
from collector.inputs.forward import ForwardInput
from collector.inputs.http import HttpInput
from collector.inputs.input import Appender, Input
from collector.inputs.kubernetes_audit import KubernetesAuditInput
from collector.inputs.peers import Places
from collector.internal import InternalServer
from collector.journal.options import JournalOptions
from collector.journal.recogniser import Recogniser
from collector.journal.writer import Journal
from collector.logs import get_logger
from collector.ports import Ports
from collector.recorded import RecordedConfiguration
from collector.role import Context
from collector.wire.blocks import Blocks

SWITCH_INTERVAL_S: Final = 0.0002
"""How long the loop may make the journal's thread wait for the interpreter; at Python's 5 ms the acks of 200 waiting
senders took twice as long (p99 of `make bench`, case `acks`)."""

OWN_FILES: Final = 64
"""Files that connections leave to us: without them no segment could roll, and a flood of connections would stop all."""

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
    for name in listening(config):
        context.unhealthy(f"input {name}", "not listening yet")
    journal = await asyncio.to_thread(_open_journal, context)
    recogniser = await asyncio.to_thread(Recogniser, journal, context.data_dir / "journal")
    internal = InternalServer(journal, Path(context.data_dir) / "run" / "intake.sock")
    blocks = Blocks()

    def make(name: str, options: ListeningInputConfig) -> Input:
        return _input(name, options, journal=recogniser, blocks=blocks, collector=config.name, places=places)

    ports = Ports(context, make, listening(config))
    journal.room.on_pressure(ports.press)
    house = Housekeeping(context, journal, recogniser, ports.inputs)
    ports.on_left = house.left
    recorded = RecordedConfiguration(journal, config) if config.settings else None
    try:
        await internal.start()
        house.tell_journal()
        if recorded is not None:
            await recorded.begin()
        ports.begin()
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(house.keep())]
            if recorded is not None:
                background.append(tasks.create_task(recorded.keep()))
                background.append(tasks.create_task(_reload(context, journal, ports, recorded)))
            await context.stopping.wait()
            for task in background:
                task.cancel()
        await ports.close()
    finally:
        # Producers last: what they append while senders are drained is kept too.
        await internal.close()
        await house.finish()
        await journal.close()
        await asyncio.to_thread(recogniser.close)
        house.close()


async def _reload(context: Context, journal: Journal, ports: Ports, recorded: RecordedConfiguration) -> None:
    """Do what a reload asks: get ready for another configuration, then change to it or forget it."""
    prepared = context.config
    while True:
        asked = await context.changes.get()
        if isinstance(asked, Prepare):
            prepared = msgspec.convert(asked.config, Config)
            context.answer(asked.number, await ports.prepare(listening(prepared)))
            continue
        if not asked.go:
            ports.abandon()
            continue
        problems = await ports.switch(partial(recorded.change, prepared))
        if not problems:
            context.config = prepared
            journal.change(_journal_options(prepared))
        context.answer(asked.number, problems)


def _input(
    name: str, options: ListeningInputConfig, *, journal: Appender, blocks: Blocks, collector: str, places: Places
) -> Input:
    """Make an input of its type."""
    if isinstance(options, ForwardInputConfig):
        return ForwardInput(
            name=name, options=options, journal=journal, blocks=blocks, collector=collector, places=places
        )
    make = HttpInput if isinstance(options, HttpInputConfig) else KubernetesAuditInput
    return make(name=name, options=options, listen=options.listen, journal=journal, blocks=blocks, places=places)


def _open_journal(context: Context) -> Journal:
    config = context.config
    return Journal.open(Path(context.data_dir) / "journal", name=config.name, options=_journal_options(config))


def _journal_options(config: Config) -> JournalOptions:
    return JournalOptions(
        limit_bytes=config.journal.limit,
        segment_age_s=config.journal.segment_age,
        archive_s=config.journal.archive,
        compress=config.journal.compress,
        consumers=frozenset(config.consumers),
        replayed=True,
        sync=_timed_sync,
    )


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
