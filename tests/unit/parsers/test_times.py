"""Times of JSON loggers."""

from typing import Any

import pytest

from parsers.times import Instant, any_time, iso, short_date, twelve_hours


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-29T02:00:00.123Z", (1795917600, 123000000)),
        (1795917600123, (1795917600, 123000000)),
        ({"epochSecond": 1795917600, "nanoOfSecond": 5}, (1795917600, 5)),
        ({"seconds": 1795917600, "nanos": 5}, (1795917600, 5)),
        ({"seconds": 1795917600}, None),
        ({"seconds": "1795917600", "nanos": 0}, None),
        ({"seconds": 1795917600, "nanos": 10**9}, None),
        ({"seconds": -1, "nanos": 0}, None),
        (True, None),
    ],
)
def test_any_time_reads_texts_numbers_and_objects(written: Any, expected: Instant | None) -> None:
    """log4j2's `instant` and protobuf's timestamp are objects of seconds and nanoseconds."""
    assert expected == any_time("time").read(written, 0)


def test_a_padded_hour_is_an_hour() -> None:
    """As MariaDB writes it; an hour of one digit without its blank is none."""
    assert [(1795917600, 0), None] == [
        iso("time").read(text, 0) for text in ("2026-11-29  2:00:00", "2026-11-29 2:00:00")
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("261129 02:00:00", (1795917600, 0)),
        ("261129  2:00:00", (1795917600, 0)),
        ("261129 02:00:00.5", (1795917600, 500000000)),
        ("2026-11-29T02:00:00.5Z", (1795917600, 500000000)),
        ("261129 2:00:00", None),
        ("261329 02:00:00", None),
        ("20261129 02:00:00", None),
    ],
)
def test_a_year_of_two_digits_is_of_this_century(written: str, expected: Instant | None) -> None:
    """As MariaDB writes of its crashes; where it writes all four, they count."""
    assert expected == short_date("time").read(written, 0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("11/29/2026, 2:00:00 AM", 1795917600),
        ("11/29/2026, 2:00:00\u202fAM", 1795917600),
        ("Nov 29, 2026 2:00:00 AM", 1795917600),
        ("11/29/2026, 12:00:00 AM", 1795910400),
        ("11/29/2026, 12:00:00 PM", 1795953600),
        ("11/29/2026, 13:00:00 PM", None),
        ("29/11/2026, 2:00:00 AM", None),
        ("Foo 29, 2026 2:00:00 AM", None),
    ],
)
def test_a_clock_of_twelve_hours_begins_at_twelve(written: str, expected: int | None) -> None:
    """Midnight is 12 AM; the month stands first."""
    assert (None if expected is None else (expected, 0)) == twelve_hours("time").read(written, 0)
