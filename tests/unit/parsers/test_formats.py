"""What holds of every format, whatever its lines look like."""

import json
import random
import time
from pathlib import Path
from typing import Final

import msgspec
import pytest

from parsers.canonical import encode
from parsers.check import problems
from parsers.format import Format, formats
from parsers.table import Payload
from parsers.timestamps import LAST_SECOND

DATA: Final = Path(__file__).parents[2] / "data"
GOLDEN: Final = Path(__file__).parents[2] / "golden" / "formats"
NOW_S: Final = 1795953600

TAXONOMY = json.loads((DATA / "event_taxonomy.json").read_text())
LISTS = frozenset(
    name
    for name, about in json.loads((DATA / "ecs_compact.json").read_text())["fields"].items()
    if "array" in about.get("normalize", ())
)
SLOW_S: Final = 0.25
"""Bound of one line of 64 Ki characters: what is not linear takes minutes, and a loaded machine stretches much."""


def samples(name: str) -> list[str]:
    """The golden lines of a format."""
    return [
        line for path in sorted((GOLDEN / name).glob("*.log")) for line in path.read_text(encoding="utf-8").split("\n")
    ]


@pytest.fixture(params=list(formats()))
def named(request: pytest.FixtureRequest) -> tuple[str, Format]:
    """Each format with its name."""
    return request.param, formats()[request.param]


def test_a_table_says_only_what_ecs_knows(named: tuple[str, Format]) -> None:
    """Fields exist, values fit their types, categories and types are allowed."""
    assert list(problems(*named, TAXONOMY, LISTS)) == []


def test_a_module_says_what_its_format_is(named: tuple[str, Format]) -> None:
    """Its docstring is the page of the format: a title line, then a sample."""
    module = __import__(f"parsers.formats.{named[0]}", fromlist=["FORMAT"])

    assert module.__doc__ is not None
    assert "\n\n    " in module.__doc__


def test_any_text_is_parsed_or_left_alone(named: tuple[str, Format]) -> None:
    """Cut, mixed and doubled samples, and noise: never an exception, always something that can be encoded."""
    name, fmt = named
    dice = random.Random(f"any text {name}")
    lines = samples(name)
    alphabet = sorted(set("".join(lines)) | set("\"'\\ \x00\x1b{}[]:,=\u20ac\U0001f40b9"))
    for _ in range(300):
        line = dice.choice(lines)
        at = dice.randrange(len(line) + 1)
        other = dice.choice(lines)
        noise = "".join(dice.choices(alphabet, k=dice.randrange(12)))
        for text in (line[:at], line[:at] + other, line[:at] + noise + line[at:], line[:at] + noise + line[at + 5 :]):
            parsed = fmt.parse(Payload(text), NOW_S)
            if parsed is None:
                continue
            encode([parsed.event, parsed.fields, parsed.related])
            assert parsed.message
            assert parsed.time is None or (0 < parsed.time[0] <= LAST_SECOND and 0 <= parsed.time[1] < 10**9)


def test_parsing_takes_time_in_proportion(named: tuple[str, Format]) -> None:
    """No line of 64 Ki characters holds a worker up, whatever it repeats."""
    name, fmt = named
    worst = 0.0
    for line in samples(name):
        for at in sorted({0, len(line) // 3, len(line) // 2, len(line) - 1}):
            for filler in (line[at : at + 1], line[at : at + 7], line, " ", '"', "a", "0", "\\"):
                text = (line[:at] + filler * (65536 // max(len(filler), 1)) + line[at:])[:65536]
                start = time.process_time()
                fmt.sniff(text)
                fmt.parse(Payload(text), NOW_S)
                worst = max(worst, time.process_time() - start)

    assert worst < SLOW_S


def test_parsing_depends_on_nothing_but_the_line(named: tuple[str, Format]) -> None:
    """Twice the same, and the payload is not changed."""
    name, fmt = named
    first = [fmt.parse(Payload(line), NOW_S) for line in samples(name)]
    again = [fmt.parse(Payload(line), NOW_S) for line in samples(name)]

    assert msgspec.json.encode(first) == msgspec.json.encode(again)
