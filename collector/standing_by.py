"""What a worker does that takes the place of another: everything that can fail, and nothing that the other owns."""

import asyncio
from pathlib import Path

from collector.config_rules import COMPONENT as RULES
from collector.internal import InternalClient
from collector.lookup_files import read_table
from collector.role import Context
from collector.rule_process import build_apart


async def stood_by(context: Context, socket: Path) -> bool:
    """Get as far as is possible beside the worker before us, say so, and wait for our turn; False for a stop.

    Nothing that it owns is touched: neither outputs' files nor cursors, nor is anything appended. Rules are built, so
    that they are there when it is our turn; mistakes in them are told then, and keep nobody from a reload.
    """
    for name, options in context.config.lookups.items():
        await asyncio.to_thread(read_table, name, options)
        context.healthy(f"lookup {name}")
    if context.config.rules.wanted:
        await build_apart(context.config.rules, context.data_dir)
        context.healthy(RULES)
    async with InternalClient(socket):
        context.healthy("journal")
    await context.turn.wait()
    return not context.stopping.is_set()
