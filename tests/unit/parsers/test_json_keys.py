"""What the keys of JSON loggers may hold, so that a field is never a guess."""

from typing import Any

import pytest

from parsers.json_keys import (
    caller_file,
    caller_line,
    http_method,
    http_status,
    http_version,
    port_behind,
    request_target,
    service_name,
    spoken_duration,
    trace_id,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("projects/example/traces/4bf9", "4bf9"),
        (987654321, "987654321"),
        ("0", None),
        (0, None),
        (True, None),
        ({"id": 1}, None),
    ],
)
def test_outside_of_a_trace_there_is_no_id(value: Any, expected: str | None) -> None:
    """Zeros are what instrumentations write there; a cloud writes a path that ends with the id."""
    assert expected == trace_id(value)


def test_a_caller_is_a_file_and_a_line() -> None:
    """A text without a line's number is neither."""
    assert [("cart/db.go", 42), (r"C:\db.cs", 7), (None, None), (None, None)] == [
        (caller_file(value), caller_line(value)) for value in ("cart/db.go:42", r"C:\db.cs:7", "report.pdf", 42)
    ]


def test_http_is_taken_only_where_it_is_http() -> None:
    """A method of a program, a state of an order, a name of a file stay what they are."""
    assert ["GET", None, None] == [http_method(value) for value in ("get", "simplex", 7)]
    assert [404, 404, None, None] == [http_status(value) for value in (404, "404", "paid", 7)]
    assert ["1.1", "2", None] == [http_version(value) for value in ("HTTP/1.1", "2", "AMQP")]
    assert ["/a", "https://example.com/", None] == [
        request_target(value) for value in ("/a", "https://example.com/", "a.txt")
    ]


def test_what_a_service_took_is_not_its_name() -> None:
    """Heroku's router writes both under one key."""
    assert ["shop", None, None] == [service_name(value) for value in ("shop", "18ms", {"name": "shop"})]


def test_a_port_stands_behind_an_address() -> None:
    """Not behind a name, and a number alone is none."""
    assert [443, 443, None, None, None] == [
        port_behind(value) for value in ("192.0.2.7:443", "[2001:db8::7]:443", "192.0.2.7", "web-1:443", "443")
    ]


def test_a_bare_number_is_no_duration() -> None:
    """Loggers mean seconds, milliseconds or nanoseconds by it."""
    assert [1_500_000, None, None] == [spoken_duration(value) for value in ("1.5ms", "1.5", 1.5)]
