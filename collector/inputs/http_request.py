"""One request to an input that is posted to, from its head to its answer.

A request is answered 200 once its body is durable, never before. While the journal asks to wait, so do senders, for
WAIT_S; then, and for what the journal did not take, they are told to come again (503, `Retry-After`). What a body holds
nobody asks here: one that cannot be read is a dead letter of the pipeline, for senders give up what is refused.

| status | when |
| --- | --- |
| 200 | the body is durable |
| 400 | no body, or no HTTP |
| 401 | a credential is demanded and was not given, or a wrong one |
| 405 | neither POST nor PUT |
| 408 | the body did not arrive in time |
| 413 | the body is larger than `message_limit` |
| 503 | no room now: come again |

Whatever was not kept closes its connection: behind a message that was refused the journal takes nothing of the same
connection (`collector.journal.arrivals`), and clients use one for all their tries.
"""

import asyncio
import contextlib
import threading
from typing import Final, Protocol, cast

from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

from collector.config_http import PostedInputConfig
from collector.inputs.http_body import Body, NoRoomError, TooLargeError
from collector.inputs.http_connection import SERVER, HttpConnection
from collector.inputs.http_proof import Credentials, NotProvenError
from collector.inputs.inflater import Inflater
from collector.inputs.input import Appender, Counts
from collector.journal.entry import Buffer, Entry, Receipt
from collector.wire.inflation import Inflation
from pipelines.frame import Origin

WAIT_S: Final = 10.0
"""How long a request waits for a journal that asks to wait: a third of what an API server gives it in all. As long for
its turn to be inflated."""

RETRY_AFTER_S: Final = 5
"""After so long a sender is to come again."""

LINGER_S: Final = 1.0
"""How long a connection stays whose request was refused within its body: a reset would hide the answer."""

LINGER_BYTES: Final = 1 << 20
"""So much of the rest of such a body is read meanwhile, and thrown away; then nothing more is."""

BROKEN: Final = "http-broken"
"""Encoding of a body that could not be decompressed: the pipeline makes a dead letter of it."""

METHODS: Final = ("POST", "PUT")
COMPRESSIONS: Final = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
CLOSING: Final = (400, 401, 408, 413)
"""Answers behind which nothing good is to be expected."""


class Taker(Protocol):
    """What is needed of an input."""

    encoding: str
    options: PostedInputConfig
    counts: Counts
    journal: Appender
    inflater: Inflater
    credentials: Credentials
    pressed: bool
    draining: bool

    def tag(self, request: BaseRequest) -> bytes:
        """Return what the message is tagged with."""

    def chunk_id(self, payload: list[Buffer]) -> bytes:
        """Return what tells that a body is sent again; empty where nothing does."""

    async def has_room(self) -> bool:
        """Wait while the journal asks to; tell whether it takes something now."""

    def unproven(self, peer: str, reason: str, claimed: str = "", *, wrong: bool = True) -> None:
        """Note that a peer failed to prove who it is."""

    def stalled(self, peer: str, event: str, reason: str) -> None:
        """Note a peer that does not go on."""

    def broken(self, peer: str, reason: str) -> None:
        """Note a request that is no HTTP."""

    def tell(self, event: str, peer: str, reason: str) -> None:
        """Log what anybody may cause again and again."""


