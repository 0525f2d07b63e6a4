"""Both ways of a format give the same: the chunk path, made from its tables, and the plain one that reads them."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import columns
from parsers.format import Format, formats
from parsers.shapes import LINES_BEFORE, Shapes
from parsers.slabs import Slab, several
from parsers.table import Payload, Table
from parsers.times import any_time
from parsers.values import NOTHING, address, duration, identifier, integer, level, otherwise, port, text

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "formats"
NOW_S: Final = 1795953600
ROUNDS: Final = 40

OBJECTS: Final = (
    Table(
        requires=("t", "m"),
        accept=lambda found: found["t"] != "no",
        time=any_time("t"),
        message=text("m"),
        constants={"event.category": ["web"], "event.type": ["access"]},
        fields={
            "event.duration": duration("ms", unit="ms"),
            "log.level": otherwise(level("l"), "info"),
            "source.ip": address("peer", "client.ip"),
            "source.port": port("peer"),
            "http.response.status_code": integer("status", "http.status"),
        },
    ),
    Table(
        time=any_time("time", "ts"),
        message=text("msg", "message"),
        fields={
            "log.level": level("level", "log.level"),
            "user.name": text("user", "user.name", absent=NOTHING),
            "user.id": identifier("user.id", "uid"),
            "url.domain": text("host"),
            "source.ip": address("ip"),
            "source.address": text("ip"),
        },
    ),
)
"""Keyed tables with one of everything."""


Row = tuple[Any, ...]
"""What a line gives: dataset, event, time, message, fields, related, hosts, rest."""


def rows_of(slabs: Sequence[Slab], lines: Sequence[str]) -> list[Row | None]:
    """Lay slabs out by lines."""
    made: list[Row | None] = [None] * len(lines)
    for slab in slabs:
        size = len(slab.places)
        parts = [part.rows(size) for part in (slab.event, slab.fields, slab.related, slab.rest)]
        for row, at in enumerate(slab.places):
            assert made[at] is None
            hosts = tuple(dict.fromkeys(column[row] for column in slab.hosts if column[row] is not None))
            time = (slab.times[0][row], slab.times[1][row]) if slab.times is not None and slab.times[0][row] else None
            message = slab.messages[row] if slab.messages is not None else lines[at]
            made[at] = (slab.dataset, time, message, hosts, *(part[row] for part in parts))
    return made


def plain(fmt: Format, lines: Sequence[str], *, asked: bool = False) -> list[Row | None]:
    """Parse lines one by one by the tables' reading."""
    parsed = [fmt.parse(Payload(line), NOW_S, asked=asked) for line in lines]
    return rows_of(several("", {at: each for at, each in enumerate(parsed) if each is not None}), lines)


def by_chunk(name: str, lines: Sequence[str], *, asked: bool) -> list[Row | None]:
    """Parse lines by the chunk path, those that begin with a brace apart."""
    made: list[Slab] = []
    for objects in (True, False):
        places = [at for at, line in enumerate(lines) if line.startswith("{") == objects]
        found, left = columns.parse_lines(name, lines, places, NOW_S, objects=objects, asked=asked)
        assert sorted([*left, *(at for slab in found for at in slab.places)]) == places
        made += found
    return rows_of(made, lines)


def hostile(lines: Sequence[str], dice: random.Random) -> list[str]:
    """The samples, and what becomes of them when they are cut, mixed and doubled."""
    alphabet = sorted(set("".join(lines)) | set("\"'\\% \x00\x1b{}[]:,=\u20ac\U0001f40b9"))
    made = [*lines, *lines]
    for _ in range(ROUNDS * len(lines)):
        line, other = dice.choice(lines), dice.choice(lines)
        at = dice.randrange(len(line) + 1)
        noise = "".join(dice.choices(alphabet, k=dice.randrange(8)))
        made.append(
            dice.choice(
                (line[:at], line[:at] + other, line[:at] + noise + line[at:], line[:at] + noise + line[at + 3 :])
            )
        )
    return made


