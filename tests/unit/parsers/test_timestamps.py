"""Instants are RFC 3339 text in UTC with nine digits."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.timestamps import LAST_SECOND, SECONDS_KEPT, renders, rfc3339, second_text


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (LAST_SECOND * 10**9 + 999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_known_instants(time_ns: int, expected: str) -> None:
    """The first, a middle and the last instant are rendered to the nanosecond."""
    assert expected == rfc3339(time_ns)


@given(st.integers(0, LAST_SECOND), st.integers(0, 999_999_999))
def test_every_instant_reads_back(second: int, nanosecond: int) -> None:
    """What is rendered parses to the same second and digits."""
    text = rfc3339(second * 10**9 + nanosecond)

    assert datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp() == second
    assert text[19:] == f".{nanosecond:09d}Z"


def test_the_cache_of_seconds_is_bounded() -> None:
    """Rendering more seconds than are kept never keeps more."""
    for second in range(SECONDS_KEPT + 10):
        rfc3339(second * 10**9)

    assert len(second_text) <= SECONDS_KEPT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20.12Z", True),
        ("2023-11-14T22:13:20.120000000Z", True),
        ("2023-11-14T22:13:20.12+00:00", True),
        ("2023-11-14T22:13:20.12", False),
        ("2023-11-14T22:13:20.12+01:00", False),
        ("2023-11-14T22:13:20.1200000000Z", False),
        ("2023-11-14T22:13:20Z", False),
        ("2023-11-14T22:13:21.12Z", False),
        ("", False),
    ],
)
def test_a_text_renders_an_instant_or_not(text: str, *, expected: bool) -> None:
    """Only RFC 3339 in UTC of the very instant counts; trailing zeros do not matter."""
    assert expected == renders(text, 1_700_000_000, 120_000_000)
