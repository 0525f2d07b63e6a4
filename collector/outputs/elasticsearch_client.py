"""The connection to Elasticsearch: one client without retries of its own, gzip by isal, answers as raw bytes."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import ClientConnectorError, ClientPayloadError, ClientResponse, ClientSession
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from elastic_transport import (
    AiohttpHttpNode,
    ConnectionTimeout,
    HttpHeaders,
    Serializer,
    TlsError,
    TransportError,
    Urllib3HttpNode,
)
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import ApiError, AsyncElasticsearch, UnsupportedProductError
from isal import isal_zlib

from collector.certificates import client_context
from collector.config_outputs import ElasticsearchOutputConfig
from collector.config_secrets import SecretError
from collector.logs import get_logger
from collector.outputs.elasticsearch_answers import Answer

COMPRESS_FROM_BYTES: Final = 64 << 10
"""Smaller bodies go as they are."""

GZIP_LEVEL: Final = 1

GZIP_WINDOW_BITS: Final = 31
"""zlib's way to ask for the largest window and a gzip header."""

WRITE_BYTES: Final = 1 << 20
"""What is written of a body at once, each part when the one before has gone."""

ANSWER_LIMIT_BYTES: Final = 64 << 20
"""Largest answer that is read; it is several KB for each document of the largest request of usual lines."""

ACCEPT: Final = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON: Final = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
"""Media types of version 8, which servers 8 and 9 take."""

VENDOR: Final = re.compile(r"application/vnd\.elasticsearch\+([a-z-]+)(?:; *compatible-with=\d+)?")

SINCE: Final[Mapping[str, tuple[tuple[int, int], str]]] = {
    # A missing template then is an error, not a plain index.
    "require_data_stream": ((8, 13), "true"),
    # Keeps documents out of error messages.
    "include_source_on_error": ((8, 18), "false"),
}
"""Parameters and the version that knew them first: an unknown parameter is an error to Elasticsearch."""

OWN_STREAMS: Final = "logs-tidewaiter."
NO_PIPELINE: Final[Mapping[str, str]] = {"pipeline": "_none"}
"""For all other data streams, which are named as products' integrations name theirs: an installed integration's default
pipeline would take our documents, which are parsed, for lines. An index's final pipeline runs all the same."""

UNKNOWN: Final = frozenset({500, 502, 504})
"""Statuses, a proxy's among them, that do not say whether the body was taken."""

FILTER: Final = "errors,items.*.status,items.*.error,items.*.failure_store"

NO_PRODUCT: Final = "the answer does not come from Elasticsearch (no product header)"
OPENSEARCH: Final = "what answers is OpenSearch: set server: opensearch"

RAW_TYPE: Final = "application/vnd.elasticsearch+json"


logger = get_logger("worker")


class _Raw(Serializer):
    """Leaves answers as they are, for the bulk path compares bytes, and bodies in their parts."""

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> Any:
        return data


class _Parts(Payload):
    """A body that is written in parts, each when the one before has gone: nothing copies it whole."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        super().__init__(parts)
        self._size = sum(map(len, parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for part in self._value:
            view = memoryview(part)
            for start in range(0, len(view), WRITE_BYTES):
                await writer.write(view[start : start + WRITE_BYTES])


class _BoundedAnswer:
    """An answer of which no more than ANSWER_LIMIT_BYTES are read, however much comes (P6)."""

    def __init__(self, response: ClientResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self._content = response.content

    async def read(self) -> bytes:
        parts: list[bytes] = []
        left = ANSWER_LIMIT_BYTES
        while part := await self._content.readany():
            left -= len(part)
            if left < 0:
                parts.clear()  # the error's traceback holds them until some later garbage collection
                raise ClientPayloadError(f"an answer of more than {ANSWER_LIMIT_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)


class _Session:
    """A session as the node uses it. Follows no redirect: documents go to the addresses that the operator named."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def request(self, method: str, url: str, **options: Any) -> AsyncIterator[_BoundedAnswer]:
        async with self._session.request(method, url, allow_redirects=False, **options) as response:
            yield _BoundedAnswer(response)

    async def close(self) -> None:
        await self._session.close()