class Exchange:
    """A request and its answer."""

    def __init__(self, taker: Taker, request: BaseRequest, connection: HttpConnection) -> None:
        self._taker = taker
        self._request = request
        self._connection = connection
        self._paid_bytes = 0
        self._unpaid_requests = 1
        self._is_refused = False

    async def answer(self) -> web.Response:
        """Do what is asked; where the body has not come whole, the answer is sent already."""
        answer, content = await self._answer(), self._request.content
        answer.headers["Server"] = SERVER
        await self._pay_rest()
        if self._taker.draining or self._is_refused or answer.status in CLOSING or not content.is_eof():
            answer.force_close()
        if not content.is_eof():
            await self._linger(answer)
        return answer

    async def _linger(self, answer: web.Response) -> None:
        """Answer, and throw away a little of the rest: who closes at once with something unread resets."""
        content, read_bytes = self._request.content, 0
        with contextlib.suppress(OSError, RequestPayloadError):
            await answer.prepare(self._request)
            await answer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while read_bytes < LINGER_BYTES and not content.is_eof():
                    read_bytes += len(await content.readany())
                    await self._pay_rest()
                await content.wait_eof()

    async def _pay_rest(self) -> None:
        """Count what came and nobody took; a request counts even if nothing of a body did."""
        unpaid_bytes = self._request.content.total_bytes - self._paid_bytes
        if unpaid_bytes or self._unpaid_requests:
            await self._pay(unpaid_bytes)

    async def _pay(self, count: int) -> float:
        """Count what came; wait for the peer's turn where it is ahead of its rate; return for how long, in seconds."""
        peer, loop = self._connection.shared, asyncio.get_running_loop()
        requests, self._unpaid_requests = self._unpaid_requests, 0
        self._taker.counts.bytes += count
        self._paid_bytes += count
        if not peer.spend(count, requests):
            return 0.0
        since_s, turn = loop.time(), asyncio.Event()
        peer.wait(turn.set)
        await turn.wait()
        return loop.time() - since_s

    async def _answer(self) -> web.Response:
        request, connection, taker = self._request, self._connection, self._taker
        try:
            origin = connection.origin_of(taker.credentials.proven(request.headers.get("Authorization")))
        except NotProvenError as error:
            return self._not_proven(error)
        if request.method not in METHODS:
            return web.Response(status=405, headers={"Allow": ", ".join(METHODS)})
        limit_bytes = taker.options.message_limit
        if (request.content_length or 0) > limit_bytes:
            return self._too_large()
        if taker.draining or not await taker.has_room():
            return _come_again()
        if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = Body(connection.shared.blocks, expected_bytes=request.content_length, limit_bytes=limit_bytes)
        try:
            return await self._take(origin, body)
        except TooLargeError:
            return self._too_large()
        except NoRoomError:
            taker.tell("http_body_without_room", connection.peer, "too much is being received at once")
            return _come_again()
        finally:
            body.release()

    async def _take(self, origin: Origin, body: Body) -> web.Response:
        """Receive a body, give it to the journal, and answer as that does."""
        taker, connection = self._taker, self._connection
        unreceived = await self._unreceived(body)
        if unreceived is not None:
            return unreceived
        if not body.size_bytes:
            return web.Response(status=400, text="no body\n")
        if not await taker.has_room():
            return _come_again()
        encoding, payload = taker.encoding, cast(list[Buffer], body.payload)
        compression = ", ".join(self._request.headers.getall("Content-Encoding", [])).strip().lower()
        if compression not in ("identity", ""):
            inflation = self._inflation(compression, payload)
            if inflation is not None and not await self._is_inflated(inflation):
                return _come_again()
            inflated = inflation.buffers if inflation is not None else None
            if inflated is None:
                taker.counts.broken_payloads += 1
                known = COMPRESSIONS.get(compression, "an unknown Content-Encoding")
                taker.tell("http_body_broken", connection.peer, f"it cannot be decompressed: {known}")
                encoding = BROKEN
            else:
                payload = list(inflated)
            if taker.pressed:
                return _come_again()  # not later: what it inflated to counts nowhere before the journal has it
        entry = Entry(
            origin=origin,
            encoding=encoding,
            payload=payload,
            tag=taker.tag(self._request),
            chunk_id=taker.chunk_id(payload),
            connection=connection.sender,
        )
        return await self._submit(entry, body)

    async def _unreceived(self, body: Body) -> web.Response | None:
        """Receive a body; return the answer where it does not come whole."""
        taker, connection = self._taker, self._connection
        try:
            async with asyncio.timeout(taker.options.body_timeout) as deadline:
                await self._receive(body, deadline)
        except RequestPayloadError as error:
            taker.broken(connection.peer, type(error).__name__)
            return web.Response(status=400, text="the body is not framed as HTTP has it\n")
        except OSError as error:
            if isinstance(error, TimeoutError) and connection.transport is not None:
                taker.stalled(connection.peer, "http_body_stalled", "it did not arrive in time")
                return web.Response(status=408)
            taker.counts.unfinished += 1
            return web.Response(status=400)  # nobody is there to read it
        return None

    async def _receive(self, body: Body, deadline: asyncio.Timeout) -> None:
        async for piece in self._request.content.iter_any():
            body.take(piece)
            due_s = deadline.when()
            deadline.reschedule(None)  # what we let it wait for is not the sender's slowness
            waited_s = await self._pay(len(piece))
            deadline.reschedule(due_s + waited_s if due_s is not None else None)

    def _inflation(self, compression: str, payload: list[Buffer]) -> Inflation | None:
        """Return what is to be done to a body, None where nobody knows."""
        known, options = COMPRESSIONS.get(compression), self._taker.options
        if known is None:
            return None
        whole = payload[0] if len(payload) == 1 else b"".join(payload)
        return Inflation(
            memoryview(whole), known, limit_bytes=options.message_limit, ratio_limit=options.inflation_limit
        )

    async def _is_inflated(self, inflation: Inflation) -> bool:
        """Inflate; return False where its turn did not come in time, and never will."""
        peer = self._connection.shared
        if inflation.is_quick():
            peer.spend(inflation.made_bytes, 0)
            return True
        begun = threading.Lock()  # taken by who is first: the thread that begins, or we who give it up

        def work() -> int:
            return inflation.run() if begun.acquire(blocking=False) else 0

        done = self._taker.inflater.submit(peer, work)
        await asyncio.wait((done,), timeout=WAIT_S)
        if not done.done() and begun.acquire(blocking=False):
            return False
        await done
        return True

    async def _submit(self, entry: Entry, body: Body) -> web.Response:
        """Wait for the receipt; the memory is let go then, whatever becomes of the request meanwhile."""
        taker = self._taker
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kept = body.hand_over()

        def settle() -> None:
            kept.release()
            if not answered.done():
                answered.set_result(None)

        taker.counts.messages += 1
        taker.journal.submit(entry, settle)
        await answered
        if entry.receipt is Receipt.DURABLE:
            taker.counts.acks += 1
            return web.Response(body=b"{}", content_type="application/json")
        taker.counts.refused += 1
        self._is_refused = True
        taker.tell("http_message_refused", self._connection.peer, "the journal did not take it")
        return self._too_large() if entry.receipt is Receipt.REJECTED else _come_again()

    def _not_proven(self, error: NotProvenError) -> web.Response:
        taker, peer = self._taker, self._connection.peer
        taker.tell("http_request_not_proven", peer, str(error))
        taker.unproven(peer, str(error), error.claimed, wrong=error.wrong)
        answer = web.Response(status=401)
        for challenge in taker.credentials.challenges:
            answer.headers.add("WWW-Authenticate", challenge)
        return answer

    def _too_large(self) -> web.Response:
        broken = self._taker.counts.broken
        broken["too_large"] = broken.get("too_large", 0) + 1
        self._taker.tell("http_body_too_large", self._connection.peer, "see message_limit: its sender will give it up")
        return web.Response(status=413)


def _come_again() -> web.Response:
    return web.Response(status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
