r"""nginx: the access log (`combined` and its common extensions) and the error log.

    192.0.2.7 - alice [29/Nov/2026:02:00:00 +0000] "GET /cart?id=7 HTTP/1.1" 200 512 "https://shop.example.com/" "curl/8.5.0"
    2026/11/29 02:00:00 [error] 29#29: *7 open() "/srv/favicon.ico" failed (2: No such file or directory), client: 192.0.2.7

Access lines may end with a quoted `$http_x_forwarded_for` (the image's default), then with `$request_time`. What nginx
escapes as `\xHH` stays escaped. A request that is no HTTP (a TLS hello on a plain port) stands in `message` only. Source: nginx's ngx_http_log_module.
"""

from parsers.format import Format
from parsers.table import Table
from parsers.times import clf, iso
from parsers.values import (
    NOTHING,
    address,
    duration,
    http_outcome,
    integer,
    level,
    text,
    url_path,
    url_query,
)

ACCESS = Table(
    dataset="nginx.access",
    pattern=(
        r"(?P<client>\S+) - (?P<user>.*?) \[(?P<time>[^\]\[\"]{20,40})\] "
        r'"(?:(?P<method>[A-Z][A-Z_-]{0,31}) (?P<target>[^\s"]*) HTTP/(?P<version>\d(?:\.\d)?)|(?P<request>[^"]*))" '
        r'(?P<status>\d{3}) (?P<bytes>\d{1,18}|-) "(?P<referrer>[^"]*)" "(?P<agent>[^"]*)"'
        r'(?: "(?P<forwarded>[^"]*)")?(?: (?P<seconds>\d{1,9}\.\d{3}))?'
    ),
    time=clf("time"),
    constants={"event.category": ["web"], "event.type": ["access"]},
    fields={
        "event.outcome": http_outcome("status"),
        "event.duration": duration("seconds"),
        "source.address": text("client"),
        "source.ip": address("client"),
        "user.name": text("user", absent=NOTHING),
        "http.response.status_code": integer("status"),
        "http.response.body.bytes": integer("bytes"),
        "http.version": text("version", absent=NOTHING),
        "http.request.method": text("method", absent=NOTHING),
        "http.request.referrer": text("referrer", absent=NOTHING),
        "url.original": text("target", absent=NOTHING),
        "url.path": url_path("target"),
        "url.query": url_query("target"),
        "user_agent.original": text("agent", absent=NOTHING),
    },
)

ERROR = Table(
    dataset="nginx.error",
    pattern=(
        r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]{4,6})\] (?P<pid>\d{1,10})#(?P<thread>\d{1,10}): "
        r"(?:\*(?P<connection>\d{1,18}) )?(?P<text>.*?(?:, client: (?P<client>[^,\s]+)(?:, server: (?P<server>[^,]*))?"
        r'(?:, request: "(?:(?P<method>[A-Z]{1,32}) (?P<target>[^\s"]*) HTTP/(?P<version>[\d.]{1,3})|[^"]*)")?(?:,.*)?)?)'
    ),
    time=iso("time"),
    constants={"event.category": ["web"], "event.type": ["error"]},
    message=text("text"),
    fields={
        "log.level": level("level"),
        "process.pid": integer("pid"),
        "process.thread.id": integer("thread"),
        "source.address": text("client", absent=NOTHING),
        "source.ip": address("client"),
        "http.version": text("version", absent=NOTHING),
        "http.request.method": text("method", absent=NOTHING),
        "url.original": text("target", absent=NOTHING),
        "url.path": url_path("target"),
        "url.query": url_query("target"),
    },
)


def _sniff(line: str) -> bool:
    return '] "' in line or ("#" in line[:48] and "] " in line[:40])


FORMAT = Format(title="nginx access and error log", tables=(ACCESS, ERROR), sniff=_sniff, images=("nginx",))