class BulkNode(AiohttpHttpNode):
    """Writes bodies in parts; hands on every answer as bytes, whatever type a proxy in between gave it."""

    def _create_aiohttp_session(self) -> None:
        super()._create_aiohttp_session()
        self.session: Any = _Session(self.session)

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: Sequence[bytes] | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        """Send one request."""
        headers = self._asked(headers or HttpHeaders()).copy()
        payload: Any = _Parts(await self._packed(body, headers)) if body is not None else None
        answer = await super().perform_request(method, target, payload, headers, request_timeout)
        typed = HttpHeaders({**self._answered(answer.meta.headers), "content-type": RAW_TYPE})
        return answer._replace(meta=dataclasses.replace(answer.meta, headers=typed))

    def _asked(self, headers: HttpHeaders) -> HttpHeaders:
        return headers

    def _answered(self, headers: HttpHeaders) -> HttpHeaders:
        return headers

    async def _packed(self, body: Sequence[bytes], _headers: HttpHeaders) -> Sequence[bytes]:
        return body


class GzipNode(BulkNode):
    """Compresses large bodies, quickly and off the event loop; the client's own way is level 9 on it."""

    async def _packed(self, body: Sequence[bytes], headers: HttpHeaders) -> Sequence[bytes]:
        if sum(map(len, body)) < COMPRESS_FROM_BYTES:
            return body
        headers["content-encoding"] = "gzip"
        return await asyncio.to_thread(_compressed, body)


class _OpenSearch:
    """What OpenSearch does not know: the client's media types, and the header that names the product."""

    def _asked(self, headers: HttpHeaders) -> HttpHeaders:
        return HttpHeaders({name: VENDOR.sub(r"application/\1", value) for name, value in headers.items()})

    def _answered(self, headers: HttpHeaders) -> HttpHeaders:
        return HttpHeaders({**headers, "x-elastic-product": "Elasticsearch"})


class OpenSearchNode(_OpenSearch, BulkNode):
    """A node of OpenSearch."""


class OpenSearchGzipNode(_OpenSearch, GzipNode):
    """A node of OpenSearch that is sent large bodies compressed."""


class OpenSearchSetupNode(_OpenSearch, Urllib3HttpNode):
    """A node of OpenSearch as `tidewaiter setup` asks it."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        """Send one request."""
        asked = self._asked(headers or HttpHeaders())
        answer = super().perform_request(method, target, body, asked, request_timeout)
        return answer._replace(meta=dataclasses.replace(answer.meta, headers=self._answered(answer.meta.headers)))


NODES: Final[Mapping[tuple[str, bool], type[BulkNode]]] = {
    ("elasticsearch", False): BulkNode,
    ("elasticsearch", True): GzipNode,
    ("opensearch", False): OpenSearchNode,
    ("opensearch", True): OpenSearchGzipNode,
}
"""By the output's `server` and `gzip`."""


def _compressed(body: Sequence[bytes]) -> list[bytes]:
    """Return a body as one gzip stream, in as many parts."""
    stream = isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW_BITS)
    return [*map(stream.compress, body), stream.flush()]


def credentials(options: ElasticsearchOutputConfig) -> dict[str, Any]:
    """Return the credentials as the client takes them, read anew; raise SecretError."""
    if options.api_key is not None:
        return {"api_key": options.api_key.read()}
    if options.username is not None and options.password is not None:
        return {"basic_auth": (options.username, options.password.read())}
    return {}


def connection_options(options: ElasticsearchOutputConfig) -> dict[str, Any]:
    """Return what every client of this output needs; raise SecretError or CertificateError."""
    made: dict[str, Any] = {"max_retries": 0, "retry_on_timeout": False, **credentials(options)}
    if any(url.startswith("https:") for url in options.urls):
        made["ssl_context"] = client_context(options.ca_file)
    return made


