"""Our own log: readable lines on a terminal, one JSON object a line elsewhere, always on standard error.

    logger = get_logger("intake")
    logger.warning("connection_broken", input="docker", peer="192.0.2.7", reason="not MessagePack")

An event is a fixed name, words joined by `_` (a library's is its text); what varies goes into fields. Log a fact once,
never a payload and never a secret.
Two promises hold for every line, whatever it is given: at most `BURST` lines of one event at once and one per
`REFILL_S` later, with the number of those left out (P6); and no control character, line break or invisible character
of a value reaches the output unescaped (P5).
"""

import io
import json
import logging
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec
import structlog

BURST: Final = 10
"""Lines of one event that are written at once."""

REFILL_S: Final = 10.0
"""After a burst, one line of the event per this time."""

EVENTS_LIMIT: Final = 1024
"""Events whose rate is remembered; beyond it the one that was silent longest is forgotten."""

VALUE_LIMIT: Final = 2048
"""Characters of one value; the rest is cut and counted."""

ITEMS_LIMIT: Final = 100
"""Items of one list or mapping; the rest is left out."""

TEMPLATE_LIMIT: Final = 100
"""Characters of a library's template by which its lines are told apart."""

TRACEBACK_LIMIT: Final = 16384
"""Characters of one traceback."""

QUIET: Final = ("aiohttp", "asyncio", "elasticsearch", "urllib3")
"""Libraries that tell each request or connection at INFO: only their warnings are ours to show."""

SILENT: Final = ("elastic_transport",)
"""Libraries whose every fact a line of ours tells, once: they are heard at the level debug only."""

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 3600.0
"""Pauses between lines on one problem that lasts: doubling, up to this."""

Logger = structlog.typing.FilteringBoundLogger
_Event = MutableMapping[str, Any]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def escaped(text: str, *, limit: int = VALUE_LIMIT) -> str:
    """Return the text with every character that is not printable, and the backslash, as an escape."""
    cut = text[:limit]
    if not cut.isprintable() or "\\" in cut:
        cut = "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in cut)
    return cut if len(text) <= limit else f"{cut}… ({len(text) - limit} more characters)"


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class _Spent(msgspec.Struct):
    """What an event has left: `tokens` at `at_s` (monotonic), and how many lines were left out since the last."""

    tokens: float
    at_s: float
    suppressed: int = 0


class RateBound:
    """Decides which lines are written: a token bucket per event."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, _Spent] = OrderedDict()

    def take(self, event: str) -> int | None:
        """Return how many lines of this event were left out before this one, None when this one is too."""
        now = self._clock()
        spent = self._spent.setdefault(event, _Spent(float(BURST), now))
        self._spent.move_to_end(event)
        if len(self._spent) > EVENTS_LIMIT:
            self._spent.popitem(last=False)
        spent.tokens = min(float(BURST), spent.tokens + (now - spent.at_s) / REFILL_S)
        spent.at_s = now
        if spent.tokens < 1.0:
            spent.suppressed += 1
            return None
        spent.tokens -= 1.0
        suppressed, spent.suppressed = spent.suppressed, 0
        return suppressed

    def left_out(self) -> dict[str, int]:
        """Return and forget the counts of lines left out of which no later line has told."""
        counts = {event: spent.suppressed for event, spent in self._spent.items() if spent.suppressed}
        for event in counts:
            self._spent[event].suppressed = 0
        return counts


class Recurring:
    """A problem that is met again and again: worth a line when it is new or another, then after pauses that double."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._problem: str | None = None
        self._pause_s = FIRST_PAUSE_S
        self._told_s = 0.0

    def is_due(self, problem: str) -> bool:
        """Tell whether to log it now; then it counts as told."""
        now_s = self._clock()
        if problem != self._problem:
            self._problem, self._pause_s = problem, FIRST_PAUSE_S
        elif now_s - self._told_s < self._pause_s:
            return False
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._told_s = now_s
        return True


class Output(msgspec.Struct):
    """Where lines go and how. `stream` None is standard error of the moment; `terminal` None asks the stream."""

    stream: TextIO | None = None
    terminal: bool | None = None
    minimum: str = "info"
    rate: RateBound = msgspec.field(default_factory=RateBound)
    wall_clock: Callable[[], float] = time.time

    def write(self, line: Callable[[bool], str]) -> None:
        """Write a line, made for a terminal or not, in one call; a log that cannot be written stops nothing."""
        stream = self.stream or sys.stderr
        try:
            terminal = stream.isatty() if self.terminal is None else self.terminal
            stream.write(line(terminal))
            stream.flush()
        except (OSError, ValueError):
            return


