r"""Apache HTTP Server (httpd): access log (common, combined, vhost_combined, ssl_request) and error log of 2.2 and 2.4.

    192.0.2.7 - alice [29/Nov/2026:02:00:00 +0000] "GET /cart?id=7 HTTP/1.1" 200 512
    www.example.com:443 192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET / HTTP/1.1" 200 512 "-" "curl/8.5.0"
    [Sun Nov 29 02:00:00.123456 2026] [authz_core:error] [pid 29:tid 71] [client 192.0.2.7:50001] AH01630: client denied

What httpd escapes (`\"`, `\xHH`) stays escaped. A combined line without a mark of httpd (a virtual host, an identity, `-`
for no bytes, `\"`) looks the same as nginx's and is taken for that unless the image or a label says httpd; the fields are
equal. An error line that refuses a user of basic authentication is also of the category authentication. Not read: own
LogFormat or ErrorLogFormat, mod_log_forensic, errors of the configuration behind their first line, and what scripts write
to standard error, which httpd passes on as it is. Source: httpd 2.4's documentation of mod_log_config and core (ErrorLogFormat).
"""

from parsers.access import WEB_ACCESS, access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import clf, ctime
from parsers.values import (
    NOTHING,
    address,
    domain,
    forwarded,
    host,
    integer,
    level,
    made,
    mapped,
    port,
    text,
)

_QUOTED = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_REQUEST = (
    r'"(?:(?P<method>[A-Za-z][A-Za-z_-]{0,31}) (?P<target>[^\s"\\]*+(?:\\.[^\s"\\]*+)*+) HTTP/(?P<version>\d(?:\.\d)?)|'
    rf'{_QUOTED})"'
)

_ACCESS = (
    r"(?!\[(?:[A-Z]|\d\d/|\d{4}-))"
    r"(?:(?:\[(?P<vhost6>[\da-fA-F:]{2,45})\]|(?P<vhost>[^\s:\[]{1,255})):(?P<vport>\d{1,5}) )?"
    r'(?P<client>[^\s",]{1,255}) (?P<ident>[^\s",]{1,255}) '
    r"(?>(?P<user>.{0,4096}?) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]) "
    rf"{_REQUEST} (?P<status>\d{{3}}|-) (?P<bytes>\d{{1,18}}|-)"
    # Behind the bytes a response time may stand, of a unit that the line does not tell.
    rf'(?: \d{{1,18}})?(?: "(?P<referrer>{_QUOTED})" "(?P<agent>{_QUOTED})"(?: "(?P<forwarded>{_QUOTED})")?)?'
    rf'(?: X-Forwarded-For="(?P<forwarded2>{_QUOTED})")?'
)

ACCESS = Table(
    dataset="apache.access",
    pattern=_ACCESS,
    time=clf("time"),
    constants=WEB_ACCESS,
    fields={
        **access_fields(_ACCESS),
        "source.address": host("client"),
        "source.domain": domain("client"),
        "source.port": port("client"),
        "network.forwarded_ip": forwarded("forwarded", "forwarded2"),
        "destination.domain": text("vhost", "vhost6", absent=NOTHING),
        "destination.port": integer("vport"),
        "user.name": text("user", absent=NOTHING | {'""'}),
        "url.domain": text("vhost", "vhost6", absent=NOTHING),
    },
)

_SSL_REQUEST = (
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] (?P<client>\S{1,255}) "
    rf"(?:(?P<protocol>TLS|SSL)v(?P<tls>[\d.]{{1,3}})|-) (?P<cipher>[\w-]{{1,64}}) {_REQUEST} (?P<bytes>\d{{1,18}}|-)"
)

SSL_REQUEST = Table(
    dataset="apache.access",
    pattern=_SSL_REQUEST,
    time=clf("time"),
    constants=WEB_ACCESS,
    fields={
        **access_fields(_SSL_REQUEST),
        "source.domain": domain("client"),
        "tls.cipher": text("cipher", absent=NOTHING),
        "tls.version": mapped("tls", {"1": "1.0", "1.1": "1.1", "1.2": "1.2", "1.3": "1.3", "2": "2.0", "3": "3.0"}),
        "tls.version_protocol": mapped("protocol", {"TLS": "tls", "SSL": "ssl"}),
    },
)

