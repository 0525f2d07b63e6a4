"""One connection of an input that is posted to: admitted or closed at once, and what it proved."""

import asyncio
from typing import Any, Final, Protocol, cast

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from collector.config_http import PostedInputConfig
from collector.inputs.peers import Peer
from collector.inputs.proof import certificate_name
from collector.inputs.sockets import keep_alive, peer_name
from collector.journal.arrivals import SenderConnection, client_of
from pipelines.frame import Origin, auth_text

HEAD_LINE_BYTES: Final = 16 << 10
"""Longest line of a request's head; tokens of service accounts have some 2 KiB."""

HEAD_LINES: Final = 64
"""Most header lines of a request."""

HEAD_BYTES: Final = 64 << 10
"""So much may come of a head that does not end, beside what one read brings; then its connection is closed."""

BUFFERED_BYTES: Final = 64 << 10
"""Twice as much of a body, beside what one read brings, may wait to be taken; then nothing more is read."""

QUEUED_REQUESTS: Final = 1
"""So many requests that wait behind the one in hand stop the reading."""

SERVER: Final = "tidewaiter"
"""Who answers; no version, which helps only who looks for a hole."""

TLS_RECORD: Final = b"\x16\x03"
"""So a client begins that speaks TLS (RFC 8446, section 5.1)."""


class Owner(Protocol):
    """What a connection needs of its input."""

    connections: "set[HttpConnection]"
    options: PostedInputConfig
    now_s: float

    @property
    def name(self) -> str:
        """The name the configuration gives it."""

    def admit(self, peer: str) -> bool:
        """Note a new connection; False when it is one too many."""

    def leave(self, peer: str) -> None:
        """Forget a connection that was admitted."""

    def peer(self, name: str) -> Peer:
        """Return what the connections of a peer that was admitted share."""

    def stalled(self, peer: str, event: str, reason: str) -> None:
        """Note a peer that does not go on."""

    def broken(self, peer: str, reason: str) -> None:
        """Note a request that is no HTTP."""

    def failed(self, peer: str, error: BaseException) -> None:
        """Note a fault of ours that ended a request."""


