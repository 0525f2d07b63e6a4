"""Many lines at once: what one of them is changes nothing for the others."""

import json
from collections.abc import Sequence
from typing import Any

from parsers.cells import FEW, Converter
from parsers.columns import Pattern, parse_lines
from parsers.shapes import LINES_BEFORE, Shapes
from parsers.slabs import Slab
from parsers.table import TEXT_LIMIT, Table
from parsers.values import Nanoseconds, address, integer, text, to_address

NOW_S = 1795953600


def fields_of(slabs: Sequence[Slab]) -> dict[int, dict[str, Any]]:
    """The fields that lines have, and what is left over as `app`, by their places."""
    found = {}
    for slab in slabs:
        size = len(slab.places)
        for at, row, rest in zip(slab.places, slab.fields.rows(size), slab.rest.rows(size), strict=True):
            found[at] = json.loads(b"{%b}" % (rest + row[1:] if row else rest[:-1]))
    return found


def test_a_text_with_a_newline_does_not_shift_the_column() -> None:
    """Two addresses in one value are none, and the lines behind keep their own."""
    addresses = ["192.0.2.1", "192.0.2.2\n192.0.2.3", *["192.0.2.4"] * FEW]

    made = Converter(to_address, str)(addresses)

    assert made is not None
    assert made.values == [b'"192.0.2.1"', None, *[b'"192.0.2.4"'] * FEW]


def test_a_duration_beyond_all_numbers_is_none() -> None:
    """A number whose product is infinite has no duration, and stops no other line."""
    made = Converter(Nanoseconds(1_000_000), float)([1.5, 1.7e308, *[2.5] * FEW])

    assert made is not None
    assert made.values == [b"1500000", None, *[b"2500000"] * FEW]


def test_a_line_too_long_for_patterns_is_left() -> None:
    """What is longer than TEXT_LIMIT is of no text format, also among lines that are."""
    pattern = Pattern(Table(pattern=r"a(?P<rest>b*)", fields={"error.code": text("rest")}))
    lines = ["ab", "a" + "b" * TEXT_LIMIT, "abb"]

    slabs, left = pattern(lines, range(3), NOW_S)

    assert left == [1]
    assert fields_of(slabs) == {0: {"error": {"code": "b"}}, 2: {"error": {"code": "bb"}}}


def test_objects_that_differ_in_one_value_keep_their_own_fields() -> None:
    """One line's number is a text, another's address is none: each has what it has alone."""
    table = Table(fields={"source.ip": address("ip"), "http.response.status_code": integer("status")})
    values = [("192.0.2.1", 200), ("x", 200), ("192.0.2.3", "200"), ("192.0.2.4", 1 << 70), ("192.0.2.5", 404)]
    lines = [json.dumps({"ip": ip, "status": status}) for ip, status in values * LINES_BEFORE]
    status_code = {"response": {"status_code": 200}}

    slabs, left = Shapes([table])(lines, range(len(lines)), NOW_S)

    found = fields_of(slabs)
    assert left == ()
    assert [found[at] for at in range(5)] == [
        {"http": status_code, "source": {"ip": "192.0.2.1"}},
        {"http": status_code, "app": {"ip": "x"}},
        {"http": status_code, "source": {"ip": "192.0.2.3"}},
        {"source": {"ip": "192.0.2.4"}, "app": {"status": float(1 << 70)}},
        {"http": {"response": {"status_code": 404}}, "source": {"ip": "192.0.2.5"}},
    ]


def test_lines_keep_their_order_among_those_left() -> None:
    """What a format does not take comes back ascending, whatever its tables took in between."""
    lines = ["x", "nginx: [emerg] a", "y", "nginx: [emerg] b", "] z"]

    slabs, left = parse_lines("nginx", lines, range(5), NOW_S, objects=False)

    assert left == [0, 2, 4]
    assert [list(slab.places) for slab in slabs] == [[1, 3]]
