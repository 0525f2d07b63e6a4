"""A proxy before a real Elasticsearch that loses the answer to a bulk request, once it is told to.

async with losing_proxy(engine.url, tls=engine.tls) as proxy:
    proxy.lose = roll_over      # called when the documents are stored; then the connection is closed
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientSession, web

DROPPED: Final = frozenset({"Host", "Content-Length", "Content-Encoding", "Transfer-Encoding"})
PASSED: Final = ("x-elastic-product", "content-type")
"""Headers of answers that are handed back."""


class LosingProxy:
    """`lose`: what happens between storing and the lost answer, once; None lets all answers through."""

    def __init__(self, target: str, session: ClientSession, tls: ssl.SSLContext | None) -> None:
        self._target = target
        self._session = session
        self._tls = tls
        self.lose: Callable[[], object] | None = None
        self.lost = 0
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        """Hand a request on, and its answer back."""
        # What aiohttp's server reads is inflated, and its client counts bytes itself.
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        headers["Accept-Encoding"] = "identity"
        body = await request.read()
        async with self._session.request(
            request.method, f"{self._target}{request.path_qs}", data=body, headers=headers, ssl=self._tls or True
        ) as answer:
            content = await answer.read()
        if self.lose is not None and request.path.endswith("/_bulk"):
            lose, self.lose = self.lose, None
            await asyncio.to_thread(lose)
            self.lost += 1
            assert request.transport is not None
            request.transport.close()
        passed = {
            name: value for name, value in answer.headers.items() if name in ("X-elastic-product", "Content-Type")
        }
        return web.Response(status=answer.status, body=content, headers=passed)


@asynccontextmanager
async def losing_proxy(target: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[LosingProxy]:
    """A proxy on a free port."""
    async with ClientSession(auto_decompress=False) as session:
        proxy = LosingProxy(target, session, tls)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", proxy.serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield proxy
        await runner.cleanup()
