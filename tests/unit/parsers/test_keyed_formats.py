"""Formats of objects: whatever type a value has that a table knows by its key."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from parsers.canonical import encode
from parsers.format import Format, formats
from parsers.table import Payload

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "formats"
NOW_S: Final = 1795953600
ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 7, 1 << 63, 1e300, 0.5, "", "-", "0", "text", "192.0.2.7:443", "::ffff:192.0.2.7", "\x00",
    "\u20ac", [], [1], ["a", None], [["a"]], {}, {"a": 1}, {"message": "x"}, {"seconds": 1, "nanos": 1},
)  # fmt: skip


def objects(name: str) -> list[dict[str, Any]]:
    """The golden lines of a format that are JSON objects."""
    lines = [line for path in sorted((GOLDEN / name).glob("*.log")) for line in path.read_text("utf-8").split("\n")]
    return [found for line in lines if isinstance(found := Payload(line).object, dict)]


def bent(found: dict[str, Any], dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield an object with one of its values, at any depth, replaced by odd ones."""
    for key, value in found.items():
        for odd in dice.sample(ODD, 6):
            yield found | {key: odd}
        if isinstance(value, dict):
            yield from ({**found, key: inner} for inner in bent(value, dice))


@pytest.mark.parametrize("name", sorted(name for name in formats() if objects(name)))
def test_a_value_of_any_type_is_taken_or_left(name: str) -> None:
    """Never an exception, and what is found can be encoded."""
    dice = random.Random(name)
    fmt: Format = formats()[name]
    for found in objects(name):
        for each in bent(found, dice):
            parsed = fmt.parse(Payload(json.dumps(each, separators=(",", ":"))), NOW_S)
            if parsed is not None:
                encode([parsed.event, parsed.fields, parsed.related, parsed.rest])
                assert isinstance(parsed.message, str)
