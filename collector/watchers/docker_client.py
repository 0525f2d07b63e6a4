"""A Docker Engine's API, read only: this client has no way to send anything but GET.

It speaks to a Unix socket, to TCP and to TLS, with API 1.24 (Engine 1.12) and later, also through a proxy that lets
only reading pass. What goes wrong is an `EngineError` with a sentence; foreign errors end here. Every wait and every
body is bounded; only the stream of events may be silent for as long as it likes.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from collector.config_values import UNIX
from collector.errors import TidewaiterError

OLDEST_API: Final = (1, 24)
NEWEST_API: Final = (1, 52)
"""The newest whose answers are known to be read rightly; an Engine that has dropped it is asked in its oldest."""

CONNECT_LIMIT_S: Final = 5.0
REQUEST_LIMIT_S: Final = 30.0
"""How long an answer may take, and the head of the stream of events."""

INSPECT_LIMIT_S: Final = 10.0
"""How long one about a single container or image may take: one that hangs is known of Engines, and others wait."""

EXEC_LIMIT_S: Final = 1.0
"""How long one about an exec may take: the record of the exec waits for it."""

MEMORY_SILENCE_S: Final = 2.0
"""How long nothing may come of what an Engine remembers of events until that counts as all of it."""

CONNECTIONS: Final = 12
"""Connections to one Engine: the events, and a few questions at once."""

VERSION_LIMIT_BYTES: Final = 1 << 20
LIST_LIMIT_BYTES: Final = 64 << 20
INSPECT_LIMIT_BYTES: Final = 4 << 20
EXEC_LIMIT_BYTES: Final = 16 << 20
"""Longest answers that are read; a longer one is an error. An exec's holds its whole command line."""

MEMORY_LIMIT_BYTES: Final = 64 << 20
"""What is read of that which an Engine remembers of events."""

ERROR_LIMIT_BYTES: Final = 2 << 10
"""What is read of the body of a refusal."""

NOT_FOUND: Final = 404

BEGINNING: Final = "1"
"""A time before all events. Without any, an Engine tells of none that was before."""

_version = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})")


class EngineError(TidewaiterError):
    """The Engine cannot be reached, or its answer cannot be used.

    `of_one`: the fault may lie with what was asked for alone, and the next question be answered.
    """

    exit_code = 3

    def __init__(self, message: str, *, status: int = 0, of_one: bool = False) -> None:
        self.status = status
        self.of_one = of_one or status > 0
        super().__init__(message)


