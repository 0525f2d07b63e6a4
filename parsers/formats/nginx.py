r"""nginx: the access log (`combined` and its common extensions) and the error log.

    192.0.2.7 - alice [29/Nov/2026:02:00:00 +0000] "GET /cart?id=7 HTTP/1.1" 200 512 "https://shop.example.com/" "curl/8.5.0"
    2026/11/29 02:00:00 [error] 29#29: *7 open() "/srv/favicon.ico" failed (2: No such file or directory), client: 192.0.2.7

Access lines may begin with `$host` or `$host:$server_port`, have a list such as `$http_x_forwarded_for, $remote_addr` for the
client (the last is `source.ip`), and end with a quoted `$http_x_forwarded_for` (the image's
default), then with `$request_time`. What nginx escapes as `\xHH` stays escaped; a request that is no HTTP (a TLS hello on a
plain port) stands in `message` only. Error lines are not escaped and cut at 2048 bytes: where a path or a header can have
imitated `, client: `, or the end can be missing, no client is told. A refused user of basic authentication is also of the
category authentication. Further lines of a message (debug), and what `nginx -t` says of a good file, stay plain. Source: ngx_http_log_module, ngx_log.c.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from parsers.access import WEB_ACCESS, access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import clf, iso
from parsers.values import (
    NOTHING,
    address,
    domain,
    duration,
    forwarded,
    integer,
    level,
    nearest,
    text,
)

_CLIENT = "(?P<client>[^ ]{1,255})"
_REQUEST = (
    r' - (?P<user>[^"]*?) \[(?P<time>\d\d/[^\]\[" ]{17,20} [+-]\d{4})\] '
    r'"(?:(?P<method>[A-Za-z_-]{1,32}) (?P<target>[^\s"]*+) HTTP/(?P<version>\d(?:\.\d)?)|[^"]*+)" '
    r'(?P<status>\d{3}) (?P<bytes>\d{1,18}) "(?P<referrer>[^"]*+)" "(?P<agent>[^"]*+)"'
    r'(?: "(?P<forwarded>[^"]*+)")?(?: (?P<seconds>\d{1,9}\.\d{3}))?'
)

ACCESS = Table(
    dataset="nginx.access",
    pattern=_CLIENT + _REQUEST,
    time=clf("time"),
    constants=WEB_ACCESS,
    fields={
        **access_fields(_CLIENT + _REQUEST),
        "event.duration": duration("seconds"),
        "network.forwarded_ip": forwarded("forwarded"),
    },
)

HOSTED = msgspec.structs.replace(
    ACCESS,
    # A user's name that begins with a blank does not make the client's address a host's: a client is no `-`.
    pattern=(
        r"(?:(?P<vhost>[^\s:,]{1,255})(?::(?P<vport>\d{1,5}))? (?!- ))?"
        r'"?(?P<client>[^\s,"]{1,255}(?:, ?[^\s,"]{1,255}){0,16})"?' + _REQUEST
    ),
    fields={
        **ACCESS.fields,
        "source.ip": nearest("client"),
        "destination.domain": domain("vhost"),
        "destination.ip": address("vhost"),
        "destination.port": integer("vport"),
        "url.domain": domain("vhost"),
    },
)

_HEAD = (
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]{4,6})\] (?P<pid>\d{1,10})#(?P<thread>\d{1,10}): "
    r"(?P<text>(?:\*\d{1,18} )?"
)
_CONTEXT = (
    r", client: (?P<client>[^,\s]{1,255})(?:, server: [^,]{0,255})?"
    r'(?:, request: "(?P<method>[A-Za-z][A-Za-z_-]{0,31}) (?P<target>\S*) HTTP/(?P<version>\d(?:\.\d)?)")?'
)
_HEAD_FIELDS = {
    "log.level": level("level"),
    "process.pid": integer("pid"),
    "process.thread.id": integer("thread"),
}
_WHOLE_BYTES = 1980
"""Texts from here on may have been cut: nginx writes 2048 bytes, the head among them."""


def _clear(groups: Mapping[str, Any]) -> bool:
    found = groups["text"]
    return found.count(", client: ") == 1 and len(found.encode()) < _WHOLE_BYTES


REFUSED = Table(
    dataset="nginx.error",
    # A user of basic authentication has no colon, so `, client: ` is not his.
    pattern=_HEAD
    + r'user "(?P<user>[^:]*)"(?:: (?P<reason>password mismatch)| (?P<absent>was not found) in "[^":]{1,4096}")'
    + _CONTEXT
    + ".*)",
    accept=_clear,
    time=iso("time"),
    constants={
        "event.category": ["web", "authentication"],
        "event.type": ["error", "info"],
        "event.action": "authentication_failed",
        "event.outcome": "failure",
        "tidewaiter.auth.method": "basic",
    },
    message=text("text"),
    fields={
        "event.reason": text("reason", "absent"),
        **_HEAD_FIELDS,
        "user.name": text("user", absent=NOTHING),
        **access_fields(_CONTEXT),
    },
)

REQUEST_ERROR = Table(
    dataset="nginx.error",
    pattern=_HEAD + ".*?" + _CONTEXT + ".*)",
    accept=_clear,
    time=iso("time"),
    constants={"event.category": ["web"], "event.type": ["error"]},
    message=text("text"),
    fields={**_HEAD_FIELDS, **access_fields(_CONTEXT)},
)

ERROR = Table(
    dataset="nginx.error",
    pattern=_HEAD + ".*)",
    time=iso("time"),
    constants={"event.category": ["web"], "event.type": ["error"]},
    message=text("text"),
    fields=_HEAD_FIELDS,
)

STARTUP = Table(
    dataset="nginx.error",
    pattern=r"nginx: \[(?P<level>[a-z]{4,6})\] (?P<text>.*)",
    constants={"event.category": ["web"], "event.type": ["error"]},
    message=text("text"),
    fields={"log.level": level("level")},
)


def _sniff(line: str) -> bool:
    if '] "' not in line:
        return "] " in line[:40] and ("#" in line[:48] or line.startswith("nginx: ["))
    # `www.example.com:80 192.0.2.7 - ` is httpd's vhost_combined, a format that nginx has by configuration only.
    host, blank, _ = line[: line.find(" - ")].partition(" ")
    return not blank or ":" not in host


FORMAT = Format(
    title="nginx access and error log",
    tables=(ACCESS, REFUSED, REQUEST_ERROR, ERROR, STARTUP, HOSTED),
    sniff=_sniff,
    marks=("] ",),
    images=("nginx",),
)
