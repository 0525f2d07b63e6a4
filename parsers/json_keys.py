"""Keys that loggers use for the same thing, as fields of a table: one list for `json`, `logfmt` and their kin.

A source is a key, or a path of keys with dots. Where several loggers use a key for different things, the conversion
takes only what fits the field: `error` may be a text or an object, `method` an HTTP method or a function's name.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from parsers.table import Table
from parsers.times import any_time
from parsers.values import (
    NOTHING,
    Value,
    duration,
    either,
    http_outcome,
    identifier,
    integer,
    level,
    made,
    port,
    text,
    to_address,
    to_integer,
    to_known_level,
    to_nanoseconds,
    to_port,
    url_path,
    url_query,
)

TIME: Final = any_time(
    "@timestamp", "timestamp", "time", "ts", "asctime", "datetime", "instant", "timeMillis", "Timestamp", "t", "date"
)  # fmt: skip
MESSAGE: Final = text("formattedMessage", "message", "msg", "@message", "Message", "event", "short_message", "log")

_ZEROS: Final = frozenset({"", "-", "0", "0" * 16, "0" * 32})
"""What instrumentations write outside of a trace."""

_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "REPORT", "QUERY"}
)
_CALLER: Final = re.compile(r"(.{1,1024}):(\d{1,9})", re.DOTALL)
_VERSION: Final = re.compile(r"(?:HTTP/)?([0-3](?:\.[0-9])?)")


def trace_id(value: Any) -> str | None:
    """Return an id of a trace or span, which may be a number, or the end of a cloud's path; None outside of a trace."""
    if type(value) is int:
        return str(value) if value > 0 else None
    name = value.rpartition("/traces/")[2] if isinstance(value, str) else ""
    return name if name not in _ZEROS else None


def caller_file(value: Any) -> str | None:
    """Return the file of `cart/db.go:42`."""
    found = _CALLER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def caller_line(value: Any) -> int | None:
    """Return the line of `cart/db.go:42`."""
    found = _CALLER.fullmatch(value) if isinstance(value, str) else None
    return to_integer(found[2]) if found else None


def http_method(value: Any) -> str | None:
    """Return an HTTP method in upper case; any other text is none."""
    name = value.upper() if isinstance(value, str) and len(value) < 16 else None
    return name if name in _METHODS else None


def http_status(value: Any) -> int | None:
    """Return a status code (100 to 599) or None."""
    status = to_integer(value)
    return status if status is not None and 100 <= status <= 599 else None


def http_version(value: Any) -> str | None:
    """Return the version of `HTTP/1.1` or `1.1`."""
    found = _VERSION.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def request_target(value: Any) -> str | None:
    """Return a target that is a path or a URL of HTTP; a file's name without a leading slash is none."""
    return value if isinstance(value, str) and value.startswith(("/", "http://", "https://")) else None


def port_behind(value: Any) -> int | None:
    """Return the port behind an address; a number alone is none."""
    return to_port(value) if isinstance(value, str) and to_address(value) else None


def service_name(value: Any) -> str | None:
    """Return a service's name; the time that a service took (`18ms`, Heroku's router) is none."""
    return value if isinstance(value, str) and value and spoken_duration(value) is None else None


def spoken_duration(value: Any) -> int | None:
    """Return nanoseconds of a text that names its unit (`1.5ms`), None for a bare number: loggers differ in that."""
    return to_nanoseconds(value, 1) if isinstance(value, str) and value[-1:].isalpha() else None


_SAID: Final = ("msg", "@message", "short_message", "formattedMessage", "Message")
_LEVELS: Final = (
    "level", "log.level", "severity", "levelname", "level_name", "lvl", "loglevel", "log_level", "Level", "@level",
)  # fmt: skip


def is_logged(found: Mapping[str, Any]) -> bool:
    """Tell whether an object has a text under one of the keys by which loggers name a message or a level."""
    return any(isinstance(found.get(key), str) for key in (*_SAID, *_LEVELS))


