"""Requests to a Kubernetes API server: pages of a list, and the changes of a watch. Only GET, no redirect followed.

Every answer is bounded (P6): a page by PAGE_LIMIT_BYTES, a change by LINE_LIMIT_BYTES, and a longer change is passed
over while its stream goes on. The protocol is that of `kubernetes.io/docs/reference/using-api/api-concepts`.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, Self

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.client_exceptions import ClientConnectorCertificateError, ClientConnectorError, ClientSSLError

from collector import __version__
from collector.watchers.kubernetes_access import Access

PAGE_LIMIT_BYTES: Final = 32 << 20
"""Longest page; of a longer one a smaller is asked for."""

LINE_LIMIT_BYTES: Final = 8 << 20
"""Longest change. An object has at most about 3 MiB: the API server takes no larger request."""

ERROR_LIMIT_BYTES: Final = 64 << 10
"""What is read of an answer that says no."""

REASON_LIMIT: Final = 300
"""Characters of the server's own words that are told."""

RETRY_AFTER_LIMIT_S: Final = 300.0
"""A server that asks for more patience is asked again all the same."""

PAGE_ANSWERS: Final = 4
"""A page may take so many times what an answer may take to begin."""

READ_BYTES: Final = 1 << 18

KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""A watch is silent for minutes: so a connection is found dead within one that lost its other end."""


class ApiError(Exception):
    """The API server cannot be asked, or said no. `status` is 0 where there was no answer; `after_s` its own wish."""

    def __init__(self, reason: str, *, status: int = 0, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status
        self.after_s = after_s


class GoneError(ApiError):
    """What was asked for is older than what the server remembers: list again (410, `Expired`)."""


class CutError(ApiError):
    """A watch that stood broke off."""


class MalformedError(CutError):
    """A watch that cannot be understood."""


class TooLargeError(ApiError):
    """A page is over its limit."""


class ListMetadata(msgspec.Struct, rename="camel"):
    """`metadata` of a page. Both are opaque: they are handed back and never read."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """A part of a list; each object still as its bytes."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class Change(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct):
    """What the server answers instead of an object."""

    code: int = 0
    reason: str = ""
    message: str = ""


_page = msgspec.json.Decoder(Page).decode
_change = msgspec.json.Decoder(Change).decode
_status = msgspec.json.Decoder(Status).decode


class Lines:
    """Takes a watch's bytes as they come, gives whole lines. Holds at most LINE_LIMIT_BYTES of one."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._passing_over = False
        self.passed_over = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the lines that are complete; a longer one than allowed is counted and left out."""
        *whole, rest = received.split(b"\n")
        for line in whole:
            self._hold(line)
            if not self._passing_over and (complete := b"".join(self._parts).strip()):
                yield complete
            self._parts.clear()
            self._held_bytes, self._passing_over = 0, False
        self._hold(rest)

    def _hold(self, part: bytes) -> None:
        if self._passing_over or not part:
            return
        self._parts.append(part)
        self._held_bytes += len(part)
        if self._held_bytes > LINE_LIMIT_BYTES:
            self._parts.clear()
            self._passing_over = True
            self.passed_over += 1


