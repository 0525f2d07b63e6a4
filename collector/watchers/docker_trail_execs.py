"""What an Engine knows of an exec that an event is about, also where the event names another one.

An Engine writes a container's labels over what it adds to an event: under a label `execID` all events of a container
name the same exec, or none. Of such a container the execs that there are, by `ExecIDs`, are asked for, and the one with
the event's command is it; an end is that of one that was found so and is over. Two that run the same at the same time
may be taken for one another.

Of an answer, which may be long, only what records say is kept.
"""

from collections.abc import Mapping
from typing import Any, Final

from collector.logs import Recurring, get_logger
from collector.watchers.docker_client import EngineClient, EngineError
from collector.watchers.docker_trail_records import FORGED, Execution, TrailEvent, is_identity, read_execution

CANDIDATES: Final = 16
"""Execs of a container that are asked for, the newest."""

CONTAINERS_LIMIT: Final = 1_024
"""Containers of which it is remembered whether they have such a label, and which of their execs were found."""

ANSWERS_LIMIT: Final = 1_024
ANSWERS_LIMIT_BYTES: Final = 16 << 20
"""Execs whose answers are remembered, for when there is none to the next event, and bytes of them."""

REFUSED: Final = frozenset({401, 403, 405, 501})
"""How a proxy says that it does not let a question pass, whichever exec it is about."""

logger = get_logger("watcher")


class Labelled:
    """A container whose label makes its events name no exec of its own; `found` are those that were, with events."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}


class Answered:
    """What was answered about execs, the newest of it: of each what holds at its other events as well."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._bytes = 0

    def keep(self, identity: str, execution: Execution) -> None:
        """Remember an answer, if it is about this exec."""
        if execution.content.get("ID") != identity:
            return
        self._forget(identity)
        self._executions[identity] = execution.standing()
        self._bytes += execution.size_bytes
        while len(self._executions) > ANSWERS_LIMIT or self._bytes > ANSWERS_LIMIT_BYTES:
            self._forget(next(iter(self._executions)))

    def about(self, identity: str) -> Execution | None:
        """Return what is remembered of an exec."""
        return self._executions.get(identity)

    def _forget(self, identity: str) -> None:
        execution = self._executions.pop(identity, None)
        self._bytes -= execution.size_bytes if execution is not None else 0


class Execs:
    """Asks about execs through one connection."""

    def __init__(self, client: EngineClient, name: str, refusals: Recurring) -> None:
        self._client = client
        self._name = name
        self._refusals = refusals
        self._containers: dict[str, Labelled | None] = {}
        self.is_refused = False

    async def named(self, event: TrailEvent) -> Execution | None:
        """Return what is known of the exec that an event names, None where it is none of the event's container."""
        answer = await self._ask(event.execution) if event.execution else None
        return answer if answer is not None and answer.content.get("ContainerID") == event.container else None

    async def is_labelled(self, event: TrailEvent) -> bool:
        """Tell whether a label of its container keeps the event from naming its exec; asked once of a container."""
        if self.is_refused or not is_identity(event.container):
            return False
        if event.container not in self._containers:
            self._containers[event.container] = Labelled() if FORGED in await self._labels(event.container) else None
            if len(self._containers) > CONTAINERS_LIMIT:
                del self._containers[next(iter(self._containers))]
        return self._containers[event.container] is not None

    async def sought(self, event: TrailEvent) -> Execution | None:
        """Return what is known of the exec that an event of such a container is about: many questions."""
        labelled = self._containers.get(event.container)
        if self.is_refused or labelled is None:
            return None
        return await (self._ended(labelled) if event.cause == "exec_die" else self._begun(labelled, event))

    async def _begun(self, labelled: Labelled, event: TrailEvent) -> Execution | None:
        container = await self._container(event.container)
        identities = [each for each in container.get("ExecIDs") or () if is_identity(each)]
        for identity in identities[-CANDIDATES:]:
            if event.cause in labelled.found.get(identity, ()):
                continue
            answer = await self._ask(identity)
            if answer is not None and answer.command == event.command:
                labelled.found.setdefault(identity, set()).add(event.cause)
                if len(labelled.found) > CONTAINERS_LIMIT:
                    del labelled.found[next(iter(labelled.found))]
                return answer
        return None

    async def _ended(self, labelled: Labelled) -> Execution | None:
        for identity in list(labelled.found)[:CANDIDATES]:
            answer = await self._ask(identity)
            if answer is None:
                del labelled.found[identity]
            elif answer.content.get("Running") is False and answer.content.get("ExitCode") is not None:
                del labelled.found[identity]
                return answer
        return None

    async def _labels(self, container: str) -> Mapping[str, Any]:
        config = (await self._container(container)).get("Config")
        labels = config.get("Labels") if isinstance(config, dict) else None
        return labels if isinstance(labels, dict) else {}

    async def _container(self, identity: str) -> dict[str, Any]:
        try:
            return await self._client.container(identity) or {}
        except EngineError as error:
            self._say(error)
            return {}

    async def _ask(self, identity: str) -> Execution | None:
        try:
            answer = await self._client.execution(identity)
        except EngineError as error:
            self.is_refused |= error.status in REFUSED
            self._say(error)
            return None
        return read_execution(answer) if answer is not None else None

    def _say(self, error: EngineError) -> None:
        if not error.of_one:
            raise error
        event = "execs_known_by_events_only" if self.is_refused else "exec_not_read"
        if self._refusals.is_due(event):
            logger.warning(event, input=self._name, reason=str(error))
