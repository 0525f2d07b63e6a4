"""Reload: another configuration takes the place of the one that holds, or everything stays as it was.

Everything that can fail comes first, and changes nothing: the file is read, what it names is looked at, the intake
loads keys and binds addresses, another worker starts beside the one that runs, another console where it listens
elsewhere. Then the intake puts the configuration into the journal, which is where it begins to hold, and changes its
inputs; the worker commits and lets go, the new one goes on from the cursors. Who dies behind that is started again
under the new configuration; a collector that is killed anywhere starts under what the file says.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from collector.changes import changes, configuration_hash, unchangeable
from collector.child import Child
from collector.config import Config, watched
from collector.config_file import Loaded, unreached, unreadable
from collector.config_values import address_of
from collector.control import Answer, Prepare, Switch
from collector.errors import ConfigError, Problem
from collector.logs import get_logger
from collector.roles import CONSOLE, INTAKE, WATCHER, WORKER, Roles, config_for, worker_components
from collector.usable import unusable

POLL_S: Final = 0.05
"""How often it is looked whether a new process is ready."""

TOLD_LIMIT: Final = 50
"""Of so many changes or problems the log and our own record tell; the command shows them all."""

logger = get_logger("supervisor")


class Outcome(msgspec.Struct, frozen=True):
    """What became of a reload. `changes` are what differs, `problems` why it was refused: then nothing changed."""

    status: Literal["reloaded", "refused"]
    source: str
    hash: str = ""
    changes: list[str] = []
    problems: list[Problem] = []
    warnings: list[str] = []
    seconds: float = 0.0

    def tell(self) -> None:
        """Log it."""
        if self.status == "refused":
            for problem in self.problems[:TOLD_LIMIT]:
                logger.error("reload_problem", option=problem.path, line=problem.line, reason=problem.message)
            logger.error("reload_refused", problems=len(self.problems), holds="the configuration before")
            return
        for warning in self.warnings:
            logger.warning(warning)
        logger.info("reloaded", changes=self.changes[:TOLD_LIMIT], hash=self.hash, seconds=self.seconds)

    def details(self) -> dict[str, Any]:
        """Return what our own record of it says."""
        found: dict[str, Any] = {"configuration": self.source}
        if self.status == "refused":
            return found | {"problems": [problem.path for problem in self.problems[:TOLD_LIMIT]]}
        return found | {"hash": self.hash, "changes": self.changes[:TOLD_LIMIT]}


class Refused(Exception):
    """The configuration does not come to hold."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"{source}: {len(problems)} problems")
        self.source = source
        self.problems = list(problems)


