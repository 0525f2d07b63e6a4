r"""HAProxy: HTTP (also in CLF), HTTPS and TCP logs, refused connections, states of servers, its own start and stop lines.

    192.0.2.7:50001 [29/Nov/2026:02:00:00.641] http-in web/s1 0/0/1/5/6 200 512 - - ---- 1/1/0/0/0 0/0 "GET /cart HTTP/1.1"
    Nov 29 02:00:00 lb haproxy[29]: 192.0.2.7:50001 [29/Nov/2026:02:00:00.641] tcp-in db/s1 1/0/302 150 -- 1/1/0/0/0 0/0
    [WARNING]  (29) : Server web/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused"

With or without the head of syslog. Captured headers, cookies, names of proxies and servers, timers and counters stand in
`message`; the duration is the last timer. A TCP line's outcome is success for the state `--`, none where the client
ended it, else failure. Times have no zone: UTC is meant; CLF's have one, and no milliseconds. Not read: own `log-format`s.
Source: HAProxy's configuration manual, section 8.
"""

from typing import Any

from parsers.access import WEB_ACCESS, access_fields
from parsers.format import Format
from parsers.syslog_head import HEAD_TIME, head_fields, headed
from parsers.table import Table
from parsers.times import clf
from parsers.values import (
    NOTHING,
    address,
    domain,
    duration,
    http_status,
    integer,
    level,
    lowered,
    made,
    mapped,
    text,
)

_PROGRAM = ("haproxy",)
_HEAD = head_fields("haproxy")
_CLIENT = (
    r"(?P<client>[^\s\[]{1,255}):(?P<port>\d{1,5}) "
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] "
)
_PROXIES = r"[^\s/]{1,255} [^\s/]{1,255}/[^\s/]{1,255} "
_COUNTS = r"\d{1,10}/\d{1,10}/\d{1,10}/\d{1,10}/\+?\d{1,10} \d{1,10}/\d{1,10}"
_SOURCE = {
    "source.address": text("client", absent=NOTHING),
    "source.ip": address("client"),
    "source.port": integer("port"),
}


def _tcp_outcome(state: Any) -> str | None:
    if state == "--":
        return "success"
    return None if state[:1] in "Cc" else "failure"


_HTTP = (
    _CLIENT + _PROXIES + r"(?:(?P<server>[A-Za-z][\w.-]{0,254}|[\d.]{7,15}|[\da-f:]{2,45}) )?"
    # Cookies stand as the client sent them: what follows them is found from the end.
    r"-?\d{1,10}/-?\d{1,10}/-?\d{1,10}/-?\d{1,10}/\+?(?P<total>\d{1,12}) (?P<status>-?\d{1,3}) \+?(?P<length>\d{1,18}) "
    rf".{{1,1024}}? [\w-]{{4}} {_COUNTS} "
    r"(?:\{[^}]{0,8192}\} ){0,2}"
    r'"(?:(?P<method>[A-Za-z][A-Za-z_-]{0,31}) (?P<target>[^\s"]*) HTTP/(?P<version>\d(?:\.\d)?)|[^"]*)"?'
    r"(?: \d{1,10}/[\da-f]{1,16}/\d{1,10}/\d{1,10}/(?P<resumed>[01]) "
    r"(?P<sni>[^\s/]{1,255})/(?:(?P<protocol>TLS|SSL)v(?P<tls>[\d.]{1,3})|-)/(?P<cipher>[\w-]{1,64}))?"
)

HTTP = Table(
    dataset="haproxy.log",
    pattern=headed(_PROGRAM, _HTTP, bare=True),
    time=clf("time"),
    constants=WEB_ACCESS,
    message=text("text"),
    fields={
        **access_fields(_HTTP),
        "event.duration": duration("total", unit="ms"),
        **_SOURCE,
        "destination.address": text("server", absent=NOTHING),
        "destination.ip": address("server"),
        "destination.domain": domain("sni"),
        "http.response.status_code": http_status("status"),
        "http.response.bytes": integer("length"),
        "url.domain": domain("sni"),
        "tls.client.server_name": domain("sni"),
        "tls.version": text("tls", absent=NOTHING),
        "tls.version_protocol": lowered("protocol"),
        "tls.cipher": text("cipher", absent=NOTHING),
        "tls.resumed": mapped("resumed", {"1": True, "0": False}, kind="boolean"),
        **_HEAD,
    },
)

_CLF = (
    r"(?P<client>[^\s\[]{1,255}) - - \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?:(?P<method>[A-Za-z][A-Za-z_-]{0,31}) (?P<target>[^\s"]*) HTTP/(?P<version>\d(?:\.\d)?)|[^"]*)" '
    r'(?P<status>-?\d{1,3}) \+?(?P<length>\d{1,18}) "" "" (?P<port>\d{1,5}) \d{1,3} '
    r'"[^\s"]{1,255}" "[^\s"]{1,255}" "[^\s"]{1,255}" '
    r"-?\d{1,10} -?\d{1,10} -?\d{1,10} -?\d{1,10} \+?(?P<total>\d{1,12}) [\w-]{4} "
    r"\d{1,10} \d{1,10} \d{1,10} \d{1,10} \+?\d{1,10} \d{1,10} \d{1,10} .*"
)

