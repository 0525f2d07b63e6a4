r"""Elasticsearch: its own server, deprecation, slow and audit logs, as JSON (versions 7 and newer) and as text.

    {"@timestamp":"2026-11-29T02:00:00.123Z","log.level":"INFO","message":"started","ecs.version":"1.2.0","event.dataset":"elasticsearch.server","process.thread.name":"main","log.logger":"org.elasticsearch.node.Node","elasticsearch.node.name":"node-1"}
    {"type":"server","timestamp":"2026-11-29T02:00:00,123Z","level":"INFO","component":"o.e.n.Node","cluster.name":"shop","node.name":"node-1","message":"started"}
    {"type":"audit","timestamp":"2026-11-29T02:00:00,123+0000","event.type":"rest","event.action":"authentication_failed","user.name":"alice","origin.address":"192.0.2.7:51234","url.path":"/_search"}
    [2026-11-29T02:00:00,123][INFO ][o.e.n.Node               ] [node-1] started

OpenSearch writes version 7's forms. The product's own keys stay under `tidewaiter.app`. Not handled: the garbage collector's
log. Source: Elasticsearch's reference, "Logging configuration" and "Audit event types".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.formats.ecs_json import FIELDS
from parsers.json_keys import http_method, port_behind
from parsers.table import Table
from parsers.times import any_time, iso
from parsers.values import Value, level, made, mapped, text, to_address, url_path

_DATABASE: Final = {"event.category": ["database"]}


def _type(source: str) -> Value:
    return mapped(source, {"ERROR": ["error"], "FATAL": ["error"]}, default=["info"], kind="keyword[]")


_NODE: Final = {"service.node.name": text("node.name"), "service.name": text("cluster.name")}


def _of(dataset: str, *marks: str) -> Table:
    """Return the table of one log of version 8 and newer, told by its dataset."""

    def accept(found: Mapping[str, Any]) -> bool:
        told = found.get("event.dataset")
        return isinstance(told, str) and any(mark in told for mark in marks)

    return Table(
        dataset=dataset,
        requires=("@timestamp", "event.dataset", "message", "elasticsearch.node.name"),
        accept=accept,
        time=any_time("@timestamp"),
        message=text("message"),
        constants=_DATABASE,
        fields={name: value for name, value in FIELDS.items() if name not in _DATABASE}
        | {"event.type": _type("log.level")},
    )


_AUDIT: Final = Table(
    dataset="elasticsearch.audit",
    requires=("timestamp", "event.type", "event.action"),
    accept=lambda found: found.get("type") == "audit",
    time=iso("timestamp"),
    constants={"event.category": ["authentication"], "event.type": ["info"]},
    fields={
        "event.action": text("event.action"),
        "event.outcome": mapped(
            "event.action",
            {
                "authentication_success": "success",
                "access_granted": "success",
                "run_as_granted": "success",
                "connection_granted": "success",
                "authentication_failed": "failure",
                "realm_authentication_failed": "failure",
                "access_denied": "failure",
                "run_as_denied": "failure",
                "connection_denied": "failure",
                "anonymous_access_denied": "failure",
                "tampered_request": "failure",
            },
        ),
        "user.name": text("user.name", "authentication.name"),
        "user.roles": made(lambda value: value if _is_texts(value) else None, "user.roles", kind="keyword[]"),
        "user.effective.name": text("user.run_as.name"),
        "source.address": made(to_address, "origin.address"),
        "source.ip": made(to_address, "origin.address", kind="ip"),
        "source.port": made(port_behind, "origin.address", kind="long"),
        "http.request.id": text("request.id"),
        "http.request.method": made(http_method, "request.method"),
        "http.request.body.content": text("request.body"),
        "url.original": text("url.path"),
        "url.path": url_path("url.path"),
        "url.query": text("url.query"),
        **_NODE,
    },
)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


_OLD: Final = Table(
    dataset="elasticsearch.server",
    requires=("type", "timestamp", "level", "component", "node.name", "message"),
    time=iso("timestamp"),
    message=text("message"),
    constants=_DATABASE,
    fields={
        "event.type": _type("level"),
        "log.level": level("level"),
        "log.logger": text("component"),
        "error.stack_trace": made(lambda value: "\n".join(value) if _is_texts(value) else None, "stacktrace"),
        **_NODE,
    },
)
_TEXT: Final = Table(
    dataset="elasticsearch.server",
    pattern=(
        r"\[(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}(?:Z|[+-]\d\d:?\d\d)?)\]\[(?P<level>[A-Z]{4,10}) {0,4}\]"
        r"\[(?P<logger>[\w.$-]{1,256}) {0,40}\] \[(?P<node>[^\]]{0,255})\] ?(?P<text>.+)"
    ),
    time=iso("time"),
    message=text("text"),
    constants=_DATABASE,
    fields={
        "event.type": _type("level"),
        "log.level": level("level"),
        "log.logger": text("logger"),
        "service.node.name": text("node", absent={""}),
    },
)


def _sniff(line: str) -> bool:
    if line[:1] == "{":
        return (
            '"elasticsearch.' in line or ('"node.name"' in line and '"type"' in line) or '"type":"audit"' in line[:20]
        )
    return line[:1] == "[" and "][" in line[20:34]


FORMAT = Format(
    title="Elasticsearch's own logs",
    tables=(
        _of("elasticsearch.slowlog", "slowlog", "slow_log"),
        _of("elasticsearch.deprecation", "deprecation"),
        _of("elasticsearch.server", "elasticsearch"),
        _AUDIT,
        _OLD,
        _TEXT,
    ),
    sniff=_sniff,
    images=("elasticsearch", "opensearch"),
)
