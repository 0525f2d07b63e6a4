"""One connection to a Docker Engine: its events are read, its containers listed and asked for, and all that is told.

Three things go on at once. The stream is read as it comes into the backlog. Beside it all containers are listed, then
those are asked for that something happens to; each is told only when it is another than was told before. And the Engine
is asked for a sign of life, since a stream may be silent for days and nothing else tells that its peer is gone.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import xxhash

from collector import telemetry
from collector.logs import get_logger
from collector.watchers.docker_client import EngineClient, EngineError
from collector.watchers.docker_connection import Pause, ask_for_life, together
from collector.watchers.docker_pending import Backlog, Cursor, Pending
from collector.watchers.docker_reduce import container_of_event, container_of_list, reduced_container, reduced_image
from collector.watchers.docker_stream import EventLines, Lost, decoded

TOGETHER: Final = 64
"""Containers that are taken up together, and told by one append."""

AT_ONCE: Final = 8
"""Questions that are asked at once."""

CONTAINERS_LIMIT: Final = 25_000
"""Most containers of an Engine: a snapshot names them all, in less than 2 MiB."""

IMAGES_LIMIT: Final = 1_024
"""Images that are remembered; at least as many as are asked for together."""

RELIST_S: Final = 5.0
"""Pause before all is listed for events that were lost: of many, one list is made."""

logger = get_logger("watcher")
_container = re.compile(r"[0-9a-f]{64}")
_image = re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{32,128}")

Message = tuple[dict[str, Any], Cursor]
"""What is told, and from where on nothing is settled for sure when it is durable."""

Append = Callable[[Sequence[Message]], Awaitable[None]]
"""Appends messages, in order; returns when they are durable."""


class Known(msgspec.Struct, frozen=True):
    """What was told of a container: a digest of it, and its image."""

    digest: bytes
    image: str


class Found(msgspec.Struct):
    """The answer for one container: what is told of it, or why there is none (`gone`, `failed`)."""

    container: dict[str, Any] | None = None
    cuts: set[str] = msgspec.field(default_factory=set)
    lacks: str = ""


class EngineSession:
    """What is known through one connection. `run` ends by an EngineError only."""

    def __init__(
        self,
        client: EngineClient,
        append: Append,
        backlog: Backlog,
        *,
        name: str,
        engine: str,
        container_limit: int,
        resync_s: float,
        on_listed: Callable[[int, int], None],
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`name` is the input's, `engine` the Engine's own id; `on_listed` is told how many are known, and left out."""
        self._client = client
        self._append = append
        self._backlog = backlog
        self._name = name
        self._engine = engine
        self._container_limit = container_limit
        self._resync_s = resync_s
        self._on_listed = on_listed
        self._pause = pause
        self._known: dict[str, Known] = {}
        self._images: dict[str, dict[str, Any] | None] = {}
        self._questions = asyncio.Semaphore(AT_ONCE)
        self._news = asyncio.Event()
        self._stale = asyncio.Event()
        self._list_due = True
        self._images_due = False

    async def run(self, stream: AsyncIterator[bytes], host: dict[str, Any]) -> None:
        """Tell of the Engine's host, then work until the connection is lost."""
        await together(self._read(stream), ask_for_life(self._client, self._pause), self._resync(), self._tell(host))

    async def _read(self, stream: AsyncIterator[bytes]) -> None:
        lines = EventLines()
        async for received in stream:
            count = 0
            for line in lines.feed(received):
                event, size_bytes = (decoded(line), len(line)) if isinstance(line, bytes) else (line, 0)
                if isinstance(event, Lost):
                    self._lost(event.reason)
                    continue
                count += 1
                if self._backlog.is_settled(event):
                    continue
                self._images_due |= event.type == "image"
                if not self._backlog.read(event, size_bytes):
                    self._lost("overflow")
            telemetry.WATCHER_EVENTS.labels(input=self._name).inc(count)
            self._news.set()

    def _lost(self, reason: str) -> None:
        telemetry.WATCHER_EVENTS_LOST.labels(input=self._name, reason=reason).inc()
        logger.warning("engine_events_lost", input=self._name, reason=reason)
        self._stale.set()

    async def _resync(self) -> None:
        """Have all listed now and then, and soon after events were lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._resync_s):
                    await self._stale.wait()
                await self._pause(RELIST_S)
            self._stale.clear()
            self._list_due = True
            self._news.set()

    async def _tell(self, host: dict[str, Any]) -> None:
        await self._append([self._message("engine", id=self._engine, host=host)])
        while True:
            self._news.clear()
            if self._list_due:
                self._list_due = False
                await self._list()
            elif self._images_due:
                self._images_due = False
                await self._look_at_images()
            elif len(self._backlog):
                await self._settle(self._backlog.take(TOGETHER))
            else:
                await self._news.wait()

    async def _list(self) -> None:
        """Ask for all containers, the running first, and tell which there are."""
        listed = [each for each in await self._client.containers() if isinstance(each, dict)]
        listed.sort(key=lambda each: each.get("State") != "running")
        found = {str(each.get("Id")): each for each in listed if _container.fullmatch(str(each.get("Id")))}
        if len(found) > CONTAINERS_LIMIT:
            raise EngineError(f"has more than {CONTAINERS_LIMIT} containers", of_one=True)
        followed = [Pending(identity, "list", listed=each) for identity, each in found.items()][: self._container_limit]
        # What could not be learnt of an image is asked for anew.
        self._images = {identity: image for identity, image in self._images.items() if image is not None}
        absent = await self._settle_all(followed)
        present = [identity for identity in found if identity not in absent]
        await self._append([self._message("snapshot", ids=present)])
        for identity in self._known.keys() - set(present):
            del self._known[identity]
        self._on_listed(len(present), max(len(found) - self._container_limit, 0))

    async def _settle_all(self, entries: Sequence[Pending]) -> set[str]:
        """Settle what a list named; return those that are gone meanwhile."""
        absent: set[str] = set()
        for start in range(0, len(entries), TOGETHER):
            group = entries[start : start + TOGETHER]
            for entry in group:
                self._backlog.take_listed(entry)
            absent |= await self._settle(group)
        return absent

    async def _settle(self, entries: Sequence[Pending]) -> set[str]:
        """Ask for these containers, tell of them in their order, and return those that are gone."""
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(self._find(entry)) for entry in entries]
        told = [(entry, task.result()) for entry, task in zip(entries, asking, strict=True)]
        await self._learn_images({_image_of(found) for _, found in told})
        messages = [message for entry, found in told for message in self._messages_of(entry, found)]
        if messages:
            await self._append(messages)
        telemetry.WATCHER_OBJECTS.labels(input=self._name).set(len(self._known))
        return {entry.identity for entry, found in told if found.lacks == "gone"}

    async def _find(self, entry: Pending) -> Found:
        if entry.is_destroyed:
            return Found(lacks="gone")
        try:
            async with self._questions:
                answer = await self._client.container(entry.identity)
        except EngineError as error:
            if not error.of_one:
                raise
            logger.warning("container_not_read", input=self._name, container=entry.identity, reason=str(error))
            return Found(lacks="failed")
        if answer is None:
            return Found(lacks="gone")
        found = Found()
        found.container = {**reduced_container(answer, found.cuts), "Id": entry.identity}
        return found

    def _messages_of(self, entry: Pending, found: Found) -> Iterator[Message]:
        """Yield what was found, if it is another than was told; of what is gone or failed, what else is known of it.

        The entry is settled by the last of them, so what they change of `_known` holds only where they are appended:
        where that fails, so does the connection.
        """
        identity = entry.identity
        if found.container is None and identity not in self._known:
            found.container = _little_known(entry, found.cuts)
            if found.container is not None:
                telemetry.WATCHER_INCOMPLETE.labels(input=self._name, reason=found.lacks).inc()
        if found.container is not None:
            content: dict[str, Any] = {"container": found.container}
            image = self._images.get(_image_of(found))
            content |= {"image": image} if image else {}
            content |= {"cut": sorted(found.cuts)} if found.cuts else {}
            known = Known(_digest(content), _image_of(found))
            if self._known.get(identity) != known:
                self._known[identity] = known
                if not entry.is_destroyed:
                    self._backlog.settled(entry)
                yield self._message("container", cause=entry.cause, **content)
        self._backlog.settled(entry)
        if entry.is_destroyed:
            self._known.pop(identity, None)
            yield self._message("gone", id=identity)

    def _message(self, kind: str, **content: Any) -> Message:
        return {"kind": kind, "engine": self._name, **content}, self._backlog.cursor(self._engine)

    async def _learn_images(self, identities: set[str]) -> None:
        unknown = [each for each in identities - self._images.keys() if _image.fullmatch(each)]
        async with asyncio.TaskGroup() as tasks:
            asking = {identity: tasks.create_task(self._ask_image(identity)) for identity in unknown}
        self._images |= {identity: task.result() for identity, task in asking.items()}
        for identity in list(self._images)[: max(len(self._images) - IMAGES_LIMIT, 0)]:
            del self._images[identity]

    async def _ask_image(self, identity: str) -> dict[str, Any] | None:
        try:
            async with self._questions:
                answer = await self._client.image(identity)
        except EngineError as error:
            if not error.of_one:
                raise
            logger.warning("image_not_read", input=self._name, image=identity, reason=str(error))
            return None
        return reduced_image(answer) if answer is not None else None

    async def _look_at_images(self) -> None:
        """Tell again of the containers whose image has other names now; an image that is gone keeps what it had."""
        changed = set()
        for identity in {known.image for known in self._known.values()} & self._images.keys():
            image = await self._ask_image(identity)
            if image is not None and image != self._images[identity]:
                self._images[identity] = image
                changed.add(identity)
        affected = [identity for identity, known in self._known.items() if known.image in changed]
        await self._settle_all([Pending(identity, "image") for identity in affected])


def _image_of(found: Found) -> str:
    return str(found.container.get("Image", "")) if found.container is not None else ""


def _little_known(entry: Pending, cuts: set[str]) -> dict[str, Any] | None:
    if entry.listed:
        return container_of_list(entry.identity, entry.listed, cuts)
    if entry.attributes:
        return container_of_event(entry.identity, entry.attributes, cuts)
    return None


def _digest(content: dict[str, Any]) -> bytes:
    return xxhash.xxh3_128_digest(msgspec.json.encode(content))
