r"""Caddy: access, error and own log, JSON (its default in containers) or console text.

    {"level":"info","ts":1795917600.03,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"192.0.2.7","method":"GET","uri":"/"},"status":200}
    2026/11/29 02:00:00.123	INFO	admin	admin endpoint started	{"address": "localhost:2019"}

`source` is the peer of the connection, `client` what trusted proxies say of the one behind. Of headers only User-Agent
and Referer become fields. Own lines without a logger that only Caddy has are read as JSON of any logger. Of console
lines only time, level and logger are read. Source: Caddy's documentation, "Logging" and `log`.
"""

from typing import Any

from parsers.format import Format
from parsers.table import Table
from parsers.times import any_time, iso
from parsers.values import (
    address,
    boolean,
    duration,
    host,
    http_outcome,
    http_status,
    http_version,
    identifier,
    integer,
    level,
    lowered,
    made,
    mapped,
    port,
    text,
    url_path,
    url_query,
)

_TLS_VERSIONS = {769: "1.0", 770: "1.1", 771: "1.2", 772: "1.3"}
"""Numbers on the wire (RFC 8446 section 4.2.1) -> versions."""


def _header(value: Any) -> str | None:
    """Return a header's value, several joined as RFC 9110 section 5.3 says."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return None
    return ", ".join(value) or None


_OWN = {
    "log.level": level("level"),
    "log.logger": text("logger", absent={""}),
}
_REQUEST = {
    "event.outcome": http_outcome("status"),
    "event.duration": duration("duration"),
    **_OWN,
    "source.address": host("request.remote_ip", "request.remote_addr"),
    "source.ip": address("request.remote_ip", "request.remote_addr"),
    "source.port": port("request.remote_port", "request.remote_addr"),
    "client.address": text("request.client_ip", absent={""}),
    "client.ip": address("request.client_ip"),
    "user.name": text("user_id", absent={""}),
    "http.response.status_code": http_status("status"),
    "http.response.body.bytes": integer("size"),
    "http.version": http_version("request.proto"),
    "http.request.method": text("request.method", absent={""}),
    "http.request.body.bytes": integer("bytes_read"),
    "http.request.referrer": made(_header, "request.headers.Referer"),
    "url.domain": host("request.host"),
    "url.port": port("request.host"),
    "url.original": text("request.uri", absent={""}),
    "url.path": url_path("request.uri"),
    "url.query": url_query("request.uri"),
    "user_agent.original": made(_header, "request.headers.User-Agent"),
    "tls.version": mapped("request.tls.version", _TLS_VERSIONS),
    "tls.version_protocol": mapped("request.tls.version", dict.fromkeys(_TLS_VERSIONS, "tls")),
    "tls.resumed": boolean("request.tls.resumed"),
    "tls.next_protocol": lowered("request.tls.proto"),
    "tls.client.server_name": text("request.tls.server_name", absent={""}),
}
_LINE = ("level", "ts", "msg")

ACCESS = Table(
    dataset="caddy.access",
    requires=(*_LINE, "request.method", "request.uri", "status", "size"),
    time=any_time("ts"),
    constants={"event.category": ["web"], "event.type": ["access"]},
    message=text("msg"),
    fields=_REQUEST,
)

ERROR = Table(
    dataset="caddy.error",
    requires=(*_LINE, "request.method", "request.uri", "status"),
    time=any_time("ts"),
    constants={"event.category": ["web"], "event.type": ["error"]},
    message=text("msg"),
    fields={"error.id": identifier("err_id"), "error.stack_trace": text("err_trace", absent={""}), **_REQUEST},
)

OWN = Table(
    dataset="caddy.log",
    requires=_LINE,
    time=any_time("ts"),
    message=text("msg"),
    fields={"error.message": text("error", absent={""}), **_OWN},
)

CONSOLE = Table(
    dataset="caddy.log",
    pattern=(
        r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3})\t(?P<level>[A-Z]{4,6})\t"
        r"(?:(?P<logger>[a-z][\w.]{0,127})\t)?(?P<text>.+)"
    ),
    time=iso("time"),
    message=text("text"),
    fields=_OWN,
)

_LOGGERS = tuple(
    f'"logger":"{name}' for name in ("http.", 'http"', "tls", "admin", "pki.", "caddy", "layer4", "docker-")
)


def _sniff(line: str) -> bool:
    if line.startswith('{"level":"'):
        head = line[:160]
        return '"ts":' in head and any(name in head for name in _LOGGERS)
    return line[23:24] == "\t" and line[4:5] == "/"


FORMAT = Format(
    title="Caddy access, error and own log", tables=(ACCESS, ERROR, OWN, CONSOLE), sniff=_sniff, images=("caddy",)
)
