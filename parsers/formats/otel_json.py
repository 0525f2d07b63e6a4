r"""OpenTelemetry log records as JSON, one per line: OTLP's names, the data model's, and those of SDK console exporters.

    {"timeUnixNano":"1795917600123000000","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"no stock"},"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7"}
    {"Timestamp":"1795917600123000000","SeverityText":"INFO","SeverityNumber":9,"Body":"sold","Resource":{"service.name":"shop"},"Attributes":{"http.status_code":200}}
    {"body":"sold","severity_number":9,"severity_text":"INFO","attributes":{"user.name":"alice"},"timestamp":"2026-11-29T02:00:00.123Z","trace_id":"0x4bf92f3577b34da6a3ce929d0e0e4736"}

Attributes are taken where they are an object, by their semantic conventions; OTLP's lists of keys and values stay under
`tidewaiter.app`, as do whole OTLP requests (`resourceLogs`), which hold many records. Records printed over several lines are
not handled. Source: OpenTelemetry's logs data model and semantic conventions.
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.json_keys import http_method, http_status, request_target, trace_id
from parsers.table import Table
from parsers.times import any_time
from parsers.values import (
    NOTHING,
    address,
    either,
    identifier,
    integer,
    level,
    made,
    port,
    text,
    to_integer,
    url_path,
    url_query,
)

_BODIES: Final = ("body", "Body")
_SEVERITIES: Final = (
    "severityNumber", "severity_number", "SeverityNumber", "severityText", "severity_text", "SeverityText",
)  # fmt: skip
_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal")


def severity(value: Any) -> str | None:
    """Return the level of a severity number (1 to 24, four to a level)."""
    found = to_integer(value)
    return _LEVELS[(found - 1) // 4] if found is not None and 1 <= found <= 24 else None


def otel_id(value: Any) -> str | None:
    """Return an id of a trace or span, without the `0x` that Python's exporter writes."""
    return trace_id(value.removeprefix("0x")) if isinstance(value, str) else None


def _attribute(*names: str) -> tuple[str, ...]:
    return tuple(f"{parent}.{name}" for name in names for parent in ("attributes", "Attributes"))


def _resource(*names: str) -> tuple[str, ...]:
    return tuple(f"{parent}.{name}" for name in names for parent in ("resource.attributes", "Resource", "resource"))


def _is_record(found: Mapping[str, Any]) -> bool:
    return any(key in found for key in _BODIES) and any(key in found for key in _SEVERITIES)


_TARGETS: Final = _attribute("url.full", "http.url", "http.target", "url.path")

RECORD = Table(
    requires=(),
    accept=_is_record,
    time=any_time("timeUnixNano", "timestamp", "Timestamp", "observedTimeUnixNano", "observed_timestamp"),
    message=text("body.stringValue", "body", "Body"),
    fields={
        "event.action": text("eventName", "event_name", "EventName", *_attribute("event.name")),
        "log.level": either(
            level("severityText", "severity_text", "SeverityText"),
            made(severity, "severityNumber", "severity_number", "SeverityNumber"),
        ),
        "log.logger": text("scope.name", "instrumentationScope.name", "InstrumentationScope.name"),
        "log.origin.file.name": text(*_attribute("code.file.path", "code.filepath")),
        "log.origin.file.line": integer(*_attribute("code.line.number", "code.lineno")),
        "log.origin.function": text(*_attribute("code.function.name", "code.function")),
        "trace.id": made(otel_id, "traceId", "trace_id", "TraceId"),
        "span.id": made(otel_id, "spanId", "span_id", "SpanId"),
        "service.name": text(*_resource("service.name")),
        "service.version": text(*_resource("service.version")),
        "service.environment": text(*_resource("deployment.environment.name", "deployment.environment")),
        "error.type": text(*_attribute("exception.type", "error.type")),
        "error.message": text(*_attribute("exception.message")),
        "error.stack_trace": text(*_attribute("exception.stacktrace")),
        "process.pid": integer(*_resource("process.pid")),
        "process.thread.id": integer(*_attribute("thread.id")),
        "process.thread.name": text(*_attribute("thread.name")),
        "user.name": text(*_attribute("user.name"), absent=NOTHING),
        "user.id": identifier(*_attribute("user.id", "enduser.id")),
        "source.address": text(*_attribute("client.address", "http.client_ip")),
        "source.ip": address(*_attribute("client.address", "http.client_ip")),
        "source.port": port(*_attribute("client.port")),
        "http.request.method": made(http_method, *_attribute("http.request.method", "http.method")),
        "http.response.status_code": made(
            http_status, *_attribute("http.response.status_code", "http.status_code"), kind="long"
        ),
        "url.original": made(request_target, *_TARGETS),
        "url.path": url_path(*_TARGETS),
        "url.query": either(url_query(*_TARGETS), text(*_attribute("url.query"))),
        "user_agent.original": text(*_attribute("user_agent.original", "http.user_agent")),
    },
)


def _sniff(line: str) -> bool:
    return line[:1] == "{" and ('"body"' in line or '"Body"' in line) and "everity" in line


FORMAT = Format(title="OpenTelemetry log records", tables=(RECORD,), sniff=_sniff, rank=4)
