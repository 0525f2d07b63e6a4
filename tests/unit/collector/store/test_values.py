"""Instants, numbers and addresses as queries write them."""

import pytest

from collector.store.values import AFTER_ALL, BEFORE_ALL, address_key, address_range, instant_range, moved_back, number

NOW_NS = 1_795_400_000_123_456_789
"""2026-11-23T02:13:20.123456789Z, a Monday."""

DAY = ("2026-11-23T00:00:00.000000000Z", "2026-11-23T23:59:59.999999999Z")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-11-23", *DAY),
        ("2026-11-23T10", "2026-11-23T10:00:00.000000000Z", "2026-11-23T10:59:59.999999999Z"),
        ("2026-11-23T10:30", "2026-11-23T10:30:00.000000000Z", "2026-11-23T10:30:59.999999999Z"),
        ("2026-11-23T10:30:05", "2026-11-23T10:30:05.000000000Z", "2026-11-23T10:30:05.999999999Z"),
        ("2026-11-23T10:30:05.5Z", "2026-11-23T10:30:05.500000000Z", "2026-11-23T10:30:05.599999999Z"),
        ("2026-11-23T10:30:05.123456789Z", "2026-11-23T10:30:05.123456789Z", "2026-11-23T10:30:05.123456789Z"),
        ("2026-11-23T10:30:05+02:00", "2026-11-23T08:30:05.000000000Z", "2026-11-23T08:30:05.999999999Z"),
        ("2026-11-23 10:30-0130", "2026-11-23T12:00:00.000000000Z", "2026-11-23T12:00:59.999999999Z"),
        ("1795400000123", "2026-11-23T02:13:20.123000000Z", "2026-11-23T02:13:20.123999999Z"),
        ("now", "2026-11-23T02:13:20.123456789Z", "2026-11-23T02:13:20.123456789Z"),
        ("now-1h", "2026-11-23T01:13:20.123456789Z", "2026-11-23T01:13:20.123456789Z"),
        ("now+1d-1m+30s", "2026-11-24T02:12:50.123456789Z", "2026-11-24T02:12:50.123456789Z"),
        ("now/d", *DAY),
        ("now-1d/d", "2026-11-22T00:00:00.000000000Z", "2026-11-22T23:59:59.999999999Z"),
        ("now/h", "2026-11-23T02:00:00.000000000Z", "2026-11-23T02:59:59.999999999Z"),
        ("now/w", "2026-11-23T00:00:00.000000000Z", "2026-11-29T23:59:59.999999999Z"),
        ("now-1d/w", "2026-11-16T00:00:00.000000000Z", "2026-11-22T23:59:59.999999999Z"),
        ("now/M", "2026-11-01T00:00:00.000000000Z", "2026-11-30T23:59:59.999999999Z"),
        ("now/y", "2026-01-01T00:00:00.000000000Z", "2026-12-31T23:59:59.999999999Z"),
        ("now/d+1h", "2026-11-23T01:00:00.000000000Z", "2026-11-24T00:59:59.999999999Z"),
        ("2026-01-31||+1M", "2026-02-28T00:00:00.000000000Z", "2026-02-28T00:00:00.000999999Z"),
        ("2024-02-29||+1y", "2025-02-28T00:00:00.000000000Z", "2025-02-28T00:00:00.000999999Z"),
        ("2026-03-15||-4M", "2025-11-15T00:00:00.000000000Z", "2025-11-15T00:00:00.000999999Z"),
        ("2026-11-23||/d", *DAY),
        ("1900-01-01", BEFORE_ALL, BEFORE_ALL),
        ("now-100y", BEFORE_ALL, BEFORE_ALL),
        ("9999-12-31||+1d", AFTER_ALL, AFTER_ALL),
    ],
)
def test_a_time_means_a_span(text: str, first: str, last: str) -> None:
    """From its first to its last nanosecond, as Elasticsearch rounds."""
    assert (first, last) == instant_range(text, NOW_NS)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026", "2026-11", "2026-13-01", "2026-02-30", "2026-11-23T25", "now-1x", "nowish", "||+1d"),
        *("2026-11-23T10:30:05.1234567890Z", "now+99999y", "now-1h/", "2026-11-23T10:00:00+99:99", "now+", "-5"),
        "\N{ARABIC-INDIC DIGIT TWO}026-11-23",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """A year or a month alone means a single day to Elasticsearch, which nobody expects: refused as well."""
    with pytest.raises(ValueError, match=r"."):
        instant_range(text, NOW_NS)


def test_a_bare_span_is_back_from_now() -> None:
    """`--since 15m` is `now-15m`; anything else stays."""
    assert [moved_back(text) for text in ("15m", "2d", "now-1h", "2026-11-23")] == [
        "now-15m",
        "now-2d",
        "now-1h",
        "2026-11-23",
    ]


@pytest.mark.parametrize("text", ["5", "-5", "+5", "5.5", ".5", "5.", "1e3", "1E-3"])
def test_numbers_are_numbers(text: str) -> None:
    """Signs, fractions and exponents."""
    assert text == number(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1_000", " 5", "nan", "inf", "1e999", "0x10", "\N{ARABIC-INDIC DIGIT FIVE}", "5 5", "1e1000", "1e40"],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """Python would take some of these."""
    with pytest.raises(ValueError, match=r"number|range"):
        number(text)


def test_addresses_sort_as_elasticsearch_sorts_them() -> None:
    """IPv4 lies within IPv6, as ::ffff:0:0/96."""
    assert address_key("10.0.0.1") == address_key("::ffff:10.0.0.1") == "0" * 20 + "ffff0a000001"
    assert address_range("10.0.0.5/8") == ("0" * 20 + "ffff0a000000", "0" * 20 + "ffff0affffff")
    assert address_range("2001:db8::/32") == ("20010db8" + "0" * 24, "20010db8" + "f" * 24)


@pytest.mark.parametrize("text", ["10.0.0.256", "10.0.0", "x", "10.0.0.0/33", "::1%lo", "fe80::/129", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Also a zone, which no stored address has."""
    with pytest.raises(ValueError, match=r"."):
        address_range(text)
