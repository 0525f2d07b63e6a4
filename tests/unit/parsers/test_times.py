"""Times of JSON loggers."""

from typing import Any

import pytest

from parsers.times import Instant, any_time, iso


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
