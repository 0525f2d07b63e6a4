r"""Traefik: access log (common or JSON) and its own log of 2.x (logrus) and 3.x (zerolog), text or JSON.

    192.0.2.7 - alice [29/Nov/2026:02:00:00 +0000] "GET /cart HTTP/2.0" 200 512 "-" "-" 7 "shop@docker" "http://192.0.2.80:80" 3ms
    {"ClientAddr":"192.0.2.7:50001","RequestMethod":"GET","RequestPath":"/cart","DownstreamStatus":200,"Duration":3034764}
    2026-11-29T02:00:00Z ERR Router uses a nonexistent resolver error="no resolver" routerName=shop@docker

Traefik does not escape quotes of headers in the common form: where a referrer or an agent holds one, neither is told.
`source` is the peer of the connection; where the log has another address from X-Forwarded-For, that is
`network.forwarded_ip` (JSON), and the last of the list is `source` in the common form, which has no other. Own lines
without a name that only Traefik has are read as text, logfmt or JSON of any logger. Source: Traefik's documentation,
"Logs" and "Access Logs", and pkg/middlewares/accesslog.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from parsers.access import WEB_ACCESS, access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import any_time, clf, iso
from parsers.values import (
    NOTHING,
    address,
    domain,
    duration,
    forwarded,
    host,
    http_outcome,
    http_status,
    http_version,
    integer,
    level,
    nearest,
    port,
    text,
    to_address,
    url_path,
    url_query,
)

_COMMON = (
    r"(?P<client>[^\s,]{1,255}(?:, ?[^\s,]{1,255}){0,32}) - "
    r"(?>(?P<user>.{0,4096}?) \[(?:(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})|-)\]) "
    r'"(?P<method>[A-Za-z_-]{1,32}) (?P<target>\S*) (?:HTTP/(?P<version>\d(?:\.\d)?)|-)" '
    r'(?P<status>\d{1,3}|-) (?P<bytes>\d{1,18}|-) (?:(?:"(?P<referrer>[^"]*)"|-) (?:"(?P<agent>[^"]*)"|-)|".*") '
    r'(?:\d{1,18}|-) (?:"[^"]{0,1024}"|-) (?:"(?:[a-z0-9]{2,5}://)?(?P<service>[^/"]{0,255})[^"]{0,1024}"|-) '
    r"(?P<ms>\d{1,12})ms"
)

COMMON = Table(
    dataset="traefik.access",
    pattern=_COMMON,
    time=clf("time"),
    constants=WEB_ACCESS,
    fields={
        **access_fields(_COMMON),
        "event.duration": duration("ms", unit="ms"),
        "http.response.status_code": http_status("status"),
        "source.address": text("client", absent=NOTHING),
        "source.ip": nearest("client"),
        "source.domain": domain("client"),
        "destination.address": host("service"),
        "destination.ip": address("service"),
        "destination.domain": domain("service"),
        "destination.port": port("service"),
    },
)

JSON = Table(
    dataset="traefik.access",
    requires=("RequestMethod", "RequestPath", "DownstreamStatus", "level"),
    time=any_time("StartUTC", "StartLocal", "time"),
    constants=WEB_ACCESS,
    message=text("msg"),
    fields={
        "event.outcome": http_outcome("DownstreamStatus"),
        "event.duration": duration("Duration", unit="ns"),
        "log.level": level("level"),
        "source.address": host("ClientAddr", "ClientHost"),
        "source.ip": address("ClientAddr", "ClientHost"),
        "source.port": port("ClientAddr", "ClientPort"),
        "destination.address": host("ServiceAddr", "BackendAddr"),
        "destination.ip": address("ServiceAddr", "BackendAddr"),
        "destination.domain": domain("ServiceAddr", "BackendAddr"),
        "destination.port": port("ServiceAddr", "BackendAddr"),
        "user.name": text("ClientUsername", absent=NOTHING),
        "http.response.status_code": http_status("DownstreamStatus"),
        "http.response.body.bytes": integer("DownstreamContentSize"),
        "http.version": http_version("RequestProtocol"),
        "http.request.method": text("RequestMethod", absent=NOTHING),
        "http.request.body.bytes": integer("RequestContentSize"),
        "http.request.referrer": text("request_Referer", absent=NOTHING),
        "url.domain": host("RequestHost", "RequestAddr"),
        "url.port": port("RequestPort", "RequestAddr"),
        "url.scheme": text("RequestScheme", absent=NOTHING),
        "url.original": text("RequestPath", absent=NOTHING),
        "url.path": url_path("RequestPath"),
        "url.query": url_query("RequestPath"),
        "user_agent.original": text("request_User-Agent", absent=NOTHING),
        "tls.cipher": text("TLSCipher", absent=NOTHING),
        "tls.version": text("TLSVersion", absent=NOTHING),
    },
)


def _behind_proxy(found: Mapping[str, Any]) -> bool:
    peer, named = found.get("ClientAddr"), found.get("ClientHost")
    return isinstance(peer, str) and isinstance(named, str) and to_address(peer) != to_address(named)


JSON_FORWARDED = msgspec.structs.replace(
    JSON, accept=_behind_proxy, fields={**JSON.fields, "network.forwarded_ip": forwarded("ClientHost")}
)

_OWN_FIELDS = {"log.level": level("level"), "error.message": text("error", absent={""})}

OWN_JSON = Table(
    dataset="traefik.log",
    requires=("level", "time"),
    time=any_time("time"),
    message=text("message", "msg"),
    fields=_OWN_FIELDS,
)

OWN_PAIRS = Table(
    dataset="traefik.log",
    pairs=True,
    requires=("level", "time"),
    time=iso("time"),
    message=text("msg"),
    fields=_OWN_FIELDS,
)

OWN_TEXT = Table(
    dataset="traefik.log",
    pattern=(
        r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)) (?P<level>TRC|DBG|INF|WRN|ERR|FTL|PNC) (?P<text>.+)"
    ),
    time=iso("time"),
    message=text("text"),
    fields={"log.level": level("level")},
)

_NAMES = ("entryPointName", "routerName", "providerName", "middlewareName", "middlewareType", "Traefik ", "traefik/")
"""What own lines hold that no other product's do."""


def _sniff(line: str) -> bool:
    if line.endswith("ms"):
        return '] "' in line
    if line.startswith("{"):
        return '"RequestMethod":"' in line or ('"level":"' in line and any(name in line for name in _NAMES))
    return line.startswith(('time="2', "2")) and any(name in line for name in _NAMES)


FORMAT = Format(
    title="Traefik access and own log",
    tables=(COMMON, JSON_FORWARDED, JSON, OWN_PAIRS, OWN_TEXT, OWN_JSON),
    sniff=_sniff,
    images=("traefik",),
)
