"""A proxy before a Docker Engine as operators put it there: it lets reading pass, refuses all else, and writes it down.

async with ReadOnlyProxy(folder / "proxy.sock", engine.address) as proxy:
…
assert {"GET"} == {method for method, _ in proxy.requests}
"""

import contextlib
import re
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from collector.config_values import UNIX

ALLOWED: Final = re.compile(r"(?:/v1\.[0-9]+)?/(?:version|info|events|containers/.+|images/.+)")
"""What `tecnativa/docker-socket-proxy` lets pass with CONTAINERS, IMAGES and INFO set."""


WITH_EXECS: Final = re.compile(rf"{ALLOWED.pattern}|(?:/v1\.[0-9]+)?/exec/[0-9a-f]+/json")
"""The same with EXEC set, as far as it reads."""


class ReadOnlyProxy:
    """An async context manager; `requests` has method and path of whatever came."""

    def __init__(self, socket: Path, engine: str, *, passes: re.Pattern[str] = ALLOWED) -> None:
        self.url = f"{UNIX}{socket}"
        self.requests: list[tuple[str, str]] = []
        self._socket = socket
        self._engine = engine
        self._passes = passes
        self._session: aiohttp.ClientSession
        self._runner: web.AppRunner

    async def __aenter__(self) -> "ReadOnlyProxy":
        """Listen."""
        connector = aiohttp.UnixConnector(self._engine.removeprefix(UNIX), force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if request.method != "GET" or not self._passes.fullmatch(request.path):
            return web.Response(status=403, text="Request forbidden by administrative rules.")
        url = f"http://engine{request.rel_url}"
        try:
            answer = await self._session.get(url, headers={"Accept": request.headers.get("Accept", "*/*")})
        except aiohttp.ClientError:
            return web.Response(status=503, text="The Engine does not answer.")
        async with answer:
            response = web.StreamResponse(status=answer.status)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for received in answer.content.iter_any():
                    await response.write(received)
            return response
