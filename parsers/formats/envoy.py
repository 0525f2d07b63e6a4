r"""Envoy: its default access log, Istio's, and Envoy's own log.

    [2026-11-29T02:00:00.533Z] "GET /cart HTTP/1.1" 200 - 0 512 5 4 "192.0.2.7" "curl/8.5.0" "b7ba9b4c" "www.example.com" "192.0.2.80:8080"
    [2026-11-29T02:00:00.972Z] "- - -" 0 UF,URX 0 0 0 - "-" "-" "-" "-" "192.0.2.80:5432"
    [2026-11-29 02:00:00.123][1][warning][config] [source/common/config/grpc_stream.h:155] gRPC config stream closed

A TCP line's outcome is success where it has no response flags. Bytes are the source's own: received is what the client sent
(Elastic's integration has them the other way round). `source.ip` is the last of X-Forwarded-For, which Envoy or the proxy in
front wrote. Envoy does not escape quotes of headers: where one holds any, neither client nor agent is told. Response
flags and, of Istio's line, what stands behind the upstream are in `message`. Source: Envoy's documentation, "Access logging".
"""

from typing import Any

from parsers.access import access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import (
    NOTHING,
    address,
    domain,
    duration,
    host,
    http_status,
    integer,
    level,
    made,
    nearest,
    port,
    text,
)

_START = r"(?:ACCESS )?\[(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z)\] "
_HTTP = r'"(?P<method>[A-Za-z_-]{1,32}) (?P<target>\S*) HTTP/(?P<version>\d(?:\.\d)?)" (?P<status>\d{1,3}) '
_TCP = r'"- - -" 0 '
_FLAGS = r"(?P<flags>[\w,]{1,64}|-) "
# Details of Istio's line: the code's, the termination's, and a quoted reason of the transport's failure.
_DETAILS = r'(?:\S{1,255} \S{1,255} "[^"]{0,1024}" )?'
_COUNTS = r"(?P<received>\d{1,18}) (?P<sent>\d{1,18}) (?P<ms>\d{1,12}) (?:\d{1,12}|-) "
_HEADERS = r'(?:"(?P<forwarded>[^"]*)" "(?P<agent>[^"]*)"|".*") '
_BARE = r'[^\s"]{1,255}'
_REST = (
    r'"(?P<id>[^"]{0,1024})" "(?P<authority>[^"]{0,1024})" "(?P<upstream>[^"]{0,255})"'
    rf"(?: {_BARE} {_BARE} {_BARE} (?P<peer>{_BARE}) (?P<sni>{_BARE}) {_BARE})?"
)


def _tcp_outcome(flags: Any) -> str:
    return "success" if flags == "-" else "failure"


_REQUEST = _START + _HTTP + _FLAGS + _DETAILS + _COUNTS + _HEADERS + _REST

HTTP = Table(
    dataset="envoyproxy.log",
    pattern=_REQUEST,
    time=iso("time"),
    constants={
        "event.category": ["web", "network"],
        "event.type": ["access", "connection", "protocol"],
        "network.protocol": "http",
    },
    fields={
        "source.address": text("forwarded", absent=NOTHING),
        "source.ip": nearest("forwarded"),
        "destination.address": host("upstream"),
        "destination.ip": address("upstream"),
        "destination.domain": domain("upstream"),
        "destination.port": port("upstream"),
        **access_fields(_REQUEST),
        "event.duration": duration("ms", unit="ms"),
        "http.response.status_code": http_status("status"),
        "http.response.body.bytes": integer("sent"),
        "http.request.body.bytes": integer("received"),
        "http.request.id": text("id", absent=NOTHING),
        "url.domain": host("authority"),
        "url.port": port("authority"),
    },
)

TCP = Table(
    dataset="envoyproxy.log",
    pattern=_START + _TCP + _FLAGS + _DETAILS + _COUNTS + _HEADERS + _REST,
    time=iso("time"),
    constants={
        "event.category": ["network"],
        "event.type": ["connection"],
        "network.transport": "tcp",
    },
    fields={
        "event.outcome": made(_tcp_outcome, "flags"),
        "event.duration": duration("ms", unit="ms"),
        "source.address": host("peer"),
        "source.ip": address("peer"),
        "source.port": port("peer"),
        "source.bytes": integer("received"),
        "destination.address": host("upstream"),
        "destination.ip": address("upstream"),
        "destination.domain": domain("upstream"),
        "destination.port": port("upstream"),
        "destination.bytes": integer("sent"),
        "tls.client.server_name": domain("sni"),
    },
)

OWN = Table(
    dataset="envoyproxy.server",
    pattern=(
        r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\]\[(?P<thread>\d{1,10})\]\[(?P<level>[a-z]{4,8})\]"
        r"\[(?P<logger>[\w.-]{1,64})\] (?:\[(?P<file>[^\]\s:]{1,255}):(?P<line>\d{1,9})\] )?(?P<text>.*)"
    ),
    time=iso("time"),
    message=text("text"),
    fields={
        "log.level": level("level"),
        "log.logger": text("logger"),
        "log.origin.file.name": text("file", absent=NOTHING),
        "log.origin.file.line": integer("line"),
        "process.thread.id": integer("thread"),
    },
)


def _sniff(line: str) -> bool:
    if line.startswith("["):
        return line[24:26] == "][" or ('Z] "' in line[20:40] and line[11:12] == "T")
    return line.startswith("ACCESS [")


FORMAT = Format(title="Envoy access and own log", tables=(HTTP, TCP, OWN), sniff=_sniff, images=("envoy", "proxyv2"))
