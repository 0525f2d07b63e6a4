"""A Kubernetes API server that speaks the real protocol of list and watch, does as it is told, and remembers who asked.

    async with kubernetes_api() as api:
        api.put("pods", pod("web-0"))
        … a watcher is told api.url …
        await api.watched("pods")
        api.cut("pods")

Versions are opaque, not numbers; lists come in pages whose `continue` grows old; a watch replays what was after its
version, or is told 410; bookmarks, errors, raw bytes and cuts come when they are asked for.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiohttp import web

NAMESPACED: Final = frozenset({"pods", "replicasets"})
LIMIT_S: Final = 10.0

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class _Watch:
    """An open watch; what it is to send next."""

    def __init__(self, plural: str, selects: Callable[[dict[str, Any]], bool], *, only_metadata: bool) -> None:
        self.plural = plural
        self.selects = selects
        self.only_metadata = only_metadata
        self.sends: asyncio.Queue[bytes | str] = asyncio.Queue()


class KubernetesApi:
    """See the module. Belongs to the event loop."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.token = ""
        self.asked: list[Asked] = []
        self.script: dict[str, list[Reply]] = {}
        """Replies by `list PLURAL` and `watch PLURAL`, each for one request, before the usual ones."""
        self.refuses: dict[str, int] = {}
        """Status by plural, of every request."""
        self._objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self._history: list[tuple[str, str, dict[str, Any]]] = []
        self._oldest = 0
        self._lists: dict[str, tuple[list[dict[str, Any]], int, str]] = {}
        self._watches: list[_Watch] = []
        self._changed = asyncio.Condition()

    def put(self, plural: str, given: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or replace it."""
        metadata = given["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        kept = self._objects.setdefault(plural, {})
        self._tell("MODIFIED" if key in kept else "ADDED", plural, given)
        kept[key] = given
        return given

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        self._tell("DELETED", plural, self._objects[plural].pop((namespace, name)))

    def bookmark(self, plural: str) -> None:
        """Tell the watches of a kind how far they are."""
        kind = {"pods": "Pod"}.get(plural, "PartialObjectMetadata")
        content = {"kind": kind, "metadata": {"resourceVersion": self.version, "creationTimestamp": None}}
        self.send(plural, _line("BOOKMARK", content))

    def forget(self) -> None:
        """Compact: what is older than now is gone, pages that are not fetched yet as well."""
        self._oldest = len(self._history)
        self._lists.clear()

    def lose_in_silence(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object and forget that it was: only a list shows it."""
        self.delete(plural, name, namespace)
        self.forget()

    def send(self, plural: str, sent: bytes) -> None:
        """Send bytes on every watch of a kind."""
        for watch in self._of(plural):
            watch.sends.put_nowait(sent)

    def end(self, plural: str) -> None:
        """End the watches of a kind in order."""
        self._dismiss(plural, "end")

    def cut(self, plural: str) -> None:
        """Break the connections of a kind's watches, in the middle of a line."""
        self.send(plural, b'{"type":"ADDED","object":{"metadata":{"na')
        self._dismiss(plural, "cut")

    def close(self) -> None:
        """End every watch."""
        for plural in {watch.plural for watch in self._watches}:
            self.end(plural)

    @property
    def version(self) -> str:
        """The newest version, opaque as all are."""
        return f"v{len(self._history):05}x"

    def requests(self, verb: str, plural: str) -> list[Asked]:
        """Return what was asked: `list` or `watch` of a kind."""
        return [
            each
            for each in self.asked
            if each.path.endswith(f"/{plural}") and ("watch" in each.query) == (verb == "watch")
        ]

    async def watched(self, plural: str, *, count: int = 1) -> None:
        """Return when so many watches of a kind are open."""
        await self.until(lambda: len(self._of(plural)) >= count)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds of what was asked."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(holds)

    def _of(self, plural: str) -> list[_Watch]:
        return [watch for watch in self._watches if watch.plural == plural]

    def _dismiss(self, plural: str, how: str) -> None:
        for watch in self._of(plural):
            watch.sends.put_nowait(how)
            self._watches.remove(watch)

    def _tell(self, change: str, plural: str, given: dict[str, Any]) -> None:
        self._history.append((change, plural, given))
        given["metadata"]["resourceVersion"] = self.version
        for watch in self._of(plural):
            if watch.selects(given):
                watch.sends.put_nowait(_line(change, _shown(given, only_metadata=watch.only_metadata)))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        plural = request.path.rsplit("/", 1)[-1]
        verb = "watch" if request.query.get("watch") == "1" else "list"
        self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers)))
        async with self._changed:
            self._changed.notify_all()
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return refusal(401, "Unauthorized")
        if plural in self.refuses:
            return refusal(self.refuses[plural], f'{plural} is forbidden: User "watcher" cannot {verb} resource')
        if scripted := self.script.get(f"{verb} {plural}"):
            return await scripted.pop(0)(request)
        return await self.usual(request)

    async def usual(self, request: web.Request) -> web.StreamResponse:
        """Answer as no script says otherwise."""
        parts = request.path.strip("/").split("/")
        plural = parts[-1]
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts[:-1] else ""
        selects = _selector(request.query.get("fieldSelector", ""), namespace)
        only_metadata = "as=PartialObjectMetadata" in request.headers["Accept"]
        if request.query.get("watch") == "1":
            return await self._watch(request, _Watch(plural, selects, only_metadata=only_metadata))
        return self._list(request, plural, selects, only_metadata=only_metadata)

    def _list(
        self, request: web.Request, plural: str, selects: Callable[[dict[str, Any]], bool], *, only_metadata: bool
    ) -> web.Response:
        token = request.query.get("continue")
        if token is None:
            found = [each for _, each in sorted(self._objects.get(plural, {}).items()) if selects(each)]
            start, version = 0, self.version
        elif token in self._lists:
            found, start, version = self._lists[token]
        else:
            return refusal(410, "The provided continue parameter is too old", reason="Expired")
        end = start + int(request.query.get("limit", len(found) or 1))
        metadata = {"resourceVersion": version}
        if end < len(found):
            metadata["continue"] = f"{plural}.{end}.{version}"
            metadata["remainingItemCount"] = str(len(found) - end)
            self._lists[metadata["continue"]] = (found, end, version)
        shown = [_shown(each, only_metadata=only_metadata) for each in found[start:end]]
        return web.json_response({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": shown})

    async def _watch(self, request: web.Request, watch: _Watch) -> web.StreamResponse:
        version = request.query["resourceVersion"]
        start = int(version[1:-1])
        if start < self._oldest:
            return refusal(410, f"too old resource version: {version}", reason="Expired")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for change, plural, given in self._history[start:]:
            if plural == watch.plural and watch.selects(given):
                watch.sends.put_nowait(_line(change, _shown(given, only_metadata=watch.only_metadata)))
        self._watches.append(watch)
        async with self._changed:
            self._changed.notify_all()
        try:
            while not isinstance(sent := await watch.sends.get(), str):
                await response.write(sent)
            if sent == "cut" and request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the watcher hung up
        finally:
            if watch in self._watches:
                self._watches.remove(watch)
        return response


def refusal(status: int, message: str, *, reason: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    """Make an answer of kind Status."""
    return web.json_response(status_object(status, message, reason=reason), status=status, headers=headers)


def status_object(code: int, message: str, *, reason: str = "") -> dict[str, Any]:
    """Make what the API says instead of an object."""
    shown = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**shown, "reason": reason, "code": code}


def error_line(code: int, message: str, *, reason: str = "") -> bytes:
    """Make the line by which a watch ends with an error."""
    return _line("ERROR", status_object(code, message, reason=reason))


def _line(change: str, given: dict[str, Any]) -> bytes:
    return json.dumps({"type": change, "object": given}, separators=(",", ":")).encode() + b"\n"


def _shown(given: dict[str, Any], *, only_metadata: bool) -> dict[str, Any]:
    if only_metadata:
        return {"kind": "PartialObjectMetadata", "metadata": dict(given["metadata"])}
    return {**given, "metadata": dict(given["metadata"])}


def _selector(field: str, namespace: str) -> Callable[[dict[str, Any]], bool]:
    key, _, wanted = field.partition("=")

    def selects(given: dict[str, Any]) -> bool:
        if namespace and given["metadata"].get("namespace") != namespace:
            return False
        if key == "metadata.name":
            return bool(given["metadata"]["name"] == wanted)
        return not key or bool(given["spec"].get("nodeName") == wanted)

    return selects


@asynccontextmanager
async def kubernetes_api(
    context: ssl.SSLContext | None = None, *, api: KubernetesApi | None = None
) -> AsyncIterator[KubernetesApi]:
    """An API server on a free port, or where it was before; over TLS where a context is given."""
    api = api or KubernetesApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", api.port, ssl_context=context, reuse_address=True)
    await site.start()
    api.port = runner.addresses[0][1]
    api.url = f"http{'s' if context else ''}://127.0.0.1:{api.port}"
    yield api
    api.close()
    await runner.cleanup()