class Reloader:
    """Makes one reload at a time. `load` reads the configuration again.

    What is new has `ready_s` to get ready, the journal and the intake `switch_s` to change, who ends `let_go_s`.
    """

    def __init__(
        self, roles: Roles, load: Callable[[], Loaded] | None, *, ready_s: float, switch_s: float, let_go_s: float
    ) -> None:
        self._roles = roles
        self._load = load
        self._ready_s = ready_s
        self._switch_s = switch_s
        self._let_go_s = let_go_s
        self._turn = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def reload(self) -> Outcome:
        """Let what the file says now hold, or change nothing; never raises for what is wrong with it."""
        async with self._turn:
            started_s = time.monotonic()
            before = self._roles.config
            try:
                loaded = await asyncio.to_thread(self._read)
                left = await self._change(loaded)
            except ConfigError as error:
                return Outcome("refused", error.file, problems=error.problems)
            except Refused as refused:
                return Outcome("refused", refused.source, problems=refused.problems)
            except Exception as error:  # a fault of ours must not be the last reload
                return self._broken_off(before, error)
            return Outcome(
                "reloaded",
                loaded.source,
                hash=configuration_hash(loaded.config),
                changes=changes(before, loaded.config),
                warnings=[*loaded.warnings, *left],
                seconds=round(time.monotonic() - started_s, 3),
            )

    def _broken_off(self, before: Config, error: Exception) -> Outcome:
        """Log a fault of ours; return which configuration holds: until it is handed over all is put back."""
        logger.error("reload_failed", exc_info=error)
        fault = f"a fault of Tidewaiter's own ({type(error).__name__}) broke it off: see `reload_failed` in the log"
        holds = self._roles.config
        if holds is before:
            return Outcome("refused", "", problems=[Problem("(file)", None, fault)])
        warning = f"{fault}; the new configuration holds, and a restart of the collector puts all in order"
        return Outcome("reloaded", "", configuration_hash(holds), changes(before, holds), warnings=[warning])

    def _read(self) -> Loaded:
        """Read the configuration and look at what it names; raise ConfigError, Refused. Blocking."""
        if self._load is None:
            raise Refused("", [Problem("(file)", None, "there is none that could be read again")])
        loaded = self._load()
        before = self._roles.config
        missed = set(unreadable(before))
        problems = [
            *unchangeable(before, loaded),
            *unusable(loaded),
            # What cannot be read now as before is no reason to keep from what else changed.
            *(Problem("(file)", None, absence) for absence in unreadable(loaded.config) if absence not in missed),
        ]
        if problems:
            raise Refused(loaded.source, problems)
        # Who is asked may come later, and is waited for.
        return msgspec.structs.replace(loaded, warnings=[*loaded.warnings, *unreached(loaded.config)])

    async def _change(self, loaded: Loaded) -> list[str]:
        """Let everything that is new get ready, then switch; raise Refused, after which all is as it was.

        Returns what is not as it should be afterwards.
        """
        roles, config = self._roles, loaded.config
        beside = {WORKER: roles.start_beside(WORKER, config, stands_by=True)}
        before, after = (each.console.listen for each in (roles.config, config))
        if before != after and not address_of(after).collides(address_of(before)):
            beside[CONSOLE] = roles.start_beside(CONSOLE, config)
        try:
            await self._get_ready(loaded, list(beside.values()))
            await self._switch(loaded)
        except BaseException:
            for child in beside.values():
                child.kill()
            await asyncio.gather(*(roles.ended(child, limit_s=0.0) for child in beside.values()))
            raise
        return await self._hand_over(config, beside)

    async def _get_ready(self, loaded: Loaded, beside: Sequence[Child]) -> None:
        """Let the intake prepare, and the new processes start; raise Refused."""
        question = Prepare(next(self._numbers), msgspec.to_builtins(config_for(INTAKE, loaded.config)))
        preparing = asyncio.create_task(self._ask(question, self._ready_s))
        try:
            found = await asyncio.gather(*(self._not_ready(child, loaded.config) for child in beside))
            problems = [*_placed(await preparing, loaded), *(problem for problems in found for problem in problems)]
        finally:
            preparing.cancel()
        if problems:
            self._roles[INTAKE].send(Switch(next(self._numbers), go=False))
            raise Refused(loaded.source, problems)

    async def _switch(self, loaded: Loaded) -> None:
        """Let the intake put it into the journal and change its inputs; raise Refused."""
        answer = await self._ask(Switch(next(self._numbers), go=True), self._switch_s)
        if answer is None:
            # Whatever it did, the next one begins under the configuration that holds.
            self._roles[INTAKE].restart()
        if problems := _placed(answer, loaded):
            raise Refused(loaded.source, problems)

    async def _hand_over(self, config: Config, beside: Mapping[str, Child]) -> list[str]:
        """Let the new processes go on where the old ones end: nothing of this leads back. Returns what is not well."""
        roles, before, limit_s = self._roles, self._roles.config, self._let_go_s
        roles.adopt(config)
        await roles.exchange(WORKER, beside[WORKER], limit_s=limit_s)
        beside[WORKER].go()
        if watched(before) != watched(config):
            await roles.exchange(WATCHER, None, limit_s=limit_s)
            if watched(config):
                await roles.exchange(WATCHER, roles.start_beside(WATCHER, config), limit_s=limit_s)
        if before.console.listen == config.console.listen:
            return []
        if CONSOLE in beside:
            await roles.exchange(CONSOLE, beside[CONSOLE], limit_s=limit_s)
            return []
        # It listens where the one before does, and elsewhere: that one ends first.
        await roles.exchange(CONSOLE, None, limit_s=limit_s)
        console = roles.start_beside(CONSOLE, config)
        await roles.exchange(CONSOLE, console, limit_s=limit_s)
        return [f"{problem.path}: {problem.message}" for problem in await self._not_ready(console, config)]

    async def _ask(self, question: Prepare | Switch, limit_s: float) -> Answer | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._roles[INTAKE].ask(question)
        except TimeoutError:
            return None

    async def _not_ready(self, child: Child, config: Config) -> list[Problem]:
        """Wait until a new process is ready; return what keeps it from that."""
        wanted = worker_components(config) if child.role == WORKER else frozenset({"console"})
        deadline_s = time.monotonic() + self._ready_s
        while time.monotonic() < deadline_s:
            if child.ending:
                return [Problem(child.role, None, f"the new one {child.ending}")]
            health = child.report.health if child.report is not None else {}
            ill = [f"{component}: {reason}" for component, reason in health.items() if reason]
            if child.role == CONSOLE and ill:
                return [Problem("console.listen", None, reason) for reason in ill]
            if wanted <= health.keys() and not ill:
                return []
            await asyncio.sleep(POLL_S)
        return [Problem(child.role, None, f"the new one is not ready after {self._ready_s:.0f} s")]


def _placed(answer: Answer | None, loaded: Loaded) -> list[Problem]:
    """Return what the intake found, with its place in the file."""
    if answer is None:
        return [Problem(INTAKE, None, "does not answer, or ended: see `role_ended` and its own messages in the log")]
    return [Problem(path, loaded.line_of(*path.split(".")), message) for path, message in answer.problems]
