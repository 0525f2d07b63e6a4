"""Inputs that are posted to under test: listening on a free port before a journal with moods, and one raw client."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from collector.config_http import HttpInputConfig, KubernetesAuditInputConfig
from collector.inputs.http import HttpInput
from collector.inputs.input import Appender
from collector.inputs.kubernetes_audit import KubernetesAuditInput
from collector.inputs.posted import PostedInput
from collector.wire.blocks import Blocks
from tests.kit.journal_moods import MoodyJournal

TIMEOUT_S = 45.0


def made(
    journal: Appender,
    *,
    kind: str = "kubernetes_audit",
    blocks: Blocks | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> PostedInput:
    """Make an input; `options` are those of its configuration that matter to the test."""
    usual: dict[str, Any] = {"listen": "127.0.0.1:0", "message_limit": 4 << 20}
    make, config = {
        "http": (HttpInput, HttpInputConfig),
        "kubernetes_audit": (KubernetesAuditInput, KubernetesAuditInputConfig),
    }[kind]
    given = config(**(usual | options))
    return make(
        name="audit", options=given, listen=given.listen, journal=journal, blocks=blocks or Blocks(), clock=clock
    )


@asynccontextmanager
async def posted_to(journal: MoodyJournal, **options: Any) -> AsyncIterator[PostedInput]:
    """Run an input on a free port."""
    each = made(journal, **options)
    journal.on_pressure(each.press)
    await each.start()
    try:
        yield each
    finally:
        await each.drain(timeout_s=0)


def port_of(each: PostedInput) -> int:
    """Return the port that was chosen."""
    return int(each.address.rpartition(":")[2])


class Answer:
    """What came back: status, headers in lower case, body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Client:
    """One connection that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connected(cls, port: int, *, tls: ssl.SSLContext | None = None, host: str = "") -> "Client":
        """Connect, over TLS where a context is given."""
        name = host if tls is not None else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    def send(self, body: bytes, *, method: str = "POST", path: str = "/", **headers: str) -> None:
        """Send a request; headers are named with underscores."""
        self.begin(method=method, path=path, content_length=str(len(body)), **headers)
        self.writer.write(body)

    def begin(self, *, method: str = "POST", path: str = "/", **headers: str) -> None:
        """Send the head of a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: collector.example"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def answer(self) -> Answer:
        """Read one answer."""
        async with asyncio.timeout(TIMEOUT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def post(self, body: bytes, **options: str) -> Answer:
        """Send a request and read its answer."""
        self.send(body, **options)
        return await self.answer()

    async def ended(self) -> bool:
        """Wait until the other side has closed; tell whether nothing came before."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                return not await self.reader.read()
            except ConnectionError:
                return True


@asynccontextmanager
async def client_of(each: PostedInput, *, tls: ssl.SSLContext | None = None, host: str = "") -> AsyncIterator[Client]:
    """Open a connection to an input."""
    client = await Client.connected(port_of(each), tls=tls, host=host)
    try:
        yield client
    finally:
        client.writer.transport.abort()


def event_list(*events: Mapping[str, Any]) -> bytes:
    """Return the body that an API server posts."""
    content = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": list(events)}
    return json.dumps(content, separators=(",", ":")).encode()
