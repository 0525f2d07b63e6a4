"""The console role: `/health/live`, `/health/ready` and `/metrics` on one port."""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from collector import __version__
from collector.console.exposition import exposition
from collector.control import Reports
from collector.logs import get_logger
from collector.role import Context

RETRY_S: Final = 2.0
"""Pause before a busy port is tried again."""

CONTEXT: Final = web.AppKey("context", Context)

logger = get_logger("console")


async def main(context: Context) -> None:
    """Serve until told to stop; a busy port is a problem that is shown and tried again."""
    runner = web.AppRunner(application(context), access_log=None)
    await runner.setup()
    host, _, port = context.config.console.listen.rpartition(":")
    while not context.stopping.is_set():
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            context.unhealthy("console", f"cannot listen on {context.config.console.listen}: {error.strerror}")
            logger.warning("console cannot listen", address=context.config.console.listen, reason=error.strerror)
            try:
                await asyncio.wait_for(context.stopping.wait(), RETRY_S)
            except TimeoutError:
                continue
        else:
            context.healthy("console")
            break
    await context.stopping.wait()
    await runner.cleanup()


def application(context: Context) -> web.Application:
    """Return the web application."""
    app = web.Application()
    app[CONTEXT] = context
    app.router.add_get("/", _index)
    app.router.add_get("/health/live", _live)
    app.router.add_get("/health/ready", _ready)
    app.router.add_get("/metrics", _metrics)
    return app


def _problems(context: Context) -> dict[str, str]:
    reports: Reports | None = context.reports
    return {"supervisor": "no report yet"} if reports is None else reports.problems


async def _index(_request: web.Request) -> web.Response:
    return web.Response(text=f"Tidewaiter {__version__}\n\n/health/live\n/health/ready\n/metrics\n")


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


async def _ready(request: web.Request) -> web.Response:
    problems = _problems(request.app[CONTEXT])
    body = msgspec.json.encode({"status": "unready" if problems else "ready", "problems": problems})
    return web.Response(body=body, status=503 if problems else 200, content_type="application/json")


async def _metrics(request: web.Request) -> web.Response:
    reports = request.app[CONTEXT].reports
    text = exposition(report.metrics for report in reports.reports) if reports else b""
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
