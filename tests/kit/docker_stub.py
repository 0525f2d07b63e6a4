"""A Docker Engine's API as far as a watcher asks it: containers and events as the test says, and every kind of fault.

    async with EngineStub(folder / "d.sock") as engine:
        engine.add("web", labels={"team": "orders"})
        …
        await engine.emit("start", "web")
        await engine.cut()

`requests` has the method and the path of whatever was asked. `answers` takes the place of the answer to a path: a
response, or a coroutine function that gets the request. Events are stored as the Engine stores them, for `since`: the
last 256, told again from the newest back to the first that is older.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

ENGINE_ID: Final = "NQ2D:WM43:VUV2:SVKA"
FIRST_EVENT_NS: Final = 1_700_000_000_123_456_789
MEMORY_EVENTS: Final = 256

Answer = web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]


def identity_of(name: str) -> str:
    """Return the id of a container or image that is called so here."""
    return hashlib.sha256(name.encode()).hexdigest()


def inspected(name: str, **changes: Any) -> dict[str, Any]:
    """Return what an Engine answers of a running container, with a secret in its environment; `changes` go on top."""
    answer: dict[str, Any] = {
        "Id": identity_of(name),
        "Created": "2026-11-29T09:20:03.528269152Z",
        "Path": "sleep",
        "Args": ["100"],
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "OOMKilled": False,
            "Pid": 4780,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": "2026-11-29T09:20:03.691873491Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Image": f"sha256:{identity_of('acme/bb')}",
        "Name": f"/{name}",
        "RestartCount": 0,
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": "bridge",
            "Privileged": False,
            "CapAdd": None,
            "LogConfig": {"Type": "splunk", "Config": {"splunk-token": "of-nobodys-business"}},
        },
        "Mounts": [{"Type": "bind", "Source": "/srv", "Destination": "/data", "Mode": "", "RW": True}],
        "Config": {
            "Hostname": name,
            "User": "",
            "Env": ["PASSWORD=of-nobodys-business", "PATH=/bin"],
            "Cmd": ["sleep", "100"],
            "Image": "acme/bb:1.2",
            "Labels": {},
        },
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
            "Networks": {"bridge": {"IPAddress": "192.0.2.17", "MacAddress": "02:42:ac:11:00:02"}},
        },
    }
    return answer | changes


class EngineStub:
    """One Engine on a Unix socket, or on TCP where `socket` is None; an async context manager."""

    def __init__(self, socket: Path | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.version: dict[str, Any] = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}
        self.about: dict[str, Any] = {"ID": ENGINE_ID, "Name": "host-1", "KernelVersion": "6.1.0"}
        self.containers: dict[str, dict[str, Any]] = {}
        self.images = {
            f"sha256:{identity_of('acme/bb')}": {
                "Id": f"sha256:{identity_of('acme/bb')}",
                "RepoTags": ["acme/bb:1.2"],
                "RepoDigests": [],
                "Created": "2026-11-29T09:20:03Z",
                "Config": {"Env": ["PASSWORD=of-nobodys-business"]},
            }
        }
        self.executions: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        self._socket = socket
        self._tls = tls
        self._stored: list[tuple[int, bytes]] = []
        self._streams: list[web.StreamResponse] = []
        self._changed = asyncio.Condition()
        self._ends = asyncio.Event()
        self._next_ns = FIRST_EVENT_NS
        self._runner: web.AppRunner

    async def __aenter__(self) -> "EngineStub":
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and close all connections."""
        await self.stop()

    async def start(self) -> None:
        """Listen, anew after a stop; what was stored of events is gone then, as with a daemon that restarts."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        self._stored.clear()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            await web.UnixSite(self._runner, str(self._socket)).start()
            self.url = f"unix://{self._socket}"
        else:
            await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
            self.url = f"tcp://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """End."""
        await self.cut()
        await self._runner.cleanup()

    def add(self, name: str, *, labels: dict[str, str] | None = None, **changes: Any) -> str:
        """Make a container; return its id."""
        answer = inspected(name, **changes)
        answer["Config"] |= {"Labels": labels or {}}
        self.containers[answer["Id"]] = answer
        return str(answer["Id"])

    @property
    def now_ns(self) -> int:
        """Its clock: that of its last event."""
        return self._next_ns

    def event(self, action: str, name: str, **attributes: str) -> dict[str, Any]:
        """Return the next event of a container."""
        self._next_ns += 1_000_000
        actor = {"ID": identity_of(name), "Attributes": {"image": "acme/bb:1.2", "name": name, **attributes}}
        time_s = self._next_ns // 1_000_000_000
        return {"Type": "container", "Action": action, "Actor": actor, "time": time_s, "timeNano": self._next_ns}

    def execution(self, name: str, container: str, *command: str, **changes: Any) -> dict[str, Any]:
        """Make an exec in a container; return what is answered of it. Its id is that of its name."""
        answer: dict[str, Any] = {
            "ID": identity_of(name),
            "Running": True,
            "ExitCode": None,
            "ProcessConfig": {
                "tty": False,
                "entrypoint": command[0],
                "arguments": list(command[1:]),
                "privileged": False,
                "user": "1000",
            },
            "OpenStdin": False,
            "OpenStderr": True,
            "OpenStdout": True,
            "CanRemove": False,
            "ContainerID": identity_of(container),
            "DetachKeys": "",
            "Pid": 4711,
        }
        self.executions[answer["ID"]] = answer | changes
        return self.executions[answer["ID"]]

    async def emit(self, action: str, name: str, **attributes: str) -> None:
        """Tell of what happened to a container."""
        await self.send(self.event(action, name, **attributes))

    async def emit_exec(self, exec_name: str, *actions: str, command: str = "sh -c id", container: str = "web") -> None:
        """Tell of an exec, whose id is that of its name: of its `exec_create`, `exec_start`, `exec_die`."""
        for action in actions:
            text = f"{action}: {command}" if action in ("exec_create", "exec_start") else action
            await self.emit(text, container, execID=identity_of(exec_name))

    async def send(self, *events: dict[str, Any] | bytes) -> None:
        """Write these into every open stream at once, and store those that are events."""
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in events]
        self._stored += [
            (each["timeNano"], line)
            for each, line in zip(events, lines, strict=True)
            if isinstance(each, dict) and "timeNano" in each
        ]
        del self._stored[:-MEMORY_EVENTS]
        for stream in self._streams:
            with contextlib.suppress(ConnectionError):
                await stream.write(b"".join(lines))

    async def cut(self) -> None:
        """End the open streams."""
        self._ends.set()
        self._ends = asyncio.Event()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._streams)

    async def wait_asked(self, path: str, count: int = 1) -> None:
        """Wait until something was asked so many times; its version prefix does not count."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.asked(path) >= count)

    async def wait_streams(self, count: int = 1) -> None:
        """Wait until so many streams of events are open."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._streams) == count)

    def asked(self, path: str) -> int:
        """Return how many times something was asked."""
        return sum(_plain(asked).partition("?")[0] == path for _, asked in self.requests)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, str(request.rel_url)))
        await self._note()
        path = _plain(request.path)
        if path in self.answers:
            answer = self.answers[path]
            return await answer(request) if callable(answer) else _copy(answer)
        if path == "/events":
            return await self._events(request)
        return self._looked_up(path)

    def _looked_up(self, path: str) -> web.Response:
        known: Any = {"/version": self.version, "/info": self.about}.get(path)
        if path == "/containers/json":
            known = [_listed(each) for each in self.containers.values()]
        elif path.endswith("/json"):
            kind, _, identity = path.removeprefix("/").removesuffix("/json").partition("/")
            known = self._known(kind).get(identity)
        if known is None:
            return web.json_response({"message": f"no such thing: {path}"}, status=404)
        return web.json_response(known)

    def _known(self, kind: str) -> dict[str, dict[str, Any]]:
        return {"containers": self.containers, "images": self.images, "exec": self.executions}.get(kind, {})

    def _remembered(self, since: str, until: str | None) -> list[bytes]:
        """Return what is told again: from the newest back to the first that is older."""
        from_ns, to_ns = _nanoseconds(since), _nanoseconds(until) if until else None
        told = itertools.takewhile(lambda each: each[0] >= from_ns, reversed(self._stored))
        return [line for time_ns, line in told if to_ns is None or time_ns <= to_ns][::-1]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream, ends = web.StreamResponse(headers={"Content-Type": "application/json"}), self._ends
        await stream.prepare(request)
        since, until = request.query.get("since"), request.query.get("until")
        for line in self._remembered(since, until) if since else ():
            await stream.write(line)
        if until:
            return stream
        self._streams.append(stream)
        await self._note()
        try:
            await ends.wait()
        finally:
            self._streams.remove(stream)
            await self._note()
        return stream


async def hanging(_request: web.Request) -> web.StreamResponse:
    """Answer never."""
    await asyncio.Event().wait()
    raise web.HTTPGone


def _nanoseconds(time: str) -> int:
    seconds, _, fraction = time.partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def _plain(path: str) -> str:
    """Return a path without its version."""
    first, _, rest = path.removeprefix("/").partition("/")
    return f"/{rest}" if first.startswith("v1.") else path


def _copy(answer: web.Response) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _listed(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": container["Id"],
        "Names": [container["Name"]],
        "Image": container["Config"]["Image"],
        "ImageID": container["Image"],
        "Labels": container["Config"]["Labels"],
        "State": container["State"]["Status"],
    }