class EngineClient:
    """Connections to one Engine; an async context manager. Every call raises EngineError."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._tls = tls
        self._prefix = ""
        self._session: aiohttp.ClientSession
        if url.startswith(UNIX):
            self._base = "http://engine"
        else:
            self._base = f"{'https' if tls else 'http'}://{url.removeprefix('tcp://')}"

    async def __aenter__(self) -> "EngineClient":
        """Nothing is connected before the first call."""
        connector: aiohttp.BaseConnector
        if self._url.startswith(UNIX):
            connector = aiohttp.UnixConnector(self._url.removeprefix(UNIX), limit=CONNECTIONS)
        else:
            connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Nothing compressed: what it inflates to would not be bounded by what is read.
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tidewaiter"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._session.close()

    async def negotiate(self) -> dict[str, Any]:
        """Ask for the Engine's version and go on in an API that both know; return what `/version` says."""
        version = _mapping(await self._get("/version", limit_bytes=VERSION_LIMIT_BYTES), "/version")
        newest, oldest = _api(version.get("ApiVersion")), _api(version.get("MinAPIVersion"))
        if newest is None:
            raise EngineError("its answer to /version names no API version: is it a Docker Engine?", of_one=True)
        if newest < OLDEST_API:
            raise EngineError(f"speaks API {newest[0]}.{newest[1]} only; needed is 1.24 (Engine 1.12)", of_one=True)
        chosen = max(min(newest, NEWEST_API), oldest or OLDEST_API)
        self._prefix = f"/v{chosen[0]}.{chosen[1]}"
        return version

    async def ping(self) -> None:
        """Return when it answers: nothing else tells of a peer that is gone while no event comes."""
        await self._get("/version", limit_bytes=VERSION_LIMIT_BYTES)

    async def about(self) -> dict[str, Any]:
        """Return what `/info` says."""
        return _mapping(await self._get(f"{self._prefix}/info", limit_bytes=LIST_LIMIT_BYTES), "/info")

    async def containers(self) -> list[Any]:
        """Return the list of all containers, running or not."""
        path = f"{self._prefix}/containers/json"
        listed = await self._get(path, {"all": "1"}, limit_bytes=LIST_LIMIT_BYTES)
        if not isinstance(listed, list):
            raise EngineError("its list of containers is none", of_one=True)
        return listed

    async def container(self, identity: str) -> dict[str, Any] | None:
        """Return what is known of a container, None when there is none."""
        return await self._one(f"{self._prefix}/containers/{quote(identity, safe='')}/json")

    async def image(self, identity: str) -> dict[str, Any] | None:
        """Return what is known of an image, None when there is none."""
        return await self._one(f"{self._prefix}/images/{quote(identity, safe=':')}/json")

    async def execution(self, identity: str) -> dict[str, Any] | None:
        """Return what is known of an exec, None when there is none (any more)."""
        path = f"{self._prefix}/exec/{quote(identity, safe='')}/json"
        return await self._one(path, limit_bytes=EXEC_LIMIT_BYTES, limit_s=EXEC_LIMIT_S)

    @contextlib.asynccontextmanager
    async def events(self, filters: Mapping[str, list[str]], since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the stream of events, from `since` on (seconds with a fraction; empty: from now); yield its bytes.

        Within the block the stream is open: what happens from then on comes. Its end is an EngineError.
        """
        parameters = {"filters": msgspec.json.encode(filters).decode()} if filters else {}
        if since:
            parameters["since"] = since
        async with self._stream(parameters) as response:
            yield _bytes_of(response)

    async def remembered(self, until: str) -> bytes:
        """Return the lines of all events that the Engine remembers up to a time, which should be past.

        Where its clock says otherwise, the stream stays open: then all that came before a silence.
        """
        body = bytearray()
        async with self._stream({"since": BEGINNING, "until": until}) as response:
            with _translated("the events it remembers"):
                while len(body) < MEMORY_LIMIT_BYTES:
                    try:
                        async with asyncio.timeout(MEMORY_SILENCE_S):
                            received = await response.content.readany()
                    except TimeoutError:
                        break
                    if not received:
                        break
                    body += received
        return bytes(body)

    @contextlib.asynccontextmanager
    async def _stream(self, parameters: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        path = f"{self._prefix}/events"
        with _translated("the stream of events"):
            async with asyncio.timeout(REQUEST_LIMIT_S):
                response = await self._session.get(f"{self._base}{path}", params=parameters, allow_redirects=False)
                if response.status != 200:
                    raise await _refusal(response, path)
        try:
            yield response
        finally:
            response.close()

    async def _one(
        self, path: str, *, limit_bytes: int = INSPECT_LIMIT_BYTES, limit_s: float = INSPECT_LIMIT_S
    ) -> dict[str, Any] | None:
        try:
            return _mapping(await self._get(path, limit_bytes=limit_bytes, limit_s=limit_s), path)
        except EngineError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        limit_bytes: int,
        limit_s: float | None = None,
    ) -> Any:
        with _translated(path):
            async with (
                asyncio.timeout(limit_s or REQUEST_LIMIT_S),
                self._session.get(f"{self._base}{path}", params=parameters, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise await _refusal(response, path)
                body = await _read(response, limit_bytes)
                if body is None:
                    # The rest is not read, so the connection is of no more use.
                    response.close()
                    raise EngineError(f"its answer to {path} is longer than {limit_bytes} bytes", of_one=True)
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise EngineError(f"its answer to {path} is no JSON: {error}", of_one=True) from error


async def _bytes_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated("the stream of events"):
        async for received in response.content.iter_any():
            yield received
    raise EngineError("the stream of events ended")


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise EngineError(f"no answer in time to {what}", of_one=True) from error
    except aiohttp.ClientConnectorError as error:
        raise EngineError(f"cannot be reached: {error.os_error.strerror or error.os_error}") from error
    except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
        raise EngineError(f"{what}: {str(error) or type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes | None:
    """Return the body, None when it is longer than the limit."""
    body = bytearray()
    async for received in response.content.iter_any():
        body += received
        if len(body) > limit_bytes:
            return None
    return bytes(body)


async def _refusal(response: aiohttp.ClientResponse, path: str) -> EngineError:
    said = (await response.content.read(ERROR_LIMIT_BYTES)).decode(errors="replace")
    with contextlib.suppress(msgspec.DecodeError):
        answer = msgspec.json.decode(said)
        said = str(answer.get("message", "")) if isinstance(answer, dict) else ""
    response.close()
    return EngineError(f"answers {path} with {response.status}: {' '.join(said.split())}", status=response.status)


def _mapping(answer: Any, path: str) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise EngineError(f"its answer to {path} is no object", of_one=True)
    return answer


def _api(text: object) -> tuple[int, int] | None:
    found = _version.fullmatch(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None
