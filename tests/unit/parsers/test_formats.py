"""What holds of every format, whatever its lines look like."""

import json
import random
import signal
from pathlib import Path
from typing import Final

import msgspec
import pytest

from parsers.canonical import encode
from parsers.check import problems
from parsers.format import Format, formats
from parsers.table import Payload, Table
from parsers.timestamps import LAST_SECOND
from parsers.values import lowered

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
    """Fields exist, values fit their types, categories and types are allowed; else all that is wrong is named."""
    found = list(problems(*named, TAXONOMY, LISTS))

    assert not found, "\n".join(found)


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
            parsed = fmt.parse(Payload(text), NOW_S, asked=dice.random() < 0.5)
            if parsed is None:
                continue
            encode([parsed.event, parsed.fields, parsed.related])
            assert parsed.message
            assert parsed.time is None or (0 < parsed.time[0] <= LAST_SECOND and 0 <= parsed.time[1] < 10**9)


def slow(fmt: Format, lines: list[str]) -> str | None:
    """Return the first text, grown out of a line, that a format takes too long for, else None."""
    starts = [(line[:at], line[at:]) for line in lines for at in sorted({0, *_parts(len(line))})]
    for size in (24, 65536):
        for head, tail in starts:
            own = (tail[:1], tail[:7])
            for filler in (*own, head + tail, " ", '"', "a", "0", "\\"):
                grown = head + filler * (size // max(len(filler), 1))
                # An end that fits, and one that fits nothing: then a pattern tries all other ways before it gives up.
                ends = [(grown + tail)[:65536]]
                if size < 65536 or filler in own:
                    ends.append(grown[:65535] + "\0")
                if any(takes_long(fmt, text) for text in ends):
                    return f"too slow: {head[-200:]!r}, then {filler[:200]!r} up to {size} characters"
    return None


class _Late(Exception):
    """A format took its time."""


def takes_long(fmt: Format, text: str) -> bool:
    """Tell whether a format needs more than `SLOW_S` of the processor; a pattern is interrupted then."""

    def interrupt(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW_S)
    try:
        fmt.sniff(text)
        fmt.parse(Payload(text), NOW_S, asked=True)
    except _Late:
        return True
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return False


def _parts(length: int) -> set[int]:
    return {length // 3, length // 2, max(length - 1, 0)}


def test_parsing_takes_time_in_proportion(named: tuple[str, Format]) -> None:
    """No line of 64 Ki characters holds a worker up, whatever it repeats and whatever stands at its end."""
    name, fmt = named

    found = slow(fmt, samples(name))

    assert found is None, found


def test_a_pattern_that_tries_every_way_is_found() -> None:
    """What splits a word in all ways before it gives up takes 2 to the power of its letters."""
    table = Table(pattern=r"crane: (?:\w+ ?)+: (?P<text>.+)", fields={"event.reason": lowered("text")})
    fmt = Format(title="crane", tables=(table,), sniff=lambda line: True)

    found = slow(fmt, ["crane: lift and turn: slow"])

    assert found is not None
    assert "24 characters" in found


def test_parsing_depends_on_nothing_but_the_line(named: tuple[str, Format]) -> None:
    """Twice the same, and the payload is not changed."""
    name, fmt = named
    first = [fmt.parse(Payload(line), NOW_S) for line in samples(name)]
    again = [fmt.parse(Payload(line), NOW_S) for line in samples(name)]

    assert msgspec.json.encode(first) == msgspec.json.encode(again)


def test_a_group_that_is_always_told_always_is(named: tuple[str, Format]) -> None:
    """A text that may be missing says so by `absent`, else its lines go the slow way."""
    name, fmt = named
    slow = [
        line
        for line in samples(name)
        for table in fmt.tables
        if table.pattern is not None and (found := table.match(line))
        for leaf in [*table.event.leaves(), *table.roots.leaves()]
        if leaf.value is not None and leaf.value.sure and not found[leaf.value.sources[0]]
    ]

    assert slow == []