_HEAD = (
    r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? \d{4}|"
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [+-]\d{4})?)\] "
    r"(?:\[(?P<old>[a-z]{4,6})\] (?:\[client (?P<peer>[^\s\]]{1,255})\] )?|"
    r"\[(?P<logger>\w{0,64}):(?P<level>[a-z]{4,6}\d?)\] \[pid (?P<pid>\d{1,10})(?::tid (?P<thread>\d{1,20}))?\] "
    r"(?:(?P<origin>[\w.-]{1,64})\((?P<at>\d{1,9})\): )?"
    r"(?:\[(?:client|remote) (?P<client>[^\s\]:]{1,255}|[^\s\]]{1,255}(?=:\d{1,5}\]))(?::(?P<port>\d{1,5}))?\] )?)"
    r"(?P<text>(?:\((?:\d{1,10}|os 0x[\da-f]{1,16})\)[^:\[]{1,200}: (?:\[client (?P<client2>[^\s\]]{1,255}):(?P<port2>\d{1,5})\] )?)?"
    r"(?:(?P<code>AH\d{5,6}): )?"
)
_MESSAGE = "[^,]*+(?:,(?! referer: )[^,]*+)*+"
_ERRORS = frozenset({"emerg", "alert", "crit", "error", "warn"})
_ERROR_FIELDS = {
    "event.code": text("code", absent=NOTHING),
    "log.level": level("level", "old"),
    "log.logger": text("logger", absent=NOTHING),
    "log.origin.file.name": text("origin", absent=NOTHING),
    "log.origin.file.line": integer("at"),
    "process.pid": integer("pid"),
    "process.thread.id": integer("thread"),
    "source.address": text("client", "client2", "peer", absent=NOTHING),
    "source.ip": address("client", "client2", "peer"),
    "source.domain": domain("client", "client2", "peer"),
    "source.port": integer("port", "port2"),
}

REFUSED = Table(
    dataset="apache.error",
    # A user of basic authentication has no colon, so the first one ends what the user chose.
    pattern=_HEAD + r'user (?P<user>[^:]*)(?:: (?P<reason>authentication failure) for "| (?P<absent>not found): ).*)',
    time=ctime("time"),
    constants={
        "event.category": ["web", "authentication"],
        "event.type": ["error", "info"],
        "event.action": "authentication_failed",
        "event.outcome": "failure",
        "tidewaiter.auth.method": "basic",
    },
    message=text("text"),
    fields={"event.reason": text("reason", "absent"), **_ERROR_FIELDS, "user.name": text("user", absent=NOTHING)},
)

ERROR = Table(
    dataset="apache.error",
    pattern=(
        _HEAD
        + rf"(?:File does not exist: (?P<file>/{_MESSAGE})|{_MESSAGE})"
        + r"(?:, referer: (?:(?P<referrer>\S*+)\Z|.*))?)"
    ),
    time=ctime("time"),
    constants={"event.category": ["web"]},
    message=text("text"),
    fields={
        "event.type": made(lambda name: ["error" if name in _ERRORS else "info"], "level", "old", kind="keyword[]"),
        **_ERROR_FIELDS,
        "file.path": text("file", absent=NOTHING),
        "http.request.referrer": text("referrer", absent=NOTHING),
    },
)

STARTUP = Table(
    dataset="apache.error",
    pattern=r"(?P<code>AH\d{5,6}): .*",
    constants={"event.category": ["web"], "event.type": ["info"]},
    fields={"event.code": text("code")},
)


def _sniff(line: str) -> bool:
    if line.startswith("[") and ("] [" in line[:48] or "] " in line[20:34]):
        return True
    return '] "' in line or line.startswith("AH0")


FORMAT = Format(
    title="Apache httpd access and error log",
    tables=(ACCESS, REFUSED, ERROR, SSL_REQUEST, STARTUP),
    sniff=_sniff,
    images=("httpd", "apache", "apache2"),
    rank=1,
)
