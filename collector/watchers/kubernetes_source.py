"""One list and its watch: the objects of a kind, followed as client-go's reflector does, with bounds.

List page by page, then watch from the list's version on; a watch that ends or breaks is taken up where it was; where
the server does not remember that far (410), or cannot be understood, list again. Versions are opaque: they are handed
back as they came. After a failure the access is read anew: tokens and certificates are replaced while we run.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from collector import telemetry
from collector.logs import get_logger
from collector.watchers.kubernetes_access import Access, AccessError
from collector.watchers.kubernetes_client import (
    REASON_LIMIT,
    ApiError,
    Change,
    Client,
    CutError,
    GoneError,
    MalformedError,
    Page,
    TooLargeError,
)
from collector.watchers.kubernetes_cluster import Cluster, Known
from collector.watchers.kubernetes_objects import UnusableObjectError

PAGE_OBJECTS: Final = 250
"""Objects of a page, unless they are too large."""

PAGES_LIMIT: Final = 100_000
"""A list that has no end is no list."""

FAILURES_TOLD: Final = 2
"""So many attempts in a row that no answer comes to are more than a server's restart."""

LIST_ANEW: Final = frozenset({400, 504})
"""What an API server answers to a version from before its data were restored."""

logger = get_logger("watcher")


class Pace(msgspec.Struct, frozen=True):
    """Times of a source. Pauses double from first to longest, less a random part.

    A watch is asked for `watch_s`, or up to twice as long, that not all of them are taken up at once; `grace_s` later
    it is given up.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    answer_s: float = 30.0
    watch_s: float = 300.0
    grace_s: float = 30.0

    def pause_s(self, troubles: int) -> float:
        """Return the pause after so many troubles in a row."""
        longest_s = min(self.first_s * 2.0 ** min(troubles - 1, 30), self.longest_s)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


class KubernetesSource:
    """See the module. `path` and `parameters` say of which objects."""

    def __init__(
        self,
        known: Known,
        path: str,
        parameters: Mapping[str, str],
        *,
        cluster: Cluster,
        access: Callable[[], Access],
        pace: Pace,
    ) -> None:
        self._known = known
        self._path = path
        self._parameters = dict(parameters)
        self._cluster = cluster
        self._access = access
        self._pace = pace
        self._version = ""
        self._failures = 0
        self._troubles = 0
        self.tried = asyncio.Event()
        """Set when its first list is there, or did not come."""

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                access = await asyncio.to_thread(self._access)
                async with Client(access, answer_s=self._pace.answer_s) as client:
                    await self._follow(client)
            except (ApiError, AccessError) as error:
                pause_s = await self._troubled(error)
            self.tried.set()
            await asyncio.sleep(pause_s)

    async def _follow(self, client: Client) -> None:
        while True:
            if not (self._version and self._known.listed):
                await self._list(client)
                self.tried.set()
            if await self._watch(client):
                self._troubles = 0
            else:
                # Not even a bookmark: so answers a server whose data were restored and are younger than our version.
                self._troubles += 1
                self._version = ""
            # The server ended it, as it was asked to. Not again at once, should it do so each time.
            await asyncio.sleep(self._pace.pause_s(max(1, self._troubles)))

    async def _troubled(self, error: ApiError | AccessError) -> float:
        """Judge a failure; return the pause until the next attempt."""
        telemetry.WATCHER_RECONNECTS.labels(input=self._cluster.input_name).inc()
        if isinstance(error, MalformedError):
            self._lost("malformed")
        if type(error) is CutError:
            # A watch that stood: behind some balancers none stands for long.
            self._troubles = 1
        else:
            self._troubles += 1
        if isinstance(error, (CutError, GoneError)):
            logger.info("watch_ended", input=self._cluster.input_name, of=self._known.label, reason=str(error))
        else:
            self._failures += 1
            if self._failures >= FAILURES_TOLD:
                await self._cluster.failing(self._known, str(error))
        if isinstance(error, AccessError):
            return self._pace.pause_s(self._troubles)
        if isinstance(error, (GoneError, MalformedError)) or error.status in LIST_ANEW:
            self._version = ""
        return max(self._pace.pause_s(self._troubles), error.after_s)

    async def _list(self, client: Client) -> None:
        uids: set[str] = set()
        parameters = {**self._parameters, "limit": str(PAGE_OBJECTS)}
        for _ in range(PAGES_LIMIT):
            page = await self._page(client, parameters)
            self._failures = 0
            await self._cluster.say(self._messages(page.items or (), uids))
            if not page.metadata.continue_:
                break
            parameters["continue"] = page.metadata.continue_
        else:
            raise ApiError("the list has no end")
        if not page.metadata.resource_version:
            raise ApiError("the list has no version")
        self._known.keep_only(uids)
        await self._cluster.listed(self._known)
        self._version = page.metadata.resource_version

    async def _page(self, client: Client, parameters: dict[str, str]) -> Page:
        """Return the next page, a smaller one where it is too large."""
        while True:
            try:
                return await client.page(self._path, parameters, self._known.kind.accept[0])
            except TooLargeError:
                size = int(parameters["limit"])
                if size == 1:
                    raise
                parameters["limit"] = str(size // 2)

    def _messages(self, items: Iterable[msgspec.Raw], uids: set[str]) -> Iterator[bytes]:
        for raw in items:
            try:
                read = self._known.read(raw)
                message = self._cluster.object_message(self._known, read)
            except UnusableObjectError as error:
                self._left_out(error)
                continue
            uids.add(read.metadata.uid)
            if message:
                yield message

    async def _watch(self, client: Client) -> bool:
        """Follow the changes until the server ends the watch; return whether it told anything."""
        seconds = self._pace.watch_s * random.uniform(1.0, 2.0)  # noqa: S311
        parameters = {
            **self._parameters,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        told = False
        limit_s = seconds + self._pace.grace_s
        changes = client.changes(self._path, parameters, self._known.kind.accept[1], limit_s=limit_s)
        async with contextlib.aclosing(changes):
            async for found, passed_over in changes:
                self._failures = 0
                self._cluster.well(self._known)
                if passed_over:
                    self._lost("oversized", passed_over)
                    logger.warning("object_too_large", input=self._cluster.input_name, of=self._known.label)
                if found:
                    await self._take(found)
                    self._troubles, told = 0, True
        return told

    async def _take(self, found: Sequence[Change]) -> None:
        """Say what changed; the version moves when that is durable."""
        telemetry.WATCHER_EVENTS.labels(input=self._cluster.input_name).inc(len(found))
        version = self._version
        messages = []
        for change in found:
            message = None
            try:
                read = self._known.read(change.object)
                version = read.metadata.resource_version or version
                if change.type in ("ADDED", "MODIFIED"):
                    message = self._cluster.object_message(self._known, read)
                elif change.type == "DELETED":
                    message = self._cluster.deleted_message(self._known, read)
            except UnusableObjectError as error:
                self._left_out(error)
            if message:
                messages.append(message)
        await self._cluster.say(messages)
        self._version = version

    def _left_out(self, error: UnusableObjectError) -> None:
        """An object that is not usable goes without, and all others are taken (P7)."""
        self._lost("malformed")
        reason = str(error)[:REASON_LIMIT]
        logger.warning("object_not_usable", input=self._cluster.input_name, of=self._known.label, reason=reason)

    def _lost(self, reason: str, count: int = 1) -> None:
        telemetry.WATCHER_EVENTS_LOST.labels(input=self._cluster.input_name, reason=reason).inc(count)