_BASE: Final[dict[str, Value]] = {
    "event.duration": either(
        duration(
            "duration_ms", "durationMs", "elapsed_ms", "elapsedMs", "latency_ms", "latencyMs", "response_time_ms",
            "responseTime", "took_ms", "Elapsed", "ElapsedMilliseconds", unit="ms",
        ),
        duration("duration_s", "duration_seconds", "elapsed_s", "elapsed_seconds", "latency_seconds", "request_time"),
        duration("duration_ns", "duration_nanos", "elapsed_ns", "event.duration", unit="ns"),
        duration("duration_us", "elapsed_us", "latency_us", unit="us"),
        made(
            spoken_duration, "duration", "latency", "elapsed", "took", "response_time", "latency_human",
            "httpRequest.latency",
            kind="long",
        ),
    ),
    "event.code": identifier("event.code", "event_id", "EventId"),
    "log.level": either(
        level(*_LEVELS, "@fields.level"),
        made(to_known_level, "at"),
    ),
    "log.logger": text("log.logger", "logger", "logger_name", "loggerName", "channel", "@module"),
    "log.origin.file.name": either(
        made(caller_file, "caller", "@caller", "file", "source"),
        text("log.origin.file.name", "pathname", "source.file", "src.file"),
    ),
    "log.origin.file.line": either(
        made(caller_line, "caller", "@caller", "file", "source", kind="long"),
        integer("log.origin.file.line", "lineno", "source.line", "src.line"),
    ),
    "log.origin.function": text(
        "log.origin.function", "func", "funcName", "func_name", "source.function", "src.func", "function"
    ),
    "error.message": text(
        "error.message", "err.message", "error", "err", "exception.message", "exception.exception_message",
        "thrown.message", "throwable.message",
        "error_message", "errorMessage",
    ),
    "error.type": text(
        "error.type", "err.type", "error.name", "err.name", "exception.type", "exception.class",
        "exception.exception_class", "thrown.name",
        "throwable.className", "error_type", "exc_type",
    ),
    "error.code": identifier("error.code", "err.code", "error_code", "errorCode"),
    "error.stack_trace": text(
        "error.stack_trace", "stack_trace", "stacktrace", "stackTrace", "error.stack", "err.stack", "stack", "exc_info",
        "exception", "exception.stacktrace", "thrown.extendedStackTrace", "errorVerbose",
    ),
    "process.pid": integer("process.pid", "pid", "process_id", "process"),
    "process.name": text("process.name", "processName", "process_name"),
    "process.thread.id": integer("process.thread.id", "thread_id", "threadId", "thread"),
    "process.thread.name": text("process.thread.name", "thread_name", "threadName", "thread"),
    "service.name": made(
        service_name, "service.name", "service", "service_name", "serviceName", "dd.service"
    ),
    "service.version": text("service.version", "service_version", "dd.version"),
    "service.environment": text("service.environment", "dd.env"),
    "trace.id": made(
        trace_id, "trace.id", "trace_id", "traceId", "traceID", "dd.trace_id", "otelTraceID", "mdc.traceId",
        "mdc.trace_id", "contextMap.traceId", "logging.googleapis.com/trace",
    ),
    "transaction.id": made(trace_id, "transaction.id", "transaction_id", "transactionId"),
    "span.id": made(
        trace_id, "span.id", "span_id", "spanId", "spanID", "dd.span_id", "otelSpanID", "mdc.spanId", "mdc.span_id",
        "contextMap.spanId", "logging.googleapis.com/spanId",
    ),
    "user.name": text("user.name", "username", "user_name", "userName", "user", "usr.name", absent=NOTHING),
    "user.id": identifier("user.id", "user_id", "userId", "userid", "uid", "usr.id", "enduser.id"),
    "user.email": text("user.email", "usr.email"),
}  # fmt: skip

_METHOD: Final = (
    "http.request.method", "method", "http.method", "request_method", "http_method", "requestMethod", "req.method",
    "request.method", "httpRequest.requestMethod", "RequestMethod",
)  # fmt: skip
_STATUS: Final = (
    "http.response.status_code", "status_code", "statusCode", "http.status_code", "http_status", "httpRequest.status",
    "res.statusCode", "response.status", "response.status_code", "StatusCode",
)  # fmt: skip
_TARGET: Final = (
    "url.original", "url", "uri", "request_uri", "requestUri", "requestUrl", "req.url", "request.url", "http.url",
    "http.target", "httpRequest.requestUrl", "RequestPath",
)  # fmt: skip
_PEER: Final = (
    "source.ip", "client.ip", "source.address", "client.address", "remote_addr", "remoteAddr", "remote_address",
    "remoteAddress", "remote_ip", "remoteIp", "client_ip", "clientIp", "clientIP", "client_addr", "ip", "ip_address",
    "ipAddress", "source_ip", "src_ip", "req.remoteAddress", "httpRequest.remoteIp", "RemoteIpAddress", "ClientIp",
    "remote", "peer", "client",
)  # fmt: skip


def _http(status: tuple[str, ...], target: tuple[str, ...], size: tuple[str, ...]) -> dict[str, Value]:
    """Fields of a request, with the keys that name its status, target and size of the answer."""
    return {
        "source.address": made(to_address, *_PEER),
        "source.ip": made(to_address, *_PEER, kind="ip"),
        "source.port": either(
            port("source.port", "client.port", "remote_port", "remotePort", "client_port", "req.remotePort"),
            made(port_behind, *_PEER, kind="long"),
        ),
        "http.request.id": identifier("http.request.id", "request_id", "requestId", "req_id", "reqId", "req.id"),
        "http.request.method": made(http_method, *_METHOD),
        "http.request.referrer": text(
            "http.request.referrer", "referer", "referrer", "http_referer", "req.headers.referer",
            "httpRequest.referer", absent=NOTHING,
        ),
        "http.response.status_code": made(http_status, *status, kind="long"),
        "http.response.body.bytes": integer(*size),
        "http.version": made(http_version, "http.version", "http_version", "httpVersion", "proto", "protocol"),
        "url.original": made(request_target, *target),
        "url.path": url_path(*target),
        "url.query": url_query(*target),
        "user_agent.original": text(
            "user_agent.original", "user_agent", "userAgent", "user-agent", "http_user_agent", "req.headers.user-agent",
            "httpRequest.userAgent", absent=NOTHING,
        ),
    }  # fmt: skip


_SIZE: Final = (
    "http.response.body.bytes", "bytes_sent", "body_bytes_sent", "bytes_out", "response_size", "responseSize",
    "res.headers.content-length", "httpRequest.responseSize",
)  # fmt: skip
_ACCESS_STATUS: Final = (*_STATUS, "status", "code")

FIELDS: Final[dict[str, Value]] = _BASE | _http(_STATUS, _TARGET, _SIZE)
"""What any line may have."""


ACCESS: Final = Table(
    requires=(),
    needs=("http.request.method", "http.response.status_code", "url.original"),
    time=TIME,
    message=MESSAGE,
    constants={"event.category": ["web"], "event.type": ["access"]},
    fields=_BASE
    | _http(_ACCESS_STATUS, (*_TARGET, "path"), (*_SIZE, "bytes", "size", "content_length", "contentLength"))
    | {"event.outcome": http_outcome(*_ACCESS_STATUS)},
)
"""An access line: beside it, `status`, `path` and `bytes` may be anything."""