@pytest.mark.parametrize("name", list(formats()))
def test_the_chunk_path_of_a_format_equals_its_plain_one(name: str) -> None:
    """On the samples, on other formats' and on what hostile senders make of them, asked for or found; twice."""
    dice = random.Random(f"agree {name}")
    files = {path.parent.name: path.read_text(encoding="utf-8").split("\n") for path in sorted(GOLDEN.glob("*/*.log"))}
    lines = hostile(files[name], dice) + [
        line for other in files.values() for line in dice.sample(other, min(4, len(other)))
    ]

    for asked in (False, True):
        expected = plain(formats()[name], lines, asked=asked)
        for _ in range(2):
            assert by_chunk(name, lines, asked=asked) == expected


def test_columns_of_one_shape_agree_whatever_their_values() -> None:
    """Many objects at once, of one shape or a few, give what each gives by the plain reading."""
    dice = random.Random("columns")
    fmt = Format(title="", tables=OBJECTS, sniff=lambda line: line.startswith("{"))
    shapes = Shapes(OBJECTS)
    for _ in range(30):
        lines = [json.dumps(dice.choice(KINDS)(dice)) for _ in range(200)]

        assert rows_of(shapes(lines, range(200), NOW_S)[0], lines) == plain(fmt, lines)


def test_a_table_with_everything_agrees_on_its_common_shapes() -> None:
    """Shapes that have functions of their own give what the plain reading gives, whatever the values."""
    dice = random.Random("shapes")
    fmt = Format(title="", tables=OBJECTS, sniff=lambda line: line.startswith("{"))
    shapes = Shapes(OBJECTS)
    for make in KINDS:
        for _ in range(LINES_BEFORE + 40):
            line = json.dumps(make(dice))

            assert rows_of(shapes([line], [0], NOW_S)[0], [line]) == plain(fmt, [line]), line


KINDS: Final[tuple[Callable[[random.Random], dict[str, Any]], ...]] = (
    lambda dice: {
        "t": dice.choice(["no", "2026-11-29T02:00:00.5Z", 1795917600]),
        "m": dice.choice(["", "a", "%b"]),
        "l": "WARN",
    },
    lambda dice: {
        "t": 1795917600.25,
        "m": "x",
        "ms": dice.choice([1, 2.5, "3", "-"]),
        "peer": dice.choice(["192.0.2.7:80", "x"]),
    },
    lambda dice: {
        "m": "x",
        "t": 1795917600,
        "client": {"ip": "192.0.2.1", "more": {}},
        "http.status": dice.randrange(1 << 66),
    },
    lambda dice: {"msg": "hi", "user": {"name": "a", "id": dice.choice([1, "x"])}, "ip": "192.0.2.9", "n": None},
    lambda dice: {
        "msg": "hi",
        "user": dice.choice(["-", "bob", ""]),
        "host": "www.example.com",
        "a\0b": 1,
        "a\u2400b": 2,
    },
    lambda dice: {
        "msg": "x%",
        "log": {"level": "E", "deep": {"er": [1, {"k": 2.5}], "t": True}},
        "log.level": "x",
        "%s": "%d",
    },
    lambda dice: {
        "level": 30,
        "uid": 7,
        "time": "2026-11-29T02:00:00Z",
        "big": 1 << dice.choice([3, 70]),
        "nul": "\0\n",
    },
    lambda dice: {
        "ts": dice.choice(["2026-11-29T02:00:00.123456789Z", "2026-02-30T02:00:00.1Z", "x"]),
        "message": "y",
        "ip": "::1",
    },
)
"""Makers of objects, each of one shape or a few."""

scalars = (
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=6)
)
keys = st.sampled_from(
    ["t", "m", "msg", "user", "user.name", "id", "ip", "level", "log", "log.level", "host", "", "a.b", "%"]
)
objects = st.dictionaries(
    keys,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(objects)
def test_any_object_agrees_once_its_shape_is_common(found: dict[str, Any]) -> None:
    """The function that is written for a shape gives what the plain reading gives."""
    line = json.dumps(found)
    expected = plain(Format(title="", tables=OBJECTS, sniff=lambda line: line.startswith("{")), [line])
    shapes = Shapes(OBJECTS)

    found_each = [rows_of(shapes([line], [0], NOW_S)[0], [line]) for _ in range(LINES_BEFORE + 2)]

    assert found_each == [expected] * (LINES_BEFORE + 2)
