"""`tidewaiter run`."""

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

import click

from collector.commands.journal import held_by_strangers
from collector.config import Config
from collector.logs import configure, get_logger


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Run the collector in the foreground.

    SIGTERM or Ctrl-C drains and stops it: what was acknowledged is on disk, cursors are saved. SIGHUP, or `tidewaiter
    reload`, lets it read its configuration again.
    """
    from collector.supervisor import supervise  # the other commands do without it

    loaded = ctx.obj.load()
    configure()
    logger = get_logger("supervisor")
    logger.info("starting", configuration=loaded.source, data_dir=loaded.config.data_dir)
    for warning in (*loaded.warnings, *held_by_strangers(loaded.config)):
        logger.warning(warning)
    search = how_to_search(sys.argv[0], loaded.config.data_dir)
    sys.exit(asyncio.run(supervise(loaded.config, search=search, load=ctx.obj.load)))


def how_to_search(program: str, data_dir: str) -> str:
    """Return the command line that searches this data folder, as it can be typed in the shell we were started from."""
    found = shutil.which("tidewaiter")
    by_path = Path(program).name == "tidewaiter" and not (found and Path(found).samefile(program))
    elsewhere = [] if Path(data_dir) == Path(Config().data_dir).absolute() else ["--data-dir", data_dir]
    return shlex.join([program if by_path else "tidewaiter", *elsewhere, "search", "*"])
