"""Keeps the rules that stand in files in the journal: all of them at a start, and again when a file changed.

A set that cannot be built changes nothing: the one before holds, and health and log say why. Of one that can be, files
with mistakes are told, each with the first. A file that is being written is left alone until it looks the same twice.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from collector import telemetry
from collector.config_rules import COMPONENT, RulesConfig
from collector.errors import TidewaiterError
from collector.health import Health
from collector.logs import get_logger
from collector.producer import JournalProducer, RejectedError
from collector.rule_build import Built
from collector.rule_files import Signature, signature
from collector.rule_process import NotBuiltError, build_apart
from pipelines.detect.carried import ENCODING, encode_rules
from pipelines.detect.rule import RuleSet

PRODUCER: Final = "rules"

LOOK_S: Final = 1.0
"""How often it is looked whether a file changed."""

RETRY_LOOKS: Final = 60
"""After so many looks a set is built again that could not be, though no file changed: memory was short, perhaps."""

UNSETTLED_LOOKS: Final = 5
"""So often a set is left alone because a file of it changed since the look before; then it is built all the same."""

BUILD_TOLD_S: Final = 30.0
"""After this a start says that rules are still being loaded, which is all that readiness waits for."""

TOLD_LIMIT: Final = 3
"""Files that health names; the log has more, and `tidewaiter check` all."""

logger = get_logger("worker")

Pause = Callable[[float], Awaitable[None]]
Append = Callable[[bytes], Awaitable[None]]
Build = Callable[[], Awaitable[Built]]


class RuleFiles:
    """Looks after the files; `append` is told of every message, and returns when it is durable."""

    def __init__(self, options: RulesConfig, append: Append, health: Health, build: Build) -> None:
        self._options = options
        self._append = append
        self._health = health
        self._build = build
        self._looked: Signature = ()
        self._taken: Signature = ()
        self._appended: bytes | None = None
        self._looks_until_retry = 0
        self._unsettled = 0

    async def start(self) -> None:
        """Append the set that stands in the files, where one can be built."""
        self._looked = await self._signature()
        await self._take()

    async def look(self) -> None:
        """Build the set anew when a file changed since it was taken, and none since the last look.

        One that changes at every look does not hold up the others for ever.
        """
        before, self._looked = self._looked, await self._signature()
        self._looks_until_retry -= self._looks_until_retry > 0
        self._unsettled = 0 if self._looked == before else self._unsettled + 1
        settled = self._looked == before or self._unsettled >= UNSETTLED_LOOKS
        if settled and (self._looked != self._taken or self._looks_until_retry == 1):
            self._unsettled = 0
            await self._take()

    async def _signature(self) -> Signature:
        return await asyncio.to_thread(signature, self._options)

    async def _take(self) -> None:
        self._taken, self._looks_until_retry = self._looked, 0
        try:
            built = await self._build()
            if built.message != self._appended:
                await self._append(built.message)
                self._appended = built.message
                logger.info("rules_loaded", rules=built.rules, active=built.active, files=built.files)
        except (NotBuiltError, RejectedError) as error:
            self._looks_until_retry = RETRY_LOOKS
            self._tell_not_built(error)
            return
        self._tell(built)

    def _tell_not_built(self, error: TidewaiterError) -> None:
        reason = f"{error}; the rules before hold"
        logger.error("rules_not_loaded", reason=reason)
        self._health.unhealthy(COMPONENT, reason)

    def _tell(self, built: Built) -> None:
        telemetry.RULES_ACTIVE.set(built.active)
        telemetry.RULE_MISTAKES.set(built.mistakes)
        for problem in built.problems:
            logger.error("rule_not_loaded", reason=problem)
        if not built.faulty_files:
            self._health.healthy(COMPONENT)
            return
        said = [
            f"{each.file} has {counted(each.mistakes, 'mistake')}{'; its rules before hold' if each.held else ''}: "
            f"{each.first}"
            for each in built.faulty[:TOLD_LIMIT]
        ]
        if built.faulty_files > len(said):
            said.append(f"{counted(built.faulty_files - len(said), 'further file')} as well")
        self._health.unhealthy(COMPONENT, "; ".join(said))


def counted(count: int, what: str) -> str:
    """Return a number of things: `1 mistake`, `2 mistakes`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


async def keep_rules(
    options: RulesConfig,
    data_dir: Path,
    socket: Path,
    health: Health,
    *,
    prepare: Callable[[bytes], None],
    build: Build | None = None,
    pause: Pause = asyncio.sleep,
) -> None:
    """Look after the files until cancelled. Without rules nothing is appended, unless there are some to forget.

    `prepare` is called with each set, in another thread, before that is appended: when it holds, it is ready.
    """

    async def append(message: bytes) -> None:
        with contextlib.suppress(ValueError, RecursionError):  # As a frame it is a dead letter, which says why.
            await asyncio.to_thread(prepare, message)
        await producer.append(message)

    async with JournalProducer(socket, PRODUCER, encoding=ENCODING) as producer:
        last = await producer.begin()
        if not options.wanted:
            if last is not None:
                await producer.append(encode_rules(RuleSet()))
                logger.info("rules_loaded", rules=0, active=0, files=0)
            return
        files = RuleFiles(options, append, health, build or partial(build_apart, options, data_dir))
        await _started(files, health)
        while True:
            await pause(LOOK_S)
            await files.look()


async def _started(files: RuleFiles, health: Health) -> None:
    """Start, and speak of rules that take long to load: what comes in until then is asked of those the journal has."""
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(files.start())
        await asyncio.wait({starting}, timeout=BUILD_TOLD_S)
        if not starting.done():
            health.unhealthy(COMPONENT, "they are still being loaded")