CLF = Table(
    dataset="haproxy.log",
    pattern=headed(_PROGRAM, _CLF, bare=True),
    time=clf("time"),
    constants=WEB_ACCESS,
    message=text("text"),
    fields={
        **access_fields(_CLF),
        "event.duration": duration("total", unit="ms"),
        **_SOURCE,
        "http.response.status_code": http_status("status"),
        "http.response.bytes": integer("length"),
        **_HEAD,
    },
)

TCP = Table(
    dataset="haproxy.log",
    pattern=headed(
        _PROGRAM,
        _CLIENT
        + _PROXIES
        + rf"-?\d{{1,10}}/-?\d{{1,10}}/\+?(?P<total>\d{{1,12}}) \+?(?P<bytes>\d{{1,18}}) (?P<state>[\w-]{{2}}) {_COUNTS}",
        bare=True,
    ),
    time=clf("time"),
    constants={"event.category": ["network"], "event.type": ["connection"]},
    message=text("text"),
    fields={
        "event.outcome": made(_tcp_outcome, "state"),
        "event.duration": duration("total", unit="ms"),
        **_SOURCE,
        "destination.bytes": integer("bytes"),
        **_HEAD,
    },
)

REFUSED = Table(
    dataset="haproxy.log",
    pattern=headed(_PROGRAM, _CLIENT + r"[^\s/]{1,255}/[^\s/]{1,255}: (?P<reason>.*)", bare=True),
    time=clf("time"),
    constants={"event.category": ["network"], "event.type": ["connection"], "event.outcome": "failure"},
    message=text("text"),
    fields={"event.reason": text("reason", absent=NOTHING), **_SOURCE, **_HEAD},
)

CONNECT = Table(
    dataset="haproxy.log",
    pattern=headed(
        _PROGRAM,
        r"Connect from (?P<client>\S{1,255}):(?P<port>\d{1,5}) to (?P<server>\S{1,255}):(?P<server_port>\d{1,5}) "
        r"\([^\s/]{1,255}/(?P<mode>HTTP|TCP)\)",
        bare=True,
    ),
    time=HEAD_TIME,
    message=text("text"),
    fields={
        "event.category": mapped("mode", {"HTTP": ["web", "network"]}, default=["network"], kind="keyword[]"),
        "event.type": mapped("mode", {}, default=["connection"], kind="keyword[]"),
        **_SOURCE,
        "destination.address": text("server", absent=NOTHING),
        "destination.ip": address("server"),
        "destination.port": integer("server_port"),
        **_HEAD,
    },
)

_OWN = r"\[(?P<level>[A-Z]{4,8})\] {1,4}(?:\d{3}/\d{6} )?\((?P<pid>\d{1,10})\) : "
_STATE = (
    r"(?:Backup )?Server [^\s/]{1,255}/[^\s/]{1,255} is (?:going )?(?P<state>UP|DOWN)"
    r"(?:, reason: (?P<reason>[^,]{1,1024}))?.*"
)
_STATE_FIELDS = {
    "event.action": mapped("state", {"UP": "server_up", "DOWN": "server_down"}),
    "event.reason": text("reason", absent=NOTHING),
}

STATE = Table(
    dataset="haproxy.log",
    pattern=headed(_PROGRAM, _STATE, bare=True),
    time=HEAD_TIME,
    message=text("text"),
    fields={**_STATE_FIELDS, **_HEAD},
)

OWN_STATE = Table(
    dataset="haproxy.log",
    pattern=f"{_OWN}(?P<text>{_STATE})",
    constants={"process.name": "haproxy"},
    message=text("text"),
    fields={**_STATE_FIELDS, "log.level": level("level"), "process.pid": integer("pid")},
)

OWN = Table(
    dataset="haproxy.log",
    pattern=_OWN + "(?P<text>.*)",
    constants={"process.name": "haproxy"},
    message=text("text"),
    fields={"log.level": level("level"), "process.pid": integer("pid")},
)

PROXY = Table(
    dataset="haproxy.log",
    pattern=headed(
        _PROGRAM,
        r"Proxy \S{1,255} (?:started\.|stopped \(.*)|[Bb]ackend \S{1,255} has no server available!"
        r"|(?:Backup )?Server [^\s/]{1,255}/[^\s/]{1,255} (?:was|enters|remains|leaves) .*"
        r"|Health check for (?:backup )?server [^\s/]{1,255}/[^\s/]{1,255} .*",
        bare=True,
    ),
    time=HEAD_TIME,
    message=text("text"),
    fields=_HEAD,
)

TEXT = Table(
    dataset="haproxy.log",
    pattern=headed(_PROGRAM, ".*"),
    time=HEAD_TIME,
    message=text("text"),
    fields=_HEAD,
)

_STARTS = (
    "[NOTICE]", "[WARNING]", "[ALERT]", "Connect from ", "Proxy ", "Server ", "Backup Server ", "backend ",
    "Health check for ",
)  # fmt: skip


def _sniff(line: str) -> bool:
    end = line.find("] ")
    if (end > 24 and line[end - 4] == ".") or line.startswith(_STARTS) or "haproxy" in line[:320]:
        return True
    return end > 24 and ' "" "" ' in line[end:]


FORMAT = Format(
    title="HAProxy http, tcp and own log",
    tables=(HTTP, TCP, CLF, REFUSED, CONNECT, OWN_STATE, OWN, STATE, PROXY, TEXT),
    sniff=_sniff,
    images=("haproxy",),
)