class HttpConnection(RequestHandler):
    """HTTP/1.1 of one peer. Event loops call its methods.

    `is_busy`: a request is being answered; `asked_s`: when the last one was, as precisely as the input ticks.
    """

    __slots__ = (
        "_admitted",
        "_begins_as_tls",
        "_body",
        "_certificate",
        "_head_bytes",
        "_origin",
        "_owner",
        "_proven",
        "_unread",
        "_wire",
        "asked_s",
        "is_busy",
        "peer",
        "sender",
        "shared",
    )

    def __init__(self, owner: Owner, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=owner.options.idle_timeout,
            tcp_keepalive=False,  # ours is set
            access_log=cast(Any, None),  # none is kept
            max_line_size=HEAD_LINE_BYTES,
            max_field_size=HEAD_LINE_BYTES,
            max_headers=HEAD_LINES,
            read_bufsize=BUFFERED_BYTES,
            lingering_time=0,  # who answers does that, and counts it
            auto_decompress=False,
        )
        # Of the parser's own limit, 32 requests, no more come than one read brings.
        self._max_msg_queue_size, self._msg_queue_resume_size = QUEUED_REQUESTS, QUEUED_REQUESTS - 1
        self._owner = owner
        self._admitted = False
        self._origin = Origin(owner.name, "", "")
        self._certificate = ""
        self._proven = ""
        self._begins_as_tls = False
        self._body: StreamReader | None = None
        self._head_bytes = 0
        self._unread: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        self.asked_s = owner.now_s
        self.is_busy = False
        self.peer = ""
        self.shared: Peer
        self.sender: SenderConnection | None = None

    def admitted(self, peer: str) -> None:
        """Take note that the input has admitted this connection already; `abort` gives its place back."""
        self._admitted, self.peer = True, peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; over TLS it comes here once that stands."""
        kind, peer = peer_name(transport)
        if not self._admitted:
            if not self._owner.admit(peer):
                cast(asyncio.Transport, transport).abort()
                return
            self.admitted(peer)
        self._owner.connections.add(self)
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(high=0)  # whatever stays unread is noticed, and by `pause_writing`
        self.shared = self._owner.peer(self.peer)
        if kind == "tcp":
            keep_alive(transport.get_extra_info("socket"))
        name = certificate_name(transport.get_extra_info("peercert"))
        over = "tls" if transport.get_extra_info("ssl_object") is not None else kind
        self._certificate = auth_text([f"certificate:{name}"] if name else [])
        self._origin = Origin(self._owner.name, over, self.peer)
        super().connection_made(transport)

    def origin_of(self, proven: str) -> Origin:
        """Return the origin of a request that proved this beside what the connection did; `sender` is then its own."""
        if self.sender is None or proven != self._proven:
            if self.sender is not None:
                self.sender.end()
            auth = "+".join(filter(None, (self._certificate, auth_text([proven]) if proven else "")))
            self._origin = Origin(self._origin.input, self._origin.transport, self.peer, auth)
            self._proven = proven
            self.sender = SenderConnection(client_of(self._origin))
        return self._origin

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone; what is in the journal's hands stays there."""
        if self.sender is not None:
            self.sender.end()
        super().connection_lost(exc)
        self._wire = None
        self._forget_unread()
        self._leave()

    def abort(self) -> None:
        """Close now."""
        if self._wire is not None:
            self._wire.abort()  # also where aiohttp has closed it, and somebody has to read before it ends
        self._leave()

    def _leave(self) -> None:
        if self._admitted:
            self._admitted = False
            self._owner.connections.discard(self)
            self._owner.leave(self.peer)

    def begin(self) -> None:
        """Take note that a request is being answered."""
        self.is_busy, self.asked_s = True, self._owner.now_s

    def end(self) -> None:
        """Take note that it was."""
        self.is_busy, self.asked_s = False, self._owner.now_s

    @property
    def is_idle(self) -> bool:
        """Whether it asks nothing."""
        return not (self.is_busy or self._messages)

    @property
    def _is_within_body(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    def data_received(self, data: bytes) -> None:
        """Take what came, of a head no more than HEAD_BYTES, and end a body at once whose framing breaks."""
        within_body, requests, body = self._is_within_body, self._request_count, self._body
        self._begins_as_tls = self._begins_as_tls or (not requests and data.startswith(TLS_RECORD))
        super().data_received(data)
        if self._request_count == requests:
            self._head_bytes = 0 if within_body else self._head_bytes + len(data)
            if self._head_bytes > HEAD_BYTES:
                self._owner.broken(self.peer, "HeadTooLarge")
                self.abort()
            return
        self._head_bytes = 0
        if not self._messages:
            return  # it was begun at once
        message, self._body = self._messages[-1]
        if body is not None and within_body and isinstance(message, _ErrInfo):
            # The error waits behind the request in hand, which waits for what will not come any more.
            body.set_exception(RequestPayloadError(message.message))

    def pause_writing(self) -> None:
        """The peer does not read what we write: it may do so for as long as a body may take."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self._loop.call_later(self._owner.options.body_timeout, self._give_up)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._forget_unread()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        self._owner.stalled(self.peer, "http_answers_unread", "it does not read what it is answered")
        self.abort()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Tell of what is no HTTP, whatever it is: anybody may send it."""
        if isinstance(exc, HttpProcessingError):
            self._owner.broken(self.peer, "TLS" if self._begins_as_tls else type(exc).__name__)
        answer = super().handle_error(request, status, exc, message)
        answer.headers["Server"] = SERVER
        return answer

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Tell of a fault of ours; that a peer is gone, or speaks no HTTP, is none."""
        error = options.get("exc_info")
        is_gone = isinstance(error, OSError) and self.transport is None
        if isinstance(error, BaseException) and not isinstance(error, HttpProcessingError) and not is_gone:
            self._owner.failed(self.peer, error)
