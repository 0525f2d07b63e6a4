"""`tidewaiter run`."""

import asyncio
import sys

import click

from collector.logs import configure, get_logger


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Run the collector in the foreground.

    SIGTERM or Ctrl-C drains and stops it: what was acknowledged is on disk, cursors are saved.
    """
    from collector.supervisor import supervise  # the other commands do without it

    loaded = ctx.obj.load()
    configure()
    logger = get_logger("supervisor")
    logger.info("starting", configuration=loaded.source, data_dir=loaded.config.data_dir)
    for warning in loaded.warnings:
        logger.warning(warning)
    sys.exit(asyncio.run(supervise(loaded.config)))
