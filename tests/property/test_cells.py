"""A column of raw values gives what the conversion gives of each: quick forms and memories change nothing."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import times
from parsers.canonical import encode
from parsers.cells import FEW, MEMORY_LIMIT, Memory, converter, instants
from parsers.json_keys import port_behind, request_target, trace_id
from parsers.times import Instant
from parsers.values import (
    NOTHING,
    Convert,
    Nanoseconds,
    TextBut,
    to_address,
    to_identifier,
    to_integer,
    to_level,
    to_path,
    to_port,
    to_query,
    to_text,
)

NOW_S: Final = 1795953600

CONVERTS: Final[dict[str, Convert]] = {
    "text": to_text,
    "text_but": TextBut(frozenset({"", *NOTHING})),
    "address": to_address,
    "integer": to_integer,
    "identifier": to_identifier,
    "path": to_path,
    "query": to_query,
    "target": request_target,
    "port": to_port,
    "port_behind": port_behind,
    "trace": trace_id,
    "duration": Nanoseconds(1_000_000),
    "level": to_level,
}
TEXTS: Final = (
    "", "-", "0", "00", "07", "7", "65535", "65536", "64999", "999999999999999999", "9223372036854775808", "+1", "-0",
    "192.0.2.7", "192.0.2.07", "192.0.2.256", "::1", "192.0.2.7:80", "[::1]:443", "/", "/a?b=c", "/a?", "/?x", "a/b",
    "http://www.example.com/a?b", "/go?to=http://www.example.com/", "/x\n/y", "1\n2", "192.0.2.1\n192.0.2.2", "0" * 32,
    "4bf92f3577b34da6a3ce929d0e0e4736", "projects/p/traces/1", "WARN", "\u00e9\u20ac", '"\\',
    "\u0663", "x" * 600,
)  # fmt: skip
TIMES: Final = (
    "2026-11-29T02:00:00.123Z", "2026-11-29T02:00:01.5Z", "2026-11-29 02:00:00,123", "2026-11-29T02:00:00.1234567891Z",
    "2026-02-30T02:00:00.123Z", "2026-11-29T02:00.123Z", "2026-11-29T02:00:00.12aZ",
    "2026-11-29T02:00:00.\u0661\u0662\u0663Z",
    "29/Nov/2026:02:00:00.123 +0000", "29/Nov/2026:02:00:00,123 +0000", "Nov 29 02:00:00.123", "Nov 29 02:00:00",
    "1129 02:00:00.123456", "Sun Nov 29 02:00:00.123456 2026", "1795917600.123", "11/29/2026, 2:00:00.123 AM", "x", "",
)  # fmt: skip


def one_by_one(convert: Convert, raws: Sequence[Any]) -> list[bytes | None]:
    """What the conversion gives of each value."""
    found = [None if raw is None else convert(raw) for raw in raws]
    return [None if each is None else encode(each) for each in found]


def column(convert: Convert, raws: Sequence[Any], kind: type) -> list[bytes | None]:
    """What the column gives, checked against what it says of itself."""
    made = converter(convert, kind)(raws)
    if made is None:
        return [None] * len(raws)
    assert made.whole == (None not in made.values)
    return list(made.values)


def padded(two: tuple[Any, Any]) -> list[Any]:
    """So many values that a quick form is tried: the first again and again, and the other."""
    return [two[0]] * (FEW + 1) + [two[1]]


texts = st.sampled_from(TEXTS) | st.text(max_size=8)


@pytest.mark.parametrize("name", CONVERTS)
@settings(max_examples=120, deadline=None)
@given(raws=st.lists(texts | st.none(), min_size=1, max_size=6) | st.tuples(texts, texts).map(padded))
def test_a_column_of_texts_is_what_each_text_gives(name: str, raws: list[str | None]) -> None:
    """Texts of any shape, and missing ones."""
    assert column(CONVERTS[name], raws, str) == one_by_one(CONVERTS[name], raws)


@pytest.mark.parametrize("name", CONVERTS)
@pytest.mark.parametrize(
    "values",
    [
        st.integers(-(1 << 70), 1 << 70),
        st.integers(0, 99999),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.lists(st.integers(0, 3) | texts, max_size=2),
    ],
    ids=["integers", "numbers", "floats", "booleans", "lists"],
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_column_of_json_values_is_what_each_value_gives(name: str, values: Any, data: st.DataObject) -> None:
    """Values of one type, of any size."""
    raws = data.draw(st.lists(values, min_size=1, max_size=5) | st.tuples(values, values).map(padded))

    assert column(CONVERTS[name], raws, type(raws[0])) == one_by_one(CONVERTS[name], raws)


READS: Final = (*times.FRACTIONS, times.twelve_hours("t").read, times.epoch("t").read)


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
@settings(max_examples=200, deadline=None)
@given(
    raws=st.lists(st.sampled_from(TIMES) | st.none(), min_size=1, max_size=4)
    | st.tuples(st.sampled_from(TIMES), st.sampled_from(TIMES)).map(padded)
)
def test_a_column_of_times_is_what_each_time_is(read: Any, raws: list[str | None]) -> None:
    """Times with fractions at the same place, at others, and what is no time."""
    expected: list[Instant | None] = [None if raw is None else read(raw, NOW_S) for raw in raws]

    seconds, nanoseconds = instants(read, raws, NOW_S, str)

    found = [(second, nano) if second else None for second, nano in zip(seconds, nanoseconds, strict=True)]
    assert found == expected


@pytest.mark.parametrize("read", times.FRACTIONS, ids=lambda read: read.__name__)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_times_of_one_length_are_read_alike(read: Any, data: st.DataObject) -> None:
    """One character of a time changed gives what the reader says of that, also beside times that are whole."""
    whole = data.draw(st.sampled_from([text for text in TIMES if text]))
    at = data.draw(st.integers(0, len(whole) - 1))
    other = whole[:at] + data.draw(st.sampled_from("0123456789.:, TZ+-/aN\u0663")) + whole[at + 1 :]

    times_read = padded((whole, other))
    seconds, nanoseconds = instants(read, times_read, NOW_S, str)

    found = [(second, nano) if second else None for second, nano in zip(seconds, nanoseconds, strict=True)]
    assert found == [read(each, NOW_S) for each in times_read]


def test_a_memory_forgets_when_it_is_full_and_stays_right() -> None:
    """More values than are kept: each gives what it gives, and memory is bounded."""
    memory = Memory(lambda raw: raw * 2)

    assert all(memory[number] == 2 * number for number in range(3 * MEMORY_LIMIT))
    assert len(memory) <= MEMORY_LIMIT
