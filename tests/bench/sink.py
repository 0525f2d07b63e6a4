"""The bench's Elasticsearch: counts the documents of `_bulk` bodies and answers all-success, as cheaply as it can.

`python -m tests.bench.sink [--check]` prints its port and serves until it is killed; `GET /bench/counts` tells what
came. It counts newlines and looks at nothing; with `--check` it looks at every line: actions are `create` with an id
never seen before, documents begin as ours do. It inflates gzip bodies (its own CPU time is not measured).
"""

import argparse
import asyncio
import json
import re
import sys
from typing import Final
from urllib.parse import unquote

from isal import isal_zlib

from pipelines.batch import DOCUMENT_HEAD

BUFFER_BYTES: Final = 4 << 20
READ_BYTES: Final = 1 << 20
REQUEST_LIMIT_BYTES: Final = 256 << 20
ACTION: Final = re.compile(rb'\{"create":\{(?:"_index":"[^"]+",)?"_id":"([^"]+)"\}\}')
OWN: Final = re.compile(rb"logs-tidewaiter\.(audit|alerts)-")
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
GZIP: Final = re.compile(rb"\r\ncontent-encoding: *gzip", re.IGNORECASE)
PRODUCT: Final = json.dumps(
    {"name": "sink", "cluster_name": "bench", "version": {"number": "8.19.21"}, "tagline": "You Know, for Search"}
).encode()


class Counts:
    """What came so far, over all connections."""

    def __init__(self, *, check: bool) -> None:
        self.check = check
        self.documents = self.own = self.requests = self.bytes = self.doubled = self.wrong = 0
        self._ids: set[bytes] = set()
        self._answers: dict[tuple[int, bytes], bytes] = {}

    def bulk(self, target: bytes, body: bytes | bytearray, start: int, end: int) -> int:
        """Count one body, from `start` to `end`, where it lies: a copy would slow the core's other thread, too.

        Returns its number of documents. The collector's own, audit records and alerts, are counted apart.
        """
        documents = body.count(b"\n", start, end) // 2
        if self.check:
            self._look_at(bytes(body[start:end]))
        if OWN.search(target):
            self.own += documents
        else:
            self.documents += documents
        self.requests += 1
        self.bytes += end - start
        return documents

    def _look_at(self, body: bytes) -> None:
        lines = body.split(b"\n")
        for action, document in zip(lines[0:-1:2], lines[1::2], strict=True):
            match = ACTION.fullmatch(action)
            if match is None or not document.startswith(DOCUMENT_HEAD):
                self.wrong += 1
            elif match[1] in self._ids:
                self.doubled += 1
            else:
                self._ids.add(match[1])

    def answer(self, documents: int, target: bytes) -> bytes:
        """The all-success answer, of the shape that `filter_path` asks for; made once per number of documents."""
        key = (documents, target)
        if key not in self._answers:
            filters = unquote(target.decode()).partition("filter_path=")[2].partition("&")[0]
            item = b'{"create":{"status":201}}' if filters else b'{"create":{"_id":"x","status":201}}'
            took = b"" if filters and "took" not in filters.split(",") else b'"took":1,'
            items = b",".join([item] * documents)
            self._answers[key] = b'{"errors":false,' + took + b'"items":[' + items + b"]}"
        return self._answers[key]

    def report(self) -> bytes:
        """What came, as JSON."""
        names = ("documents", "own", "requests", "bytes", "doubled", "wrong")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


class Connection(asyncio.BufferedProtocol):
    """HTTP/1.1, just as much as an Elasticsearch client needs: bodies with a Content-Length, kept connections."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = bytearray(BUFFER_BYTES)
        self._filled = 0
        self._needed = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the free part of the buffer, after making it large enough for the request that is arriving."""
        wanted = max(self._needed, self._filled + READ_BYTES)
        if wanted > REQUEST_LIMIT_BYTES:
            raise ValueError("a request beyond the sink's limit")
        if wanted > len(self._buffer):
            self._buffer = self._buffer + bytearray(wanted - len(self._buffer))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Answer every whole request."""
        self._filled += nbytes
        while self._filled >= self._needed and self._answer_one():
            pass

    def _answer_one(self) -> bool:
        head_end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if head_end < 0:
            return False
        head = bytes(self._buffer[:head_end])
        length = LENGTH.search(head)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if end > self._filled:
            self._needed = end
            return False
        self._needed = 0
        method, target, _ = head.split(b" ", 2)
        self._respond(method, target, head, (head_end + 4, end))
        rest = self._filled - end
        self._buffer[:rest] = self._buffer[end : self._filled]
        self._filled = rest
        return rest > 0

    def _count(self, target: bytes, head: bytes, start: int, end: int) -> int:
        if GZIP.search(head):
            body = isal_zlib.decompress(memoryview(self._buffer)[start:end], wbits=31)
            return self._counts.bulk(target, body, 0, len(body))
        return self._counts.bulk(target, self._buffer, start, end)

    def _respond(self, method: bytes, target: bytes, head: bytes, body: tuple[int, int]) -> None:
        if target.startswith(b"/bench/counts"):
            answer = self._counts.report()
        elif b"_bulk" in target:
            answer = self._counts.answer(self._count(target, head, *body), target)
        else:
            answer = PRODUCT if target == b"/" else b'{"acknowledged":true}'
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\n"
            b"Content-Type: application/vnd.elasticsearch+json;compatible-with=8\r\n"
            b"Content-Length: %d\r\n\r\n" % len(answer) + (b"" if method == b"HEAD" else answer)
        )


async def serve(*, check: bool) -> None:
    """Listen on a free loopback port, print it, serve until killed."""
    counts = Counts(check=check)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true")
    asyncio.run(serve(check=options.parse_args().check))
