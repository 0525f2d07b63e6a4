"""What conversions make of a text of a line or a value of its JSON."""

from typing import Any

import pytest

from parsers.table import Payload, Table
from parsers.values import duration, either, level, made, text, to_address, to_integer


def test_each_source_of_a_value_may_have_its_own_conversion() -> None:
    """Milliseconds under one key, seconds under another: the first that there is."""
    table = Table(
        requires=(), fields={"event.duration": either(duration("ms", unit="ms"), duration("s"), duration("s2"))}
    )
    lines = ('{"ms":5,"s":1}', '{"s":1}', '{"ms":"x","s2":2}', '{"ms":"x"}')
    parsed = [table.parse(Payload(line), 0) for line in lines]

    assert [
        ({"duration": 5_000_000}, {"s": 1}),
        ({"duration": 10**9}, {}),
        ({"duration": 2 * 10**9}, {"ms": "x"}),
        ({}, {"ms": "x"}),
    ] == [(each.event, each.rest) for each in parsed if each]


def test_groups_of_a_pattern_may_have_their_own_conversions() -> None:
    """As keys have."""
    table = Table(
        pattern=r"(?:(?P<ms>\d+) ms|(?P<s>\d+) s)",
        fields={"event.duration": either(duration("ms", unit="ms"), duration("s"))},
    )
    parsed = [table.parse(Payload(line), 0) for line in ("5 ms", "5 s")]

    assert [5_000_000, 5 * 10**9] == [each.event["duration"] for each in parsed if each]


def test_a_value_of_several_conversions_is_of_the_kind_of_the_first() -> None:
    """And has all sources, in order."""
    value = either(text("a", "b"), made(to_integer, "c", kind="long"))

    assert ("keyword", ("a", "b", "c")) == (value.kind, value.sources)


def test_a_long_text_is_not_searched_for_an_address() -> None:
    """64 KiB that begin like one took 10 ms in each field that may hold an address."""
    asked: list[str] = []

    class Text(str):
        __slots__ = ()

        def partition(self, sep: str, /) -> tuple[str, str, str]:
            asked.append(sep)
            return super().partition(sep)

    assert [to_address(Text("1:" * length)) for length in (2, 32_768)] == [None, None]
    assert asked.count("%") <= 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("web-1:443", None),
        (7, None),
    ],
)
def test_an_address_is_in_canonical_form(written: Any, expected: str | None) -> None:
    """An IPv4 address in IPv6's form is what every other line calls it."""
    assert expected == to_address(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("WARNING", "warn"),
        ("DEBUG-2", "debug"),
        ("INFO+4", "info"),
        (30, "info"),
        (200, None),
        (True, None),
        ("", None),
    ],
)
def test_a_level_has_one_name(written: Any, expected: str | None) -> None:
    """Whatever the logger calls it; slog's steps between levels are the level below them."""
    assert expected == level("level").convert(written)
