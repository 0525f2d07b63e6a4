"""The console role: `/health/live`, `/health/ready` and `/metrics` on one port, for machines and for curl.

Live is 200 as long as this process answers. Ready is 200 only while every input listens, the journal takes appends and
every role is up, else 503; its body names what is wrong. What does not keep senders from sending, such as an output
that is down, stands under `degraded` and leaves it at 200.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from collector import __version__
from collector.console.exposition import exposition
from collector.control import Reports
from collector.logs import get_logger
from collector.role import Context
from collector.telemetry import CONSOLE_REQUESTS

RETRY_S: Final = 1.0
"""Pause before a busy port is tried again."""

SHUTDOWN_S: Final = 1.0
"""How long a stop waits for answers that are being sent."""

REQUEST_LIMIT_BYTES: Final = 16 << 10
"""Largest request body; nothing here takes one."""

PATHS: Final = ("/", "/health/live", "/health/ready", "/metrics")
CONTEXT: Final = web.AppKey("context", Context)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = get_logger("console")


class BrokenRequests(logging.Filter):
    """Tells of what is no HTTP in a line of ours: anybody may send it, and it is no failure with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Hand on everything else."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        peer = record.args[0] if isinstance(record.args, tuple) and record.args else "unknown"
        logger.warning("console_request_broken", peer=str(peer), reason=type(error).__name__)
        return False


async def main(context: Context) -> None:
    """Serve until told to stop; a busy port is a problem that is shown and tried again."""
    logging.getLogger("aiohttp.server").addFilter(BrokenRequests())
    runner = web.AppRunner(application(context), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        while not context.stopping.is_set() and not await _listen(runner, context):
            await context.pause(RETRY_S)
        await context.stopping.wait()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, context: Context) -> bool:
    address = context.config.console.listen
    host, _, port = address.rpartition(":")
    site = web.TCPSite(runner, host.strip("[]") or None, int(port))
    try:
        await site.start()
    except OSError as error:
        await site.stop()
        # asyncio's own text repeats the address.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        context.unhealthy("console", f"cannot listen on {address}: {reason}")
        logger.warning("console_not_listening", address=address, reason=reason, again_in_s=RETRY_S)
        return False
    context.healthy("console")
    return True


def application(context: Context) -> web.Application:
    """Return the web application."""
    app = web.Application(middlewares=[_counted], client_max_size=REQUEST_LIMIT_BYTES)
    app[CONTEXT] = context
    for path, handler in zip(PATHS, (_index, _live, _ready, _metrics), strict=True):
        app.router.add_get(path, handler)
    return app


@web.middleware
async def _counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    path = request.path if request.path in PATHS else "other"
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        CONSOLE_REQUESTS.labels(path=path, status=str(refusal.status)).inc()
        raise
    CONSOLE_REQUESTS.labels(path=path, status=str(response.status)).inc()
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def _index(_request: web.Request) -> web.Response:
    lines = (
        f"Tidewaiter {__version__}",
        "",
        "/health/live   200 while the process answers",
        "/health/ready  200 while every input listens and the journal takes appends, else 503 and what is wrong",
        "/metrics       metrics of all roles, in Prometheus' text format",
    )
    return web.Response(text="\n".join(lines) + "\n")


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


async def _ready(request: web.Request) -> web.Response:
    reports: Reports | None = request.app[CONTEXT].reports
    problems = {"supervisor": "no report yet"} if reports is None else reports.problems
    body = {
        "status": "unready" if problems else "ready",
        "problems": problems,
        "degraded": {} if reports is None else reports.degraded,
    }
    return web.Response(
        body=msgspec.json.encode(body), status=503 if problems else 200, content_type="application/json"
    )


async def _metrics(request: web.Request) -> web.Response:
    reports = request.app[CONTEXT].reports
    text = exposition(report.metrics for report in reports.reports) if reports else b""
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
