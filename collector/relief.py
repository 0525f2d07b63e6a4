"""What is done when the journal nears its limit because of an output: a warning, and optional outputs skip.

A journal that is full lets senders wait, and nothing that was not delivered is deleted. An output that is declared
`optional` holds nobody up: before that happens it is taken on to newer records. What it has not had then is read all
the same, and counted as skipped in its book; nothing is passed over in silence.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Set
from pathlib import Path
from typing import Final

import msgspec

from collector.config import DEAD_LETTERS_OUTPUT
from collector.config_values import size_text
from collector.errors import DataDirError
from collector.journal.cursors import cursors
from collector.journal.segment_file import stored_bytes
from collector.journal.segments import first_position, segment_files
from collector.logs import get_logger
from collector.role import Context
from pipelines.frame import Position

INTERVAL_S: Final = 1.0
"""How often it is looked at."""

WARNED_PART: Final = 0.75
"""So much of the limit may wait for outputs before it is warned of, and optional outputs are skipped. Senders wait when
64 MiB or an eighth of it are left."""

LEFT_PART: Final = 0.5
"""So much of the limit may wait for an optional output that was skipped."""

NOTHING_SETTLED: Final = Position(0, 0, 0)

logger = get_logger("worker")


class Pressure(msgspec.Struct, frozen=True):
    """How much of a journal's limit waits for whom. `skips` are positions to which optional outputs are to be taken."""

    limit_bytes: int
    held_bytes: Mapping[str, int]
    skips: Mapping[str, Position]

    @property
    def warning(self) -> str:
        """A sentence where the limit is near, else nothing."""
        most = max(self.held_bytes.values(), default=0)
        if most < WARNED_PART * self.limit_bytes:
            return ""
        names = sorted(name for name, held in self.held_bytes.items() if held == most)
        outputs = f"output{'s' if len(names) > 1 else ''} {', '.join(names)}"
        is_skipped = set(names) <= self.skips.keys()
        ending = (
            ("it is" if len(names) == 1 else "they are") + " skipped" if is_skipped else "at the limit senders wait"
        )
        return f"{size_text(most)} of {size_text(self.limit_bytes)} wait for {outputs}: {ending}"


class Skips:
    """Positions to which optional outputs are to be taken on; belongs to the event loop."""

    def __init__(self) -> None:
        self._targets: dict[str, Position] = {}
        self._asked: dict[str, asyncio.Event] = {}

    def target(self, name: str) -> Position:
        """Return up to where an output skips; nothing lies before NOTHING_SETTLED."""
        return self._targets.get(name, NOTHING_SETTLED)

    def ask(self, name: str, target: Position) -> bool:
        """Have an output skip up to `target`; return whether that is news."""
        if target <= self.target(name):
            return False
        self._targets[name] = target
        if name in self._asked:
            self._asked[name].set()
        return True

    async def interrupt(self, name: str, running: Coroutine[None, None, None]) -> None:
        """Await an output's run, but cancel it when it is asked to skip: what it has in hand is not delivered then."""
        asked = self._asked[name] = asyncio.Event()
        waiting, run = asyncio.create_task(asked.wait()), asyncio.create_task(running)
        try:
            await asyncio.wait({run, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            if not run.done():
                run.cancel()
                await asyncio.wait({run})
        if not run.cancelled():
            run.result()


async def relieve(journal: Path, skips: Skips, context: Context) -> None:
    """Warn of a journal that nears its limit because of outputs, and have optional ones skip, until cancelled."""
    config = context.config
    consumers = {*config.outputs, DEAD_LETTERS_OUTPUT}
    optional = {name for name, options in config.outputs.items() if options.optional}
    warned = False
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            found = await asyncio.to_thread(pressure, journal, config.journal.limit, consumers, optional)
        except (OSError, DataDirError):
            continue  # whose cursor it is says so, and so does who cannot write
        if found.warning:
            context.unhealthy("journal limit", found.warning)
        else:
            context.healthy("journal limit")
        if found.warning and not warned:
            logger.warning("journal_near_limit", reason=found.warning)
        warned = bool(found.warning)
        for name, target in found.skips.items():
            if skips.ask(name, target):
                logger.error("output_skips", output=name, to=tuple(target), reason=found.warning)


def pressure(directory: Path, limit_bytes: int, consumers: Set[str], optional: Set[str]) -> Pressure:
    """Look at a journal's files; raises DataDirError for a damaged cursor, OSError.

    An optional output is skipped only where that helps: not beyond where others that are not optional stand.
    """
    known = dict.fromkeys(consumers, NOTHING_SETTLED) | cursors(directory)
    behind = 0
    sizes: list[tuple[Position, int]] = []
    for name in reversed(segment_files(directory)):
        with contextlib.suppress(FileNotFoundError):  # deleted at this moment
            behind += stored_bytes(directory, name)
            sizes.append((first_position(name), behind))
    held = {name: _held(sizes, position) for name, position in known.items()}
    bound = min((position for name, position in known.items() if name not in optional), default=None)
    skips = {}
    for name in optional & known.keys():
        # The newest segment is never passed over as a whole.
        newest = [first for first, size in sizes if size <= LEFT_PART * limit_bytes] or [each for each, _ in sizes[:1]]
        target = min(newest, default=known[name])
        target = min(target, bound) if bound is not None else target
        if held[name] >= WARNED_PART * limit_bytes and known[name] < target:
            skips[name] = target
    return Pressure(limit_bytes, held, skips)


def _held(sizes: list[tuple[Position, int]], position: Position) -> int:
    """Return what stands from the segment of a position on."""
    for first, size in sizes:
        if first <= position:
            return size
    return sizes[-1][1] if sizes else 0