class Client:
    """Connections to one API server, an async context manager."""

    def __init__(self, access: Access, *, answer_s: float) -> None:
        self._access = access
        self._answer_s = answer_s

    async def __aenter__(self) -> Self:
        """Nothing is connected before the first request."""
        connector = TCPConnector(limit=2, ssl=self._access.context or True, socket_factory=_kept_alive)
        self._session = ClientSession(
            connector=connector, auto_decompress=False, read_bufsize=READ_BYTES, max_line_size=16 << 10
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._session.close()

    async def page(self, path: str, parameters: Mapping[str, str], accept: str) -> Page:
        """Return a page of a list; raise ApiError, AccessError."""
        limits = ClientTimeout(total=PAGE_ANSWERS * self._answer_s, sock_read=self._answer_s)
        try:
            response = await self._get(path, parameters, accept, limits)
            try:
                body = await _read(response.content.iter_any(), PAGE_LIMIT_BYTES)
            finally:
                response.release()
        except (ClientError, OSError) as error:
            raise ApiError(_sentence(error)) from error
        try:
            return _page(body)
        except (msgspec.DecodeError, RecursionError):
            raise ApiError("the answer is no list of an API server") from None

    async def changes(
        self, path: str, parameters: Mapping[str, str], accept: str, *, limit_s: float
    ) -> AsyncGenerator[tuple[list[Change], int], None]:
        """Yield what a watch tells as it comes, first nothing, when it stands; with the number of lines passed over.

        Ends when the server ends it, `limit_s` at the latest. Raises ApiError, AccessError; GoneError, also where the
        stream says so.
        """
        limits = ClientTimeout(total=limit_s)
        lines = Lines()
        response = await self._get(path, parameters, accept, limits)
        try:
            yield [], 0
            async for received in response.content.iter_any():
                before = lines.passed_over
                found, problem = _read_changes(lines.feed(received))
                if found or lines.passed_over > before:
                    yield found, lines.passed_over - before
                if problem is not None:
                    raise problem
        except (ClientError, OSError) as error:
            raise CutError(_sentence(error)) from error
        finally:
            response.close()  # a stream that is left in its middle is no connection to use again

    async def _get(
        self, path: str, parameters: Mapping[str, str], accept: str, limits: ClientTimeout
    ) -> ClientResponse:
        headers = {
            "Accept": accept,
            "Accept-Encoding": "identity",
            "User-Agent": f"tidewaiter/{__version__}",
            **self._access.headers(),
        }
        options: dict[str, Any] = {"server_hostname": self._access.server_name} if self._access.server_name else {}
        try:
            async with asyncio.timeout(self._answer_s):
                response = await self._session.get(
                    self._access.server + path,
                    params=parameters,
                    headers=headers,
                    timeout=limits,
                    allow_redirects=False,
                    **options,
                )
        except TimeoutError as error:
            raise ApiError(f"no answer within {self._answer_s:g} s") from error
        except (ClientError, OSError) as error:
            raise ApiError(_sentence(error)) from error
        if response.status == 200:
            return response
        try:
            raise await _refusal(response)
        finally:
            response.close()


async def _refusal(response: ClientResponse) -> ApiError:
    """Say what an answer other than 200 means."""
    body = b""
    with contextlib.suppress(TooLargeError, ClientError, OSError):
        body = await _read(response.content.iter_any(), ERROR_LIMIT_BYTES)
    try:
        said = _status(body)
    except (msgspec.DecodeError, RecursionError):
        said = Status()
    after = response.headers.get("Retry-After", "")
    after_s = min(float(after), RETRY_AFTER_LIMIT_S) if after.isascii() and after.isdigit() else 0.0
    return refusal(msgspec.structs.replace(said, code=response.status), after_s)


def refusal(said: Status, after_s: float = 0.0) -> ApiError:
    """Make an error of what the server says."""
    words = said.message or said.reason
    reason = f"{said.code}: {words[:REASON_LIMIT]}" if words else f"status {said.code}"
    if said.code == 410 or said.reason in ("Expired", "Gone"):
        return GoneError(reason, status=410, after_s=after_s)
    return ApiError(reason, status=said.code, after_s=after_s)


def _read_changes(lines: Iterable[bytes]) -> tuple[list[Change], ApiError | None]:
    """Return the changes up to what is none, and what that is."""
    found: list[Change] = []
    for line in lines:
        try:
            change = _change(line)
            if change.type == "ERROR":
                return found, refusal(_status(change.object))
        except (msgspec.DecodeError, RecursionError):
            return found, MalformedError("a line of the watch is no change")
        found.append(change)
    return found, None


async def _read(content: AsyncIterator[bytes], limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = limit_bytes
    async for part in content:
        left -= len(part)
        if left < 0:
            parts.clear()  # the error's traceback would hold them
            raise TooLargeError(f"an answer of more than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _kept_alive(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _sentence(error: BaseException) -> str:
    """Say what went wrong with a connection, without addresses of the inside of a library."""
    if isinstance(error, TimeoutError):
        return "the connection went silent"
    if isinstance(error, (ClientConnectorCertificateError, ClientSSLError)):
        cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
        return f"TLS: {getattr(cause, 'verify_message', '') or getattr(cause, 'reason', '') or cause}"
    if isinstance(error, ClientConnectorError):
        return f"cannot connect: {_words(error.os_error)}"
    return f"the connection broke ({type(error).__name__})"


def _words(error: OSError) -> str:
    """The system's words; asyncio puts its own in their place, addresses and all. Name lookups have their own."""
    if error.errno is not None and error.errno > 0 and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
