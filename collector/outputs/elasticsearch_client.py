"""The connection to Elasticsearch: one client without retries of its own, gzip by isal, answers as raw bytes."""

import asyncio
import ssl
from typing import Any, Final

import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from elastic_transport import AiohttpHttpNode, ConnectionTimeout, HttpHeaders, Serializer, TlsError, TransportError
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import ApiError, AsyncElasticsearch, UnsupportedProductError
from isal import igzip

from collector.config import ElasticsearchOutput

REQUEST_TIMEOUT_S: Final = 60.0
COMPRESS_FROM_BYTES: Final = 64 << 10
"""Smaller bodies go as they are."""

WRITE_BYTES: Final = 256 << 10

ACCEPT: Final = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON: Final = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
"""Media types of version 8, which servers 8 and 9 take."""

SOURCE_ON_ERROR_SINCE: Final = (8, 18)
"""First version that knows `include_source_on_error`, which keeps documents out of error messages."""


class Answer(msgspec.Struct):
    """What came back: a status, 0 when nothing usable did; `problem` is for the operator, without any document."""

    status: int
    body: bytes = b""
    problem: str = ""
    retry_after_s: float | None = None


class _Raw(Serializer):
    """Leaves answers as they are: the bulk path compares bytes."""

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        return bytes(data) if isinstance(data, bytes | memoryview) else msgspec.json.encode(data)


class _Body(BytesPayload):
    """A body that is written in parts, each when the one before has gone: nothing copies it whole once more."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        view = memoryview(self._value)[:content_length]
        for start in range(0, len(view), WRITE_BYTES):
            await writer.write(view[start : start + WRITE_BYTES])


class BulkNode(AiohttpHttpNode):
    """Writes bodies in parts."""

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        """Send one request."""
        payload: Any = _Body(body) if body is not None else None
        return await super().perform_request(method, target, payload, headers, request_timeout)


class GzipNode(BulkNode):
    """Compresses large bodies at level 1, off the event loop; the client's own way is level 9 on it."""

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        """Send one request."""
        headers = HttpHeaders() if headers is None else headers.copy()
        if body is not None and len(body) >= COMPRESS_FROM_BYTES:
            body = await asyncio.to_thread(igzip.compress, body, 1)
            headers["content-encoding"] = "gzip"
        return await super().perform_request(method, target, body, headers, request_timeout)


def connection_options(options: ElasticsearchOutput) -> dict[str, Any]:
    """Return what every client of this output needs; raise SecretError, OSError or ssl.SSLError."""
    made: dict[str, Any] = {"max_retries": 0, "retry_on_timeout": False, "request_timeout": REQUEST_TIMEOUT_S}
    if options.api_key is not None:
        made["api_key"] = options.api_key.read()
    elif options.username is not None and options.password is not None:
        made["basic_auth"] = (options.username, options.password.read())
    if any(url.startswith("https:") for url in options.urls):
        made["ssl_context"] = ssl.create_default_context(cafile=options.ca_file)
    return made


class BulkClient:
    """Sends bulk bodies, each exactly once, and says what came back. Raises nothing of the network."""

    def __init__(self, options: ElasticsearchOutput) -> None:
        raw = _Raw()
        self._client = AsyncElasticsearch(
            options.urls,
            node_class=GzipNode if options.gzip else BulkNode,
            serializers={"application/vnd.elasticsearch+json": raw, "application/vnd.elasticsearch+x-ndjson": raw},
            **connection_options(options),
        )
        self._parameters: dict[str, str] | None = None

    async def send(self, stream: str, body: bytes) -> Answer:
        """POST a body to a data stream. A lost connection is not tried again here: the same ids are, by the caller."""
        if self._parameters is None:
            answer = await self._request("GET", "/", {}, None)
            if answer.status == 0:
                return answer
            self._parameters = _parameters(answer)
        return await self._request("POST", f"/{stream}/_bulk", self._parameters, body)

    async def _request(self, method: str, path: str, parameters: dict[str, str], body: bytes | None) -> Answer:
        headers = {"accept": ACCEPT, "content-type": NDJSON} if body is not None else {"accept": ACCEPT}
        try:
            response = await self._client.perform_request(method, path, params=parameters, headers=headers, body=body)
        except ApiError as error:
            content = error.body if isinstance(error.body, bytes) else b""
            after = error.meta.headers.get("retry-after")
            return Answer(error.meta.status, content, _reason(content), _seconds(after))
        except UnsupportedProductError:
            return Answer(0, problem="the answer does not come from Elasticsearch (no product header)")
        except ConnectionTimeout:
            return Answer(0, problem=f"no answer within {REQUEST_TIMEOUT_S:.0f} s")
        except TlsError as error:
            return Answer(0, problem=f"TLS: {error.message}")
        except TransportError as error:
            return Answer(0, problem=f"cannot connect: {error.message}")
        content = response.body
        return Answer(response.meta.status, content if isinstance(content, bytes) else b"")

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()


def _parameters(root: Answer) -> dict[str, str]:
    """Ask only for what the server knows: an unknown parameter is an error to it."""
    parameters = {
        "filter_path": "errors,items.*.status,items.*.error,items.*.failure_store",
        "require_data_stream": "true",
    }
    try:
        version = msgspec.json.decode(root.body)["version"]["number"]
        if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) >= SOURCE_ON_ERROR_SINCE:
            parameters["include_source_on_error"] = "false"
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return parameters  # a key that may only write may not ask for the version
    return parameters


def _reason(body: bytes) -> str:
    """Return Elasticsearch's own words for an error of a whole request."""
    try:
        error = msgspec.json.decode(body)["error"]
        return f"{error['type']}: {error['reason']}"[:500] if isinstance(error, dict) else str(error)[:500]
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
