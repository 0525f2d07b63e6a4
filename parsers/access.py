"""What access lines of web servers and proxies share: a request's fields, of groups that all their patterns name alike.

| group | what the line says |
| --- | --- |
| client, user | who asked: an address, and the user of HTTP authentication |
| method, target, version | the request line |
| status, bytes | the answer: its status, and the bytes of its body |
| referrer, agent | headers of the request |

A format whose line means something else by one of them gives that field anew.
"""

from typing import Final

from parsers.values import NOTHING, Value, address, http_outcome, integer, text, url_path, url_query

WEB_ACCESS: Final = {"event.category": ["web"], "event.type": ["access"]}
"""What an access line is."""

_FIELDS: Final = {
    "event.outcome": http_outcome("status"),
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
}


def access_fields(pattern: str) -> dict[str, Value]:
    """Return the fields of those of the groups that a pattern names."""
    return {field: value for field, value in _FIELDS.items() if f"(?P<{value.sources[0]}>" in pattern}
