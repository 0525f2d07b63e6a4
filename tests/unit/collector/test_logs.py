"""Our own log: nothing a sender wrote can forge a line, and no event can flood it."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import logs
from collector.logs import (
    BURST,
    LONGEST_PAUSE_S,
    REFILL_S,
    VALUE_LIMIT,
    Output,
    RateBound,
    Recurring,
    escaped,
    get_logger,
)


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the present time in seconds."""
        return self.now


def written(*, terminal: bool, event: str = "something", **fields: Any) -> str:
    """What one line of the log looks like."""
    stream = io.StringIO()
    get_logger("intake", Output(stream, terminal, wall_clock=lambda: 0.0)).info(event, **fields)
    return stream.getvalue()


def test_a_line_elsewhere_is_one_json_object() -> None:
    """Not on a terminal: time, level, component, event, then the fields."""
    line = written(terminal=False, event="input_listening", input="docker", port=24224)

    assert {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "component": "intake",
        "event": "input_listening",
        "input": "docker",
        "port": 24224,
    } == json.loads(line)


def test_a_line_on_a_terminal_is_readable() -> None:
    """On a terminal: the event, then fields as name=value, quoted where they hold blanks."""
    line = written(terminal=True, event="input_listening", input="docker", reason="in use")

    assert line.endswith('info    intake     input_listening  input=docker  reason="in use"\n')


HOSTILE = 'x\n2026-01-01 error forged=1\r\x1b[2J\x9b31m\u2028\u202e\x00\x7f "quoted" \\n \ud800'


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("place", ["event", "value", "name", "nested"])
def test_hostile_text_stays_within_its_line(terminal: bool, place: str) -> None:
    """Line breaks, escape sequences, C1 controls, direction marks and lone surrogates come out escaped everywhere."""
    stream = io.StringIO()
    logger = get_logger("intake", Output(stream, terminal))
    fields: dict[str, Any] = {"value": {"peer": HOSTILE}, "name": {HOSTILE: 1}, "nested": {"peer": [{"a": HOSTILE}]}}

    logger.warning(HOSTILE if place == "event" else "something", **fields.get(place, {}))

    line = stream.getvalue()
    assert 1 == line.count("\n")
    assert line.removesuffix("\n").isprintable()


@given(st.text())
def test_escaped_text_is_printable_and_tells_texts_apart(text: str) -> None:
    """Whatever the text: no control character is left, and the original can be told from what is shown."""
    shown = escaped(text)

    assert shown.isprintable()
    assert text == shown.encode("latin-1", "backslashreplace").decode("unicode_escape") or "\\" in shown


@given(st.text())
def test_json_gives_the_text_back(text: str) -> None:
    """A program that reads the log gets exactly what was logged."""
    assert text[:VALUE_LIMIT] == json.loads(written(terminal=False, value=text))["value"][:VALUE_LIMIT]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_traceback_cannot_pass_for_lines_of_the_log(terminal: bool) -> None:
    """An exception whose text holds line breaks: every further line is marked, or it is within the JSON object."""
    stream = io.StringIO()
    logger = get_logger("worker", Output(stream, terminal))
    logger.error("role_failed", exc_info=ValueError("bad\n12:00:00 error   forged"))

    first, *rest = stream.getvalue().splitlines()
    assert "role_failed" in first
    assert [] == [line for line in rest if not line.startswith("    | ")]
    assert terminal == bool(rest)


def test_a_long_value_is_cut_and_counted() -> None:
    """A value beyond the limit ends with the number of characters that are not shown."""
    shown = json.loads(written(terminal=False, value="a" * (VALUE_LIMIT + 5)))["value"]

    assert f"{'a' * VALUE_LIMIT}… (5 more characters)" == shown


