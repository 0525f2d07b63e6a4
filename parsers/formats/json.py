r"""JSON of any logger: one object per line, with the keys that common loggers give to time, level, message and the rest.

    {"level":30,"time":1795917600123,"pid":7,"hostname":"web-1","req":{"id":1,"method":"GET","url":"/cart"},"res":{"statusCode":200},"responseTime":12,"msg":"request completed"}
    {"level":"error","ts":1795917600.12,"logger":"shop","caller":"cart/db.go:42","msg":"insert failed","error":"timeout"}
    {"asctime": "2026-11-29 02:00:00,123", "levelname": "WARNING", "name": "shop.cart", "message": "cart is empty"}
    {"@t":"2026-11-29T02:00:00.1234567Z","@mt":"Sold {Count}","@l":"Warning","Count":3,"SourceContext":"Shop.Cart"}

Known are zap, logrus, zerolog, slog, hclog, pino, pino-http, bunyan, winston, morgan and express access lines, log4j2's
JsonLayout, logback, logstash-logback-encoder, python-json-logger, structlog, loguru, Rust's tracing, monolog, Serilog (also CLEF),
Microsoft's JSON console, GELF, and structured logs of clouds (`severity`, `httpRequest`). A key is taken where its value
fits; all others stay together under `tidewaiter.app`. A duration is taken where its key or its text names the unit. The
time is UTC where it has no zone. A line that names a user and whose event, action or message is a phrase for signing in
(`user.login.failed`, `Login succeeded`) is an event of authentication. Not handled: arrays, objects over several lines, stack traces given as lists.
Sources: the loggers' own pages.
"""

from parsers.format import Format, is_object
from parsers.json_keys import ACCESS, FIELDS, MESSAGE, TIME
from parsers.sign_in import SIGN_INS
from parsers.table import Table
from parsers.times import any_time
from parsers.values import identifier, integer, level, mapped, otherwise, text

CLEF = Table(
    requires=("@t",),
    accept=lambda found: "@mt" in found or "@m" in found,
    time=any_time("@t"),
    message=text("@m", "@mt"),
    fields=FIELDS
    | {
        "log.level": otherwise(level("@l"), "info"),
        "log.logger": text("SourceContext"),
        "error.stack_trace": text("@x"),
        "event.code": identifier("@i", "EventId.Id"),
        "trace.id": text("@tr", "TraceId"),
        "span.id": text("@sp", "SpanId"),
    },
)
"""Serilog's compact form; without `@l` the level is Information (its specification)."""

SERILOG = Table(
    requires=("Timestamp", "Level", "MessageTemplate"),
    time=any_time("Timestamp"),
    message=text("RenderedMessage", "MessageTemplate"),
    fields={
        "log.level": level("Level"),
        "log.logger": text("Properties.SourceContext"),
        "error.stack_trace": text("Exception"),
        "trace.id": text("TraceId"),
        "span.id": text("SpanId"),
    },
)

DOTNET = Table(
    requires=("LogLevel", "Category"),
    time=any_time("Timestamp"),
    message=text("Message"),
    fields={
        "log.level": level("LogLevel"),
        "log.logger": text("Category"),
        "error.stack_trace": text("Exception"),
        "event.code": identifier("EventId"),
    },
)

GELF = Table(
    requires=("short_message", "version"),
    time=any_time("timestamp"),
    message=text("short_message"),
    fields={
        "log.level": mapped(
            "level", dict(enumerate(("emergency", "alert", "critical", "error", "warn", "notice", "info", "debug")))
        ),
        "log.syslog.severity.code": integer("level"),
        "log.logger": text("_logger", "_logger_name", "_loggerName"),
        "process.thread.name": text("_thread", "_thread_name"),
        "error.stack_trace": text("_stack_trace", "_stacktrace"),
    },
)

LOGURU = Table(
    requires=("record.level.name", "record.message"),
    time=any_time("record.time.timestamp"),
    message=text("record.message"),
    fields={
        "log.level": level("record.level.name"),
        "log.logger": text("record.name"),
        "log.origin.file.name": text("record.file.name"),
        "log.origin.file.line": integer("record.line"),
        "log.origin.function": text("record.function"),
        "process.pid": integer("record.process.id"),
        "process.thread.id": integer("record.thread.id"),
        "process.thread.name": text("record.thread.name"),
        "error.type": text("record.exception.type"),
        "error.message": text("record.exception.value"),
    },
)

TRACING = Table(
    requires=("fields.message", "target", "level"),
    time=any_time("timestamp"),
    message=text("fields.message"),
    fields={
        "log.level": level("level"),
        "log.logger": text("target"),
        "log.origin.file.name": text("filename"),
        "log.origin.file.line": integer("line_number"),
        "process.thread.name": text("threadName"),
        "error.message": text("fields.error", "fields.err"),
    },
)
"""Rust's tracing: its `span` is what the program was doing, with fields of the program's own."""

NAMED = Table(
    requires=("name",),
    accept=lambda found: (
        "levelname" in found or ("pid" in found and (type(found.get("level")) is int or "hostname" in found))
    ),
    time=TIME,
    message=MESSAGE,
    fields=FIELDS | {"log.logger": text("name")},
)
"""pino, bunyan and python-json-logger: their `name` is the logger's; elsewhere it may be anybody's."""

GENERAL = Table(requires=(), time=TIME, message=MESSAGE, fields=FIELDS)


FORMAT = Format(
    title="JSON of any logger",
    tables=(CLEF, SERILOG, DOTNET, GELF, LOGURU, TRACING, *SIGN_INS, ACCESS, NAMED, GENERAL),
    sniff=is_object,
    rank=5,
)