class BulkClient:
    """Sends bulk bodies, each exactly once, and says what came back. Raises nothing of the network."""

    def __init__(self, options: ElasticsearchOutputConfig, *, answer_s: float) -> None:
        raw = _Raw()
        self._options = options
        self._answer_s = answer_s
        self._client = AsyncElasticsearch(
            options.urls,
            node_class=NODES[options.server, options.gzip],
            serializers={RAW_TYPE: raw, "application/vnd.elasticsearch+x-ndjson": raw},
            request_timeout=answer_s,
            **connection_options(options),
        )
        self._parameters: dict[str, str] | None = None

    async def send(self, stream: str, body: Sequence[bytes], *, with_index: bool) -> Answer:
        """POST a body in parts to a data stream; what a lost connection took with it is sent again by the caller.

        `with_index`: the answer names the index of each document.
        """
        if self._parameters is None:
            root = await self._request("GET", "/", {}, None)
            if root.status in (0, 401, 429) or root.status >= 500:
                root.unknown = False  # no document was sent
                return root
            self._parameters = _parameters(root)
        more = dict({} if stream.startswith(OWN_STREAMS) else NO_PIPELINE)
        more["filter_path"] = f"{FILTER},items.*._index" if with_index else FILTER
        answer = await self._request("POST", f"/{stream}/_bulk", {**self._parameters, **more}, body)
        answer.unknown = answer.unknown or answer.status in UNKNOWN
        if answer.status == 400:
            self._parameters = None  # another version may answer now
        return answer

    async def ask(self, method: str, path: str, parameters: dict[str, str], content: Any = None) -> Answer:
        """Send a request that carries no documents, JSON if any, and return the answer."""
        body = None if content is None else [msgspec.json.encode(content)]
        return await self._request(method, path, parameters, body, kind=ACCEPT)

    async def _request(
        self, method: str, path: str, parameters: dict[str, str], body: Sequence[bytes] | None, kind: str = NDJSON
    ) -> Answer:
        headers = {"accept": ACCEPT, "content-type": kind} if body is not None else {"accept": ACCEPT}
        try:
            response = await self._client.perform_request(method, path, params=parameters, headers=headers, body=body)
        except UnsupportedProductError as error:
            is_opensearch = "x-opensearch-version" in error.meta.headers
            return Answer(0, problem=OPENSEARCH if is_opensearch else NO_PRODUCT, unknown=True)
        except ApiError as error:
            if error.meta.status == 401:
                self._read_credentials()
            content = error.body if isinstance(error.body, bytes) else b""
            after = error.meta.headers.get("retry-after")
            return Answer(error.meta.status, content, retry_after_s=_seconds(after))
        except ConnectionTimeout:
            return Answer(0, problem=f"no answer within {self._answer_s:g} s", timed_out=True, unknown=True)
        except TlsError as error:
            return Answer(0, problem=f"TLS: {error.message}")
        except TransportError as error:
            never_sent = any(isinstance(each, ClientConnectorError) for each in error.errors)
            return Answer(0, problem=f"cannot connect: {error.message}", unknown=not never_sent)
        if response.meta.headers.get("x-elastic-product") != "Elasticsearch":
            return Answer(0, problem=NO_PRODUCT, unknown=True)  # the client itself asks only of the first answer
        content = response.body
        return Answer(response.meta.status, content if isinstance(content, bytes) else b"")

    def _read_credentials(self) -> None:
        """Take credentials that were replaced while we run; the old ones stay where the new cannot be read."""
        try:
            self._client = self._client.options(**credentials(self._options))
        except SecretError as error:
            logger.warning("credentials_not_read_again", reason=str(error))

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()


def _parameters(root: Answer) -> dict[str, str]:
    """Ask only for what the server's version knows; a key that may only write may not ask for the version."""
    parameters = {"filter_path": FILTER}
    try:
        said = msgspec.json.decode(root.body)["version"]
        if said.get("distribution") == "opensearch":
            return parameters
        number = str(said["number"])
        major, minor = number.split(".")[:2]
        version = (int(major), int(minor))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return parameters
    return parameters | {name: value for name, (since, value) in SINCE.items() if version >= since}


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