def test_one_event_cannot_flood_the_log() -> None:
    """Ten lines at once, then one per ten seconds which says how many were left out; other events are unharmed."""
    clock, stream = Seconds(), io.StringIO()
    logger = get_logger("intake", Output(stream, terminal=False, rate=RateBound(clock)))

    for _ in range(1000):
        logger.warning("connection_broken")
    logger.warning("something_else")
    clock.now += REFILL_S
    for _ in range(3):
        logger.warning("connection_broken")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert BURST + 1 == sum(line["event"] == "connection_broken" for line in lines)
    assert 1 == sum(line["event"] == "something_else" for line in lines)
    assert 1000 - BURST == lines[-1]["suppressed"]


def test_the_number_of_remembered_events_is_bounded() -> None:
    """Ever new event names do not make the rate bound grow."""
    rate = RateBound(Seconds())

    for number in range(logs.EVENTS_LIMIT * 2):
        rate.take(f"event {number}")

    assert logs.EVENTS_LIMIT == len(rate._spent)


def test_what_was_left_out_is_told_once() -> None:
    """Counts of which no later line told are given out, and then forgotten."""
    rate = RateBound(Seconds())
    for _ in range(BURST + 3):
        rate.take("connection_broken")

    assert ({"connection_broken": 3}, {}) == (rate.left_out(), rate.left_out())


@pytest.fixture
def routed() -> Iterator[io.StringIO]:
    """The standard library's logging, routed into a log of our own for the test."""
    root = logging.getLogger()
    before = (
        root.handlers,
        root.level,
        {name: logging.getLogger(name).level for name in (*logs.QUIET, *logs.SILENT)},
    )
    stream = io.StringIO()
    logs.configure(Output(stream, terminal=False))
    yield stream
    root.handlers, root.level = before[0], before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=False)
    logs._output = Output()


def test_libraries_log_into_our_log(routed: io.StringIO) -> None:
    """What a library logs is a line like ours, with its text escaped and its rate bound per template."""
    for number in range(BURST + 5):
        logging.getLogger("some.library").warning("request %d of %s", number, "a\nb")

    lines = [json.loads(line) for line in routed.getvalue().splitlines()]
    assert BURST == len(lines)
    assert ("some.library", "request 0 of a\nb") == (lines[0]["component"], lines[0]["event"])


def test_chatty_libraries_are_quiet_below_a_warning(routed: io.StringIO) -> None:
    """Of aiohttp and elasticsearch, which tell each request at INFO, only warnings are shown."""
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("elasticsearch").info("POST /_bulk")
    logging.getLogger("elasticsearch").warning("node is dead")

    assert ["node is dead"] == [json.loads(line)["event"] for line in routed.getvalue().splitlines()]


def test_the_client_of_elasticsearch_is_silent(routed: io.StringIO) -> None:
    """It told every failed connection beside our own line, which says the fact once."""
    logging.getLogger("elastic_transport.node_pool").warning("Node %r has failed for %i times in a row", "es", 3)

    assert routed.getvalue() == ""


def test_at_the_level_debug_libraries_tell_all(routed: io.StringIO) -> None:
    """Who looks for a fault in the connection itself can hear them."""
    logs.configure(Output(routed, terminal=False, minimum="debug"))
    logging.getLogger("elastic_transport.transport").debug("GET / [status:200]")

    assert json.loads(routed.getvalue())["event"] == "GET / [status:200]"


def test_a_problem_that_lasts_is_told_with_rising_pauses() -> None:
    """Once when it is new or another; then after 10 s, 20 s, 40 s, … up to an hour: each second was a line."""
    clock = Seconds()
    recurring = Recurring(clock)
    told = []
    for second in range(100):
        clock.now = float(second)
        if recurring.is_due("the port is taken" if second < 80 else "no such address"):
            told.append(second)
    assert told == [0, 10, 30, 70, 80, 90]

    told.clear()
    for second in range(100, 30_000):
        clock.now = float(second)
        if recurring.is_due("no such address"):
            told.append(second)

    assert told[-1] - told[-2] == LONGEST_PAUSE_S


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """A closed or broken standard error is not a reason to lose records."""
    stream = io.StringIO()
    stream.close()

    get_logger("intake", Output(stream, terminal=False)).error("something")

    assert stream.closed
