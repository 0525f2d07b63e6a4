r"""ingress-nginx, the Kubernetes ingress controller: its access log (`upstreaminfo`). Its own messages are klog's.

    192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET / HTTP/2.0" 200 3 "-" "curl/8.5.0" 77 0.004 [default-shop-80] [] 192.0.2.80:80 3 0.004 200 9f86d081

Behind nginx's combined form stand request length and time, upstream and alternative upstream, then address, response length,
time and status of each upstream tried (several, apart by `, `, or by ` : ` after an internal redirect), then the request's id.
Of the upstreams only the message tells. nginx's error lines in the same stream are nginx's. Source: the controller's
documentation, "Log format".
"""

from parsers.access import access_fields
from parsers.format import Format
from parsers.table import Table
from parsers.times import clf
from parsers.values import (
    NOTHING,
    duration,
    integer,
    text,
)

_TRIED = r"(?:-|[\w\[/][^\s,]{0,254})(?:(?:, | : )(?:-|[\w\[/][^\s,]{0,254})){0,64}"

_ACCESS = (
    r'(?P<client>\S{1,255}) - (?P<user>[^"]*?) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"(?:(?P<method>[A-Za-z][A-Za-z_-]{0,31}) (?P<target>[^\s"]*+) HTTP/(?P<version>\d(?:\.\d)?)|[^"]*+)" '
    r'(?P<status>\d{3}) (?P<bytes>\d{1,18}) "(?P<referrer>[^"]*+)" "(?P<agent>[^"]*+)" '
    r"(?P<length>\d{1,18}) (?P<seconds>\d{1,9}\.\d{3}) \[[^\]\s]{0,255}\] \[[^\]\s]{0,255}\] "
    rf"{_TRIED} {_TRIED} {_TRIED} {_TRIED}(?: (?P<id>[\w-]{{0,128}}))?"
)

ACCESS = Table(
    dataset="nginx_ingress_controller.access",
    pattern=_ACCESS,
    time=clf("time"),
    constants={"event.category": ["web"], "event.type": ["access", "info"]},
    fields={
        **access_fields(_ACCESS),
        "event.duration": duration("seconds"),
        "http.request.bytes": integer("length"),
        "http.request.id": text("id", absent=NOTHING),
    },
)


def _sniff(line: str) -> bool:
    return '] "' in line and "] [" in line


FORMAT = Format(
    title="ingress-nginx access log",
    tables=(ACCESS,),
    sniff=_sniff,
    images=("controller", "ingress-nginx-controller", "nginx-ingress-controller"),
)