_output = Output()


def configure(output: Output | None = None) -> None:
    """Route the standard library's logging into this log, and choose where it goes. Called once per process."""
    global _output
    _output = output or Output()
    root = logging.getLogger()
    root.handlers = [_Handler()]
    is_debug = _output.minimum == "debug"
    root.setLevel(logging.DEBUG if is_debug else logging.INFO)
    for names, level in ((QUIET, logging.WARNING), (SILENT, logging.CRITICAL + 1)):
        for name in names:
            logging.getLogger(name).setLevel(logging.DEBUG if is_debug else level)
    logging.captureWarnings(capture=True)


def get_logger(component: str, output: Output | None = None) -> Logger:
    """Return the logger of a component; `output` in place of the process's is for tests."""

    def write(_logger: Any, level: str, event: _Event) -> str:
        _write(output or _output, level, dict(event))
        raise structlog.DropEvent

    logger: Logger = structlog.wrap_logger(
        None,
        processors=[write],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=True,
        component=component,
    )
    return logger


def tell_left_out() -> None:
    """Write one line for each event of which lines were left out and none came later. Called at a process's end."""
    for event, count in _output.rate.left_out().items():
        fields = {"event": "left_out", "component": "logs", "of": event, "suppressed": count}
        _output.write(lambda terminal, fields=fields: _line(fields, "info", _output, terminal))  # type: ignore[misc]


def _write(output: Output, level: str, event: dict[str, Any]) -> None:
    level = {"exception": "error", "warn": "warning", "fatal": "critical"}.get(level, level)
    if _LEVELS.get(level, 50) < _LEVELS[output.minimum]:
        return
    suppressed = output.rate.take(str(event.pop("rate_key", event.get("event"))))
    if suppressed is None:
        return
    if suppressed:
        event["suppressed"] = suppressed
    output.write(lambda terminal: _line(event, level, output, terminal))


def _line(event: dict[str, Any], level: str, output: Output, terminal: bool) -> str:
    error = event.pop("exc_info", None)
    trace = _traceback(error) if error else ""
    at = datetime.fromtimestamp(output.wall_clock(), UTC)
    name, component = _text(event.pop("event", "")), _text(event.pop("component", ""))
    if not terminal:
        fields = {"time": at.isoformat(timespec="milliseconds"), "level": level, "component": component, "event": name}
        fields |= {key: _plain(value) for key, value in event.items()}
        if trace:
            fields["traceback"] = trace[-TRACEBACK_LIMIT:]
        return json.dumps(fields, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"
    head = f"{at.astimezone():%H:%M:%S} {level:<7} {escaped(component):<10} {escaped(name)}"
    parts = [head, *(f"{escaped(str(key))}={_readable(value)}" for key, value in event.items())]
    # Every line of a traceback is marked, so none can pass for a line of the log.
    marked = "".join(f"    | {escaped(line)}\n" for line in trace[-TRACEBACK_LIMIT:].splitlines())
    return "  ".join(parts) + "\n" + marked


def _traceback(error: Any) -> str:
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if not isinstance(error, BaseException):
        return ""
    text = io.StringIO()
    traceback.print_exception(error, file=text)
    return text.getvalue()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _plain(value: Any) -> Any:
    """Return the value as JSON has it, bounded."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:ITEMS_LIMIT]]
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in list(value.items())[:ITEMS_LIMIT]}
    text = _text(value)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text) - VALUE_LIMIT} more characters)"


def _readable(value: Any) -> str:
    text = _text(value)
    shown = escaped(text)
    if text and not any(c in ' ="' for c in shown):
        return shown
    return '"' + shown.replace('"', '\\"') + '"'


class _Handler(logging.Handler):
    """Takes what libraries log; the rate is bound per template, for their texts vary."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = _text(record.msg)
        event: dict[str, Any] = {"event": text, "component": record.name}
        event["rate_key"] = f"{record.name}: {_text(record.msg)[:TEMPLATE_LIMIT]}"
        if record.exc_info and record.exc_info[1] is not None:
            event["exc_info"] = record.exc_info
        _write(_output, record.levelname.lower(), event)


def log_uncaught(logger: Logger) -> None:
    """Let exceptions that end the process be logged like everything else, instead of printed raw."""

    def hook(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        logger.critical("ended_by_exception", kind=kind.__name__, exc_info=error)

    sys.excepthook = hook
