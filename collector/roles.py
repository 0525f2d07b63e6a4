"""The processes of one collector by role: made of a configuration, exchanged by a reload, stopped in order.

Each role gets only its part of the configuration: the intake what listens and no outputs (nor their secrets), the
watcher whom it asks, the worker of inputs no more than whom those speak for, the console nothing.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from collector.changes import configuration_hash
from collector.child import Backoff, Child, Command, inherited_environment
from collector.config import DEAD_LETTERS_OUTPUT, Config, audited, listening, watched
from collector.config_http import without_secrets
from collector.config_rules import COMPONENT as RULES
from collector.config_secrets import Secret
from collector.isolation.inquest import WorkerInquest
from collector.pipeline_settings import pipeline_settings
from pipelines.configuration import encode_settings

INTAKE: Final = "intake"
WORKER: Final = "worker"
CONSOLE: Final = "console"
WATCHER: Final = "watcher"
JUDGE: Final = "judge"
"""Started for one judgement only (`collector.isolation`)."""


def role_command(role: str, descriptor: int) -> Sequence[str]:
    """Return the command line of a role's process; -P keeps the current folder off the import path."""
    return [sys.executable, "-P", "-m", "collector.role", role, "--control-fd", str(descriptor)]


def config_for(role: str, config: Config) -> Config:
    """Return what a role may know."""
    if role == INTAKE:
        return msgspec.structs.replace(
            config,
            inputs=dict(listening(config)),
            outputs={},
            consumers=sorted({*config.outputs, DEAD_LETTERS_OUTPUT}),
            hash=configuration_hash(config),
            settings=encode_settings(pipeline_settings(config)).decode(),
        )
    if role in (WORKER, JUDGE):
        posted = {name: without_secrets(options) for name, options in audited(config).items()}
        outputs = config.outputs if role == WORKER else {}
        return msgspec.structs.replace(config, inputs={**watched(config), **posted}, outputs=outputs)
    if role == WATCHER:
        return msgspec.structs.replace(config, inputs=dict(watched(config)), outputs={}, hosts={})
    return msgspec.structs.replace(config, inputs={}, outputs={}, hosts={})


def secret_variables(section: Mapping[str, msgspec.Struct]) -> frozenset[str]:
    """Return the environment variables that hold secrets of inputs or outputs: only one role inherits them."""
    options = [value for each in section.values() for value in msgspec.structs.asdict(each).values()]
    options += [inner for value in options if isinstance(value, dict) for inner in value.values()]
    return frozenset(value.env for value in options if isinstance(value, Secret) and value.env)


def worker_components(config: Config) -> frozenset[str]:
    """Return the components that a worker has spoken of once it is up."""
    lookups = (f"lookup {name}" for name in config.lookups)
    return frozenset({"journal", *lookups, *([RULES] if config.rules.wanted else [])})


def required_components(config: Config) -> dict[str, frozenset[str]]:
    """Return by role the components that it must have spoken of before it counts as up."""
    required = {
        INTAKE: frozenset({"journal", *(f"input {name}" for name in listening(config))}),
        WORKER: worker_components(config),
        CONSOLE: frozenset({"console"}),
    }
    if watched(config):
        required[WATCHER] = frozenset(f"input {name}" for name in watched(config))
    return required


class Roles:
    """The processes; every role has one at a time, beside those that `leave`.

    `config` is the configuration that holds, `required` what each role must have spoken of before it counts as up.
    `lock` is the data folder's, `on_change` is called when something about a role changed.
    """

    def __init__(
        self,
        config: Config,
        *,
        lock: int,
        command: Command,
        make_backoff: Callable[[], Backoff],
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.required = required_components(config)
        self._lock = lock
        self._command = command
        self._make_backoff = make_backoff
        self._on_change = on_change
        self._keeping: dict[Child, asyncio.Task[None]] = {}
        self._leaving: list[Child] = []
        self._children = {role: self._make(role, config) for role in self.required}

    def __getitem__(self, role: str) -> Child:
        """Return the process of a role."""
        return self._children[role]

    def __contains__(self, role: str) -> bool:
        """Tell whether there is such a role."""
        return role in self._children

    def items(self) -> list[tuple[str, Child]]:
        """Return roles and their processes."""
        return list(self._children.items())

    def look(self) -> None:
        """End those that do not go on by themselves."""
        for child in self._children.values():
            child.look()

    def retire(self) -> None:
        """Start none again that ends."""
        for child in self._children.values():
            child.retire()

    def begin(self) -> None:
        """Start them all."""
        for child in self._children.values():
            self._keep(child)

    def start_beside(self, role: str, config: Config, *, stands_by: bool = False) -> Child:
        """Start another process of a role, under another configuration; it is none of the roles yet."""
        child = self._make(role, config, stands_by=stands_by)
        self._keep(child)
        return child

    def adopt(self, config: Config) -> None:
        """Let a configuration hold: who is started again from now on gets its part."""
        self.config = config
        self.required = required_components(config)
        for role, child in self._children.items():
            child.configure(self._part(role, config), self._environment(role, config))

    async def exchange(self, role: str, successor: Child | None, *, limit_s: float) -> None:
        """Put a process in the place of another, or none, and let that other end; one that takes too long is killed."""
        before = self._children.pop(role, None)
        if successor is not None:
            self._children[role] = successor
        if before is not None:
            self._leaving.append(before)
            before.stop()
            await self.ended(before, limit_s=limit_s)

    async def ended(self, child: Child, *, limit_s: float) -> None:
        """Wait for a process that was told to end; kill it where it takes too long."""
        keeping = self._keeping[child]
        await asyncio.wait({keeping}, timeout=max(limit_s, 0.0))
        if not keeping.done():
            child.kill()
            await asyncio.wait({keeping})
        del self._keeping[child]
        if child in self._leaving:
            self._leaving.remove(child)

    def kept(self, *roles: str, leaving: bool) -> list[asyncio.Task[None]]:
        """Return what ends when these roles have, and with `leaving` those in whose place others came."""
        children = [*(self._children[role] for role in roles), *(self._leaving if leaving else ())]
        return [self._keeping[child] for child in children if child in self._keeping]

    def is_over(self, role: str) -> bool:
        """Tell whether a role's process has ended for good."""
        return self._keeping[self._children[role]].done()

    async def kill_all(self) -> None:
        """End everything at once."""
        for child in self._keeping:
            child.kill()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    def _keep(self, child: Child) -> None:
        self._keeping[child] = asyncio.create_task(child.keep())

    def _make(self, role: str, config: Config, *, stands_by: bool = False) -> Child:
        def judge() -> Child:
            return self._make(JUDGE, config)

        inquest = WorkerInquest(Path(config.data_dir), config.worker, judge) if role == WORKER else None
        return Child(
            role,
            config=self._part(role, config),
            command=self._command,
            environment=self._environment(role, config),
            # The lock is theirs too: it ends with the last of them, never while an old intake may still write.
            held=(self._lock,),
            backoff=self._make_backoff(),
            on_change=self._on_change,
            stands_by=stands_by,
            inquest=inquest,
        )

    def _part(self, role: str, config: Config) -> dict[str, Any]:
        return dict(msgspec.to_builtins(config_for(role, config)))

    def _environment(self, role: str, config: Config) -> dict[str, str]:
        secrets: frozenset[str] = frozenset()
        if role != INTAKE:
            secrets |= secret_variables(listening(config))
        if role != WORKER:
            secrets |= secret_variables(config.outputs)
        return inherited_environment(role, secrets | {"NOTIFY_SOCKET"})
