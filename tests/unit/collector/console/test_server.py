"""The console's port: health for machines, metrics, and nothing else."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from collector.config import Config, ConsoleConfig
from collector.console.server import BrokenRequests, application, main
from collector.control import Message, Report, Reports
from collector.role import Context
from collector.samples import Family, Sample

Client = TestClient[Request, Application]


class Kept:
    """Keeps the reports of the console, and tells of new ones."""

    def __init__(self) -> None:
        self.health: dict[str, str] = {}
        self.changed = asyncio.Event()

    def send(self, message: Message) -> None:
        """Keep the newest health."""
        if isinstance(message, Report):
            self.health = message.health
            self.changed.set()

    async def wait(self) -> dict[str, str]:
        """Wait for the next report."""
        async with asyncio.timeout(5):
            await self.changed.wait()
        self.changed.clear()
        return self.health


@pytest.fixture
async def context() -> Context:
    """The console's context, before the supervisor said anything."""
    return Context("console", Config(data_dir="/data"), Kept())


@pytest.fixture
async def client(context: Context) -> AsyncIterator[Client]:
    """A client of the console."""
    async with TestClient(TestServer(application(context))) as each:
        yield each


async def test_what_is_no_http_is_one_line_of_the_log_without_a_traceback(
    client: Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port scan wrote a traceback of 16 KB, as an error of ours, for each of its requests."""
    broken = BrokenRequests()
    library = logging.getLogger("aiohttp.server")
    library.addFilter(broken)
    try:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET / HTTP/9.9\r\n\r\n")
        answer = await reader.readline()
        writer.close()
    finally:
        library.removeFilter(broken)

    assert b" 400 " in answer
    assert [] == [record for record in caplog.records if record.exc_info]
    (line,) = capsys.readouterr().err.splitlines()
    assert "console_request_broken" in line
    assert "127.0.0.1" in line


async def test_live_is_200_whatever_is_wrong(client: Client) -> None:
    """The process answers, so it lives."""
    response = await client.get("/health/live")

    assert 200 == response.status


async def test_ready_is_503_before_the_first_report(client: Client) -> None:
    """Nothing known is not ready."""
    response = await client.get("/health/ready")

    assert 503 == response.status
    assert {"supervisor": "no report yet"} == (await response.json())["problems"]


async def test_ready_names_what_is_wrong(client: Client, context: Context) -> None:
    """503 with every problem by component."""
    context.reports = Reports([], {"intake: input docker": "the port is in use"}, {"worker: output es": "down"})

    response = await client.get("/health/ready")

    assert 503 == response.status
    assert {
        "status": "unready",
        "problems": {"intake: input docker": "the port is in use"},
        "degraded": {"worker: output es": "down"},
    } == await response.json()


async def test_a_degraded_collector_is_ready(client: Client, context: Context) -> None:
    """An output that is down is shown, and senders are still welcome."""
    context.reports = Reports([], {}, {"worker: output es": "down"})

    response = await client.get("/health/ready")

    assert 200 == response.status
    assert {"worker: output es": "down"} == (await response.json())["degraded"]


async def test_metrics_are_those_of_all_roles(client: Client, context: Context) -> None:
    """Prometheus' text format, with the meaning of each metric."""
    metrics = [Family("tidewaiter_worker_frames", [Sample("tidewaiter_worker_frames_total", {}, 7.0)])]
    context.reports = Reports([Report("worker", {}, metrics)], {})

    response = await client.get("/metrics")
    text = await response.text()

    assert "text/plain; version=0.0.4; charset=utf-8" == response.headers["Content-Type"]
    assert "tidewaiter_worker_frames_total 7.0\n" in text
    assert "# HELP tidewaiter_worker_frames_total Frames read" in text


async def test_the_front_page_names_the_three(client: Client) -> None:
    """Plain text for who looks at the port with curl."""
    text = await (await client.get("/")).text()

    assert all(path in text for path in ("/health/live", "/health/ready", "/metrics"))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/metrics", 405)])
async def test_anything_else_is_refused(client: Client, method: str, path: str, status: int) -> None:
    """Other paths do not exist, other methods are not allowed."""
    response = await client.request(method, path)

    assert status == response.status


async def test_a_busy_port_is_a_reason_that_is_shown_and_goes_away() -> None:
    """While another program has the port the role lives on and says so; it listens once the port is free."""
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        context = Context("console", Config(data_dir="/data", console=ConsoleConfig(listen=listen)), kept)
        serving = asyncio.create_task(main(context))
        busy = await kept.wait()
    free = await kept.wait()
    context.stopping.set()
    await asyncio.wait_for(serving, 5)

    assert busy["console"].startswith(f"cannot listen on {listen}")
    assert {"console": ""} == free
